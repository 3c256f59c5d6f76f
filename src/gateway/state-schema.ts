/**
 * The state of a gateway as a schema, for `get-state`: all counters that Vita has, with its names, and what its users asked for: `route`, `queue`,
 * `outbound-sa`, and packets, bytes and times of each SA. Counters have 64 bits and begin with 0; a container of something that is not there is
 * absent, and so is a counter of what nobody counts.
 */
import { address, oneOf, truth, unsigned64, wholeNumber, word } from "./leaf-type.ts";
import { container, type Leaf, leaves, list, mandatory, optional, type StructOf } from "./schema-node.ts";

const counter = unsigned64(0n);
const seconds = wholeNumber(0, 0xffff_ffff);
const queue = wholeNumber(1, 65535);
const spi = wholeNumber(0, 0xffff_ffff);
const name = word("name", /^[!-~]{1,253}$/, "is not a name");
const sentence = word("text", /^\P{C}{0,1000}$/u, "holds control characters, or more than 1000 characters");

function counters<const N extends readonly string[]>(
  ...names: N
): { readonly [K in N[number]]: Leaf<bigint, "optional"> } {
  return Object.fromEntries(names.map((one) => [one, optional(counter)])) as never;
}

/**
 * DROP_REASONS are why packets of a route were dropped: too long; no SA; its numbers used up; from an address that is not in `net`; opened, and no
 * packet; come again or too late; not authentic.
 */
export const DROP_REASONS = [
  "mtu",
  "unready",
  "exhausted",
  "source",
  "protocol",
  "replay",
  "integrity",
] as const;

const interfaceState = container(
  counters(
    ...(["rxbytes", "rxpackets", "rxmcast", "rxbcast", "rxdrop", "rxerrors"] as const),
    ...(["txbytes", "txpackets", "txmcast", "txbcast", "txdrop", "txerrors", "rxdmapackets"] as const),
  ),
);

const nextHop = container(
  counters(
    ...(["arp-requests", "arp-replies", "arp-errors", "ns-requests", "na-replies", "nd-errors"] as const),
    ...(["addresses-added", "addresses-updated"] as const),
  ),
);

const icmpErrors = [
  "rxerrors",
  "protocol-errors",
  "type-not-implemented-errors",
  "code-not-implemented-errors",
] as const;

const icmp4 = container(
  counters(
    ...icmpErrors,
    ...(["destination-unreachable", "net-unreachable", "host-unreachable", "protocol-unreachable"] as const),
    ...(["port-unreachable", "fragmentation-needed", "source-route-failed"] as const),
    ...(["time-exceeded", "transit-ttl-exceeded", "fragment-reassembly-time-exceeded"] as const),
    ...(["parameter-problem", "redirect", "redirect-net", "redirect-host"] as const),
    ...(["redirect-tos-net", "redirect-tos-host", "echo-request"] as const),
  ),
);

const icmp6 = container(
  counters(
    ...icmpErrors,
    ...(["destination-unreachable", "net-unreachable", "destination-denied", "scope-denied"] as const),
    ...(["host-unreachable", "port-unreachable", "source-denied", "net-denied", "packet-too-big"] as const),
    ...(["time-exceeded", "transit-hop-limit-exceeded", "fragment-reassembly-time-exceeded"] as const),
    ...(["parameter-problem", "header-field-problem", "next-header-problem", "option-problem"] as const),
    "echo-request",
  ),
);

const timeToLive = container(counters("checksum-errors", "protocol-errors"));

const keyManager = container(
  counters(
    ...(["rxerrors", "route-errors", "protocol-errors", "version-errors", "parameter-errors"] as const),
    ...(["authentication-errors", "public-key-errors"] as const),
    ...(["negotiations-initiated", "negotiations-expired", "challenges-offered"] as const),
    ...(["challenges-accepted", "keypairs-offered", "keypairs-negotiated"] as const),
    ...(["inbound-sa-expired", "outbound-sa-expired", "outbound-sa-updated"] as const),
  ),
);

/** What both directions of an SA have. `sequence` is the last number sent, or the highest received. */
const association = {
  queue: mandatory(queue),
  spi: mandatory(spi),
  route: optional(name),
  gateway: optional(address()),
  algorithm: optional(name),
  packets: optional(counter),
  bytes: optional(counter),
  sequence: optional(counter),
  "age-seconds": optional(seconds),
  /** Until it is replaced, and until it ends. */
  "soft-seconds-left": optional(seconds),
  "seconds-left": optional(seconds),
} as const;

const gatewayState = {
  "private-interface": interfaceState,
  "public-interface": interfaceState,
  "private-next-hop": nextHop,
  "public-next-hop": nextHop,
  "private-dispatch": container(counters("ethertype-errors")),
  "public-dispatch": container(
    counters("rxerrors", "ethertype-errors", "protocol-errors", "fragment-errors"),
  ),
  "inbound-dispatch": container(counters("protocol-errors")),
  "outbound-ttl": timeToLive,
  "inbound-ttl": timeToLive,
  "private-router": container(counters("rxerrors", "route-errors", "mtu-errors")),
  /** `source-errors` is ours: a decrypted packet came from an address that is not in its route's prefixes. */
  "public-router": container(counters("route-errors", "source-errors")),
  "private-icmp4": icmp4,
  "public-icmp4": icmp4,
  "inbound-icmp4": icmp4,
  "private-icmp6": icmp6,
  "public-icmp6": icmp6,
  "inbound-icmp6": icmp6,
  "inbound-sa": list("queue spi", {
    members: {
      ...association,
      "sa-state": container(counters("rxerrors", "protocol-errors", "decrypt-errors", "replay-errors")),
    },
  }),
  "outbound-sa": list("queue spi", {
    members: { ...association, use: optional(oneOf("waiting", "active")) },
  }),
  "key-manager": keyManager,
  /** Ours, as all that follows: who carries packets, and why. */
  backend: container({ used: optional(oneOf("kernel", "user")), reason: optional(sentence) }),
  /** Where the configuration comes from, and what is wrong with it there. */
  configuration: container({ source: optional(sentence), problem: leaves(sentence) }),
  route: list("id", {
    members: {
      id: mandatory(name),
      up: optional(truth),
      /** Why it is not up: `peer answers; pre-shared key or addresses differ`. */
      reason: optional(sentence),
      /** Which queues' packets go by another queue, and why. */
      detour: optional(sentence),
      exchange: optional(name),
      gateway: optional(address()),
      "last-error": optional(sentence),
      /** By the clock of the machine (RFC 3339). */
      "last-error-time": optional(name),
      "round-trip-microseconds": optional(wholeNumber(0, 0xffff_ffff)),
      "silent-seconds": optional(seconds),
      rekeys: optional(counter),
      ...counters("rxpackets", "rxbytes", "rxdrop", "txpackets", "txbytes", "txdrop"),
      /** What `rxdrop` and `txdrop` come to, by reason; each packet once. */
      drops: container(counters(...DROP_REASONS)),
    },
  }),
  queue: list("queue", {
    members: {
      queue: mandatory(queue),
      up: optional(truth),
      /** Why it is not up. */
      reason: optional(sentence),
      /** What encrypts, and how packets come and go. */
      by: optional(sentence),
      cpu: optional(wholeNumber(0, 4095)),
      ...counters("rxpackets", "rxbytes", "rxdrop", "txpackets", "txbytes", "txdrop"),
    },
  }),
} as const;

/** stateSchema is the whole of it; all of it stands below `/gateway-state`. */
export const stateSchema = { "gateway-state": container(gatewayState) } as const;

/** GatewayState is what the workers of a gateway count and the key keeper knows. */
export type GatewayState = StructOf<typeof stateSchema>;
/** GatewayStateTree is what is below `gateway-state`. */
export type GatewayStateTree = StructOf<typeof gatewayState>;

/** noState is the state of a gateway without workers. */
export const noState: GatewayStateTree = {
  "inbound-sa": new Map(),
  "outbound-sa": new Map(),
  route: new Map(),
  queue: new Map(),
};
