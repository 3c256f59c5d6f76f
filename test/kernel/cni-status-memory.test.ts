/** STATUS is asked every few seconds by kubelet: strace(1) is the witness of what the agent does for an answer. */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { CniNode } from "../support/cni-node.ts";
import { lacksTool, notRoot } from "../support/scratch.ts";

const cannot = notRoot ?? lacksTool("strace");
const suffix = cannot === undefined ? "" : ` (skipped: ${cannot})`;
const STATUS = { configuration: { cniVersion: "1.1.0" } };

test.skipIf(cannot !== undefined)(
  `S1, S2: STATUS asks neither the kernel nor the disk${suffix}`,
  async () => {
    await using node = await CniNode.create();
    await node.startAgent();
    await node.add("one");
    expect((await node.call("STATUS", STATUS)).status).toBe(0);
    await node.must("touch /run/trace");
    const log = node.path("/run/trace");
    const calls = () => readFileSync(log, "utf8").split("\n").filter(Boolean);
    const calling = "trace=sendto,sendmsg,recvmsg,open,openat,read,pread64,write,pwrite64,execve,clone";
    const tracer = Bun.spawn(["strace", "-f", "-yy", "-e", calling, "-o", log, "-p", String(node.agentPid)], {
      stderr: "ignore",
    });
    const answers = () =>
      calls().filter((line) => /recvmsg\(\d+<UNIX/.test(line) && line.includes("=STATUS")).length;
    // Until it has seen one, it does not look yet.
    while (answers() === 0) expect((await node.call("STATUS", STATUS)).status).toBe(0);
    for (let time = 0; time < 10; time++) expect((await node.call("STATUS", STATUS)).status).toBe(0);
    while (answers() < 10) await Bun.sleep(10);
    const touched = calls().filter((line) => /NETLINK|\/var\/lib\/|\/proc\/sys|execve\(|fork/.test(line));
    // An ADD does all of it, so it would have been seen.
    await node.add("two");
    const needed = () => calls().filter((line) => /NETLINK|\/var\/lib\//.test(line)).length;
    while (needed() === touched.length) await Bun.sleep(10);
    tracer.kill("SIGINT");
    await tracer.exited;
    expect(touched).toEqual([]);
  },
);
