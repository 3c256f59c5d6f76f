/** What of AF_XDP is bound to a process's life, and what its memory may cost: children of this test that end in several ways. */
import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { PollDeferral } from "../../src/gatewayd/poll-deferral.ts";
import { type InterfaceNeed, XdpPrograms } from "../../src/gatewayd/xdp-programs.ts";
import { NapiTable } from "../../src/netlink/mod.ts";
import { run } from "../../src/sys/mod.ts";
import { answerAll, lacksXdp, XdpPair } from "../support/xdp-pair.ts";
import { until } from "../support/tunnel-pair.ts";

const skip = lacksXdp();
const reason = skip === undefined ? "" : ` (skipped: ${skip})`;
const setpriv = ["/usr/bin/setpriv", "/bin/setpriv"].find((path) => existsSync(path));
const noSetpriv = skip ?? (setpriv === undefined ? "setpriv is not installed" : undefined);

const noNapi = skip ?? lacksNapi();

/** Why the kernel has no settings of NAPI instances. */
function lacksNapi(): string | undefined {
  using pair = new XdpPair();
  using table = NapiTable.open({ netns: pair.near });
  pair.attach();
  return (table?.of(pair.ifindex) ?? []).length > 0 ? undefined : "settings of NAPI need Linux 6.13";
}

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
    using programs = new XdpPrograms(new PollDeferral(0));
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

  const later = "what a gateway has is polled later, unless somebody else has said when";
  test.skipIf(noNapi !== undefined)(`${later}${noNapi === undefined ? "" : ` (skipped: ${noNapi})`}`, () => {
    using pair = new XdpPair();
    using table = NapiTable.open({ netns: pair.near }) as NapiTable;
    const { ifindex } = pair;
    const polls = () => table.of(ifindex).map(({ id: _, ...settings }) => settings);
    const [atOnce, later, others] = [
      { deferHardIrqs: 0, groFlushTimeoutNs: 0 },
      { deferHardIrqs: 3, groFlushTimeoutNs: 70_000 },
      { deferHardIrqs: 5, groFlushTimeoutNs: 20_000 },
    ];
    const deferral = () => new PollDeferral(later.groFlushTimeoutNs);
    const does = (verb: "defer" | "restore", by = deferral()) => {
      pair.near.run(() => by[verb](ifindex));
      return polls();
    };
    const user = {};
    using programs = new XdpPrograms(deferral());
    pair.near.run(() => {
      programs.attach(ifindex, "x0", user);
      programs.settle(() => undefined);
    });
    expect(polls()).toEqual([later]);
    // Another process than the one that was killed, with another option.
    const sooner = { ...later, groFlushTimeoutNs: 50_000 };
    expect(does("defer", new PollDeferral(sooner.groFlushTimeoutNs))).toEqual([sooner]);
    expect(does("restore")).toEqual([atOnce]);
    expect(does("defer")).toEqual([later]);
    expect(does("defer", new PollDeferral(0))).toEqual([atOnce]);
    table.set(table.of(ifindex)[0]?.id as number, others);
    expect([does("defer"), does("restore")]).toEqual([[others], [others]]);
    pair.ip("near", "link del x0");
    expect(does("defer")).toEqual([]);
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
