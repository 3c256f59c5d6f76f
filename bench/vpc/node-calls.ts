/**
 * Calls of the plugin inside a node of a laboratory, as its container runtime makes them: process start to exit. It reads a call a line, and writes
 * what came of it as a line; namespaces of pods are made and removed outside the measured time.
 */
import type { Call, Called } from "./node-caller.ts";

const BIN = "/opt/cni/bin";

function must(...argv: string[]): void {
  const done = Bun.spawnSync(argv, { stdin: "ignore" });
  if (done.exitCode !== 0) throw new Error(`${argv.join(" ")}: ${done.stderr}${done.stdout}`);
}

function answer({ command, pod, ifname, config }: Call): Called {
  if (command === "ADD") must("ip", "netns", "add", pod);
  const stdin = Buffer.from(JSON.stringify(config));
  const env = {
    PATH: process.env.PATH ?? "",
    CNI_COMMAND: command,
    CNI_CONTAINERID: pod,
    CNI_NETNS: `/run/netns/${pod}`,
    CNI_IFNAME: ifname,
    CNI_PATH: BIN,
    CNI_ARGS: `IgnoreUnknown=1;K8S_POD_NAMESPACE=bench;K8S_POD_NAME=${pod};K8S_POD_INFRA_CONTAINER_ID=${pod}`,
  };
  const beginMs = performance.now();
  const done = Bun.spawnSync([`${BIN}/${config.type}`], { stdin, env });
  const ms = performance.now() - beginMs;
  const text = done.stdout.toString();
  if (done.exitCode !== 0) return { ms, error: `${command} of ${pod}: ${text}${done.stderr}` };
  if (command === "DEL") must("ip", "netns", "del", pod);
  return { ms, result: text === "" ? {} : (JSON.parse(text) as Called["result"] & object) };
}

for await (const line of console) console.log(JSON.stringify(answer(JSON.parse(line) as Call)));
