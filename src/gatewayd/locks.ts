/** What only one gateway may have at a time: a state folder, and a number in the kernel of a network namespace. */
import { ensureDirectory, exists, FileLock, Netns, ownPid } from "../sys/mod.ts";
import { GATEWAYS } from "./control-protocol.ts";

/** Takes a lock; throws what `refusal` makes of who has it. */
function take(path: string, name: string, refusal: (other: string) => string): FileLock {
  const lock = FileLock.take(path, `gateway ${name}, process ${ownPid()}`);
  if (typeof lock !== "string") return lock;
  throw new Error(`Cannot run gateway ${name}: ${refusal(lock === "" ? "another gateway" : lock)}`);
}

/**
 * lockState keeps a state folder, which is made 0700, for this process: two would give out the same sequence numbers, and with them use nonces
 * twice. Throws who has it.
 */
export function lockState(folder: string, name: string): Disposable {
  ensureDirectory(folder, 0o700);
  return take(
    `${folder}/lock`,
    name,
    (other) => `${other}, has the state folder ${folder}; end it, or give this one another --state`,
  );
}

/** lockInstance keeps a number for the kernel's back-end in this network namespace: two would remove each other's associations. Throws who has it. */
export function lockInstance(
  name: string,
  instance: number,
  at: { readonly folder?: string; readonly netns?: Netns } = {},
): Disposable {
  const { folder = GATEWAYS } = at;
  if (!exists(folder)) ensureDirectory(folder, 0o755);
  return take(
    `${folder}/kernel-${inodeOf(at.netns)}-${instance}.lock`,
    name,
    (other) =>
      `${other}, has the same number (${instance} of 256, from the name) in the kernel of this network namespace; end it, or give this one another name`,
  );
}

function inodeOf(netns: Netns | undefined): number {
  if (netns !== undefined) return netns.inode;
  using here = Netns.current();
  return here.inode;
}
