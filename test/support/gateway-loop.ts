/**
 * One queue of a gateway in memory, with hands on both sides, and packets built byte by byte. Its own gateway is its remote one: what it
 * seals can be given back to it.
 */
import { mac, parseIp, ipBytes, macBytes, parsePrefix } from "../../src/net/mod.ts";
import { Arena } from "../../src/sys/mod.ts";
import {
  type ExchangePorts,
  type GatewayNews,
  type GatewayOrder,
  GatewayPath,
} from "../../src/tunnel/gateway/mod.ts";
import { chooseAead } from "../../src/tunnel/path/mod.ts";
import { MemoryFrames, PipeEnd } from "./frame-pipe.ts";
import { ipsecMbFolders } from "./ipsec-mb.ts";
import { onesSum } from "./packets.ts";

export const MAC = {
  private: mac(0x02_00_00_00_00_01),
  public: mac(0x02_00_00_00_00_02),
  host: mac(0x02_00_00_00_00_03),
} as const;
/** Addresses of the gateway, of a host behind it, and of one behind the remote end; the route has the prefixes of both hosts. */
export const ADDRESS = {
  4: { private: "10.0.0.1", public: "203.0.113.1", host: "10.0.0.2", remote: "10.1.0.2" },
  6: { private: "fd00::1", public: "2001:db8::1", host: "fd00::2", remote: "fd01::2" },
} as const;
export const SPI = 300;
export const KEY = Uint8Array.from({ length: 20 }, (_, i) => i + 1);

/** ether puts an Ethernet header before a packet; who sends is MAC.host. */
export function ether(target: number, packet: Uint8Array): Uint8Array<ArrayBuffer> {
  const type = (packet[0] as number) >>> 4 === 6 ? [0x86, 0xdd] : [0x08, 0x00];
  return new Uint8Array([...macBytes(mac(target)), ...macBytes(MAC.host), ...type, ...packet]);
}

/** Ip says what an IP packet has. */
export interface IpPacket {
  readonly from: string;
  readonly to: string;
  readonly protocol: number;
  readonly payload: Uint8Array;
  readonly ttl?: number;
  /** IPv4's flags and offset. */
  readonly fragment?: number;
  /** What it says of its length, if that is not so. */
  readonly total?: number;
}

/** ip builds a packet of the addresses' family. */
export function ip(packet: IpPacket): Uint8Array<ArrayBuffer> {
  const { protocol, payload, ttl = 64, fragment = 0, total } = packet;
  const [from, to] = [ipBytes(parseIp(packet.from)), ipBytes(parseIp(packet.to))];
  const header = from.length === 4 ? 20 : 40;
  const bytes = new Uint8Array(header + payload.length);
  const view = new DataView(bytes.buffer);
  bytes.set(payload, header);
  if (header === 20) {
    bytes[0] = 0x45;
    view.setUint16(2, total ?? bytes.length);
    view.setUint16(6, fragment);
    bytes[8] = ttl;
    bytes[9] = protocol;
    bytes.set(from, 12);
    bytes.set(to, 16);
    view.setUint16(10, ~onesSum(bytes.subarray(0, 20)) & 0xffff);
  } else {
    bytes[0] = 0x60;
    view.setUint16(4, (total ?? bytes.length) - 40);
    bytes[6] = protocol;
    bytes[7] = ttl;
    bytes.set(from, 8);
    bytes.set(to, 24);
  }
  return bytes;
}

/** icmp builds a packet with an ICMP message of the addresses' family. */
export function icmp(what: {
  readonly from: string;
  readonly to: string;
  readonly type: number;
  readonly code?: number;
  readonly data?: Uint8Array;
  readonly ttl?: number;
  readonly fragment?: number;
  readonly total?: number;
}): Uint8Array<ArrayBuffer> {
  const { type, code = 0, data = new Uint8Array(8).fill(7), ...rest } = what;
  const payload = new Uint8Array([type, code, 0, 0, 0, 9, 0, 1, ...data]);
  const six = rest.from.includes(":");
  const pseudo = six
    ? onesSum(
        new Uint8Array([
          ...ipBytes(parseIp(rest.from)),
          ...ipBytes(parseIp(rest.to)),
          ...[0, 0, payload.length >> 8, payload.length & 255, 0, 0, 0, 58],
        ]),
      )
    : 0;
  new DataView(payload.buffer).setUint16(2, ~onesSum(payload, pseudo) & 0xffff);
  return ip({ ...rest, protocol: six ? 58 : 1, payload });
}

/** GatewayLoop is the gateway with its two sides. */
export class GatewayLoop {
  readonly frames: MemoryFrames;
  readonly host: PipeEnd;
  readonly wire: PipeEnd;
  /** The gateway's own ends. */
  readonly privatePort: PipeEnd;
  readonly publicPort: PipeEnd;
  readonly path: GatewayPath;
  readonly news: GatewayNews[] = [];
  nowMs = 1000;
  #all: number;

  constructor(
    options: {
      readonly mtuBytes?: number;
      readonly tfc?: boolean;
      readonly ports?: ExchangePorts;
      readonly asks?: boolean;
      readonly asksPrivate?: boolean;
      readonly guarded?: boolean;
    } = {},
  ) {
    const { mtuBytes = 500, tfc = false, ports = {}, asks = false, asksPrivate = true } = options;
    const arena = new Arena({ bytes: 64 << 20, guarded: options.guarded === true });
    this.frames = new MemoryFrames(arena, { frames: options.guarded === true ? 160 : 512 });
    const [host, privatePort] = PipeEnd.joined(this.frames);
    const [wire, publicPort] = PipeEnd.joined(this.frames);
    this.host = host;
    this.wire = wire;
    this.privatePort = privatePort;
    this.publicPort = publicPort;
    const side = (name: "private" | "public") => ({
      mac: MAC[name],
      four: this.#address(4, name, asks),
      six: this.#address(6, name, asks),
    });
    this.path = new GatewayPath({
      provider: chooseAead(arena, { folders: ipsecMbFolders() }).provider,
      privatePort,
      publicPort,
      private: side("private"),
      public: side("public"),
      mtuBytes,
      tfc,
      ports,
      asksPrivate,
      tell: (news) => void this.news.push(news),
    });
    this.#all = this.frames.free;
  }

  #address(family: 4 | 6, name: "private" | "public", asks: boolean) {
    const own = ADDRESS[family];
    const ip = parseIp(own[name]);
    // On the public side it is its own neighbour.
    const [nextHop, nextHopMac] = name === "public" ? [ip, MAC.public] : [parseIp(own.host), MAC.host];
    return asks ? { ip, nextHop: parseIp(own.host) } : { ip, nextHop, nextHopMac };
  }

  /** join adds the route and both associations, the same key both ways. */
  join(orders: { readonly outbound?: object; readonly inbound?: object } = {}, outer: 4 | 6 = 4): this {
    const association = { route: "far", spi: SPI, algorithm: "aes-128-gcm", keyMaterial: KEY } as const;
    const prefixes = ["10.0.0.0/24", "10.1.0.0/16", "fd00::/64", "fd01::/64"].map(parsePrefix);
    const to = parseIp(ADDRESS[outer].public);
    return this.obey(
      { kind: "route", route: { name: "far", prefixes } },
      { kind: "inbound", association: { ...association, ...orders.inbound } },
      { kind: "outbound", association: { ...association, to, next: 1, ...orders.outbound } },
      { kind: "move-outbound", route: "far", spi: SPI },
    );
  }

  obey(...orders: readonly GatewayOrder[]): this {
    for (const order of orders) this.path.obey(order);
    return this;
  }

  /** work lets the gateway work on what it has. */
  work(): this {
    while (this.path.runOutbound(this.nowMs) + this.path.runInbound(this.nowMs) > 0);
    return this;
  }

  /** fromHost gives packets to the private side; returns the frames that came back there and those on the wire. */
  fromHost(...packets: readonly Uint8Array[]) {
    for (const packet of packets) this.host.put(ether(MAC.private, packet));
    return this.#come();
  }

  /** fromWire does the same on the public side. */
  fromWire(...packets: readonly Uint8Array[]) {
    for (const packet of packets) this.wire.put(ether(MAC.public, packet));
    return this.#come();
  }

  /** around gives packets to the private side, and what that makes on the wire back to the public one; frames on the host's side. */
  around(...packets: readonly Uint8Array[]): Uint8Array<ArrayBuffer>[] {
    const { wire } = this.fromHost(...packets);
    const { wire: again, host } = this.fromWire(...wire.map((frame) => frame.slice(14)));
    return [
      ...host,
      ...(again.length === 0 ? [] : this.fromWire(...again.map((frame) => frame.slice(14))).host),
    ];
  }

  #come() {
    this.work();
    return { host: this.host.taken(), wire: this.wire.taken() };
  }

  /** allFree tells whether every frame is free again, when both sides have taken what came. */
  allFree(): boolean {
    this.work();
    this.host.taken();
    this.wire.taken();
    return this.frames.free === this.#all;
  }

  get counters() {
    return this.path.report().counters;
  }
}
