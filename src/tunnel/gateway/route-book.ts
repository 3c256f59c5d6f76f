/**
 * The routes of a gateway and their associations, as packets look them up: routes by the longest prefix around an address, inbound associations
 * by their SPI.
 *
 * Each change touches what it is about: another route's packets, tables and associations stay as they are.
 */
import { formatPrefix, type Ip, type Prefix } from "../../net/mod.ts";
import { type AeadProvider, type Arena, ArenaPool } from "../../sys/mod.ts";
import { XDP_ENDPOINT } from "../xdp/xdp-endpoint.ts";
import type { Detour } from "./detour.ts";
import { Inbound, Outbound } from "./gateway-association.ts";
import { addRefused } from "./gateway-report.ts";
import { GatewayRoute } from "./gateway-route.ts";
import type { Encapsulation, InboundOrder, OutboundOrder, RouteOrder } from "./order.ts";
import { PrefixTable } from "./prefix-table.ts";
import type { Side } from "./side.ts";
import { keyIdOf, UsedKeys } from "./used-keys.ts";

/** MOST_ROUTES and MOST_GATEWAY_ASSOCIATIONS of each direction are limits against mistakes. */
export const MOST_ROUTES = 65_536;
export const MOST_GATEWAY_ASSOCIATIONS = 16_384;

/** A prefix as a key of a map: cheaper than its text. */
const keyOf = ({ family, value, length }: Prefix) => `${family} ${length} ${value.toString(16)}`;

/** RouteBook owns the associations: what is removed is wiped. Not to be changed while packets are worked on. */
export class RouteBook implements Disposable {
  readonly four = new PrefixTable(4);
  readonly six = new PrefixTable(6);
  readonly inbound = new Map<number, Inbound>();
  readonly #arena: Arena;
  readonly #provider: AeadProvider;
  readonly #endpoints: ArenaPool;
  readonly #routes: (GatewayRoute | undefined)[] = [];
  readonly #byName = new Map<string, GatewayRoute>();
  readonly #detoured = new Set<string>();
  readonly #free: number[] = [];
  readonly #keys = new UsedKeys();
  /** Of inbound associations. */
  readonly #heard = new UsedKeys();
  readonly #keysInUse = new Set<string>();
  #mtuBytes = 0;

  constructor(arena: Arena, provider: AeadProvider) {
    this.#arena = arena;
    this.#provider = provider;
    this.#endpoints = new ArenaPool(arena, {
      bytes: XDP_ENDPOINT.bytes,
      most: MOST_GATEWAY_ASSOCIATIONS,
    });
  }

  /** route returns the route of a table's value. */
  route(index: number): GatewayRoute {
    return this.#routes[index] as GatewayRoute;
  }

  /** All routes, in no order that means anything. */
  get routes(): Iterable<GatewayRoute> {
    return this.#byName.values();
  }

  /** setMtu makes it the MTU of all routes without one of their own. */
  setMtu(mtuBytes: number): void {
    this.#mtuBytes = mtuBytes;
    for (const route of this.routes) route.mtuBytes = route.ownMtuBytes ?? mtuBytes;
  }

  /** setRoute adds a route or changes it; prefixes that stay are not touched. Throws for a prefix of another route. */
  setRoute({ name, prefixes, mtuBytes }: RouteOrder): void {
    const old = this.#byName.get(name);
    for (const prefix of prefixes) {
      const other = this.#table(prefix).get(prefix);
      if (other !== undefined && other !== old?.index)
        throw new Error(
          `Cannot route ${formatPrefix(prefix)} by ${name}: ${this.route(other).name} has it; a prefix has one route`,
        );
    }
    const route = old ?? this.#newRoute(name);
    const wanted = new Set(prefixes.map(keyOf));
    const gone = route.prefixes.filter((prefix) => !wanted.has(keyOf(prefix)));
    const added = prefixes.filter((prefix) => this.#table(prefix).get(prefix) === undefined);
    const done: Prefix[] = [];
    try {
      for (const prefix of added) {
        this.#table(prefix).set(prefix, route.index);
        done.push(prefix);
      }
    } catch (error) {
      for (const prefix of done) this.#table(prefix).remove(prefix);
      if (old === undefined) this.removeRoute(name);
      throw error;
    }
    for (const prefix of gone) this.#table(prefix).remove(prefix);
    route.prefixes = prefixes;
    route.ownMtuBytes = mtuBytes;
    route.mtuBytes = mtuBytes ?? this.#mtuBytes;
  }

  /** detour has a route's packets of the private side go by another queue; without one by its own association again. Throws without the route. */
  detour(name: string, detour: Detour | undefined): void {
    this.#named(name).detour = detour;
    if (detour === undefined) this.#detoured.delete(name);
    else this.#detoured.add(name);
  }

  /** isDetoured tells whether any route's packets go by another queue. */
  get isDetoured(): boolean {
    return this.#detoured.size > 0;
  }

  #newRoute(name: string): GatewayRoute {
    if (this.#byName.size >= MOST_ROUTES)
      throw new Error(`Cannot add route ${name}: there are ${MOST_ROUTES}; remove some first`);
    const index = this.#free.pop() ?? this.#routes.length;
    const route = new GatewayRoute(index, name);
    this.#routes[index] = route;
    this.#byName.set(name, route);
    return route;
  }

  /** removeRoute removes a route and its associations; nothing if it is not there. */
  removeRoute(name: string): void {
    const route = this.#byName.get(name);
    if (route === undefined) return;
    this.#detoured.delete(name);
    for (const prefix of route.prefixes) this.#table(prefix).remove(prefix);
    for (const outbound of this.#outboundOf(route)) this.#drop(outbound);
    for (const inbound of this.inbound.values()) if (inbound.route === route) this.removeInbound(inbound.spi);
    this.#byName.delete(name);
    this.#routes[route.index] = undefined;
    this.#free.push(route.index);
  }

  #table(prefix: Prefix): PrefixTable {
    return prefix.family === 4 ? this.four : this.six;
  }

  #named(name: string): GatewayRoute {
    const route = this.#byName.get(name);
    if (route === undefined) throw new Error(`There is no route ${name}; add it before its associations`);
    return route;
  }

  /** addInbound installs an association that opens, and displaces one of the same SPI and key; throws if another key has the SPI. */
  addInbound(order: InboundOrder): void {
    const { spi } = order;
    const route = this.#named(order.route);
    const keyId = `${keyIdOf(order.keyMaterial)} ${spi}`;
    const before = this.inbound.get(spi);
    if (before !== undefined && before.keyId !== keyId)
      throw new Error(`Cannot add inbound association ${spi}: its SPI is taken; choose another`);
    if (before === undefined && this.inbound.size >= MOST_GATEWAY_ASSOCIATIONS)
      throw new Error(
        `Cannot add inbound association ${spi}: there are ${MOST_GATEWAY_ASSOCIATIONS}; remove some first`,
      );
    const newest = Math.max(order.newest ?? 0, before?.newest ?? this.#heard.next(keyId) - 1);
    const parts = { provider: this.#provider, route, keyId, newest };
    this.inbound.set(spi, new Inbound(before === undefined ? parts : { ...parts, before }, order));
    before?.[Symbol.dispose]();
  }

  /** removeInbound wipes an association, but for what it has seen; nothing if it is not there. */
  removeInbound(spi: number): void {
    const inbound = this.inbound.get(spi);
    if (inbound === undefined) return;
    this.#heard.note(inbound.keyId, inbound.newest + 1);
    inbound[Symbol.dispose]();
    this.inbound.delete(spi);
    Object.assign(inbound.route, addRefused(inbound.route, inbound));
  }

  /** addOutbound installs an association that waits. Throws for a key that was used beyond its next sequence number. */
  addOutbound(order: OutboundOrder, side: Side): void {
    const route = this.#named(order.route);
    const keyId = keyIdOf(order.keyMaterial);
    if (this.#keysInUse.has(keyId))
      throw new Error(
        `Cannot add outbound association ${order.spi} of ${order.route}: its key is in use; agree on a new key`,
      );
    const least = this.#keys.next(keyId);
    if (order.next < least)
      throw new Error(
        `Cannot add outbound association ${order.spi} of ${order.route}: its key was used up to sequence number ${least - 1}; agree on a new key`,
      );
    if (this.#keysInUse.size >= MOST_GATEWAY_ASSOCIATIONS)
      throw new Error(
        `Cannot add outbound association ${order.spi}: there are ${MOST_GATEWAY_ASSOCIATIONS}; remove some first`,
      );
    const parts = { provider: this.#provider, arena: this.#arena, pool: this.#endpoints, route, keyId };
    const outbound = new Outbound(parts, order);
    try {
      outbound.aim(side);
    } catch (error) {
      outbound[Symbol.dispose]();
      throw error;
    }
    const waiting = route.waiting.get(order.spi);
    if (waiting !== undefined) this.#drop(waiting);
    route.waiting.set(order.spi, outbound);
    this.#keysInUse.add(keyId);
  }

  /** moveOutbound makes a waiting association the one that a route's packets leave by; the one before is removed. */
  moveOutbound(name: string, spi: number): void {
    const route = this.#named(name);
    const next = route.waiting.get(spi);
    if (next === undefined) {
      if (route.outbound?.spi === spi) return;
      throw new Error(`Cannot move ${name} to outbound association ${spi}: it is not there`);
    }
    const before = route.outbound;
    route.waiting.delete(spi);
    route.outbound = next;
    if (before !== undefined) this.#drop(before);
  }

  /** removeOutbound wipes an association, in use or waiting; nothing if it is not there. */
  removeOutbound(name: string, spi: number): void {
    for (const outbound of this.#outboundOf(this.#named(name)))
      if (outbound.spi === spi) this.#drop(outbound);
  }

  /** outbound returns an association, waiting before in use; throws if there is none. */
  outbound(name: string, spi: number): Outbound {
    const route = this.#named(name);
    const found = [...route.waiting.values(), route.outbound].find((one) => one?.spi === spi);
    if (found === undefined) throw new Error(`There is no outbound association ${spi} of ${name}`);
    return found;
  }

  /** retarget lets an association go to where its remote gateway is now. */
  retarget(outbound: Outbound, where: { readonly to: Ip; readonly udp?: Encapsulation }, side: Side): void {
    const before = { to: outbound.to, udp: outbound.udp };
    Object.assign(outbound, { to: where.to, udp: where.udp });
    try {
      outbound.aim(side);
    } catch (error) {
      Object.assign(outbound, before);
      outbound.aim(side);
      throw error;
    }
  }

  /** aimAll writes the headers of all associations anew: an address of the public side, or its neighbour's, has changed. */
  aimAll(side: Side): void {
    for (const route of this.routes)
      for (const outbound of this.#outboundOf(route))
        if (side.family(outbound.to.family) !== undefined) outbound.aim(side);
  }

  #outboundOf(route: GatewayRoute): Outbound[] {
    return [...route.waiting.values(), ...(route.outbound === undefined ? [] : [route.outbound])];
  }

  #drop(outbound: Outbound): void {
    const { route, spi } = outbound;
    if (route.waiting.get(spi) === outbound) route.waiting.delete(spi);
    if (route.outbound === outbound) route.outbound = undefined;
    this.#keys.note(outbound.keyId, outbound.next);
    outbound[Symbol.dispose]();
    this.#keysInUse.delete(outbound.keyId);
  }

  [Symbol.dispose](): void {
    for (const name of [...this.#byName.keys()]) this.removeRoute(name);
  }
}
