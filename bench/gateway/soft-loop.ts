/**
 * One queue of a gateway in memory, in a loop as in Vita's SoftBench: what it seals comes back to its public port, and it opens it. Each
 * packet is copied once from a template, sealed, and opened, by one thread.
 */
import { mac, parseIp, parsePrefix } from "../../src/net/mod.ts";
import { Arena } from "../../src/sys/mod.ts";
import { GatewayPath } from "../../src/tunnel/gateway/mod.ts";
import { chooseAead } from "../../src/tunnel/path/mod.ts";
import { MemoryFrames, PipeEnd } from "../../test/support/frame-pipe.ts";
import { ipsecMbFolders } from "../../test/support/ipsec-mb.ts";
import { etherPacket } from "./template.ts";

const FRAMES = 512;
const BURST = 64;
const KEY = Uint8Array.from({ length: 20 }, (_, i) => i + 1);

/** SoftLoopOptions say what goes round: packets by the lengths of their Ethernet frames in turn, through so many routes. */
export interface SoftLoopOptions {
  readonly frameBytes: readonly number[];
  readonly routes?: number;
  /** Of those, how many have traffic, in turn; default 1. */
  readonly busy?: number;
}

/** SoftLoop runs it. */
export class SoftLoop {
  readonly provider: string;
  readonly #arena: Arena;
  readonly #frames: MemoryFrames;
  readonly #outside: PipeEnd;
  readonly #path: GatewayPath;
  readonly #templates: readonly { readonly at: number; readonly bytes: number }[];
  #next = 0;
  #nowMs = 0;

  constructor(options: SoftLoopOptions) {
    const { frameBytes, routes = 1, busy = 1 } = options;
    const arena = new Arena({ bytes: FRAMES * 2048 + (64 << 20) });
    const { provider } = chooseAead(arena, { folders: ipsecMbFolders() });
    this.provider = provider.name;
    this.#arena = arena;
    this.#frames = new MemoryFrames(arena, { frames: FRAMES });
    const [outside, privatePort] = PipeEnd.joined(this.#frames);
    // What leaves by the public port comes back by it.
    const publicPort = new PipeEnd(this.#frames);
    this.#outside = outside;
    const [lan, wan, neighbour] = [
      mac(0x02_00_00_00_00_01),
      mac(0x02_00_00_00_00_02),
      mac(0x02_00_00_00_00_03),
    ];
    const own = parseIp("203.0.113.1");
    this.#path = new GatewayPath({
      provider,
      privatePort,
      publicPort,
      private: {
        mac: lan,
        four: { ip: parseIp("10.0.0.1"), nextHop: parseIp("10.0.0.2"), nextHopMac: neighbour },
      },
      // Its own neighbour.
      public: { mac: wan, four: { ip: own, nextHop: own, nextHopMac: wan } },
      mtuBytes: 1500,
      tell: () => {},
    });
    for (let i = 0; i < routes; i++) this.#addRoute(i, own);
    this.#templates = frameBytes.flatMap((length, kind) =>
      Array.from({ length: busy }, (_, i) => {
        const bytes = etherPacket({ length, target: lan, from: [11, i >>> 8, i & 255, 1], port: kind });
        const at = arena.allocate(bytes.length);
        arena.store(at, bytes);
        return { at, bytes: bytes.length };
      }),
    );
  }

  /** From and to the same route's addresses, since it comes back by the route that it left by. */
  #addRoute(i: number, to: ReturnType<typeof parseIp>): void {
    const name = `route-${i}`;
    const keyMaterial = KEY.slice();
    new DataView(keyMaterial.buffer).setUint32(0, i);
    const association = { route: name, spi: 256 + i, algorithm: "aes-128-gcm", keyMaterial } as const;
    const prefix = parsePrefix(`11.${i >>> 8}.${i & 255}.0/24`);
    this.#path.obey({ kind: "route", route: { name, prefixes: [prefix] } });
    this.#path.obey({ kind: "inbound", association });
    this.#path.obey({ kind: "outbound", association: { ...association, to, next: 1 } });
    this.#path.obey({ kind: "move-outbound", route: name, spi: 256 + i });
  }

  /** run lets so many packets go round; returns how many bytes of frames came out. Throws if one is lost. */
  run(packets: number): number {
    const { u8 } = this.#arena;
    const templates = this.#templates;
    const outside = this.#outside;
    let came = 0;
    let bytes = 0;
    for (let sent = 0; sent < packets; sent += BURST) {
      for (let i = 0; i < BURST; i++) {
        const template = templates[this.#next] as { readonly at: number; readonly bytes: number };
        if (++this.#next === templates.length) this.#next = 0;
        const at = this.#frames.take();
        u8.copyWithin(at, template.at, template.at + template.bytes);
        outside.send(at, template.bytes);
      }
      this.#nowMs++;
      this.#path.runOutbound(this.#nowMs);
      this.#path.runInbound(this.#nowMs);
      for (let count = outside.receive(); count > 0; count = outside.receive()) {
        came += count;
        for (let i = 0; i < count; i++) bytes += outside.bytes(i);
      }
      if (came !== sent + BURST)
        throw new Error(`${sent + BURST - came} packets were lost: ${JSON.stringify(this.#path.report())}`);
    }
    return bytes;
  }
}
