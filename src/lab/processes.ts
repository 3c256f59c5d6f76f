/** Processes of a laboratory: recorded when they start, ended by identity, and none left behind in its namespaces. */
import {
  identityOf,
  isNetns,
  isRunning,
  listDirectory,
  Netns,
  processesInNetns,
  type ProcessIdentity,
  readText,
  removeTree,
  spawnDetached,
  terminate,
  writeAtomic,
} from "../sys/mod.ts";
import type { Place } from "./place.ts";

/** startProcess starts a program that outlives us, under a name; what runs under that name already stays alone. */
export function startProcess(
  place: Place,
  name: string,
  start: { readonly argv: readonly string[]; readonly logPath: string },
): ProcessIdentity {
  const running = recorded(place, name);
  if (running !== undefined) return running;
  const pid = spawnDetached(start.argv, { stdoutPath: start.logPath });
  const identity = identityOf(pid);
  if (identity === undefined) throw new Error(`Cannot start ${name}: it ended at once; see ${start.logPath}`);
  writeAtomic(`${place.processes}/${name}`, JSON.stringify(identity), 0o600);
  return identity;
}

/** recorded returns the process of a name if it still runs. */
export function recorded(place: Place, name: string): ProcessIdentity | undefined {
  const text = readText(`${place.processes}/${name}`);
  if (text === undefined) return undefined;
  const identity = JSON.parse(text) as ProcessIdentity;
  return isRunning(identity) ? identity : undefined;
}

/** stopProcess ends the process of a name and waits until it is gone; nothing running is not an error. */
export async function stopProcess(
  place: Place,
  name: string,
  options: { graceMs?: number } = {},
): Promise<void> {
  const identity = recorded(place, name);
  if (identity !== undefined) await terminate(identity.pid, options);
  removeTree(`${place.processes}/${name}`);
}

/** clearNamespaces ends whatever runs in the named network namespaces: user-space tunnels, pods' programs, shells. */
export async function clearNamespaces(place: Place, names: readonly string[]): Promise<void> {
  const inodes = new Set<number>();
  for (const name of names) {
    if (!isNetns(place.netns(name))) continue;
    using netns = Netns.open(place.netns(name));
    inodes.add(netns.inode);
  }
  // A program may start another while it is being ended.
  for (let round = 0; round < 8; round++) {
    const pids = inodes.size === 0 ? [] : processesInNetns(inodes);
    if (pids.length === 0) return;
    await Promise.all(pids.map((pid) => terminate(pid, { graceMs: 1000 })));
  }
}

/** stopEverything ends all processes of a laboratory. */
export async function stopEverything(place: Place): Promise<void> {
  await Promise.all(
    listDirectory(place.processes).map((name) => stopProcess(place, name, { graceMs: 1000 })),
  );
  await clearNamespaces(place, listDirectory(`${place.folder}/net`));
}
