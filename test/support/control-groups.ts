/**
 * Control groups for one run: one folder in each hierarchy that the machine has mounted, all of one name, which carries this process's number.
 * A control group namespace makes them the roots of what runs inside, so that whatever a runtime makes lies below.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";

const NAME = /^causeway-test-(\d+)-\d+$/;
let serial = 0;

/** What pods get limits of, so that runtimes fail without them. */
const NEEDED = ["cpu", "memory", "pids"];

/** Hierarchy is where this process stands in one of them. */
interface Hierarchy {
  /** None in version 2, which has all of them in one hierarchy. */
  readonly controllers?: readonly string[];
  /** Folder below which ours may be made. */
  readonly folder: string;
}

/** Version 1: below this process's own group, so that its limits hold. Version 2, where there is no other: processes and controllers exclude
 * each other except at the root (Documentation/admin-guide/cgroup-v2.rst, "No Internal Process Constraint"). */
function hierarchies(): Hierarchy[] {
  const mounts = readFileSync("/proc/self/mounts", "utf8")
    .split("\n")
    .map((line) => line.split(" "));
  const all = readFileSync("/proc/self/cgroup", "utf8").trim().split("\n");
  const first = all.filter((line) => !line.startsWith("0:"));
  if (first.length === 0) {
    const mount = mounts.find(([, , kind]) => kind === "cgroup2")?.[1];
    return mount === undefined ? [] : [{ folder: mount }];
  }
  return first.flatMap((line) => {
    const [, names = "", path = ""] = line.split(":");
    const controllers = names.split(",");
    const mount = mounts.find(
      ([, , kind, options]) =>
        kind === "cgroup" && controllers.every((name) => options?.split(",").includes(name)),
    )?.[1];
    if (mount === undefined) return [];
    const own = `${mount}${path}`;
    return [{ controllers, folder: existsSync(own) ? own : mount }];
  });
}

/**
 * makeControlGroups makes the folders and returns them; throws where the machine does not let us. In version 2 there is a folder `init` in
 * it, for processes: the root of what runs inside may have none, or it could give no controllers to the groups below it.
 */
export function makeControlGroups(): string[] {
  const name = `causeway-test-${process.pid}-${serial++}`;
  const made: string[] = [];
  try {
    for (const { controllers, folder } of hierarchies()) {
      const own = `${folder.replace(/\/$/, "")}/${name}`;
      mkdirSync(own);
      made.push(own);
      if (controllers === undefined) mkdirSync(`${own}/init`);
      // A new group of this controller admits nobody until it has processors and memory (Documentation/admin-guide/cgroup-v1/cpusets.rst).
      if (controllers?.includes("cpuset") === true)
        for (const file of ["cpuset.cpus", "cpuset.mems"])
          writeFileSync(`${own}/${file}`, readFileSync(`${folder}/${file}`));
    }
    return made;
  } catch (error) {
    removeControlGroups(made);
    throw error;
  }
}

/** controlGroupsLack says why there can be no control groups of our own. */
export function controlGroupsLack(): string | undefined {
  try {
    const made = makeControlGroups();
    const files = made.map((folder) => `${folder}/cgroup.controllers`).filter((file) => existsSync(file));
    const missing = files.flatMap((file) => {
      const there = readFileSync(file, "utf8").trim().split(" ");
      return NEEDED.filter((name) => !there.includes(name));
    });
    removeControlGroups(made);
    if (made.length === 0) return "needs control groups";
    return missing.length === 0
      ? undefined
      : `needs the controllers ${missing.join(" ")} in the root's cgroup.subtree_control`;
  } catch (error) {
    return `needs to make control groups: ${(error as Error).message}`;
  }
}

/** ownControlGroups lists those of this process. */
export function ownControlGroups(): string[] {
  return hierarchies().flatMap(({ folder }) =>
    readdirSync(folder).flatMap((name) =>
      Number(NAME.exec(name)?.[1]) === process.pid ? [`${folder}/${name}`] : [],
    ),
  );
}

/** removeControlGroups removes folders with all below them; their processes have ended. */
export function removeControlGroups(folders: readonly string[]): void {
  for (const folder of folders) {
    if (!existsSync(folder)) continue;
    const below = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory());
    removeControlGroups(below.map((entry) => `${folder}/${entry.name}`));
    rmdirSync(folder);
  }
}

/** sweepControlGroups removes those of runs that were killed before they could. */
export function sweepControlGroups(): void {
  for (const { folder } of hierarchies())
    for (const name of readdirSync(folder)) {
      const pid = NAME.exec(name)?.[1];
      if (pid !== undefined && !existsSync(`/proc/${pid}`)) removeControlGroups([`${folder}/${name}`]);
    }
}
