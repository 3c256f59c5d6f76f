/** What container runtimes would leave on the machine itself if the private host did not hold. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { ownControlGroups } from "./control-groups.ts";

const FOLDERS = [
  ..."/etc/cni /opt/cni /etc/containerd /etc/containers /root/.local/share/containers".split(" "),
  ...["cni", "containerd", "containers", "podman"].flatMap((name) => [`/run/${name}`, `/var/lib/${name}`]),
];

const PROGRAMS = /^(?:containerd|podman|conmon|runc|ctr)/;

/** machineTraces lists processes of runtimes, mounts of theirs, what lies in their folders, and our control groups. */
export function machineTraces(): string[] {
  const processes = readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        const name = readFileSync(`/proc/${pid}/comm`, "utf8").trim();
        return PROGRAMS.test(name) ? [`process ${pid} ${name}`] : [];
      } catch {
        return []; // ended meanwhile
      }
    });
  const mounts = readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .map((line) => line.split(" ")[4] ?? "")
    .filter(
      (path) => FOLDERS.some((folder) => path.startsWith(folder)) || /\/netns\/(?:cni|netns)-/.test(path),
    );
  const files = FOLDERS.filter((folder) => existsSync(folder)).flatMap((folder) => [
    folder,
    ...readdirSync(folder).map((name) => `${folder}/${name}`),
  ]);
  // podman keeps its locks there.
  files.push(...readdirSync("/dev/shm").filter((name) => name.startsWith("libpod")));
  return [...processes, ...mounts.map((path) => `mount ${path}`), ...files, ...ownControlGroups()];
}
