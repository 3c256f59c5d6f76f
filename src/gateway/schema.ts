/**
 * The configuration of a gateway as a schema. What Vita has keeps its names, types, defaults and rules (its module `vita-esp-gateway`); `route`,
 * `vpc`, `backend`, `cpu`, `sa-bytes` and `sa-packets` are ours.
 *
 * Rules that join several nodes are in rules.ts.
 */
import type { Family } from "../net/mod.ts";
import {
  address,
  macAddress,
  network,
  oneOf,
  pciAddress,
  publicKey,
  secret,
  truth,
  unsigned64,
  wholeNumber,
  word,
} from "./leaf-type.ts";
import { leaves, list, container, mandatory, optional, preset, type StructOf } from "./schema-node.ts";

/** MAX_MTU_BYTES is the largest inner packet that fits Vita's buffers, and its default. */
export const MAX_MTU_BYTES = 8923;

/** MAX_QUEUES is how many queues a gateway, and a route's gateways, may have. */
export const MAX_QUEUES = 64;

const queue = wholeNumber(1, 65535);
const spi = wholeNumber(256, 0xffff_ffff);
const timeToLive = wholeNumber(1, 0xffff_ffff);
const interfaceName = word(
  "interface name",
  /^(?!\.{1,2}$)[!-.0-9;-~]{1,15}$/,
  "is not the name of a network interface; write 1 to 15 characters without blanks, '/' and ':'",
);
const id = word("id", /^\w{1,253}$/, "is not an id; write letters, digits and '_', 253 of them at most");
/** Names of Route resources fit, too. */
const routeName = word(
  "name",
  /^\w([\w.-]{0,251}\w)?$/,
  "is not a name; write letters, digits, '_', '-' and '.', first and last a letter or digit, 253 of them at most",
);
const path = word(
  "path",
  /^\/[!-~]{1,4095}$/,
  "is not an absolute path; write it like /etc/causeway/tokyo.psk",
);

const link = (family: Family) =>
  ({
    pci: optional(pciAddress),
    ifname: optional(interfaceName),
    ip: mandatory(address(family)),
    "nexthop-ip": mandatory(address(family)),
    mac: optional(macAddress),
    "nexthop-mac": optional(macAddress),
  }) as const;

const publicLink = (family: Family) =>
  ({
    ...link(family),
    queue: preset(queue, 1),
    "device-queue": optional(queue),
    "nat-ip": optional(address(family)),
  }) as const;

const gateways = (family: Family | undefined, least: number) =>
  list("ip", {
    unique: ["queue"],
    least,
    most: MAX_QUEUES,
    members: { ip: mandatory(address(family)), queue: preset(queue, 1) },
  });

const vitaRoute = (family: Family) =>
  list("id", {
    members: {
      id: mandatory(id),
      spi: mandatory(spi),
      "preshared-key": mandatory(secret(32)),
      net: mandatory(network(family)),
      gateway: gateways(family, 1),
    },
  });

/** exchanges are the protocols by which keys are agreed on: Vita's (vita-ske version 5), and Causeway's own. */
export const exchanges = ["causeway", "vita"] as const;
/** algorithms are what packets are protected with; Vita knows the first only. */
export const algorithms = ["aes-128-gcm", "aes-256-gcm", "chacha20-poly1305"] as const;
/** encapsulations say when ESP is carried in UDP (RFC 3948): where a NAT is found in between, always, or never. */
export const encapsulations = ["auto", "always", "never"] as const;
/** backends are who carries packets: the kernel (XFRM), user space (AF_XDP), or what the node is able to. */
export const backends = ["auto", "kernel", "user"] as const;

const route = list("id", {
  members: {
    id: mandatory(routeName),
    spi: mandatory(spi),
    exchange: preset(oneOf(...exchanges), "causeway"),
    "preshared-key": optional(secret(32)),
    "preshared-key-file": optional(path),
    "public-key": optional(publicKey),
    algorithm: optional(oneOf(...algorithms)),
    encapsulation: optional(oneOf(...encapsulations)),
    net: leaves(network(), 1),
    gateway: gateways(undefined, 0),
  },
});

const association = (unique: readonly string[]) =>
  list("spi queue", {
    unique,
    members: {
      spi: mandatory(spi),
      queue: preset(queue, 1),
      route: mandatory(routeName),
      aead: mandatory(oneOf("aes-gcm-16-icv", "aes-256-gcm-16-icv", "chacha20-poly1305")),
      key: mandatory(secret(16, 32)),
      salt: mandatory(secret(4)),
    },
  });

/** configSchema is the whole of it. */
export const configSchema = {
  "private-interface4": container(link(4)),
  "private-interface6": container(link(6)),
  vpc: optional(word("name", /^[a-z0-9.-]{1,253}$/, "is not the name of a VPC")),
  "public-interface4": list("ip", { unique: ["queue"], most: MAX_QUEUES, members: publicLink(4) }),
  "public-interface6": list("ip", { unique: ["queue"], most: MAX_QUEUES, members: publicLink(6) }),
  mtu: preset(wholeNumber(0, MAX_MTU_BYTES), MAX_MTU_BYTES),
  tfc: optional(truth),
  "protocol-port": preset(wholeNumber(1, 65535), 303),
  route4: vitaRoute(4),
  route6: vitaRoute(6),
  route,
  "negotiation-ttl": preset(timeToLive, 5),
  "sa-ttl": preset(timeToLive, 600),
  "sa-bytes": optional(unsigned64(1n)),
  "sa-packets": optional(unsigned64(1n)),
  "data-plane": optional(truth),
  "outbound-sa": association(["route queue"]),
  "inbound-sa": association([]),
  backend: preset(oneOf(...backends), "auto"),
  cpu: leaves(wholeNumber(0, 4095)),
} as const;

/** GatewayConfig is a configuration that was read: typed values, defaults filled in. */
export type GatewayConfig = StructOf<typeof configSchema>;
/** LinkConfig is an interface of it. */
export type LinkConfig = NonNullable<GatewayConfig["private-interface4"]>;
/** PublicLinkConfig is an interface on the side of other gateways. */
export type PublicLinkConfig =
  GatewayConfig["public-interface4"] extends ReadonlyMap<string, infer E> ? E : never;
/** VitaRouteConfig is an entry of `route4` or `route6`. */
export type VitaRouteConfig = GatewayConfig["route4"] extends ReadonlyMap<string, infer E> ? E : never;
/** RouteConfig is an entry of `route`. */
export type RouteConfig = GatewayConfig["route"] extends ReadonlyMap<string, infer E> ? E : never;
/** AssociationConfig is an entry of `outbound-sa` or `inbound-sa`. */
export type AssociationConfig = GatewayConfig["outbound-sa"] extends ReadonlyMap<string, infer E> ? E : never;
