/**
 * From a gateway's model to what the keepers of its keys are told: only of queues that run, and only of routes that nothing is in the way of.
 *
 * ```
 *   RouteModel ─ credential ─▶ protocol (ske5; ours by public keys, by a pre-shared key, or by both)
 *              ├ pairs ──────▶ channels: address and port, gateways
 *              └ carriers ───▶ queues of a channel beside its own
 * ```
 */
import { type Ip, ipEqual, KeyMaterial, type PrivateKey, Secret } from "../../net/mod.ts";
import type { OursFamily, OursTrust, Path } from "../../exchange/ours/mod.ts";
import type { ExchangeModel, GatewayModel, LifetimeModel, PairModel, RouteModel } from "../model.ts";
import { DEFAULT_USE } from "./associations.ts";
import type { KeyChannel, KeyLifetime, KeyProtocol, KeyRoute } from "./key-route.ts";
import type { ManagedSa } from "./managed.ts";
import { isHidden } from "./nat.ts";

/** ENCAPSULATION_PORT is that of ESP in UDP, and of the exchange beside it (RFC 3948). */
export const ENCAPSULATION_PORT = 4500;

/** PlanKeysFacts are what the model does not say. */
export interface PlanKeysFacts {
  /** Our own key; it is asked for only for routes by public keys. Undefined: there is none that can be read. */
  readonly privateKey: () => PrivateKey | undefined;
  /** Queues that run; default all. */
  readonly up?: ReadonlySet<number>;
}

/** KeyPlan is all of it. */
export interface KeyPlan {
  readonly routes: readonly KeyRoute[];
  readonly managed: readonly ManagedSa[];
  /** By id: why a route has no keys. */
  readonly unusable: ReadonlyMap<string, string>;
}

/** planKeys returns what both keepers are told. */
export function planKeys(model: GatewayModel, facts: PlanKeysFacts): KeyPlan {
  const routes: KeyRoute[] = [];
  const unusable = new Map<string, string>();
  for (const route of model.routes.values()) {
    const planned = model.dataPlane ? route.unusable : planKeyRoute(route, model, facts);
    if (typeof planned === "string") unusable.set(route.id, planned);
    else if (planned !== undefined) routes.push(planned);
  }
  return { routes, managed: planManaged(model, facts.up), unusable };
}

/** planKeyRoute returns what the keeper is told of a route; a string is why it is told nothing. */
export function planKeyRoute(
  route: RouteModel,
  model: GatewayModel,
  facts: PlanKeysFacts,
): KeyRoute | string {
  if (route.unusable !== undefined) return route.unusable;
  const protocol = protocolOf(route, facts);
  if (typeof protocol === "string") return protocol;
  const isUp = (queue: number) => facts.up?.has(queue) ?? true;
  return {
    id: route.id,
    protocol,
    channels: route.pairs
      .filter(({ queue }) => isUp(queue))
      .map((pair) => channelOf(pair, { route, model, isUp })),
    negotiationMs: model.negotiationMs,
    lifetime: lifetimeOf(model.lifetime),
  };
}

/** planManaged returns the associations that an operator gives, for queues that run; those of routes that are not there are left out. */
export function planManaged(model: GatewayModel, up?: ReadonlySet<number>): ManagedSa[] {
  return [...model.associations.values()].flatMap(({ direction, route, key, salt, ...one }) => {
    const { spi, queue, algorithm } = one;
    const { pairs } = model.routes.get(route) ?? {};
    if (up?.has(queue) === false || pairs === undefined) return [];
    const to = direction === "outbound" ? pairs.find((pair) => pair.queue === queue)?.gateways[0] : undefined;
    const bytes = new Uint8Array(key.length + salt.length);
    bytes.set(key.reveal());
    bytes.set(salt.reveal(), key.length);
    const keyMaterial = new KeyMaterial(bytes);
    bytes.fill(0);
    const sa = { spi, queue, algorithm, extended: true, keyMaterial };
    return [{ direction, route, sa, ...(to === undefined ? {} : { to }) }];
  });
}

/** encapsulationOf returns the UDP ports around ESP on a path; undefined where it goes as it is. */
export function encapsulationOf({
  local,
  remote,
}: Path): { readonly from: number; readonly to: number } | undefined {
  return local.port === ENCAPSULATION_PORT ? { from: local.port, to: remote.port } : undefined;
}

/** arrivalOf returns how ESP of the peer comes on a path: as packets have it. */
export function arrivalOf(path: Path): {
  readonly from: Ip;
  readonly udp?: { readonly from: number; readonly to: number };
} {
  const udp = encapsulationOf(path);
  const from = path.remote.ip;
  return udp === undefined ? { from } : { from, udp: { from: udp.to, to: udp.from } };
}

function protocolOf(route: RouteModel, { privateKey }: PlanKeysFacts): KeyProtocol | string {
  const { exchange, spi } = route;
  const { presharedKey, publicKey } = exchange.credential;
  const psk = presharedKey === undefined ? undefined : new Secret(presharedKey.reveal());
  if (exchange.protocol === "vita")
    return psk === undefined ? NO_CREDENTIAL : { kind: "ske5", routeSpi: spi, psk };
  const trust = publicKey === undefined ? alone(psk) : byPublicKey(publicKey, privateKey(), psk);
  if (typeof trust === "string") return trust;
  return {
    kind: "ours",
    terms: { route: spi, family: familyOf(route), trust },
    algorithms: [exchange.algorithm],
  };
}

const NO_CREDENTIAL = "it has no key; add preshared-key or public-key";

function alone(psk: Secret | undefined): OursTrust | string {
  return psk === undefined ? NO_CREDENTIAL : { kind: "pre-shared key", psk };
}

function byPublicKey(
  remote: PrivateKey["publicKey"],
  privateKey: PrivateKey | undefined,
  psk: Secret | undefined,
): OursTrust | string {
  if (privateKey === undefined)
    return "this gateway's own key cannot be read, and the route is by public-key";
  if (privateKey.publicKey === remote)
    return "its public-key is this gateway's own; write the other gateway's";
  return { kind: "public keys", privateKey, remote, ...(psk === undefined ? {} : { psk }) };
}

/** Both ends have the same: a family that only one of them has networks of goes nowhere. */
function familyOf({ prefixes }: RouteModel): OursFamily {
  const families = new Set(prefixes.map(({ family }) => family));
  if (families.size > 1) return "both";
  return families.has(6) ? "ipv6" : "ipv4";
}

function channelOf(
  pair: PairModel,
  at: { readonly route: RouteModel; readonly model: GatewayModel; readonly isUp: (queue: number) => boolean },
): KeyChannel {
  const { exchange, carriers } = at.route;
  const port = isEncapsulated(pair, exchange) ? ENCAPSULATION_PORT : at.model.port;
  const carried = [...carriers].flatMap(([queue, by]) =>
    by === pair.queue && at.isUp(queue) ? [queue] : [],
  );
  return {
    queue: pair.queue,
    // vita-ske agrees on one association a channel.
    queues: exchange.protocol === "vita" ? [pair.queue] : [pair.queue, ...carried],
    local: { endpoint: { ip: pair.local.ip, port }, identity: pair.local.identity },
    gateways: pair.gateways.map((ip) => ({ ip, port })),
  };
}

/**
 * Whether we call over the port of the encapsulation. Who is called answers where it was called, so one end's choice is enough. By `auto` it is
 * where a NAT surely is in between: our address is another than the one that the peer knows, or a private one, and the gateway's is not.
 */
function isEncapsulated({ local, gateways }: PairModel, exchange: ExchangeModel): boolean {
  if (exchange.protocol === "vita" || exchange.encapsulation === "never") return false;
  if (exchange.encapsulation === "always") return true;
  const isBehind = !ipEqual(local.ip, local.identity) || isHidden(local.ip);
  return isBehind && gateways.some((ip) => !isHidden(ip));
}

/** No more than an algorithm may protect. */
function lifetimeOf({ ms, bytes, packets }: LifetimeModel): KeyLifetime {
  const least = (given: bigint | undefined, most: number) =>
    given === undefined ? most : Math.min(most, Number(given));
  return {
    ms,
    bytes: least(bytes, DEFAULT_USE.bytes),
    packets: least(packets, DEFAULT_USE.packets),
  };
}
