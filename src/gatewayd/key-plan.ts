/** What the keepers of keys are told of a model's routes: only of queues that run, and only of routes that nothing is in the way of. */
import type { GatewayModel, PairModel, RouteModel } from "../gateway/mod.ts";
import type { KeyChannel, KeyProtocol, KeyRoute, ManagedSa } from "../gateway/keys/mod.ts";
import { type Endpoint, formatIp, type Ip, KeyMaterial, type PrivateKey, Secret } from "../net/mod.ts";
import { ENCAPSULATION_PORT } from "./queue-plan.ts";

/** KeyPlanFacts are what the model does not say. */
export interface KeyPlanFacts {
  readonly privateKey: PrivateKey;
  readonly up: ReadonlySet<number>;
}

/** The port of a route's exchange: that of the encapsulation carries ESP in UDP, whichever end begins. */
function portOf({ exchange }: RouteModel, model: GatewayModel): number {
  return exchange.protocol === "causeway" && exchange.encapsulation === "always"
    ? ENCAPSULATION_PORT
    : model.port;
}

/** What a route carries, as both ends must have it: of its networks, which the other end's private side has the families of. */
function familyOf({ prefixes }: RouteModel): "ipv4" | "ipv6" | "both" {
  const families = new Set(prefixes.map(({ family }) => family));
  if (families.size > 1) return "both";
  return families.has(6) ? "ipv6" : "ipv4";
}

/** With a pre-shared key alone the ends are told apart by the addresses of their first pair, as others know them. */
function namesOf({ pairs }: RouteModel): { readonly local: string; readonly remote: string } | undefined {
  const [first] = pairs;
  const gateway = first?.gateways[0];
  if (first === undefined || gateway === undefined) return undefined;
  return { local: formatIp(first.local.identity), remote: formatIp(gateway) };
}

function protocolOf(route: RouteModel, { privateKey }: KeyPlanFacts): KeyProtocol | string {
  const { credential, protocol, algorithm } = route.exchange;
  const psk =
    credential.presharedKey === undefined ? undefined : new Secret(credential.presharedKey.reveal());
  if (protocol === "vita")
    return psk === undefined ? "it has no pre-shared key" : { kind: "ske5", routeSpi: route.spi, psk };
  const terms = { route: route.spi, family: familyOf(route) };
  if (credential.publicKey !== undefined) {
    const trust = {
      kind: "public keys",
      privateKey,
      remote: credential.publicKey,
      ...(psk === undefined ? {} : { psk }),
    } as const;
    return { kind: "ours", terms: { ...terms, trust }, algorithms: [algorithm] };
  }
  const names = namesOf(route);
  if (psk === undefined || names === undefined)
    return "its other end calls, and has no public-key to be known by; give one";
  return {
    kind: "ours",
    terms: { ...terms, trust: { kind: "pre-shared key", psk, ...names } },
    algorithms: [algorithm],
  };
}

function channelOf(
  pair: PairModel,
  {
    route,
    model,
    up,
  }: { readonly route: RouteModel; readonly model: GatewayModel; readonly up: ReadonlySet<number> },
): KeyChannel {
  const port = portOf(route, model);
  const endpoint = (ip: Ip): Endpoint => ({ ip, port });
  const carried =
    route.exchange.protocol === "vita"
      ? []
      : [...route.carriers].flatMap(([queue, by]) => (by === pair.queue && up.has(queue) ? [queue] : []));
  return {
    queue: pair.queue,
    queues: [pair.queue, ...carried],
    local: { endpoint: endpoint(pair.local.ip), identity: pair.local.identity },
    gateways: pair.gateways.map(endpoint),
  };
}

/** planKeyRoute returns what the keeper is told of a route; a string is why it is told nothing. */
export function planKeyRoute(route: RouteModel, model: GatewayModel, facts: KeyPlanFacts): KeyRoute | string {
  if (route.unusable !== undefined) return route.unusable;
  const protocol = protocolOf(route, facts);
  if (typeof protocol === "string") return protocol;
  const { up } = facts;
  const { bytes, packets, ms } = model.lifetime;
  return {
    id: route.id,
    protocol,
    channels: route.pairs
      .filter(({ queue }) => up.has(queue))
      .map((pair) => channelOf(pair, { route, model, up })),
    negotiationMs: model.negotiationMs,
    lifetime: {
      ms,
      ...(bytes === undefined ? {} : { bytes: Number(bytes) }),
      ...(packets === undefined ? {} : { packets: Number(packets) }),
    },
  };
}

/** planManaged returns the associations of an operator for queues that run; those of routes that are not there are left out. */
export function planManaged(model: GatewayModel, up: ReadonlySet<number>): ManagedSa[] {
  return [...model.associations.values()].flatMap(({ direction, route, ...one }) => {
    if (!up.has(one.queue) || !model.routes.has(route)) return [];
    const { spi, queue, algorithm, key, salt } = one;
    const keyMaterial = new KeyMaterial(new Uint8Array([...key.reveal(), ...salt.reveal()]));
    return [{ direction, route, sa: { spi, queue, algorithm, extended: true, keyMaterial } }];
  });
}
