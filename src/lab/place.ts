/**
 * Where a laboratory lives: one folder, a tmpfs of its own, that holds namespaces, state and records. Taking the folder
 * away takes all of it away.
 */
import {
  ensureDirectory,
  exists,
  isErrno,
  libc,
  listDirectory,
  mountPoints,
  readText,
  removeTree,
  writeAtomic,
} from "../sys/mod.ts";

/** LAB_ROOT is the folder of all laboratories of this machine. */
export const LAB_ROOT = "/run/causeway-lab";

const MS_PRIVATE = 1 << 18;
const MNT_DETACH = 2;

/** LabRecord is what a later command needs to know about a laboratory. */
export interface LabRecord {
  /** The manifest's text; the topology follows from it. */
  readonly manifest: string;
  /** The causeway executable that runs in the nodes. */
  readonly executable: string;
}

/** Place knows the paths of one laboratory. */
export class Place {
  readonly name: string;
  readonly folder: string;

  constructor(name: string, root = LAB_ROOT) {
    this.name = name;
    this.folder = `${root}/${name}`;
  }

  /** netns is the network namespace of a network, a box or a pod. */
  netns(name: string): string {
    return `${this.folder}/net/${name}`;
  }

  /** mountNamespace is the mount namespace of a node. */
  mountNamespace(node: string): string {
    return `${this.folder}/mnt/${node}`;
  }

  /** state is the folder that a node's own folders are bound from. */
  state(node: string): string {
    return `${this.folder}/node/${node}`;
  }

  /** captures is where packet captures are kept. */
  get captures(): string {
    return `${this.folder}/captures`;
  }

  /** processes is where the records of what was started are kept. */
  get processes(): string {
    return `${this.folder}/processes`;
  }

  /** podRecord is what the CNI plugin answered for a pod. */
  podRecord(pod: string): string {
    return `${this.folder}/pods/${pod}.json`;
  }

  /** lostRecord is the record of a pod that a reboot ended before it was detached. */
  lostRecord(pod: string): string {
    return `${this.folder}/lost/${pod}.json`;
  }

  /** agentLog is where an agent's words go. */
  agentLog(node: string): string {
    return `${this.state(node)}/agent.log`;
  }

  /** taken tells whether there is a laboratory, or what is left of one. */
  get taken(): boolean {
    return exists(this.folder);
  }

  /** record returns what was recorded, or undefined when there is no laboratory. */
  record(): LabRecord | undefined {
    const text = readText(`${this.folder}/lab.json`);
    return text === undefined ? undefined : (JSON.parse(text) as LabRecord);
  }

  /** make makes the folder. */
  make(record: LabRecord): void {
    try {
      ensureDirectory(this.folder, 0o700);
      libc.mount("causeway-lab", this.folder, "tmpfs", 0, "mode=0700");
      // A mount namespace can only be bound to a file where mounts do not propagate (unshare(1)).
      libc.mount("none", this.folder, "none", MS_PRIVATE);
    } catch (error) {
      throw new Error(`Cannot make lab ${this.name}: ${(error as Error).message}; a lab needs root`, {
        cause: error,
      });
    }
    for (const folder of ["net", "mnt", "node", "pods", "lost", "processes", "captures"])
      ensureDirectory(`${this.folder}/${folder}`, 0o700);
    writeAtomic(`${this.folder}/lab.json`, JSON.stringify(record));
  }

  /** remove takes the folder away with every mount in it; nothing being there is not an error. */
  remove(): void {
    // After a reboot there is a folder and no mount. Several mounts would be left by an interrupted `make`.
    for (let round = 0; this.#mounted().length > 0; round++) {
      if (round === 16) throw new Error(`Cannot remove lab ${this.name}: ${this.folder} stays mounted`);
      for (const point of this.#mounted().reverse()) {
        try {
          libc.umount(point, MNT_DETACH);
        } catch (error) {
          // It went away together with the mount above it.
          if (!isErrno(error, "EINVAL", "ENOENT")) throw error;
        }
      }
    }
    removeTree(this.folder);
  }

  #mounted(): string[] {
    return mountPoints().filter((point) => point === this.folder || point.startsWith(`${this.folder}/`));
  }
}

/** labNames returns the names of the laboratories of this machine. */
export function labNames(root = LAB_ROOT): string[] {
  return listDirectory(root).filter((name) => new Place(name, root).record() !== undefined);
}
