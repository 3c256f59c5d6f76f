/**
 * Deletions that came while the agent was away: one file each, durable when the plugin says success, replayed by the agent before
 * its next ADD, and every few seconds: one may be written down when the next agent has begun already. Without them an address would be lost, because no runtime repeats a DEL that succeeded.
 */
import { join } from "node:path";
import {
  ensureDirectory,
  exists,
  listDirectory,
  readText,
  removeTree,
  sha256,
  writeAtomic,
} from "../sys/mod.ts";
import { attempt, isObject, Reader } from "./json.ts";

/** Tombstone names an attachment that is to be deleted. */
export interface Tombstone {
  readonly network: string;
  readonly containerId: string;
  readonly ifname: string;
  /** It is one of a private network. */
  readonly vpc?: boolean;
}

const SUFFIX = ".json";

/** writeTombstone remembers a deletion; the same one again is the same file, so that repeated DELs do not pile up. */
export function writeTombstone(folder: string, tombstone: Tombstone): void {
  const { network, containerId, ifname, vpc } = tombstone;
  ensureDirectory(folder, 0o700);
  const name = Buffer.from(sha256(`${network}\0${containerId}\0${ifname}`)).toString("hex");
  writeAtomic(
    join(folder, name + SUFFIX),
    `${JSON.stringify({ network, containerId, ifname, vpc })}\n`,
    0o600,
  );
}

/**
 * replayTombstones calls `work` for each deletion and removes its file once that succeeded; errors of single ones are returned, those that
 * come later told to `onLate`, and their files stay, as they do where `work` says later. A file that is no tombstone is removed: nothing can be
 * done with it, ever.
 */
export function replayTombstones(
  folder: string,
  work: (tombstone: Tombstone) => Promise<unknown> | "later" | void,
  onLate?: (error: Error) => void,
): Error[] {
  const errors: Error[] = [];
  sweep(folder);
  for (const name of listDirectory(folder).filter((candidate) => candidate.endsWith(SUFFIX))) {
    const path = join(folder, name);
    const failed = (cause: unknown) => new Error(`Cannot replay the deletion ${path}`, { cause });
    try {
      const tombstone = parse(readText(path) ?? "");
      const done = tombstone === undefined ? undefined : work(tombstone);
      if (done === "later") continue;
      if (done instanceof Promise)
        done.then(() => removeTree(path)).catch((error: unknown) => onLate?.(failed(error)));
      else removeTree(path);
    } catch (error) {
      errors.push(failed(error));
    }
  }
  return errors;
}

/** What a plugin had begun to write when it was killed. */
function sweep(folder: string): void {
  for (const name of listDirectory(folder)) {
    const pid = /\.(\d+)\.new$/.exec(name)?.[1];
    if (pid !== undefined && !exists(`/proc/${pid}`)) removeTree(join(folder, name));
  }
}

function parse(text: string): Tombstone | undefined {
  return attempt(() => {
    const value: unknown = JSON.parse(text);
    if (!isObject(value)) return undefined;
    const reader = new Reader(value);
    const [network, containerId, ifname] = [
      reader.string("network"),
      reader.string("containerId"),
      reader.string("ifname"),
    ];
    if (network === undefined || containerId === undefined || ifname === undefined) return undefined;
    return { network, containerId, ifname, ...(reader.value("vpc") === true && { vpc: true }) };
  });
}
