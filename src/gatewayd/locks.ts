/** What only one gateway may have at a time: a state folder, and a number in the kernel of a network namespace. */
import { ensureDirectory, exists, FileLock, type FileLockOptions, Netns, ownPid } from "../sys/mod.ts";
import { isLeftBlocked } from "../tunnel/xfrm/mod.ts";
import { GATEWAYS } from "./control-protocol.ts";

/** Takes a lock; throws what `refusal` makes of who has it. */
function take(
  path: string,
  name: string,
  { refusal, ...options }: FileLockOptions & { readonly refusal: (other: string) => string },
): FileLock {
  const lock = FileLock.take(path, `gateway ${name}, process ${ownPid()}`, options);
  if (typeof lock !== "string") return lock;
  throw new Error(`Cannot run gateway ${name}: ${refusal(lock === "" ? "another gateway" : lock)}`);
}

/**
 * lockState keeps a state folder, which is made 0700, for this process: two would give out the same sequence numbers, and with them use nonces
 * twice. Throws who has it.
 */
export function lockState(folder: string, name: string): Disposable {
  ensureDirectory(folder, 0o700);
  return take(`${folder}/lock`, name, {
    refusal: (other) => `${other}, has the state folder ${folder}; end it, or give this one another --state`,
  });
}

/** InstanceLockOptions say where. */
export interface InstanceLockOptions {
  readonly folder?: string;
  readonly netns?: Netns;
  /** Whether a gateway of that number has left something blocked. Default: the kernel is asked. */
  readonly isLeft?: () => boolean;
}

/**
 * lockInstance keeps a number for the kernel's back-end in this network namespace: two would remove each other's associations, and what one has left
 * blocked. While something is, who left it stands in the file. Throws who has it, or has left something.
 */
export function lockInstance(name: string, instance: number, at: InstanceLockOptions = {}): Disposable {
  const { folder = GATEWAYS, netns } = at;
  const isLeft = at.isLeft ?? (() => isLeftBlocked({ instance, ...(netns && { netns }) }));
  const number = `the same number (${instance} of 256, from the name) in the kernel of this network namespace`;
  if (!exists(folder)) ensureDirectory(folder, 0o755);
  return take(`${folder}/kernel-${inodeOf(netns)}-${instance}.lock`, name, {
    refusal: (other) => `${other}, has ${number}; end it, or give this one another name`,
    check: (before) => {
      const last = /^gateway (.*), process \d+$/.exec(before)?.[1];
      if (last === undefined || last === name || !isLeft()) return;
      throw new Error(
        `Cannot run gateway ${name}: gateway ${last} has left its networks blocked, with ${number}; start that one again and end it by SIGINT, or give this one another name`,
      );
    },
    stays: isLeft,
  });
}

function inodeOf(netns: Netns | undefined): number {
  if (netns !== undefined) return netns.inode;
  using here = Netns.current();
  return here.inode;
}
