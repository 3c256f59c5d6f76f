/**
 * The RIB alone, in one process: routes of one peer, reflected to ten others whose outboxes are emptied into nothing. No sockets: what is
 * measured is parsing, tables, decision, encoding and the log. `bun bench/bgp-rib.ts evpn|ipv4 ROUTES [RECEIVERS]`.
 */
import { readFileSync } from "node:fs";
import { Rib, type RibPeer } from "../src/bgp/rib/mod.ts";
import { EVPN, IPV4_UNICAST, type UpdateSession } from "../src/bgp/wire/mod.ts";

const [load = "evpn", count = "500000", receivers = "10"] = process.argv.slice(2);
const routes = Number(count);
const family = load === "evpn" ? EVPN : IPV4_UNICAST;
const ASN = 65_000;

/** Load writes the next UPDATE (announcement, or withdrawal) into `out` and returns its length; 0 at the end. */
type Load = (out: Uint8Array, withdraw: boolean) => number;

function frame(out: Uint8Array, length: number): number {
  out.fill(0xff, 0, 16);
  out[16] = length >>> 8;
  out[17] = length;
  out[18] = 2;
  return length;
}

// Nothing is allocated for a route or a message: what is measured is the RIB, its memory too.
let at = 0;
let target: Uint8Array = new Uint8Array(0);
const u8 = (value: number) => void (target[at++] = value);
const u16 = (value: number) => (u8(value >>> 8), u8(value));
const u24 = (value: number) => (u8(value >>> 16), u16(value));
const u32 = (value: number) => (u16(value >>> 16), u16(value));
const all = (bytes: Uint8Array) => (target.set(bytes, at), void (at += bytes.length));
const zeros = (count: number) => (target.fill(0, at, at + count), void (at += count));

const EVPN_ATTRIBUTES = Uint8Array.of(0x40, 1, 1, 0, 0x50, 2, 0, 0, 0x40, 5, 4, 0, 0, 0, 100, 0xc0, 16, 16);
const ENCAPSULATION = Uint8Array.of(3, 0x0c, 0, 0, 0, 0, 0, 8);

/** Type 2 MAC+IPv4, 100 for each UPDATE; 200 VTEPs and 500 VNIs, 1000 sets. */
function evpn(total: number): Load {
  let done = 0;
  return (out, withdraw) => {
    if (done >= total) return 0;
    const set = ((done / 100) % 1000) | 0;
    const vtep = set % 200;
    const vni = 1000 + (set % 500);
    const end = Math.min(done + 100, total);
    target = out;
    at = 23;
    u8(0x90);
    u8(withdraw ? 15 : 14);
    u16(0);
    u24(0x001946);
    if (!withdraw) {
      u8(4);
      u32(0x0a000000 + vtep);
      u8(0);
    }
    for (; done < end; done++) {
      u32(0x02250001);
      u32(0x0a000000 + vtep);
      u16(set);
      zeros(14);
      u24(0x300200);
      u32(done);
      u8(32);
      u32(0x0a000000 + done);
      u24(withdraw ? 0 : vni);
    }
    const mp = at - 27;
    if (!withdraw) {
      all(EVPN_ATTRIBUTES);
      all(ENCAPSULATION);
      u32(0x00020000 + ASN);
      u32(vni);
    }
    const length = at;
    at = 19;
    u16(0);
    u16(length - 23);
    at = 25;
    u16(mp);
    return frame(out, length);
  };
}

/** 60 % /24, the rest /25; sets of heavy-tailed size, mean about 6; AS paths of 1 to 6, 16 next hops, 0 to 6 communities, MED on a third. */
function ipv4(total: number): Load {
  let done = 0;
  let seed = 1;
  const random = (below: number) => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return Math.floor((seed / 2 ** 32) * below);
  };
  const attributes = new Uint8Array(128);
  let attributesBytes = 0;
  let left = 0;
  const choose = () => {
    left = Math.min(2000, Math.ceil((1 - random(1e6) / 1e6) ** -0.86));
    target = attributes;
    at = 0;
    u32(0x40010100);
    const hops = 1 + random(6);
    u16(0x4002);
    u8(2 + 4 * hops);
    u8(2);
    u8(hops);
    for (let i = 0; i < hops; i++) u32(1 + random(70_000));
    u24(0x400304);
    u32(0x0a000001 + random(16));
    if (random(3) === 0) (u24(0x800404), u32(random(1000)));
    u24(0x400504);
    u32(100);
    const communities = random(7);
    if (communities > 0) (u16(0xc008), u8(communities * 4));
    for (let i = 0; i < communities; i++) u32(random(2 ** 31));
    attributesBytes = at;
  };
  return (out, withdraw) => {
    if (done >= total) return 0;
    if (left === 0 && !withdraw) choose();
    const n = Math.min(withdraw ? 800 : Math.min(left, 800), total - done);
    if (!withdraw) left -= n;
    target = out;
    at = 21;
    if (!withdraw) {
      at = 19;
      u16(0);
      u16(attributesBytes);
      out.set(attributes.subarray(0, attributesBytes), at);
      at += attributesBytes;
    }
    for (let i = 0; i < n; i++, done++) {
      // Distinct: the number of the route is in the address.
      const isUsual = done % 5 < 3;
      u8(isUsual ? 24 : 25);
      u24(isUsual ? 0x010000 + done : done);
      if (!isUsual) u8(128);
    }
    if (withdraw) u16(0);
    const length = at;
    at = 19;
    if (withdraw) u16(length - 23);
    return frame(out, length);
  };
}

const update: UpdateSession = {
  external: false,
  as4: true,
  families: new Set([family]),
  addPathReceive: new Set(),
  extendedNextHop: new Set(),
};
const rib = new Rib({ own: { asn: ASN, routerId: 0x0a0a0a0a, clusterId: 0x0a0a0a0a } });
const peers: RibPeer[] = [];
for (let i = 0; i <= Number(receivers); i++) {
  const address = Uint8Array.of(192, 0, 2, i + 1);
  const peer = rib.addPeer({ asn: ASN, address, external: false, client: true });
  rib.up(peer, { update, routerId: 0xc0000200 + i + 1, families: new Map([[family, {}]]) });
  peers.push(peer);
}

const written = new Array<number>(peers.length).fill(0);
let longestMs = 0;
function drain(): void {
  for (let i = 0; i < peers.length; i++) {
    const outbox = rib.outbox(peers[i] as RibPeer);
    for (let bytes = outbox.peek(); bytes !== undefined; bytes = outbox.peek()) {
      written[i] = (written[i] as number) + bytes.length;
      outbox.advance(bytes.length);
    }
  }
}

function run(name: string, make: (total: number) => Load, withdraw: boolean): void {
  const out = new Uint8Array(4096);
  const idle = process.cpuUsage();
  for (const alone = make(routes); alone(out, withdraw) > 0;) continue;
  const alone = process.cpuUsage(idle);
  const generated = alone.user + alone.system;
  const source = make(routes);
  const begin = process.cpuUsage();
  const begun = performance.now();
  longestMs = 0;
  for (let messages = 0; ; messages++) {
    const length = source(out, withdraw);
    if (length === 0) break;
    rib.receive(peers[0] as RibPeer, out, 19, length, begun);
    if (messages % 32 !== 31) continue;
    slice(begun);
  }
  while (slice(begun)) continue;
  const { user, system } = process.cpuUsage(begin);
  const status = readFileSync("/proc/self/status", "utf8");
  const megabytes = (field: string) =>
    Math.round(Number(new RegExp(`${field}:\\s+(\\d+)`).exec(status)?.[1]) / 1024);
  console.log(
    [
      name.padEnd(9),
      `${load} ${routes}`,
      `cpu ${((user + system - generated) / 1e6).toFixed(2)} s (+ ${(generated / 1e6).toFixed(2)} s to generate)`,
      `${(((user + system - generated) * 1000) / routes).toFixed(0)} ns/route`,
      `rss ${megabytes("VmRSS")} MB, peak ${megabytes("VmHWM")} MB`,
      `longest slice ${longestMs.toFixed(1)} ms`,
      `to each ${(((written[1] as number) ?? 0) / 1e6).toFixed(1)} MB, back ${written[0]} B`,
      `sets ${rib.store.size}`,
      `table ${rib.tables.get(family)?.keys.size}`,
    ].join(" | "),
  );
}

function slice(nowMs: number): boolean {
  // CPU, as the clock also counts what the machine does for others.
  const from = process.cpuUsage();
  const more = rib.work({ nowMs });
  drain();
  const { user, system } = process.cpuUsage(from);
  longestMs = Math.max(longestMs, (user + system) / 1000);
  return more;
}

while (slice(0)) continue;
const make = load === "evpn" ? evpn : ipv4;
run("announce", make, false);
run("again", make, false);
run("withdraw", make, true);
