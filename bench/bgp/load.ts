/**
 * Loads for a router under test: UPDATEs as they stand on the wire, made before the clock starts.
 *
 * `evpn`: type 2 MAC+IPv4, distinct MACs and IPs, 100 in an UPDATE, 200 VTEPs and 500 VNIs in 1000 sets of attributes.
 * `ipv4`: 60 % /24, the rest /18 to /23; sets of attributes with heavy-tailed size, mean about 6; AS paths of 1 to 6, 16 next hops, 0 to 6
 * communities, a MED on a third.
 */

export const ASN = 65_000;

/** LoadName is one of the loads. */
export type LoadName = "evpn" | "ipv4";

/** LoadKind is what is said of the routes. */
export type LoadKind = "announce" | "withdraw";

const CHUNK_BYTES = 1 << 20;
const MESSAGE_BYTES = 4096;

/** Writes octets into chunks; a message is never cut. */
class Writer {
  readonly chunks: Uint8Array[] = [];
  #chunk = new Uint8Array(new ArrayBuffer(CHUNK_BYTES));
  at = 0;

  /** begin makes room for a message and leaves its header open. */
  begin(): number {
    if (this.at + MESSAGE_BYTES > CHUNK_BYTES) this.flush();
    const start = this.at;
    this.#chunk.fill(0xff, start, start + 16);
    this.at += 18;
    this.u8(2);
    return start;
  }

  end(start: number): void {
    this.patch16(start + 16, this.at - start);
  }

  flush(): void {
    if (this.at > 0) this.chunks.push(this.#chunk.subarray(0, this.at));
    this.#chunk = new Uint8Array(new ArrayBuffer(CHUNK_BYTES));
    this.at = 0;
  }

  u8(value: number): void {
    this.#chunk[this.at++] = value;
  }
  u16(value: number): void {
    this.u8(value >>> 8);
    this.u8(value);
  }
  u24(value: number): void {
    this.u8(value >>> 16);
    this.u16(value);
  }
  u32(value: number): void {
    this.u16(value >>> 16);
    this.u16(value);
  }
  zeros(count: number): void {
    this.#chunk.fill(0, this.at, this.at + count);
    this.at += count;
  }
  bytes(values: readonly number[]): void {
    for (const value of values) this.u8(value);
  }
  patch16(at: number, value: number): void {
    this.#chunk[at] = value >>> 8;
    this.#chunk[at + 1] = value;
  }
}

function words32(value: number): number[] {
  return [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255];
}

/** One type 2 route: RD, tag 0, a MAC and an IP that hold the route's number. */
function macIp(w: Writer, number: number, label: number): void {
  const set = Math.floor(number / 100) % 1000;
  w.u32(0x02250001);
  w.u32(0x0a000000 + (set % 200));
  w.u16(set);
  w.zeros(14);
  w.u24(0x300200);
  w.u32(number);
  w.u8(32);
  w.u32(0x0a000000 + number);
  w.u24(label);
}

/** Writes one UPDATE with the EVPN routes from `from` to before `to`, all of one set; `sequence` is MAC mobility's. */
function evpnUpdate(
  w: Writer,
  routes: { readonly from: number; readonly to: number; readonly kind: LoadKind; readonly sequence?: number },
): void {
  const { from, to, kind, sequence } = routes;
  const set = Math.floor(from / 100) % 1000;
  const vni = 1000 + (set % 500);
  const start = w.begin();
  w.u16(0);
  const attributes = w.at;
  w.u16(0);
  w.u8(0x90);
  w.u8(kind === "announce" ? 14 : 15);
  const mp = w.at;
  w.u16(0);
  w.u24(0x001946);
  if (kind === "announce") {
    w.u8(4);
    w.u32(0x0a000000 + (set % 200));
    w.u8(0);
  }
  for (let number = from; number < to; number++) macIp(w, number, kind === "announce" ? vni : 0);
  w.patch16(mp, w.at - mp - 2);
  if (kind === "announce") {
    const mobility = sequence === undefined ? [] : [6, 0, 0, 0, ...words32(sequence)];
    w.bytes([0x40, 1, 1, 0, 0x40, 2, 0, 0x40, 5, 4, 0, 0, 0, 100, 0xc0, 16, 16 + mobility.length]);
    w.bytes([3, 0x0c, 0, 0, 0, 0, 0, 8, 0, 2, ...words32(ASN).slice(2), ...words32(vni), ...mobility]);
  }
  w.patch16(attributes, w.at - attributes - 2);
  w.end(start);
}

function evpn(total: number, kind: LoadKind): Uint8Array[] {
  const w = new Writer();
  // A message of 4096 bytes holds 100 routes of 39 bytes, and their attributes, only just.
  for (let from = 0; from < total; from += 100)
    evpnUpdate(w, { from, to: Math.min(from + 100, total), kind });
  w.flush();
  return w.chunks;
}

/** The prefix of a route: distinct, as each length has numbers of its own. */
class Prefixes {
  readonly #next = new Map<number, number>();

  write(w: Writer, number: number): void {
    const other = number % 100;
    const length =
      number % 5 < 3 ? 24 : other < 85 ? 23 : other < 95 ? 22 : other < 98 ? 21 : other === 98 ? 20 : 18;
    const serial = this.#next.get(length) ?? 0;
    this.#next.set(length, serial + 1);
    const network = 0x01000000 + serial * 2 ** (32 - length);
    w.u8(length);
    w.u24(network / 256);
  }
}

function ipv4(total: number, kind: LoadKind): Uint8Array[] {
  const w = new Writer();
  const prefixes = new Prefixes();
  let seed = 1;
  const random = (below: number) => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return Math.floor((seed / 2 ** 32) * below);
  };
  for (let number = 0; number < total;) {
    const most = kind === "withdraw" ? 800 : Math.min(800, Math.ceil((1 - random(1e6) / 1e6) ** -0.86));
    const count = Math.min(most, total - number);
    const start = w.begin();
    const lengths = w.at;
    w.u16(0);
    if (kind === "withdraw") {
      for (let i = 0; i < count; i++) prefixes.write(w, number++);
      w.patch16(lengths, w.at - lengths - 2);
      w.u16(0);
    } else {
      w.u16(0);
      w.bytes(attributesOf(random));
      w.patch16(lengths + 2, w.at - lengths - 4);
      for (let i = 0; i < count; i++) prefixes.write(w, number++);
    }
    w.end(start);
  }
  w.flush();
  return w.chunks;
}

function attributesOf(random: (below: number) => number): number[] {
  const hops = 1 + random(6);
  const path = Array.from({ length: hops }, () => words32(1 + random(60_000))).flat();
  const communities = Array.from({ length: random(7) }, () => words32(random(2 ** 31))).flat();
  return [
    ...[0x40, 1, 1, 0, 0x40, 2, 2 + path.length, 2, hops, ...path],
    ...[0x40, 3, 4, 10, 0, 0, 1 + random(16)],
    ...(random(3) === 0 ? [0x80, 4, 4, ...words32(random(1000))] : []),
    ...[0x40, 5, 4, 0, 0, 0, 100],
    ...(communities.length === 0 ? [] : [0xc0, 8, communities.length, ...communities]),
  ];
}

/** makeLoad returns the whole load in chunks of about a megabyte. */
export function makeLoad(name: LoadName, routes: number, kind: LoadKind): Uint8Array[] {
  return name === "evpn" ? evpn(routes, kind) : ipv4(routes, kind);
}

/** churnUpdates returns UPDATEs of one EVPN route each: those from `from` on, with another mobility sequence. */
export function churnUpdates(from: number, count: number, sequence: number): Uint8Array {
  const w = new Writer();
  for (let number = from; number < from + count; number++)
    evpnUpdate(w, { from: number, to: number + 1, kind: "announce", sequence });
  w.flush();
  return Buffer.concat(w.chunks);
}
