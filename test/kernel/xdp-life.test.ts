/** What of AF_XDP is bound to a process's life, and what its memory may cost: children of this test that end in several ways. */
import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { type InterfaceNeed, XdpPrograms } from "../../src/gatewayd/xdp-programs.ts";
import { run } from "../../src/sys/mod.ts";
import { answerAll, lacksXdp, XdpPair } from "../support/xdp-pair.ts";
import { until } from "../support/tunnel-pair.ts";

const skip = lacksXdp();
const reason = skip === undefined ? "" : ` (skipped: ${skip})`;
const setpriv = ["/usr/bin/setpriv", "/bin/setpriv"].find((path) => existsSync(path));
const noSetpriv = skip ?? (setpriv === undefined ? "setpriv is not installed" : undefined);

const child = (...argv: string[]) => [
  process.execPath,
  `${import.meta.dir}/../support/xdp-child.ts`,
  ...argv,
];

describe.skipIf(skip !== undefined)(`XDP, life of a process${reason}`, () => {
  test("the program goes when its interface object is closed, and the kernel has the frames again", async () => {
    using pair = new XdpPair();
    pair.ip("near", "addr add 10.20.0.1/24 dev x0");
    const { port, link } = pair.port({});
    const ping = "ping -n -c 2 -i 0.02 -W 1 10.20.0.1".split(" ");
    expect((await run(ping, { netns: pair.far })).stdout).toContain("0 received");
    port.close();
    // A queue without a socket is the kernel's already.
    expect((await run(ping, { netns: pair.far })).stdout).toContain("2 received");
    expect(pair.ip("near", "link show x0")).toContain("xdp_to_socket");
    link.close();
    expect(pair.ip("near", "link show x0")).not.toContain("xdp");
    // All of it can be had again.
    const again = pair.port({});
    const mac = pair.mac("near");
    const text = await pair.during(ping.join(" "), () => void answerAll(again.port, mac));
    expect(text).toContain("2 received");
  });

  test("what no socket has can be nobody's, and the kernel's again", async () => {
    using pair = new XdpPair();
    pair.ip("near", "addr add 10.20.0.1/24 dev x0");
    const link = pair.attach({ filter: { etherTypes: [0x0800] }, rest: "drop" });
    const answers = async (count: number) =>
      (await run([..."ping -n -i 0.02 -W 1 -c".split(" "), `${count}`, "10.20.0.1"], { netns: pair.far }))
        .stdout;
    expect(await answers(1)).toContain("0 received");
    link.setRest("pass");
    expect(await answers(2)).toContain("2 received");
    link.setRest("drop");
    expect(await answers(1)).toContain("0 received");
    pair.ip("near", "link del x0");
    link.setRest("pass");
  });

  test("a gateway's interface is not the kernel's while its queue pauses, but where one has packet sockets", async () => {
    using pair = new XdpPair();
    using programs = new XdpPrograms();
    const user = {};
    const state = (need?: InterfaceNeed) => {
      pair.near.run(() => programs.settle(() => need));
      return pair.ip("near", "link show x0").includes("xdp_to_socket");
    };
    pair.near.run(() => programs.attach(pair.ifindex, "x0", user));
    expect(state()).toBe(true);
    programs.release(user);
    expect([state("xdp"), state("packets")]).toEqual([true, false]);
    pair.near.run(() => programs.attach(pair.ifindex, "x0", user));
    expect(state("packets")).toBe(true);
    programs.release(user);
    expect(state()).toBe(false);
  });

  test.each(["SIGKILL", "SIGTERM"] as const)("%s leaves nothing on the interface", async (signal) => {
    using pair = new XdpPair();
    const started = pair.near.run(() => ({
      process: Bun.spawn(child(`${pair.ifindex}`, "256"), { stdout: "pipe", stderr: "inherit" }),
    })).process;
    const { value } = await started.stdout.getReader().read();
    expect(new TextDecoder().decode(value)).toBe("ready\n");
    expect(pair.ip("near", "link show x0")).toContain("xdp_to_socket");
    started.kill(signal);
    await started.exited;
    await until("the program is detached", () => !pair.ip("near", "link show x0").includes("xdp"));
    const { port } = pair.port({});
    expect(port.gone).toBe(false);
  });
});

describe.skipIf(noSetpriv !== undefined)(
  `XDP, memory${noSetpriv === undefined ? "" : ` (skipped: ${noSetpriv})`}`,
  () => {
    test("without CAP_IPC_LOCK a UMEM is bound by RLIMIT_MEMLOCK, and the error says so", async () => {
      using pair = new XdpPair();
      const limited = (frames: number) =>
        run(
          [
            "/bin/sh",
            "-c",
            `ulimit -l 1024; exec ${setpriv} --bounding-set -ipc_lock ${child(`${pair.ifindex}`, `${frames}`, "once").join(" ")}`,
          ],
          { netns: pair.near },
        );
      const [fits, more] = [await limited(500), await limited(4096)];
      expect(fits.stdout + fits.stderr).toBe("ready\n");
      expect(more.stderr).toContain("Cannot register 4096 frames of 2048 bytes as UMEM");
      expect(more.stderr).toContain("RLIMIT_MEMLOCK");
      // What failed left nothing.
      expect(pair.ip("near", "link show x0")).not.toContain("xdp");
    });
  },
);
