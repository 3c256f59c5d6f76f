/** BFD with real processes in namespaces: a link, a router on the way, and what outlives what. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { BfdClient, bfdSessionId, bfdStatus, type BfdWish } from "../../src/bfd/mod.ts";
import { connectedDatagram } from "../support/raw-datagram.ts";
import type { Netns } from "../../src/sys/mod.ts";
import { notRoot, Scratch } from "../support/scratch.ts";

const FAST = { transmitMs: 100, receiveMs: 100, multiplier: 3 };

async function until(what: string, fits: () => boolean): Promise<void> {
  for (const end = performance.now() + 30_000; !fits(); await Bun.sleep(10))
    if (performance.now() > end) throw new Error(`waited in vain: ${what}`);
}

/** One end: a process in a namespace, its client, and the states that it was told. */
class End implements AsyncDisposable {
  readonly told: string[] = [];
  readonly socket: string;
  client!: BfdClient;
  readonly #netns: Netns;

  constructor(folder: string, name: string, netns: Netns) {
    this.socket = `${folder}/${name}.sock`;
    this.#netns = netns;
  }

  async open(): Promise<this> {
    const onChange = ({ id, state }: { id: string; state: string }) => void this.told.push(`${id} ${state}`);
    this.client = await BfdClient.open({ socket: this.socket, netns: this.#netns, onChange });
    return this;
  }

  status(wish: BfdWish) {
    return bfdStatus(this.socket)?.sessions.find(({ id }) => id === bfdSessionId(wish));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client.destroy();
  }
}

describe.skipIf(notRoot !== undefined)(`BFD${notRoot === undefined ? "" : `: ${notRoot}`}`, () => {
  let scratch: Scratch;
  let folder: string;
  let left: End;
  let right: End;
  let namespaces: { left: Netns; router: Netns; right: Netns };

  beforeAll(async () => {
    scratch = new Scratch();
    folder = mkdtempSync(`${tmpdir()}/causeway-bfd-`);
    const [a, router, b] = [scratch.netns, scratch.another(), scratch.another()];
    namespaces = { left: a, router, right: b };
    const ip = (netns: Netns, command: string) => scratch.text(`ip ${command}`, netns);
    ip(a, `link add eth0 type veth peer name eth0 netns ${router.path}`);
    ip(b, `link add eth0 type veth peer name eth1 netns ${router.path}`);
    ip(a, `link add direct type veth peer name direct netns ${b.path}`);
    // Only the link-local addresses that stand below: the kernel may choose its own as the source.
    for (const netns of [a, b]) ip(netns, "link set direct addrgenmode none");
    ip(router, "addr add 10.0.1.254/24 dev eth0");
    ip(router, "addr add 10.0.2.254/24 dev eth1");
    for (const [netns, host, link] of [
      [a, 1, 1],
      [b, 2, 2],
    ] as const) {
      ip(netns, `addr add 10.0.${link}.1/24 dev eth0`);
      ip(netns, `addr add 192.0.2.${host}/24 dev direct`);
      ip(netns, `addr add fe80::${host}/64 dev direct nodad`);
    }
    for (const netns of [a, router, b])
      for (const link of ["lo", "eth0", "eth1", "direct"])
        if (scratch.json("ip -j link", netns).some(({ ifname }: { ifname: string }) => ifname === link))
          ip(netns, `link set ${link} up`);
    scratch.text("sysctl -qw net.ipv4.ip_forward=1", router);
    ip(a, "route add default via 10.0.1.254");
    ip(b, "route add default via 10.0.2.254");
    left = await new End(folder, "left", a).open();
    right = await new End(folder, "right", b).open();
  });

  afterAll(async () => {
    await left?.[Symbol.asyncDispose]();
    await right?.[Symbol.asyncDispose]();
    scratch?.[Symbol.dispose]();
    if (folder !== undefined) rmSync(folder, { recursive: true });
  });

  const here: BfdWish = { peer: "192.0.2.2", ...FAST };
  const there: BfdWish = { peer: "192.0.2.1", ...FAST };

  async function setAndWait(mine: BfdWish, theirs: BfdWish): Promise<void> {
    left.client.set([mine]);
    right.client.set([theirs]);
    await until("up", () => left.status(mine)?.state === "up" && right.status(theirs)?.state === "up");
  }

  test("a session over IPv4 comes up, and an end that takes its session away says so", async () => {
    await setAndWait(here, there);
    await until("told", () => left.told.includes("192.0.2.2 up"));
    expect(left.status(here)?.remoteIndependent).toBe(true);
    right.client.set([]);
    await until("down", () => left.status(here)?.state === "down");
    expect(left.status(here)?.diagnostic).toBe("neighbor signaled session down");
  });

  test("a session over link-local IPv6 is told by its interface", async () => {
    const link = { link: "direct", ...FAST };
    await setAndWait({ peer: "fe80::2", ...link }, { peer: "fe80::1", ...link });
  });

  test("over a router only multihop comes up (RFC 5881 section 5: hop limit 255)", async () => {
    const single = { peer: "10.0.2.1", local: "10.0.1.1", ...FAST };
    const singleBack = { peer: "10.0.1.1", local: "10.0.2.1", ...FAST };
    left.client.set([single]);
    right.client.set([singleBack]);
    const discarded = () => bfdStatus(right.socket)?.discarded ?? 0;
    const before = discarded();
    await until("packets with hop limit 254 are discarded", () => discarded() > before + 2);
    expect(left.status(single)?.state).toBe("down");
    await setAndWait({ ...single, multihop: 1 }, { ...singleBack, multihop: 1 });
  });

  test("a least hop limit is kept to, and a passive end follows", async () => {
    const mine = { peer: "10.0.2.1", local: "10.0.1.1", multihop: 9, ...FAST };
    const theirs = { peer: "10.0.1.1", local: "10.0.2.1", multihop: 9, ...FAST };
    left.client.set([mine]);
    // One router on the way leaves 254 of 255.
    right.client.set([{ ...theirs, minimumTtl: 254, passive: true }]);
    await until("up", () => right.status(theirs)?.state === "up");
    right.client.set([]);
    const discarded = () => bfdStatus(right.socket)?.discarded ?? 0;
    const before = discarded();
    scratch.text("nft add table ip far", namespaces.router);
    scratch.text("nft add chain ip far forward { type filter hook forward priority 0 ; }", namespaces.router);
    scratch.text("nft add rule ip far forward ip saddr 10.0.1.1 ip ttl set 200", namespaces.router);
    right.client.set([{ ...theirs, minimumTtl: 254 }]);
    await until("what came from farther is discarded", () => discarded() > before);
    expect(right.status(theirs)?.state).toBe("down");
    right.client.set([{ ...theirs, minimumTtl: 190 }]);
    await until("up again", () => right.status(theirs)?.state === "up");
    scratch.text("nft delete table ip far", namespaces.router);
  });

  test("a cut wire is found by both ends, and the session comes back", async () => {
    await setAndWait(here, there);
    await until("told", () => right.told.at(-1) === "192.0.2.1 up");
    right.told.length = 0;
    scratch.text("ip link set direct down", namespaces.left);
    await until("down", () => right.status(there)?.state === "down");
    expect(right.status(there)?.diagnostic).toBe("control detection time expired");
    await until("down here too", () => left.status(here)?.state === "down");
    scratch.text("ip link set direct up", namespaces.left);
    await until("up", () => left.status(here)?.state === "up" && right.status(there)?.state === "up");
    await until("told", () => right.told.at(-1) === "192.0.2.1 up");
    // Whoever is heard first as down is init on the other side; the one that hears init is up at once (RFC 5880 section 6.2).
    expect(right.told.filter((line) => line !== "192.0.2.1 init")).toEqual([
      "192.0.2.1 down",
      "192.0.2.1 up",
    ]);
  });

  test("the control plane goes and comes back: the session does not notice, and the new one is told the state", async () => {
    await setAndWait(here, there);
    const downs = right.status(there)?.downs;
    const pid = bfdStatus(left.socket)?.pid;
    left.client.close();
    const sent = left.status(here)?.sent ?? 0;
    await until("packets go on", () => (left.status(here)?.sent ?? 0) > sent + 10);
    left.told.length = 0;
    await left.open();
    left.client.set([here]);
    await until("told", () => left.told.length > 0);
    expect(left.told).toEqual(["192.0.2.2 up"]);
    expect(bfdStatus(left.socket)?.pid).toBe(pid as number);
    expect(right.status(there)?.downs).toBe(downs as number);
  });

  test("what an earlier client wished for goes on beside what this one wishes, which ends what itself has wished for", async () => {
    await setAndWait(here, there);
    const { downs, sinceSeconds = 0 } = right.status(there) ?? {};
    const other = { ...here, peer: "192.0.2.9" };
    left.client.close();
    await left.open();
    left.client.set([other], { keepOthers: true });
    await until("the other one", () => left.status(other) !== undefined);
    expect(left.status(here)?.state).toBe("up");
    left.client.set([other, here]);
    await until("both are wished for", () => left.status(here)?.state === "up");
    expect(right.status(there)?.downs).toBe(downs as number);
    expect(right.status(there)?.sinceSeconds).toBeGreaterThanOrEqual(sinceSeconds);
    left.client.set([here], { keepOthers: true });
    await until("the other one is gone", () => left.status(other) === undefined);
    // Of an earlier client, too, when nobody asks for others to be kept.
    left.client.close();
    await left.open();
    left.client.set([other]);
    await until("the first one is gone", () => left.status(here) === undefined);
  });

  test("the process is killed: it is started again with its sessions", async () => {
    await setAndWait(here, there);
    const pid = bfdStatus(left.socket)?.pid as number;
    process.kill(pid, "SIGKILL");
    await until("another process", () => (bfdStatus(left.socket)?.pid ?? pid) !== pid);
    await until("up", () => left.status(here)?.state === "up" && right.status(there)?.state === "up");
  });

  test("forged packets from elsewhere, for no session, and garbage change nothing", async () => {
    await setAndWait(here, there);
    const downs = left.status(here)?.downs;
    const before = bfdStatus(left.socket)?.discarded ?? 0;
    const forged = Buffer.from("2040031800000009000000000000000100000001" + "00000000", "hex");
    // From the other end's own address, with the hop limit of something far away.
    for (let i = 0; i < 20; i++)
      connectedDatagram(namespaces.right, "192.0.2.1", 3784, forged, { hopLimit: 64 });
    for (let i = 0; i < 20; i++)
      connectedDatagram(namespaces.right, "192.0.2.1", 3784, Buffer.alloc(i, 0x20), { hopLimit: 255 });
    await until("discarded", () => (bfdStatus(left.socket)?.discarded ?? 0) >= before + 40);
    expect(left.status(here)?.state).toBe("up");
    expect(left.status(here)?.downs).toBe(downs as number);
  });
});
