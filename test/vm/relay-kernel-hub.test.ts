/** A hub whose tunnel is the kernel's WireGuard, and the relay's process beside it. */
import { describe, expect, test } from "bun:test";
import { kernelHasWireguard } from "../../src/netlink/mod.ts";
import { run, terminate, unixPeer } from "../../src/sys/mod.ts";
import { kernelBackend } from "../../src/tunnel/kernel.ts";
import { ownLacks } from "../support/own-needs.ts";
import { ping, type RelayEnd, RelayLab, type RelayLabOptions } from "../support/relay-lab.ts";
import { lacksTool } from "../support/scratch.ts";
import { ip, tool, until } from "../support/tunnel-pair.ts";

const skip =
  process.getuid?.() !== 0
    ? "needs root"
    : kernelHasWireguard()
      ? (ownLacks ?? lacksTool("ethtool"))
      : "needs a kernel with WireGuard";

const kernel = kernelBackend();
const LINKS = ["a0", "b0"];
/** A test has a lab of its own, whose process is slow to start on an emulated processor. */
const TEST_MS = 400_000;

/** Cables as those between machines: complete checksums, and queues that XDP can send to; the hub's kernel forwards. */
async function prepared(options: RelayLabOptions = {}): Promise<RelayLab> {
  const lab = await RelayLab.open({ hub: kernel, ...options });
  await until("the relay's process serves", () => lab.relay.status() !== undefined, TEST_MS);
  for (const setting of ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"])
    tool(lab.hub, `sysctl -qw ${setting}=1`);
  for (const { gate } of lab.ends) tool(gate, "ethtool -K eth0 tx off gro on");
  return lab;
}

async function transfers(lab: RelayLab, bytes = "1M"): Promise<void> {
  const { child } = lab.b.netns.run(() => ({
    child: Bun.spawn(["iperf3", "-s", "-1", "--forceflush"], { stdout: "pipe" }),
  }));
  await child.stdout.getReader().read();
  const { stdout } = await run(["iperf3", "-c", lab.b.overlay, "-n", bytes, "-J"], { netns: lab.a.netns });
  await child.exited;
  expect(JSON.parse(stdout).end.sum_received.bytes).toBeGreaterThan(100_000);
}

/** Waits for an answer from the other end; a packet may be lost while something changes. */
async function reaches(lab: RelayLab, from: RelayEnd): Promise<void> {
  await until("an answer comes", () => ping(from.netns, lab.other(from).overlay), TEST_MS);
}

async function byProcess(lab: RelayLab): Promise<void> {
  await lab.meet();
  lab.join(lab.a);
  await reaches(lab, lab.a);
  await reaches(lab, lab.b);
  expect(lab.status).toMatchObject({ nodes: 2, liveNodes: 2, pairs: 1, circuits: 2 });
  const before = lab.status.bytes;
  await transfers(lab);
  expect(lab.status.bytes - before).toBeGreaterThan(100_000);
  // The hub's own does not even come to the process.
  const { datagrams, drops } = lab.status;
  let answers = 0;
  await until("the hub answers five times", () => ping(lab.a.netns, "10.9.0.254") && ++answers === 5);
  // One may have been on its way.
  expect(lab.status.datagrams - datagrams).toBeLessThan(5);
  expect(lab.status.drops).toEqual(drops);
}

async function byXdp(lab: RelayLab): Promise<void> {
  lab.relay.set({ ...lab.config, xdpLinks: LINKS });
  await until("the kernel has the circuits", () => (lab.status.xdp?.circuits ?? 0) >= 2);
  expect(lab.status.xdpLinks).toEqual(["a0: native", "b0: native"]);
  await reaches(lab, lab.b);
  const before = lab.status;
  await transfers(lab);
  const after = lab.status;
  expect((after.xdp?.bytes ?? 0) - (before.xdp?.bytes ?? 0)).toBeGreaterThan(100_000);
  expect(after.bytes - before.bytes).toBeLessThan(50_000);
  for (const { netns } of lab.ends) await until("the hub answers", () => ping(netns, "10.9.0.254"));
}

describe.skipIf(skip !== undefined)(
  `relay beside the kernel's WireGuard${skip === undefined ? "" : ` (${skip})`}`,
  () => {
    for (const families of [
      [4, 4],
      [6, 6],
      [4, 6],
    ] as const)
      test(
        `over IPv${families[0]} and IPv${families[1]}: handshake, data both ways and TCP, in user space and by XDP; the hub's own does not come to it`,
        async () => {
          await using lab = await prepared({ a: kernel, b: kernel, families });
          await byProcess(lab);
          if (families[0] === families[1]) {
            await byXdp(lab);
            return;
          }
          // One that XDP does not carry goes on as before.
          lab.relay.set({ ...lab.config, xdpLinks: LINKS });
          await until("the program is there", () => lab.status.xdpLinks.length === 2);
          await reaches(lab, lab.b);
          expect(lab.status.xdp?.circuits).toBe(0);
        },
        TEST_MS,
      );

    test(
      "who may not talk is not relayed; a node that moves goes on; a process that ended is started again and told",
      async () => {
        await using lab = await prepared({ a: kernel, b: kernel });
        const [a, b] = [lab.a.key.publicKey, lab.b.key.publicKey];
        const classes = new Map([
          [a, 1],
          [b, 2],
        ]);
        await lab.meet({ ...lab.config, classes });
        lab.join(lab.a);
        expect(await lab.pings(lab.a, 2)).toBe(false);
        expect(lab.status.drops["forbidden"]).toBeGreaterThan(0);
        expect(lab.status.pairs).toBe(0);
        lab.relay.set(lab.config);
        await reaches(lab, lab.a);
        ip(lab.a.netns, "addr add 10.1.0.2/24 dev eth0");
        ip(lab.a.netns, "addr del 10.1.0.1/24 dev eth0");
        await until("the hub hears from there", () => ping(lab.a.netns, "10.9.0.254"));
        await reaches(lab, lab.a);
        const { life } = lab.relay;
        await terminate(unixPeer(`/run/causeway/${lab.hubLink}.relay.sock`).pid);
        await until(
          "another one relays, and was told",
          () => lab.relay.life !== life && lab.relay.status()?.liveNodes === 2,
          TEST_MS,
        );
        // What the ladder does when a hub's life is another: the peer is made anew.
        lab.a.tunnel.device.change({ peers: [{ publicKey: b, remove: true }] });
        lab.join(lab.a);
        await reaches(lab, lab.a);
      },
      TEST_MS,
    );
  },
);
