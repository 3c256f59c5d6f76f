/** Random NLRI, path attributes and UPDATEs that are well formed: what property tests and fuzzing start from. */
import { hostPrefix, ip, ipFromBytes, mac, prefixOf, type Ip } from "../../src/net/mod.ts";
import {
  type AsPath,
  type BgpFamily,
  type Capability,
  EVPN,
  encodeCanonical,
  encodeNlri,
  type Esi,
  type ExtendedCommunity,
  IPV4_UNICAST,
  IPV6_UNICAST,
  type Nlri,
  type PathAttributes,
  ROUTE_TARGET,
  type RouteDistinguisher,
  writeAttributes,
  writeNlri,
} from "../../src/bgp/wire/mod.ts";
import { attribute, updateBody } from "./bgp-bytes.ts";
import type { Random } from "./random.ts";

/** randomHost returns an address that may be a next hop. */
export function randomHost(random: Random, family: 4 | 6 = random.chance(0.7) ? 4 : 6): Ip {
  const bytes = random.bytes(family === 4 ? 4 : 16);
  bytes[0] = family === 4 ? 1 + random.below(126) : 0x20;
  return ipFromBytes(bytes);
}

/** randomRd returns a route distinguisher of any kind. */
export function randomRd(random: Random): RouteDistinguisher {
  const number = random.below(65_536);
  const kinds: readonly RouteDistinguisher[] = [
    { kind: "as2", as: random.below(65_536), number: random.u32() },
    { kind: "ip", address: randomHost(random, 4), number },
    { kind: "as4", as: random.u32(), number },
    { kind: "unknown", bytes: Uint8Array.of(0, 3 + random.below(250), ...random.bytes(6)) },
  ];
  return random.pick(kinds);
}

/** Types 0 to 5 are defined (RFC 7432 section 5). */
const randomEsi = (random: Random) =>
  (random.chance(0.6) ? 0n : (BigInt(random.below(6)) << 72n) | (random.u64() << 8n) | 1n) as Esi;
const label = (random: Random) => random.below(2 ** 24);

/** randomEvpn returns an EVPN route of any type; `plain` leaves out types that are not known. */
export function randomEvpn(random: Random): Nlri {
  const rd = randomRd(random);
  const esi = randomEsi(random);
  const tag = random.pick([0, 0, 0xffffffff, random.u32()]);
  switch (random.below(6)) {
    case 0:
      return { kind: "ethernet-auto-discovery", rd, esi, tag, label: label(random) };
    case 1:
      return {
        kind: "mac-ip",
        rd,
        tag,
        mac: mac(random.below(2 ** 48)),
        ...(random.chance(0.3) ? {} : { ip: randomHost(random) }),
        esi,
        labels: random.chance(0.5) ? [label(random)] : [label(random), label(random)],
      };
    case 2:
      return { kind: "inclusive-multicast", rd, tag, originator: randomHost(random) };
    case 3:
      return { kind: "ethernet-segment", rd, esi, originator: randomHost(random) };
    case 4: {
      const address = randomHost(random);
      const { family } = address;
      const length = random.below(family === 4 ? 33 : 129);
      const gateway = esi === 0n && random.chance(0.3) ? randomHost(random, family) : ip(family, 0n);
      return {
        kind: "ip-prefix",
        rd,
        tag,
        prefix: prefixOf(address, length),
        esi,
        gateway,
        label: label(random),
      };
    }
    default:
      return { kind: "evpn-unknown", type: 6 + random.below(250), value: random.bytes(random.below(60)) };
  }
}

/** randomNlri returns a route of a family. */
export function randomNlri(random: Random, family: BgpFamily): Nlri {
  switch (family) {
    case EVPN:
      return randomEvpn(random);
    case ROUTE_TARGET: {
      const bits = random.pick([0, 96, 32, 48]);
      return { kind: "route-target", bits, value: random.bytes(bits / 8) };
    }
    default: {
      const address = randomHost(random, family === IPV4_UNICAST ? 4 : 6);
      return {
        kind: "prefix",
        prefix: random.chance(0.2)
          ? hostPrefix(address)
          : prefixOf(address, random.below(family === IPV4_UNICAST ? 33 : 129)),
      };
    }
  }
}

function randomPath(random: Random): AsPath {
  return Array.from({ length: random.below(3) }, () => ({
    kind: "sequence",
    asns: Array.from({ length: 1 + random.below(random.chance(0.05) ? 255 : 5) }, () =>
      random.chance(0.3) ? 65_536 + random.below(2 ** 31) : 1 + random.below(65_535),
    ),
  }));
}

/** randomExtended returns an extended community of any kind. */
export function randomExtended(random: Random): ExtendedCommunity {
  const target = () => {
    let rd = randomRd(random);
    while (rd.kind === "unknown") rd = randomRd(random);
    return rd;
  };
  const address = () => mac(random.below(2 ** 48));
  const kinds: readonly (() => ExtendedCommunity)[] = [
    () => ({ kind: "route-target", target: target() }),
    () => ({ kind: "site-of-origin", origin: target() }),
    () => ({ kind: "encapsulation", tunnel: random.below(65_536) }),
    () => ({ kind: "color", flags: random.below(65_536), color: random.u32() }),
    () => ({ kind: "default-gateway" }),
    () => ({ kind: "mac-mobility", sticky: random.chance(0.5), sequence: random.u32() }),
    () => ({ kind: "esi-label", singleActive: random.chance(0.5), label: label(random) }),
    () => ({ kind: "es-import", mac: address() }),
    () => ({ kind: "router-mac", mac: address() }),
    () => ({ kind: "layer2-attributes", flags: random.below(65_536), mtuBytes: random.below(65_536) }),
    () => ({
      kind: "df-election",
      algorithm: random.below(32),
      bitmap: random.below(65_536),
      preference: random.below(65_536),
    }),
    () => ({ kind: "nd-flags", flags: random.below(256) }),
    () => ({ kind: "link-bandwidth", as: random.below(65_536), bytesPerSecond: Math.fround(random.u32()) }),
    () => ({ kind: "unknown", bytes: Uint8Array.of(0x80 + random.below(128), ...random.bytes(7)) }),
  ];
  return random.pick(kinds)();
}

const some = <T>(random: Random, make: () => T): T[] => Array.from({ length: 1 + random.below(4) }, make);

/** randomAttributes returns path attributes with any of the fields. */
export function randomAttributes(random: Random): PathAttributes {
  const maybe = <K extends string, V>(field: K, make: () => V, probability = 0.35) =>
    random.chance(probability) ? ({ [field]: make() } as { readonly [N in K]: V }) : {};
  const address = randomHost(random);
  const linkLocal = address.family === 6 && random.chance(0.3);
  return {
    nextHop: { address, ...(linkLocal ? { linkLocal: randomHost(random, 6) } : {}) },
    origin: random.pick(["igp", "egp", "incomplete"] as const),
    asPath: randomPath(random),
    localPreference: random.u32(),
    ...maybe("med", () => random.u32()),
    ...maybe("atomicAggregate", () => true as const, 0.1),
    ...maybe("aggregator", () => ({ as: 1 + random.below(2 ** 31), address: randomHost(random, 4) }), 0.2),
    ...maybe("communities", () => some(random, () => random.u32())),
    ...maybe("originatorId", () => randomHost(random, 4)),
    ...maybe("clusterList", () => some(random, () => randomHost(random, 4))),
    ...maybe("extendedCommunities", () => some(random, () => randomExtended(random)), 0.7),
    ...maybe("pmsiTunnel", () => ({
      kind: "ingress-replication" as const,
      flags: 0,
      label: label(random),
      endpoint: randomHost(random),
    })),
    ...maybe("tunnelEncapsulation", () =>
      some(random, () => ({
        type: random.below(65_536),
        fields: some(random, () => ({ type: random.below(256), value: random.bytes(random.below(9)) })),
      })),
    ),
    ...maybe("ipv6ExtendedCommunities", () => some(random, () => random.bytes(20)), 0.1),
    ...maybe("largeCommunities", () =>
      some(random, () => ({ global: random.u32(), local1: random.u32(), local2: random.u32() })),
    ),
    ...maybe("onlyToCustomer", () => 1 + random.below(2 ** 31), 0.1),
    ...maybe("others", () => [
      { code: 200 + random.below(50), flags: 0xe0, value: random.bytes(random.below(300)) },
    ]),
  };
}

/** updateOf returns the body of an UPDATE that announces routes of one family, with MP_REACH_NLRI, as the sender of a session writes it. */
export function updateOf(
  routes: readonly Nlri[],
  attributes: PathAttributes,
  { as4 = true, addPath = false }: { readonly as4?: boolean; readonly addPath?: boolean } = {},
): Uint8Array<ArrayBuffer> {
  const canonical = encodeCanonical(attributes);
  const out = new Uint8Array(70_000);
  const wire = out.slice(0, writeAttributes(canonical, 0, canonical.length, { as4 }, out, 0));
  const nextHop = canonical.subarray(1, 1 + (canonical[0] as number));
  const encoded = routes.map(encodeNlri);
  const family = encoded[0]?.family ?? IPV6_UNICAST;
  let at = 0;
  for (const [index, { key, extra }] of encoded.entries())
    at = writeNlri(family, addPath, index, key, 0, key.length, extra, 0, extra.length, out, at);
  const head = [family >>> 24, (family >>> 16) & 0xff, family & 0xff, nextHop.length];
  const reach = Uint8Array.of(...head, ...nextHop, 0, ...out.subarray(0, at));
  return updateBody({ attributes: [attribute(0x90, 14, reach), wire] });
}

/** anyFamily picks a family for random routes. */
export function anyFamily(random: Random): BgpFamily {
  return random.pick([EVPN, EVPN, IPV6_UNICAST, IPV4_UNICAST, ROUTE_TARGET]);
}

/** randomCapabilities is for OPENs to fuzz. */
export function randomCapabilities(random: Random): Capability[] {
  return some(random, (): Capability =>
    random.pick<Capability>([
      { kind: "multiprotocol", family: anyFamily(random) },
      { kind: "as4", as: 1 + random.below(2 ** 31) },
      { kind: "fqdn", host: "host", domain: "example" },
      {
        kind: "graceful-restart",
        restarting: false,
        notification: true,
        restartSeconds: 120,
        families: [{ family: EVPN, forwarding: true }],
      },
      { kind: "add-path", families: [{ family: EVPN, send: true, receive: false }] },
    ]),
  );
}
