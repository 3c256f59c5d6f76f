/**
 * Path MTU with real packets: found for each path by probing, written into its routes, told to pods, and followed when the path changes.
 *
 * ```
 *   a ── left ── rl ── thin (1400) ── rr ── right ── b, c       the shortest way between left and right is the thin one,
 *         └───── cl ── wan ── hub ── wan ── cr ───────┘          the ways to the hub are not
 * ```
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, rmSync } from "node:fs";
import { Lab, type ShownPeer, until } from "../../src/lab/mod.ts";
import { formatIp } from "../../src/net/mod.ts";
import { executable, labLacks as skip } from "../support/lab-needs.ts";
import { Pinger } from "../support/pinger.ts";

const root = `/run/causeway-test/${process.pid}-mtu`;
/** Guards against hanging only. */
const DEADLINE_MS = 90_000;
const TEST_MS = 240_000;
setDefaultTimeout(TEST_MS);

const THIN_BYTES = 1400;
/** Outer IPv4, UDP, WireGuard's header and tag. */
const OVERHEAD_BYTES = 60;
const WHOLE = 1500 - OVERHEAD_BYTES;
/** What fits after it was padded. */
const tunnelOf = (pathBytes: number) => 16 * Math.floor((pathBytes - OVERHEAD_BYTES) / 16);
const THIN = tunnelOf(THIN_BYTES);

const manifest = `apiVersion: causeway.network/v1alpha1
kind: Lab
metadata: { name: mtu }
spec:
  networks:
    - { name: wan, prefix4: 203.0.113.0/24 }
    - { name: left, prefix4: 198.51.100.0/24 }
    - { name: right, prefix4: 192.0.2.0/24 }
    - { name: thin, prefix4: 198.18.0.0/24, mtu: ${THIN_BYTES} }
  routers:
    - { name: rl, kind: router, networks: [thin, left] }
    - { name: rr, kind: router, networks: [thin, right] }
    - { name: cl, kind: router, networks: [left, wan] }
    - { name: cr, kind: router, networks: [right, wan] }
  nodes:
    - { name: hub, role: hub, networks: [wan], pods: 1 }
    - { name: a, networks: [left], pods: 1, endpoint: auto }
    - { name: b, networks: [right], pods: 1, endpoint: auto }
    - { name: c, networks: [right], pods: 1, endpoint: auto }
`;

type Name = "hub" | "a" | "b" | "c";

describe.skipIf(skip !== undefined)(`path MTU${skip === undefined ? "" : ` (${skip})`}`, () => {
  let lab: Lab;
  beforeAll(async () => {
    mkdirSync(root, { recursive: true });
    await Lab.remove("mtu", { root });
    lab = await Lab.up(manifest, { root, executable });
    // Others' ICMP is not what finds it: it may be forged, and is often filtered.
    for (const router of ["rl", "rr"])
      await run(router, ["nft", "add table ip t; add chain ip t o { type filter hook output priority 0; }"]);
    for (const router of ["rl", "rr"])
      await run(router, ["nft", "add rule ip t o icmp type destination-unreachable drop"]);
  }, TEST_MS);
  afterAll(async () => {
    if (process.env.CAUSEWAY_LAB_KEEP) return;
    await Lab.remove("mtu", { root });
    rmSync(root, { recursive: true, force: true });
  }, TEST_MS);

  async function run(box: string, argv: readonly string[]): Promise<void> {
    const done = await lab.exec(box, argv);
    if (done.status !== 0) throw new Error(`${box}: ${argv.join(" ")}: ${done.stderr.trim()}`);
  }
  const wait = (what: string, look: () => Promise<string | undefined> | string | undefined) =>
    until(look, { what, deadlineMs: DEADLINE_MS });
  const address = (to: Name, family: 4 | 6) => {
    const pod = lab.pod(`${to}-p1`);
    const ip = family === 4 ? pod.ip4 : pod.ip6;
    return ip === undefined ? "" : formatIp(ip);
  };

  /** The MTU of the route to a pod, as the kernel of a node uses it: the route's own, or the tunnel's. */
  async function routeMtu(node: Name, to: Name, family: 4 | 6): Promise<number | undefined> {
    const words = `route get ${address(to, family)} mtu`.split(" ").slice(0, 3);
    const { stdout } = await lab.exec(node, ["ip", `-${family}`, "-j", ...words]);
    const found = JSON.parse(stdout)[0] as { dev: string; metrics?: { mtu?: number }[] };
    expect([node, to, found.dev]).toEqual([node, to, "cw0"]);
    const link = await lab.exec(node, ["ip", "-j", "link", "show", "cw0"]);
    return found.metrics?.[0]?.mtu ?? JSON.parse(link.stdout)[0].mtu;
  }

  /** Waits until the pair's path is of the kind, and its routes at both ends have the MTU. */
  const found = (pair: readonly [Name, Name], kinds: readonly ShownPeer["path"][], tunnelBytes: number) =>
    wait(`${pair.join(" and ")} to be ${kinds.join(" or ")} with ${tunnelBytes}`, async () => {
      for (const [one, other] of [pair, [pair[1], pair[0]] as const]) {
        const path = (await lab.peers(one)).find(({ name }) => name === other)?.path;
        if (path === undefined || !kinds.includes(path)) return `${one} → ${other} is ${path}`;
        for (const family of [4, 6] as const) {
          const mtu = await routeMtu(one, other, family);
          if (mtu !== tunnelBytes) return `${one} → ${other} IPv${family} has ${mtu}`;
        }
      }
      return undefined;
    });

  /** One ping of an IP packet of this size that must not be fragmented, from a pod that knows nothing of the way yet. */
  async function whole(from: Name, to: Name, family: 4 | 6, packetBytes: number) {
    const pod = `${from}-p1`;
    await run(pod, ["ip", `-${family}`, "route", "flush", "cache"]);
    const data = packetBytes - (family === 4 ? 28 : 48);
    const ping = ["ping", `-${family}`, "-n", "-M", "do", "-c", "1", "-W", "2", "-s", `${data}`];
    const { status, stdout, stderr } = await lab.exec(pod, [...ping, address(to, family)]);
    return { answered: status === 0, text: `${stdout}${stderr}` };
  }

  /** What fits arrives in one piece; one byte more is refused with the size that fits, at the pod. */
  async function fitsExactly(from: Name, to: Name, tunnelBytes: number): Promise<void> {
    for (const family of [4, 6] as const) {
      expect([from, to, family, (await whole(from, to, family, tunnelBytes)).answered]).toEqual([
        ...[from, to, family, true],
      ]);
      const { answered, text } = await whole(from, to, family, tunnelBytes + 1);
      expect([from, to, family, answered]).toEqual([from, to, family, false]);
      const icmp = family === 4 ? /Frag needed and DF set \(mtu = (\d+)\)/ : /Packet too big: mtu=(\d+)/;
      expect([text, Number(icmp.exec(text)?.[1])]).toEqual([text, tunnelBytes]);
    }
  }

  test("each path has its own MTU, in the routes of its ends, and as ICMP at the pods", async () => {
    for (const pair of [
      ["a", "b"],
      ["a", "c"],
    ] as const)
      await found(pair, ["direct"], THIN);
    await found(["b", "c"], ["lan", "direct"], WHOLE);
    await fitsExactly("a", "b", THIN);
    await fitsExactly("c", "a", THIN);
    // Nothing is refused where there is no tunnel's edge: the pod's own link has the tunnel's MTU.
    for (const [from, to] of [
      ["b", "c"],
      ["a", "hub"],
      ["hub", "b"],
    ] as const)
      for (const family of [4, 6] as const)
        expect([from, to, family, (await whole(from, to, family, WHOLE)).answered]).toEqual([
          ...[from, to, family, true],
        ]);
  });

  test("the path goes through the hub, and has the hub's MTU; it is direct again, and thin", async () => {
    await using flow = new Pinger("a → b", address("b", 4), { command: (argv) => lab.command("a-p1", argv) });
    await wait("answers", () => (flow.since(0) < 100 ? "not yet" : undefined));
    await run("rl", ["nft", "add table ip w; add chain ip w f { type filter hook forward priority 0; }"]);
    await run("rl", ["nft", "add rule ip w f drop"]);
    await found(["a", "b"], ["relay"], WHOLE);
    for (const family of [4, 6] as const)
      expect([family, (await whole("a", "b", family, WHOLE)).answered]).toEqual([family, true]);
    await run("rl", ["nft", "delete table ip w"]);
    await found(["a", "b"], ["direct"], THIN);
    await fitsExactly("a", "b", THIN);
  });

  test("the way becomes thinner while a pair talks, and says nothing: the routes follow", async () => {
    await using flow = new Pinger("a → b", address("b", 4), { command: (argv) => lab.command("a-p1", argv) });
    await wait("answers", () => (flow.since(0) < 100 ? "not yet" : undefined));
    for (const router of ["rl", "rr"]) {
      const links = JSON.parse((await lab.exec(router, ["ip", "-j", "route", "get", "198.18.0.99"])).stdout);
      await run(router, ["ip", "link", "set", links[0].dev, "mtu", `${THIN_BYTES - 40}`]);
    }
    const thinner = tunnelOf(THIN_BYTES - 40);
    await found(["a", "b"], ["direct"], thinner);
    await fitsExactly("a", "b", thinner);
  });
});
