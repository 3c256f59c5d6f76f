/** From a configuration to a model: devices, queues, pairs and keys in the form in which they are used. */
import { identityOf } from "./identity.ts";
import { secret } from "./leaf-type.ts";
import type {
  AssociationModel,
  Credential,
  Device,
  ExchangeModel,
  GatewayModel,
  PrivateModel,
  PublicModel,
  QueueModel,
  RouteModel,
  SideModel,
} from "./model.ts";
import { carriersOf, pairsOf } from "./pairs.ts";
import { type AnyRoute, routesOf } from "./rules-routes.ts";
import type { AssociationConfig, GatewayConfig, LinkConfig, PublicLinkConfig } from "./schema.ts";
import type { SecretBytes } from "./secret-bytes.ts";

function deviceOf({ pci, ifname }: LinkConfig): Device {
  if (ifname !== undefined) return { kind: "interface", name: ifname };
  return pci === undefined || pci === "00:00.0" ? { kind: "none" } : { kind: "pci", address: pci };
}

function sideOf(link: LinkConfig): SideModel {
  const { mac, "nexthop-mac": nextHopMac } = link;
  return {
    device: deviceOf(link),
    ip: link.ip,
    nextHop: link["nexthop-ip"],
    ...(mac === undefined ? {} : { mac }),
    ...(nextHopMac === undefined ? {} : { nextHopMac }),
  };
}

function publicModel(link: PublicLinkConfig): PublicModel {
  return {
    ...sideOf(link),
    deviceQueue: (link["device-queue"] ?? link.queue) - 1,
    identity: link["nat-ip"] ?? link.ip,
  };
}

function insideOf(config: GatewayConfig): PrivateModel {
  if (config.vpc !== undefined) return { kind: "vpc", vpc: config.vpc };
  const { "private-interface4": four, "private-interface6": six } = config;
  if (four === undefined && six === undefined) return { kind: "none" };
  return {
    kind: "interfaces",
    ...(four === undefined ? {} : { private4: sideOf(four) }),
    ...(six === undefined ? {} : { private6: sideOf(six) }),
  };
}

function queuesOf(config: GatewayConfig): QueueModel[] {
  const queues = new Map<number, QueueModel>();
  for (const [list, name] of [
    [config["public-interface4"], "public4"],
    [config["public-interface6"], "public6"],
  ] as const)
    for (const link of list.values()) {
      const { queue: number } = link;
      queues.set(number, { ...(queues.get(number) ?? { number }), [name]: publicModel(link) });
    }
  return [...queues.values()].sort((a, b) => a.number - b.number);
}

/** Whether the site has addresses of a family: nothing else can go into a tunnel. */
function hasFamily(inside: PrivateModel, family: 4 | 6): boolean {
  if (inside.kind === "none") return false;
  if (inside.kind === "vpc") return true;
  return (family === 4 ? inside.private4 : inside.private6) !== undefined;
}

/** PlanFacts are what a configuration names, and the agent has to get. */
export interface PlanFacts {
  /** Pre-shared keys by the path of their file; a string is why one cannot be used, with the fix. */
  readonly secrets?: ReadonlyMap<string, SecretBytes | string>;
  /** The plan before, made with the same secrets: routes that a change leaves as they are keep their models. */
  readonly before?: { readonly config: GatewayConfig; readonly model: GatewayModel };
}

/** Whether all that a route's model rests on, beside the route itself, is what it was. */
function sameGround(config: GatewayConfig, before: GatewayConfig | undefined): boolean {
  const names = [
    "private-interface4",
    "private-interface6",
    "vpc",
    "public-interface4",
    "public-interface6",
    "data-plane",
  ] as const;
  return before !== undefined && names.every((name) => config[name] === before[name]);
}

/** The routes of the plan before, by the entries that they were made from. */
function keptModels(config: GatewayConfig, { before }: PlanFacts): ReadonlyMap<object, RouteModel> {
  const kept = new Map<object, RouteModel>();
  if (before === undefined || !sameGround(config, before.config)) return kept;
  for (const { id, route } of routesOf(before.config)) {
    // Keys in files depend on other routes, too.
    const model = "preshared-key-file" in route ? undefined : before.model.routes.get(id);
    if (model !== undefined && model.unusable === undefined) kept.set(route, model);
  }
  return kept;
}

/** secretFiles returns the files whose keys a configuration needs. */
export function secretFiles(config: GatewayConfig): string[] {
  return [...config.route.values()].flatMap(({ "preshared-key-file": file }) => file ?? []);
}

const keyFile = secret(32);

/** parseSecretFile reads a pre-shared key as its file has it: 64 hexadecimal digits, or 44 characters of base64. The text is in no error. */
export function parseSecretFile(text: string): SecretBytes {
  const trimmed = text.trim();
  if (/^[A-Za-z0-9+/]{43}=$/.test(trimmed))
    return keyFile.parse(Buffer.from(trimmed, "base64").toString("hex"));
  if (/^[\s0-9a-fA-F]*$/.test(trimmed)) return keyFile.parse(trimmed);
  throw new Error("is not a pre-shared key; write 64 hexadecimal digits, or 44 characters of base64");
}

/** The key in a file; else why there is none. */
function keyIn(file: string, { secrets }: PlanFacts): SecretBytes | string {
  return secrets?.get(file) ?? "it was not read";
}

function exchangeOf({ route, exchange }: AnyRoute, facts: PlanFacts): ExchangeModel {
  const own = "exchange" in route ? route : undefined;
  const file = own?.["preshared-key-file"];
  const read = file === undefined ? undefined : keyIn(file, facts);
  const presharedKey = route["preshared-key"] ?? (typeof read === "string" ? undefined : read);
  const credential: Credential = {
    ...(presharedKey === undefined ? {} : { presharedKey }),
    ...(own?.["public-key"] === undefined ? {} : { publicKey: own["public-key"] }),
  };
  if (exchange === "vita") return { protocol: "vita", credential, algorithm: "aes-128-gcm" };
  const { algorithm = "aes-256-gcm", encapsulation = "auto" } = own ?? {};
  return { protocol: "causeway", credential, algorithm, encapsulation };
}

/** What is in the way of a route, as far as the configuration tells. */
function obstacle(
  any: AnyRoute,
  at: {
    readonly inside: PrivateModel;
    readonly pairs: number;
    readonly facts: PlanFacts;
    readonly managed: boolean;
  },
): string | undefined {
  const { route } = any;
  const file = "exchange" in route ? route["preshared-key-file"] : undefined;
  const key = at.managed || file === undefined ? undefined : keyIn(file, at.facts);
  if (typeof key === "string") return `its pre-shared key cannot be read from ${file}: ${key}`;
  const family = any.prefixes.find((prefix) => !hasFamily(at.inside, prefix.family))?.family;
  if (family !== undefined)
    return `net is of IPv${family}, and there is no private-interface${family}; add it`;
  if (at.pairs > 0) return undefined;
  const [gateway] = route.gateway.values();
  return gateway === undefined
    ? "there is no public interface; add one"
    : `there is no public-interface${gateway.ip.family} to reach its gateway from; add one`;
}

const algorithmOf = {
  "aes-gcm-16-icv": "aes-128-gcm",
  "aes-256-gcm-16-icv": "aes-256-gcm",
  "chacha20-poly1305": "chacha20-poly1305",
} as const;

function associationsOf(config: GatewayConfig): Map<string, AssociationModel> {
  const models = new Map<string, AssociationModel>();
  const put = (direction: AssociationModel["direction"], sa: AssociationConfig) =>
    models.set(`${direction} ${sa.queue} ${sa.spi}`, {
      direction,
      spi: sa.spi,
      queue: sa.queue,
      route: sa.route,
      algorithm: algorithmOf[sa.aead],
      key: sa.key,
      salt: sa.salt,
    });
  if (config["data-plane"] !== true) return models;
  for (const sa of config["outbound-sa"].values()) put("outbound", sa);
  for (const sa of config["inbound-sa"].values()) put("inbound", sa);
  return models;
}

/** Routes whose key a route before them has, with its id. Keys in files are known here for the first time. */
function sharedKeys(config: GatewayConfig, facts: PlanFacts): ReadonlyMap<string, string> {
  const shared = new Map<string, string>();
  if (secretFiles(config).length === 0) return shared;
  const owners = new Map<string, string>();
  for (const any of routesOf(config)) {
    const { presharedKey } = exchangeOf(any, facts).credential;
    if (presharedKey === undefined) continue;
    const identity = identityOf(keyFile, presharedKey);
    const owner = owners.get(identity);
    if (owner === undefined) owners.set(identity, any.id);
    else shared.set(any.id, owner);
  }
  return shared;
}

function routeModels(config: GatewayConfig, inside: PrivateModel, facts: PlanFacts): Map<string, RouteModel> {
  const queues = queuesOf(config);
  const kept = keptModels(config, facts);
  const shared = sharedKeys(config, facts);
  const managed = config["data-plane"] === true;
  const make = (any: AnyRoute): RouteModel => {
    const { id, route, prefixes } = any;
    const pairs = pairsOf(queues, [...route.gateway.values()]);
    const other = shared.get(id);
    const unusable =
      other === undefined
        ? obstacle(any, { inside, pairs: pairs.length, facts, managed })
        : `its pre-shared key is that of route ${other} too; make another one`;
    return {
      id,
      spi: route.spi,
      prefixes,
      exchange: exchangeOf(any, facts),
      pairs,
      carriers: carriersOf(queues, pairs),
      ...(unusable === undefined ? {} : { unusable }),
    };
  };
  return new Map(
    routesOf(config).map((any) => [
      any.id,
      (shared.has(any.id) ? undefined : kept.get(any.route)) ?? make(any),
    ]),
  );
}

/** planGateway returns the model of a configuration that checkConfig has nothing against. What keeps a single route from working is in its `unusable`. */
export function planGateway(config: GatewayConfig, facts: PlanFacts = {}): GatewayModel {
  const inside = insideOf(config);
  const { "sa-bytes": bytes, "sa-packets": packets } = config;
  return {
    inside,
    queues: queuesOf(config),
    routes: routeModels(config, inside, facts),
    associations: associationsOf(config),
    dataPlane: config["data-plane"] === true,
    mtuBytes: config.mtu,
    padding: config.tfc === true,
    port: config["protocol-port"],
    negotiationMs: config["negotiation-ttl"] * 1000,
    lifetime: {
      ms: config["sa-ttl"] * 1000,
      ...(bytes === undefined ? {} : { bytes }),
      ...(packets === undefined ? {} : { packets }),
    },
    backend: config.backend,
    cpus: config.cpu,
  };
}
