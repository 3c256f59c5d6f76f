/**
 * Capabilities (RFC 5492): a table of code, name, how the value is laid out, and how it is shown.
 *
 * ```
 *  code 1 | length 1 | value
 * ```
 *
 * A capability that is not in the table, or whose value is not laid out as its RFC says, stays bytes: it is shown, and means nothing.
 */
import { type BgpFamily, familyName, familyOf } from "./family.ts";
import { readU16, readU24, readU32 } from "./octets.ts";

/** FamilyForwarding is a family in a graceful restart capability, and whether forwarding state was kept (F bit). */
export interface FamilyForwarding {
  readonly family: BgpFamily;
  readonly forwarding: boolean;
}

/** LongLivedFamily is a family in the long-lived graceful restart capability (RFC 9494). */
export interface LongLivedFamily extends FamilyForwarding {
  /** 0 to 16777215. */
  readonly staleSeconds: number;
}

/** AddPathFamily says for a family what its sender can do (RFC 7911); one of the two is set. */
export interface AddPathFamily {
  readonly family: BgpFamily;
  readonly send: boolean;
  readonly receive: boolean;
}

/** ExtendedNextHopFamily is a family of NLRI and the AFI that its next hops may have (RFC 8950): 2 for IPv6. */
export interface ExtendedNextHopFamily {
  readonly family: BgpFamily;
  readonly nextHopAfi: number;
}

/** Capability is one capability of an OPEN. */
export type Capability =
  /** RFC 4760. */
  | { readonly kind: "multiprotocol"; readonly family: BgpFamily }
  /** RFC 2918. */
  | { readonly kind: "refresh" }
  /** RFC 8950. */
  | { readonly kind: "extended-next-hop"; readonly families: readonly ExtendedNextHopFamily[] }
  /** RFC 8654. */
  | { readonly kind: "extended-messages" }
  /** RFC 9234: 0 provider, 1 route server, 2 its client, 3 customer, 4 peer. */
  | { readonly kind: "role"; readonly role: number }
  /** RFC 4724; `notification` is the N bit of RFC 8538. */
  | {
      readonly kind: "graceful-restart";
      readonly restarting: boolean;
      readonly notification: boolean;
      /** 0 to 4095. */
      readonly restartSeconds: number;
      readonly families: readonly FamilyForwarding[];
    }
  /** RFC 6793. */
  | { readonly kind: "as4"; readonly as: number }
  /** RFC 7911. */
  | { readonly kind: "add-path"; readonly families: readonly AddPathFamily[] }
  /** RFC 7313. */
  | { readonly kind: "enhanced-refresh" }
  /** RFC 9494. */
  | { readonly kind: "long-lived-graceful-restart"; readonly families: readonly LongLivedFamily[] }
  /** draft-walton-bgp-hostname-capability. */
  | { readonly kind: "fqdn"; readonly host: string; readonly domain: string }
  /** draft-abraitis-bgp-version-capability. */
  | { readonly kind: "software-version"; readonly version: string }
  /** Code 128: what came before RFC 2918. */
  | { readonly kind: "cisco-refresh" }
  | { readonly kind: "unknown"; readonly code: number; readonly value: Uint8Array };

/** KnownCapability is one that is not bytes. */
export type KnownCapability = Exclude<Capability, { readonly kind: "unknown" }>;
type Kind = KnownCapability["kind"];
type Of<K extends Kind> = Extract<KnownCapability, { readonly kind: K }>;

/** CapabilityRow says how one capability is laid out. */
interface Row<K extends Kind> {
  readonly code: number;
  /** Undefined when the value is not laid out as it should be. */
  readonly decode: (value: Uint8Array) => Of<K> | undefined;
  readonly encode: (capability: Of<K>) => readonly number[];
  readonly print: (capability: Of<K>) => string;
}

const utf8 = new TextEncoder();
const fromUtf8 = new TextDecoder();

const empty = <K extends Kind>(code: number, capability: Of<K>, text: string): Row<K> => ({
  code,
  decode: (value) => (value.length === 0 ? capability : undefined),
  encode: () => [],
  print: () => text,
});

const family4 = (family: BgpFamily) => [family >>> 24, (family >>> 16) & 0xff, family & 0xff] as const;
const familyAt = (value: Uint8Array, at: number) => familyOf(readU16(value, at), value[at + 2] as number);

/** Cuts a value into entries of one length; undefined when it does not divide. */
function entries<T>(
  value: Uint8Array,
  { from = 0, bytes }: { readonly from?: number; readonly bytes: number },
  decode: (at: number) => T,
): T[] | undefined {
  if ((value.length - from) % bytes !== 0) return undefined;
  const list: T[] = [];
  for (let at = from; at < value.length; at += bytes) list.push(decode(at));
  return list;
}

/** Host and domain of the FQDN capability have one octet of length each. */
function shortText(text: string): number[] {
  const bytes = utf8.encode(text).subarray(0, 255);
  return [bytes.length, ...bytes];
}

const rows: { readonly [K in Kind]: Row<K> } = {
  multiprotocol: {
    code: 1,
    // AFI 2 | reserved 1 | SAFI 1
    decode: (value) =>
      value.length === 4
        ? { kind: "multiprotocol", family: familyOf(readU16(value, 0), value[3] as number) }
        : undefined,
    encode: ({ family }) => [family >>> 24, (family >>> 16) & 0xff, 0, family & 0xff],
    print: ({ family }) => `multiprotocol ${familyName(family)}`,
  },
  refresh: empty(2, { kind: "refresh" }, "route refresh"),
  "extended-next-hop": {
    code: 5,
    // AFI 2 | SAFI 2 | next hop AFI 2
    decode: (value) => {
      const families = entries(value, { bytes: 6 }, (at) => ({
        family: familyOf(readU16(value, at), readU16(value, at + 2)),
        nextHopAfi: readU16(value, at + 4),
      }));
      return families && { kind: "extended-next-hop", families };
    },
    encode: ({ families }) =>
      families.flatMap(({ family, nextHopAfi }) => [
        family >>> 24,
        (family >>> 16) & 0xff,
        0,
        family & 0xff,
        nextHopAfi >>> 8,
        nextHopAfi & 0xff,
      ]),
    print: ({ families }) =>
      `extended next hop ${families.map(({ family, nextHopAfi }) => `${familyName(family)} over AFI ${nextHopAfi}`).join(", ")}`,
  },
  "extended-messages": empty(6, { kind: "extended-messages" }, "extended messages"),
  role: {
    code: 9,
    decode: (value) => (value.length === 1 ? { kind: "role", role: value[0] as number } : undefined),
    encode: ({ role }) => [role],
    print: ({ role }) =>
      `role ${["provider", "route server", "route server client", "customer", "peer"][role] ?? role}`,
  },
  "graceful-restart": {
    code: 64,
    // R 1 bit | N 1 bit | reserved 2 bits | seconds 12 bits, then for each family AFI 2 | SAFI 1 | F 1 bit, reserved 7 bits
    decode: (value) => {
      if (value.length < 2) return undefined;
      const head = readU16(value, 0);
      const families = entries(value, { from: 2, bytes: 4 }, (at) => ({
        family: familyAt(value, at),
        forwarding: ((value[at + 3] as number) & 0x80) !== 0,
      }));
      return (
        families && {
          kind: "graceful-restart",
          restarting: (head & 0x8000) !== 0,
          notification: (head & 0x4000) !== 0,
          restartSeconds: head & 0xfff,
          families,
        }
      );
    },
    encode: ({ restarting, notification, restartSeconds, families }) => [
      (restarting ? 0x80 : 0) | (notification ? 0x40 : 0) | ((restartSeconds >>> 8) & 0xf),
      restartSeconds & 0xff,
      ...families.flatMap(({ family, forwarding }) => [...family4(family), forwarding ? 0x80 : 0]),
    ],
    print: ({ restarting, notification, restartSeconds, families }) =>
      [
        `graceful restart ${restartSeconds} s`,
        ...(restarting ? ["restarting"] : []),
        ...(notification ? ["notification"] : []),
        ...families.map(({ family, forwarding }) => `${familyName(family)}${forwarding ? " preserved" : ""}`),
      ].join(", "),
  },
  as4: {
    code: 65,
    decode: (value) => (value.length === 4 ? { kind: "as4", as: readU32(value, 0) } : undefined),
    encode: ({ as }) => [as >>> 24, (as >>> 16) & 0xff, (as >>> 8) & 0xff, as & 0xff],
    print: ({ as }) => `4-octet AS ${as}`,
  },
  "add-path": {
    code: 69,
    // AFI 2 | SAFI 1 | 1 receive, 2 send, 3 both
    decode: (value) => {
      const families = entries(value, { bytes: 4 }, (at) => ({
        family: familyAt(value, at),
        direction: value[at + 3] as number,
      }));
      // RFC 7911 section 4: "If any other value is received, then the capability SHOULD be treated as not understood and ignored".
      if (families === undefined || families.some(({ direction }) => direction < 1 || direction > 3))
        return undefined;
      return {
        kind: "add-path",
        families: families.map(({ family, direction }) => ({
          family,
          send: (direction & 2) !== 0,
          receive: (direction & 1) !== 0,
        })),
      };
    },
    encode: ({ families }) =>
      families.flatMap(({ family, send, receive }) => [
        ...family4(family),
        (send ? 2 : 0) | (receive ? 1 : 0),
      ]),
    print: ({ families }) =>
      `add-path ${families
        .map(
          ({ family, send, receive }) =>
            `${familyName(family)} ${send ? (receive ? "both" : "send") : "receive"}`,
        )
        .join(", ")}`,
  },
  "enhanced-refresh": empty(70, { kind: "enhanced-refresh" }, "enhanced route refresh"),
  "long-lived-graceful-restart": {
    code: 71,
    // AFI 2 | SAFI 1 | F 1 bit, reserved 7 bits | seconds 3
    decode: (value) => {
      const families = entries(value, { bytes: 7 }, (at) => ({
        family: familyAt(value, at),
        forwarding: ((value[at + 3] as number) & 0x80) !== 0,
        staleSeconds: readU24(value, at + 4),
      }));
      return families && { kind: "long-lived-graceful-restart", families };
    },
    encode: ({ families }) =>
      families.flatMap(({ family, forwarding, staleSeconds }) => [
        ...family4(family),
        forwarding ? 0x80 : 0,
        (staleSeconds >>> 16) & 0xff,
        (staleSeconds >>> 8) & 0xff,
        staleSeconds & 0xff,
      ]),
    print: ({ families }) =>
      `long-lived graceful restart ${families
        .map(
          ({ family, forwarding, staleSeconds }) =>
            `${familyName(family)} ${staleSeconds} s${forwarding ? " preserved" : ""}`,
        )
        .join(", ")}`,
  },
  fqdn: {
    code: 73,
    // length 1 | host | length 1 | domain
    decode: (value) => {
      const hostBytes = value[0] ?? 255;
      const domainAt = 1 + hostBytes;
      const domainBytes = value[domainAt];
      if (domainBytes === undefined || value.length !== domainAt + 1 + domainBytes) return undefined;
      return {
        kind: "fqdn",
        host: fromUtf8.decode(value.subarray(1, domainAt)),
        domain: fromUtf8.decode(value.subarray(domainAt + 1)),
      };
    },
    encode: ({ host, domain }) => [...shortText(host), ...shortText(domain)],
    print: ({ host, domain }) => `host name ${domain === "" ? host : `${host}.${domain}`}`,
  },
  "software-version": {
    code: 75,
    // length 1 | text
    decode: (value) =>
      value[0] === value.length - 1
        ? { kind: "software-version", version: fromUtf8.decode(value.subarray(1)) }
        : undefined,
    encode: ({ version }) => shortText(version),
    print: ({ version }) => `software ${version}`,
  },
  "cisco-refresh": empty(128, { kind: "cisco-refresh" }, "route refresh (old)"),
};

const byCode = new Map<number, Row<Kind>>(
  Object.values(rows).map((row) => [row.code, row as unknown as Row<Kind>]),
);

/** capabilityCode returns a capability's code. */
export function capabilityCode(capability: Capability): number {
  return capability.kind === "unknown" ? capability.code : rows[capability.kind].code;
}

/** decodeCapability reads one capability's value; what its table row cannot read, or would not write the same way, stays bytes. */
export function decodeCapability(code: number, value: Uint8Array): Capability {
  const row = byCode.get(code);
  const decoded = row?.decode(value);
  if (row !== undefined && decoded !== undefined) {
    const again = row.encode(decoded);
    if (isTolerant(code) || (again.length === value.length && again.every((octet, i) => octet === value[i])))
      return decoded;
  }
  return { kind: "unknown", code, value: new Uint8Array(value) };
}

/** Reserved bits are to be ignored on receipt (RFC 4760 section 8, RFC 4724 section 3, RFC 9494 section 3.1). */
function isTolerant(code: number): boolean {
  return code === 1 || code === 64 || code === 71;
}

/** encodeCapability returns code, length and value. */
export function encodeCapability(capability: Capability): Uint8Array {
  const value =
    capability.kind === "unknown"
      ? [...capability.value]
      : (rows[capability.kind] as unknown as Row<Kind>).encode(capability as Of<Kind>);
  if (value.length > 255)
    throw new RangeError(
      `A capability has at most 255 octets; ${capability.kind} would have ${value.length}`,
    );
  return Uint8Array.of(capabilityCode(capability), value.length, ...value);
}

/** printCapability returns a capability as `causeway bgp neighbor` shows it. */
export function printCapability(capability: Capability): string {
  return capability.kind === "unknown"
    ? `capability ${capability.code}`
    : (rows[capability.kind] as unknown as Row<Kind>).print(capability as Of<Kind>);
}
