/**
 * The keeper of a gateway's keys: agrees on associations for all routes, and has the data path use, change and end them.
 *
 * ```
 *   routes (configure) ─┐                    ┌─▶ send, inbound, outbound, use, remove, endpoint, news
 *   datagrams, limits ──┼─▶ KeyKeeper.step ──┤
 *   time (due) ─────────┘                    └─▶ nextMs: when to step `due`
 * ```
 * It has no socket, clock or timer; a step costs what its channel costs, however many routes there are. Whoever has it does the effects of a
 * route in order, each when the one before is done (KeeperEffect).
 */
import { isOurs, type OursParty, oursParty } from "../../exchange/ours/mod.ts";
import { type Bytes, type Primitives, systemPrimitives } from "../../noise/mod.ts";
import { Deadlines } from "../../tunnel/wireguard/mod.ts";
import { adopted } from "./adopt.ts";
import { type ChannelEvent, channelMs, newChannel, stepChannel } from "./channel.ts";
import type { ChannelAround, ChannelEffect, ChannelState } from "./channel-state.ts";
import type { Installed, KeeperCounter, KeeperEffect, KeeperEvent, Now } from "./keeper-event.ts";
import { type KeyChannel, type KeyRoute, routeNumber, sameTrust, sameWay, trustName } from "./key-route.ts";
import { type ChannelStatus, describeChannel } from "./report.ts";
import { SpiBook } from "./spi-book.ts";

const BOOT_BYTES = 8;
const ROUTE_BYTES = 4;
/** Channels that are worked on in a step, at most: each may cost a curve operation, and a thousand can be due at once. */
const MOST_DUE = 16;

/** A route with its channels; numbers are for Deadlines. */
interface Kept {
  readonly route: KeyRoute;
  readonly trust: string;
  readonly party?: OursParty;
  readonly channels: ReadonlyMap<number, number>;
}

interface Channel {
  readonly channel: KeyChannel;
  readonly route: string;
  state: ChannelState;
}

/** KeyKeeper owns secrets: dispose of it. */
export class KeyKeeper implements Disposable {
  readonly #primitives: Primitives;
  readonly #boot: Bytes;
  readonly #book: SpiBook;
  readonly #routes = new Map<string, Kept>();
  readonly #byNumber = new Map<number, string>();
  readonly #channels = new Map<number, Channel>();
  readonly #deadlines = new Deadlines();
  readonly #counters = new Map<KeeperCounter, number>();
  #nextNumber = 0;
  /** What a keeper before has left in the data path, until the first `configure`. */
  #left: Installed[] | undefined = [];

  constructor(options: { readonly primitives?: Primitives } = {}) {
    this.#primitives = options.primitives ?? systemPrimitives;
    this.#boot = this.#primitives.random(BOOT_BYTES);
    this.#book = new SpiBook((length) => this.#primitives.random(length));
  }

  /** How often each thing was counted. */
  get counters(): ReadonlyMap<KeeperCounter, number> {
    return this.#counters;
  }

  /** When to step `due`; undefined when nothing is awaited. It may be too early, never too late; and past, where more is due than a step does. */
  get nextMs(): number | undefined {
    return this.#deadlines.next();
  }

  /** How many SPIs are taken. */
  get spis(): number {
    return this.#book.size;
  }

  /** step returns what is to be done after an event, in order. */
  step(event: KeeperEvent, now: Now): readonly KeeperEffect[] {
    switch (event.kind) {
      case "configure":
        return this.#configure(event.routes, now);
      case "change":
        return this.#change(event, now);
      case "adopt":
        return this.#adopt(event.installed);
      case "datagram":
        return this.#datagram(event, now);
      case "heard":
      case "limit": {
        const number = this.#channelOf(event);
        return number === undefined ? [] : this.#tell(number, event, now);
      }
      case "due":
        return this.#deadlines.due(now.nowMs, MOST_DUE).flatMap((number) => this.#tell(number, event, now));
      case "close":
        return [...this.#routes.keys()].flatMap((id) => this.#removeRoute(id, now));
    }
  }

  /** reasonOf tells why a queue of a route has no peer; undefined: it has. */
  reasonOf(at: { readonly route: string; readonly queue: number }): string | undefined {
    const number = this.#channelOf(at);
    const state = number === undefined ? undefined : this.#channels.get(number)?.state;
    if (state === undefined) return "no keys are agreed on for it";
    return state.up ? undefined : (state.reason ?? "no exchange yet");
  }

  /** describe returns what there is to be known of all channels. Secrets are not. */
  describe({ nowMs }: Now): readonly ChannelStatus[] {
    return [...this.#channels.values()].map(({ route, channel, state }) =>
      describeChannel(state, { route, channel, nowMs }),
    );
  }

  #datagram(event: Extract<KeeperEvent, { readonly kind: "datagram" }>, now: Now): readonly KeeperEffect[] {
    const { bytes, queue } = event;
    if (bytes.length < ROUTE_BYTES) return this.#refuse("protocol-errors");
    const routeNumber = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
    const kept = this.#routes.get(this.#byNumber.get(routeNumber) ?? "");
    const number = kept?.channels.get(queue);
    if (kept === undefined || number === undefined) return this.#refuse("route-errors");
    if (isOurs(bytes) !== (kept.route.protocol.kind === "ours")) return this.#refuse("protocol-errors");
    return this.#tell(number, event, now);
  }

  #refuse(leaf: KeeperCounter): readonly KeeperEffect[] {
    this.#count("rxerrors");
    this.#count(leaf);
    return [];
  }

  #count(leaf: KeeperCounter): void {
    this.#counters.set(leaf, (this.#counters.get(leaf) ?? 0) + 1);
  }

  /** The channel by which a route's queue has its associations. */
  #channelOf({ route, queue }: { readonly route: string; readonly queue: number }): number | undefined {
    const numbers = [...(this.#routes.get(route)?.channels.values() ?? [])];
    return numbers.find((number) => this.#channels.get(number)?.channel.queues.includes(queue));
  }

  /** SPIs are taken before any is given out. */
  #adopt(installed: readonly Installed[]): readonly KeeperEffect[] {
    if (this.#left === undefined) throw new Error("what was installed is adopted before the first configure");
    for (const { direction, spi } of installed) if (direction === "inbound") this.#book.occupy(spi);
    this.#left.push(...installed);
    return [];
  }

  /** A channel that goes on with what is left of one before. */
  #adopted(route: KeyRoute, channel: KeyChannel, { nowMs }: Now): ChannelState {
    const trust = trustName(route.protocol);
    const isIts = (one: Installed) =>
      one.route === route.id && channel.queues.includes(one.queue) && (one.trust ?? trust) === trust;
    let state = newChannel({ route, nowMs });
    this.#left = this.#left?.filter((one) => {
      const next = isIts(one) ? adopted(state, one, nowMs) : undefined;
      if (next !== undefined) state = next;
      return next === undefined;
    });
    return state;
  }

  /** Has what is of no route any more removed. */
  #removeLeft(): readonly KeeperEffect[] {
    const left = this.#left ?? [];
    this.#left = undefined;
    for (const { direction, spi } of left) if (direction === "inbound") this.#book.narrow.release(spi, 1);
    return left.map(({ direction, route, queue, spi }) => ({
      kind: "remove",
      direction,
      route,
      queue,
      spi,
    }));
  }

  #around({ route: id, channel }: Channel, { nowMs }: Now): ChannelAround {
    const { route, party, trust } = this.#routes.get(id) as Kept;
    const spis = route.protocol.kind === "ske5" ? this.#book.narrow : this.#book.wide;
    const common = { route, channel, primitives: this.#primitives, spis, boot: this.#boot, trust, nowMs };
    return party === undefined ? common : { ...common, party };
  }

  #tell(number: number, event: ChannelEvent, now: Now): readonly KeeperEffect[] {
    const channel = this.#channels.get(number);
    if (channel === undefined) return [];
    const around = this.#around(channel, now);
    const [state, effects] = stepChannel(channel.state, event, around);
    channel.state = state;
    this.#deadlines.set(number, event.kind === "end" ? Number.POSITIVE_INFINITY : channelMs(state, around));
    return this.#asked(effects, event);
  }

  /** Counts what is counted, and returns the rest. */
  #asked(effects: readonly ChannelEffect[], event: ChannelEvent): readonly KeeperEffect[] {
    const asked: KeeperEffect[] = [];
    for (const effect of effects) {
      if (effect.kind !== "count") {
        asked.push(effect);
        continue;
      }
      this.#count(effect.leaf);
      if (event.kind === "datagram" && effect.leaf.endsWith("-errors")) this.#count("rxerrors");
    }
    return asked;
  }

  #configure(routes: readonly KeyRoute[], now: Now): readonly KeeperEffect[] {
    const wanted = new Set(routes.map(({ id }) => id));
    const remove = [...this.#routes.keys()].filter((id) => !wanted.has(id));
    const effects = this.#change({ put: routes, remove }, now);
    return [...this.#removeLeft(), ...effects];
  }

  /** What is wrong throws before anything changes. */
  #change(
    { put, remove }: { readonly put: readonly KeyRoute[]; readonly remove: readonly string[] },
    now: Now,
  ): readonly KeeperEffect[] {
    const gone = new Set(remove);
    for (const { id, protocol } of put) {
      const before = this.#routes.get(id);
      if (before !== undefined && !sameTrust(before.route.protocol, protocol)) gone.add(id);
    }
    this.#checkNumbers(put, gone);
    const parties = this.#parties(put.filter(({ id }) => gone.has(id) || !this.#routes.has(id)));
    const effects = [...gone].flatMap((id) => this.#removeRoute(id, now));
    for (const route of put) effects.push(...this.#putRoute(route, parties.get(route.id), now));
    return effects;
  }

  #parties(routes: readonly KeyRoute[]): ReadonlyMap<string, OursParty> {
    const parties = new Map<string, OursParty>();
    try {
      for (const { id, protocol } of routes)
        if (protocol.kind === "ours") parties.set(id, oursParty(this.#primitives, protocol.terms));
      return parties;
    } catch (error) {
      for (const party of parties.values()) party[Symbol.dispose]();
      throw error;
    }
  }

  #checkNumbers(put: readonly KeyRoute[], gone: ReadonlySet<string>): void {
    const seen = new Map<number, string>();
    for (const route of put) {
      const number = routeNumber(route);
      const kept = this.#byNumber.get(number);
      const other = seen.get(number) ?? (kept === undefined || gone.has(kept) ? undefined : kept);
      if (other !== undefined && other !== route.id)
        throw new Error(`Route ${route.id}: its SPI ${number} is that of route ${other}; choose another`);
      seen.set(number, route.id);
    }
  }

  #putRoute(route: KeyRoute, party: OursParty | undefined, now: Now): readonly KeeperEffect[] {
    const before = this.#routes.get(route.id);
    const wanted = new Set(route.channels.map(({ queue }) => queue));
    const effects: KeeperEffect[] = [];
    const channels = new Map<number, number>();
    for (const [queue, at] of before?.channels ?? []) {
      if (wanted.has(queue)) channels.set(queue, at);
      else effects.push(...this.#endChannel(at, now));
    }
    const made = party === undefined ? {} : { party };
    this.#byNumber.set(routeNumber(route), route.id);
    const trust = before?.trust ?? trustName(route.protocol);
    this.#routes.set(route.id, { ...made, ...before, route, trust, channels });
    for (const channel of route.channels) {
      const at = channels.get(channel.queue);
      if (at !== undefined) {
        effects.push(...this.#changeChannel(at, { channel, before: before?.route, route }, now));
        continue;
      }
      const number = this.#newChannel(route, channel, now);
      channels.set(channel.queue, number);
      effects.push(...this.#tell(number, { kind: "due" }, now));
    }
    return effects;
  }

  #newChannel(route: KeyRoute, channel: KeyChannel, now: Now): number {
    const number = this.#nextNumber++;
    this.#channels.set(number, { route: route.id, channel, state: this.#adopted(route, channel, now) });
    return number;
  }

  #changeChannel(
    number: number,
    to: { readonly channel: KeyChannel; readonly before: KeyRoute | undefined; readonly route: KeyRoute },
    now: Now,
  ): readonly KeeperEffect[] {
    const held = this.#channels.get(number) as Channel;
    const same = sameWay(held.channel, to.channel) && to.before?.negotiationMs === to.route.negotiationMs;
    this.#channels.set(number, { ...held, channel: to.channel });
    return same ? [] : this.#tell(number, { kind: "reset", before: held.channel }, now);
  }

  #endChannel(number: number, now: Now): readonly KeeperEffect[] {
    const effects = this.#tell(number, { kind: "end" }, now);
    this.#channels.delete(number);
    return effects;
  }

  #removeRoute(id: string, now: Now): readonly KeeperEffect[] {
    const kept = this.#routes.get(id);
    if (kept === undefined) return [];
    const effects = [...kept.channels.values()].flatMap((number) => this.#endChannel(number, now));
    kept.party?.[Symbol.dispose]();
    this.#routes.delete(id);
    this.#byNumber.delete(routeNumber(kept.route));
    return effects;
  }

  /** Wipes all secrets and says nothing: what the data path has goes on. */
  [Symbol.dispose](): void {
    for (const id of this.#routes.keys()) this.#removeRoute(id, { nowMs: 0 });
  }
}
