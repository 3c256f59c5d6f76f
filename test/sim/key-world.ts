/** Gateways with keepers of keys on a network with weather, in virtual time. */
import { type KeeperEffect, type KeeperEvent, KeyKeeper, type KeyRoute } from "../../src/gateway/keys/mod.ts";
import { type Endpoint, formatEndpoint, formatIp } from "../../src/net/mod.ts";
import { type Primitives, systemPrimitives } from "../../src/noise/mod.ts";
import type { Random } from "../support/random.ts";
import { KeyPath, type Packet } from "./key-path.ts";
import { VirtualTime } from "./virtual-time.ts";

/** Weather of the network. */
export interface Weather {
  readonly delayMs: number;
  readonly spreadMs: number;
  readonly loss: number;
  readonly twice: number;
}

type Load = { readonly datagram: Uint8Array } | { readonly packet: Packet };

/** KeyWorld has the time, the network and what was seen. */
export class KeyWorld {
  readonly time = new VirtualTime();
  readonly random: Random;
  readonly nodes: KeyNode[] = [];
  weather: Weather = { delayMs: 10, spreadMs: 5, loss: 0, twice: 0 };
  /** Addresses that nothing reaches or leaves. */
  readonly cut = new Set<string>();
  /** By address: what a NAT shows for it. */
  readonly nat = new Map<string, Endpoint>();
  /** A datagram of an exchange goes on only if this says so. */
  onDatagram: (bytes: Uint8Array) => boolean = () => true;

  constructor(random: Random) {
    this.random = random;
  }

  /** send gives the network something. */
  send(from: Endpoint, to: Endpoint, load: Load): void {
    const { loss, twice, delayMs, spreadMs } = this.weather;
    if (this.cut.has(formatIp(from.ip)) || this.cut.has(formatIp(to.ip))) return;
    if ("datagram" in load && !this.onDatagram(load.datagram)) return;
    const source = this.nat.get(formatEndpoint(from)) ?? from;
    const inside = [...this.nat].find(([, outside]) => formatEndpoint(outside) === formatEndpoint(to));
    const target = inside === undefined ? formatEndpoint(to) : inside[0];
    for (let copies = this.random.chance(twice) ? 2 : 1; copies > 0; copies--) {
      if (this.random.chance(loss)) continue;
      this.time.after(delayMs + this.random.below(spreadMs + 1), () => {
        if (this.cut.has(formatIp(to.ip))) return;
        for (const node of this.nodes) node.arrive(source, target, load);
      });
    }
  }
}

/** NodeOptions are what a gateway has. */
export interface NodeOptions {
  readonly world: KeyWorld;
  readonly name: string;
  /** By queue: where it speaks. */
  readonly endpoints: ReadonlyMap<number, Endpoint>;
  readonly routes: readonly KeyRoute[];
  /** How long the data path takes for an order at most. */
  readonly installMs?: number;
  /** Must sends be understood by the other at the moment they leave? Vita's exchange cannot promise that for the first. */
  readonly strict: boolean;
}

/** How long messages of before may be on their way. */
const CLOSING_MS = 3000;

/** KeyNode is one gateway. */
export class KeyNode {
  readonly #options: NodeOptions;
  keeper: KeyKeeper;
  path: KeyPath;
  routes: readonly KeyRoute[];
  /** Another one is the keeper, or all is new, since then. */
  generation = 0;
  /** It has started again or ended: what others installed until then it need not understand. */
  forgotMs = -1;
  readonly endpoints: Map<number, Endpoint>;
  readonly news: string[] = [];
  /** Packets that came, and what was sent when the other could not have opened it. */
  received = 0;
  sent = 0;
  unready = 0;
  lastReceivedMs = 0;
  longestGapMs = 0;
  effects: KeeperEffect[] = [];
  #wakeMs = Number.POSITIVE_INFINITY;
  readonly #waiting = new Map<string, KeeperEffect[]>();

  constructor(options: NodeOptions) {
    this.#options = options;
    this.endpoints = new Map(options.endpoints);
    this.routes = options.routes;
    this.keeper = this.#newKeeper();
    this.path = new KeyPath((event) => this.step(event));
    options.world.nodes.push(this);
  }

  #newKeeper(): KeyKeeper {
    const { random } = this.#options.world;
    const primitives: Primitives = { ...systemPrimitives, random: (length) => random.bytes(length) };
    return new KeyKeeper({ primitives });
  }

  get nowMs(): number {
    return this.#options.world.time.nowMs;
  }

  configure(routes = this.routes): readonly KeeperEffect[] {
    this.routes = routes;
    return this.step({ kind: "configure", routes });
  }

  step(event: KeeperEvent): readonly KeeperEffect[] {
    const effects = this.keeper.step(event, { nowMs: this.nowMs });
    for (const effect of effects) this.#queue(effect);
    this.#wake();
    return effects;
  }

  /** Effects of a route one after another; orders take the data path a while. */
  #queue(effect: KeeperEffect): void {
    this.effects.push(effect);
    const waiting = this.#waiting.get(effect.route);
    if (waiting !== undefined) {
      waiting.push(effect);
      return;
    }
    this.#waiting.set(effect.route, [effect]);
    this.#perform(effect.route, this.generation);
  }

  #perform(route: string, generation: number): void {
    const waiting = this.#waiting.get(route);
    const { world, installMs = 0 } = this.#options;
    for (;;) {
      const effect = waiting?.[0];
      if (waiting === undefined || effect === undefined || generation !== this.generation) break;
      if (effect.kind === "send") world.send(effect.from, effect.to, { datagram: effect.bytes });
      else if (effect.kind === "news") this.news.push(`${route} ${effect.news.kind}`);
      else if (installMs > 0) {
        world.time.after(world.random.below(installMs + 1), () => {
          if (generation !== this.generation) return;
          this.path.obey(effect, this.nowMs);
          waiting.shift();
          this.#perform(route, generation);
        });
        return;
      } else this.path.obey(effect, this.nowMs);
      waiting.shift();
    }
    if (generation === this.generation) this.#waiting.delete(route);
  }

  #wake(): void {
    const nextMs = this.keeper.nextMs;
    if (nextMs === undefined || nextMs >= this.#wakeMs) return;
    this.#wakeMs = nextMs;
    const { generation } = this;
    this.#options.world.time.at(nextMs, () => {
      if (generation !== this.generation || this.#wakeMs !== nextMs) return;
      this.#wakeMs = Number.POSITIVE_INFINITY;
      this.step({ kind: "due" });
      this.#wake();
    });
  }

  arrive(from: Endpoint, target: string, load: Load): void {
    const found = [...this.endpoints].find(([, endpoint]) => formatEndpoint(endpoint) === target);
    if (found === undefined) return;
    const [queue, to] = found;
    if ("datagram" in load) this.step({ kind: "datagram", queue, from, to, bytes: load.datagram });
    else if (this.path.open(load.packet, this.nowMs)) {
      this.received++;
      this.longestGapMs = Math.max(this.longestGapMs, this.nowMs - this.lastReceivedMs);
      this.lastReceivedMs = this.nowMs;
    }
  }

  /** sendPacket sends one packet of a route's queue; false while there is nothing to send with. */
  sendPacket(route: string, queue: number, other: KeyNode): boolean {
    const packet = this.path.seal(route, queue, this.nowMs);
    if (packet === undefined) return false;
    this.sent++;
    // Either has taken leave of it; the order to remove it may still be on its way.
    const left = packet.bornMs <= Math.max(other.forgotMs, this.forgotMs);
    const known = left || other.path.canOpen(packet, this.nowMs);
    if (this.#options.strict && !known) this.unready++;
    this.#options.world.send(packet.path.local, packet.path.remote, { packet });
    return true;
  }

  /** close says goodbye: what the other has is not understood from now on. */
  close(): void {
    this.forgotMs = this.nowMs + CLOSING_MS;
    this.step({ kind: "close" });
  }

  /** restart begins anew: with the data path of before, or with nothing. */
  restart({ keepsPath }: { readonly keepsPath: boolean }): void {
    const { used, outbound, inbound, everSealed } = this.path;
    this.generation++;
    this.#waiting.clear();
    this.#wakeMs = Number.POSITIVE_INFINITY;
    this.keeper[Symbol.dispose]();
    this.keeper = this.#newKeeper();
    if (!keepsPath) {
      this.path = new KeyPath((event) => this.step(event), everSealed);
      this.forgotMs = this.nowMs + CLOSING_MS;
      this.configure();
      return;
    }
    // What waits for its first use is not known any more: nobody would ever use it.
    const active = new Set(used.values());
    for (const place of [...outbound.keys()]) if (!active.has(place)) outbound.delete(place);
    const installed = [
      ...[...outbound].map(([place, { spi, path, endsMs }]) => {
        const [route, queue] = place.split(" ") as [string, string];
        return { direction: "outbound", route, queue: Number(queue), spi, path, endsMs } as const;
      }),
      ...[...inbound].map(([spi, { route, queue, endsMs }]) => {
        const path = [...outbound.values()][0]?.path;
        return { direction: "inbound", route, queue, spi, endsMs, path } as const;
      }),
    ].flatMap((one) => (one.path === undefined ? [] : [{ ...one, path: one.path }]));
    const first = this.keeper.step({ kind: "adopt", installed }, { nowMs: this.nowMs });
    const then = this.keeper.step({ kind: "configure", routes: this.routes }, { nowMs: this.nowMs });
    for (const effect of [...first, ...then]) this.#queue(effect);
    this.#wake();
  }
}

/** flow has two gateways send each other a packet every so often, for ever. */
export function flow(
  world: KeyWorld,
  [a, b]: readonly [KeyNode, KeyNode],
  {
    route,
    queue = 1,
    everyMs,
  }: { readonly route: string; readonly queue?: number; readonly everyMs: number },
): void {
  const tick = () => {
    a.sendPacket(route, queue, b);
    b.sendPacket(route, queue, a);
    world.time.after(everyMs, tick);
  };
  tick();
}
