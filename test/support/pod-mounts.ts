/** What an agent in a pod does with mounts, settings and processes, as one JSON object: PROGRAM PATH-OF-A-NAMESPACE. */
import { closeSync, openSync, readFileSync, readlinkSync } from "node:fs";
import {
  createNetns,
  inHostMounts,
  isNetns,
  mountPoints,
  openHostMounts,
  readText,
  removeNetns,
  signal,
  spawnDetached,
  writeKernelFile,
} from "../../src/sys/mod.ts";

const [path] = process.argv.slice(2) as [string];
const setting = "/proc/sys/net/ipv4/ip_forward";
const outcome = (work: () => void) => {
  try {
    work();
    return "done";
  } catch (error) {
    return (error as { code?: string }).code ?? (error as Error).message;
  }
};
const onHost = () => readFileSync("/proc/1/mountinfo", "utf8").includes(` ${path} `);

const before = outcome(() => writeKernelFile(setting, "1"));
const own = outcome(() => {
  createNetns(`${path}-own`);
  removeNetns(`${path}-own`);
});
openHostMounts();
// Threads begin at any time, also in between, and share root and working folder with the one that starts them.
const thread = () => void new Worker("data:text/javascript,setInterval(() => undefined, 60_000)");
const mounts = () => readlinkSync("/proc/thread-self/ns/mnt");
const home = mounts();
thread();
const between = outcome(() => inHostMounts(thread));
const returned = mounts() === home;
const after = outcome(() => writeKernelFile(setting, "1"));
createNetns(path);
// A folder of the host follows its mounts, as with mountPropagation HostToContainer.
const made = { onHost: onHost(), seen: mountPoints().includes(path), isOne: isNetns(path) };
closeSync(openSync(path, "r"));
removeNetns(path);
const kept = spawnDetached(["sleep", "60"]);
const group = readFileSync(`/proc/${kept}/cgroup`, "utf8")
  .split("\n")
  .find((line) => line.startsWith("0::"));
signal(kept, "SIGKILL");
console.log(
  JSON.stringify({
    before,
    own,
    between,
    returned,
    after,
    value: readText(setting)?.trim(),
    made,
    removed: !onHost(),
    group,
  }),
);
process.exit(0);
