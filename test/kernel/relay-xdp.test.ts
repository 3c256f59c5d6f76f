/** The relay in the kernel: data of circuits goes by an XDP program; what it cannot carry goes by the process. */
import { describe, expect, test } from "bun:test";
import { wireguardGoBackend } from "../../src/tunnel/wireguard-go.ts";
import { CountedFlow } from "../support/counted-flow.ts";
import { dataplaneBackend } from "../support/dataplane.ts";
import { ownLacks } from "../support/own-needs.ts";
import { ping, type RelayEnd, RelayLab, type RelayLabOptions } from "../support/relay-lab.ts";
import { lacksTool } from "../support/scratch.ts";
import { ip, tool, until } from "../support/tunnel-pair.ts";
import { lacksXdp } from "../support/xdp-pair.ts";

const skip = ownLacks ?? lacksTool("ethtool") ?? lacksXdp();
const go = wireguardGoBackend();
const none = { lost: 0, duplicates: 0 };
const LINKS = ["a0", "b0"];

/** A lab on whose hub the kernel forwards, and whose cables are as those between machines: complete checksums, and queues that XDP can send to. */
async function prepared(options: RelayLabOptions = {}): Promise<RelayLab> {
  const lab = await RelayLab.open(options);
  for (const setting of ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"])
    tool(lab.hub, `sysctl -qw ${setting}=1`);
  for (const { gate } of lab.ends) tool(gate, "ethtool -K eth0 tx off gro on");
  return lab;
}

async function talking(lab: RelayLab): Promise<void> {
  await lab.meet({ ...lab.config, xdpLinks: LINKS });
  lab.join();
  expect(await lab.pings(lab.a)).toBe(true);
  expect(lab.status.xdpLinks).toEqual(["a0: native", "b0: native"]);
  await until("the kernel has the circuits", () => lab.status.xdp?.circuits === lab.status.circuits);
}

const flow = (lab: RelayLab, from: RelayEnd, port = 7001) =>
  new CountedFlow(from.netns, {
    netns: lab.other(from).netns,
    address: lab.other(from).overlay,
    port,
    perSecond: 500,
  });

async function goesOn(running: CountedFlow, count = 200): Promise<void> {
  const before = running.received;
  await until("the flow goes on", () => running.received >= before + count);
}

const byKernel = (lab: RelayLab) => lab.status.xdp?.datagrams ?? 0;

describe.skipIf(skip !== undefined)(`relay by XDP${skip === undefined ? "" : ` (${skip})`}`, () => {
  for (const families of [
    [4, 4],
    [6, 6],
  ] as const)
    for (const [name, end] of [
      ["ours", undefined],
      ["wireguard-go", go],
    ] as const)
      test.skipIf(name === "wireguard-go" && go === undefined)(
        `${name}, over IPv${families[0]}: data goes by the kernel, both ways, and nothing is lost`,
        async () => {
          await using lab = await prepared({ families, ...(end === undefined ? {} : { a: end, b: end }) });
          await talking(lab);
          const before = { kernel: byKernel(lab), process: lab.status.datagrams };
          using there = flow(lab, lab.a);
          using back = flow(lab, lab.b, 7002);
          await goesOn(there, 1000);
          expect([await there.stop(), await back.stop()]).toMatchObject([none, none]);
          expect(byKernel(lab) - before.kernel).toBeGreaterThan(1900);
          expect(lab.status.datagrams - before.process).toBeLessThan(50);
        },
      );

  test("over IPv4 and IPv6, what the kernel does not carry goes by the process", async () => {
    await using lab = await prepared({ families: [4, 6] });
    await lab.meet({ ...lab.config, xdpLinks: LINKS });
    lab.join();
    expect(await lab.pings(lab.a)).toBe(true);
    expect(lab.status.xdp?.circuits).toBe(0);
  });

  test("a rate, interfaces that are taken away or are not there, moves, a successor: it changes between both and loses nothing", async () => {
    await using lab = await prepared();
    await talking(lab);
    const { a } = lab;
    const config = { ...lab.config, xdpLinks: LINKS };
    using there = flow(lab, a);
    const kernelWorks = async (works: boolean) => {
      await until("the change is made", () => (lab.status.xdp?.circuits ?? 0) > 0 === works);
      const before = { kernel: byKernel(lab), process: lab.status.datagrams };
      await goesOn(there);
      // What it counts it tells now and then.
      await until(works ? "the kernel carries it" : "the process carries it", () =>
        works ? byKernel(lab) > before.kernel + 150 : lab.status.datagrams > before.process + 150,
      );
    };
    await kernelWorks(true);
    lab.relay.set({ ...config, bytesPerSecond: 10_000_000 });
    await kernelWorks(false);
    lab.relay.set(config);
    await kernelWorks(true);
    lab.relay.set({ ...config, xdpLinks: [] });
    expect(lab.status.xdp).toBeUndefined();
    await kernelWorks(false);
    // By another interface it does not send.
    lab.relay.set({ ...config, xdpLinks: ["a0", "nowhere"] });
    expect(lab.status.xdpLinks).toEqual([
      "a0: native",
      expect.stringMatching(/^nowhere: there is no such interface; ip link shows/),
    ]);
    const before = lab.status.datagrams;
    await goesOn(there);
    expect(lab.status.datagrams - before).toBeGreaterThan(150);
    lab.relay.set(config);
    await kernelWorks(true);
    lab.hubTunnel = await dataplaneBackend("--take-over").open(lab.hubLink, { netns: lab.hub });
    await until("the successor has the interfaces", () =>
      lab.status.xdpLinks.every((text) => text.endsWith("native")),
    );
    await kernelWorks(true);
    expect(await there.stop()).toMatchObject(none);
    using again = flow(lab, a, 7005);
    ip(a.netns, "addr add 10.1.0.2/24 dev eth0");
    ip(a.netns, "addr del 10.1.0.1/24 dev eth0");
    await until("the hub hears from there", () => ping(a.netns, "10.9.0.254"));
    await goesOn(again);
    const moved = byKernel(lab);
    await goesOn(again);
    expect(byKernel(lab) - moved).toBeGreaterThan(150);
  });

  test("a datagram that does not fit the way on goes by the process, in fragments", async () => {
    await using lab = await prepared();
    await talking(lab);
    ip(lab.hub, "link set b0 mtu 1400");
    ip(lab.b.netns, "link set eth0 mtu 1400");
    const before = lab.status.datagrams;
    const argv = [
      "nsenter",
      `--net=${lab.a.netns.path}`,
      "ping",
      "-n",
      "-c",
      "3",
      "-i",
      "0.2",
      "-s",
      "1372",
      "-W",
      "5",
      lab.b.overlay,
    ];
    expect(Bun.spawnSync(argv).success).toBe(true);
    expect(lab.status.datagrams).toBeGreaterThan(before);
  });
});
