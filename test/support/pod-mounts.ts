/** What an agent in a pod does with mounts and settings, as one JSON object: PROGRAM PID-OF-THE-HOST PATH-OF-A-NAMESPACE. */
import {
  createNetns,
  exists,
  isNetns,
  mountPoints,
  openHostMounts,
  readText,
  removeNetns,
  spawnDetached,
  writeKernelFile,
} from "../../src/sys/mod.ts";

const [pid, path] = process.argv.slice(2) as [string, string];
const setting = "/proc/sys/net/ipv4/ip_forward";
const outcome = (work: () => void) => {
  try {
    work();
    return "done";
  } catch (error) {
    return (error as { code?: string }).code ?? (error as Error).message;
  }
};

const before = outcome(() => writeKernelFile(setting, "1"));
openHostMounts(Number(pid));
const after = outcome(() => writeKernelFile(setting, "1"));
createNetns(path);
const made = { here: exists(path) || mountPoints().includes(path), there: seenThere() };
/** By way of the other process: its mounts are not ours. */
function seenThere(): boolean {
  return (readText(`/proc/${pid}/mountinfo`) ?? "").includes(` ${path} `);
}
const isOne = isNetns(`/proc/${pid}/root${path}`);
removeNetns(path);
const kept = spawnDetached(["/bin/true"]) > 0;
console.log(
  JSON.stringify({
    ...{ before, after, value: readText(setting)?.trim(), made, isOne, kept },
    ...{ removed: !seenThere() },
  }),
);
process.exit(0);
