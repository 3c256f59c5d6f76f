/**
 * Neighbors of a BgpRouter: what one session is configured with. Fields that many share stand in a group; a neighbor's own win.
 */
import { z } from "zod";
import { formatDurationMs, formatIp, formatPrefix, type Ip, type Prefix } from "../net/mod.ts";
import { type Json, present, withoutAbsent } from "./canonical.ts";
import { addressSchema, durationSchema, labelSchema, prefixSchema, wholeNumber } from "./scalars.ts";

/** bgpFamilies are the families of routes that a session can carry. */
export const bgpFamilies = ["ipv4-unicast", "ipv6-unicast", "l2vpn-evpn", "route-target"] as const;

/** BgpFamily is one of them. */
export type BgpFamily = (typeof bgpFamilies)[number];

/** FamilyOptions is what a session does with one family. */
export interface FamilyOptions {
  /** Names of policies; absent: all from and to internal neighbors, none from and to external ones (RFC 8212). */
  readonly import?: string;
  readonly export?: string;
  /** The session ends above so many received routes, or a warning is logged. */
  readonly maximumPrefixes?: number;
  readonly maximumPrefixesAction?: "end" | "warn";
  /** RFC 7911. */
  readonly addPath?: "receive" | "send" | "both";
  /** How many paths of a destination are sent with add-path; absent: all. */
  readonly addPathBest?: number;
  /** Absent: self to external neighbors (EVPN: unchanged), unchanged to internal ones. */
  readonly nextHop?: "self" | "unchanged";
  readonly allowOwnAsn?: number;
  /** RFC 4456; where the neighbor is no client in all families. */
  readonly routeReflectorClient?: boolean;
}

/** BfdOptions are the parameters of a BFD session (RFC 5880). */
export interface BfdOptions {
  readonly transmitMs: number;
  readonly receiveMs: number;
  readonly multiplier: number;
  /**
   * When the path is down, its routes stay as over a restart (RFC 4724): they lead elsewhere, as those of a route reflector do. Absent: they go,
   * unless its BFD ends with its control plane.
   */
  readonly keepRoutes?: boolean;
  /** Says nothing before the neighbor has spoken (RFC 5880 section 6.1). */
  readonly passive?: boolean;
  /** What comes with less is discarded; with `multihop` only, and in place of what that says. */
  readonly minimumTtl?: number;
}

/** NeighborOptions are what neighbors and groups have in common. */
export interface NeighborOptions {
  readonly description?: string;
  /** AS number, or which side of the border it is on: `internal` (ours), `external` (any other). */
  readonly asn?: number | "internal" | "external";
  readonly port?: number;
  /** Address that the session comes from. */
  readonly source?: Ip;
  /** Waits to be called, and never calls. */
  readonly passive?: boolean;
  /** A file with the password of TCP MD5 (RFC 2385), readable by its owner alone. */
  readonly passwordFile?: string;
  /** Routers on the way at most, for an external neighbor that is not on the link. */
  readonly multihop?: number;
  /** RFC 5082: refuse what came over more than so many links. */
  readonly ttlSecurity?: number;
  readonly holdMs?: number;
  readonly keepaliveMs?: number;
  readonly connectRetryMs?: number;
  readonly bfd?: BfdOptions;
  readonly routeReflectorClient?: boolean;
  /** Keep the session down; the neighbor is told (RFC 9003). */
  readonly shutdown?: boolean;
  readonly shutdownText?: string;
  readonly gracefulRestart?: boolean;
  readonly extendedMessages?: boolean;
  readonly families?: Readonly<Partial<Record<BgpFamily, FamilyOptions>>>;
}

/** Neighbor is one session: numbered by its address, or unnumbered by the interface on which its link-local address is found. */
export interface Neighbor extends NeighborOptions {
  readonly address?: Ip;
  /** With a link-local address, or alone for an unnumbered session. */
  readonly interface?: string;
  readonly group?: string;
}

/** DynamicNeighbors takes sessions from any address of a prefix. */
export interface DynamicNeighbors {
  readonly prefix: Prefix;
  readonly group: string;
  /** How many at once. */
  readonly limit: number;
}

const yes = z.boolean({ error: "is not true or false" }).optional();
const policyName = labelSchema.optional();

const familySchema = z.strictObject(
  {
    import: policyName,
    export: policyName,
    maximumPrefixes: wholeNumber(1, 0xffffffff).optional(),
    maximumPrefixesAction: z.enum(["end", "warn"], { error: "is none of end, warn" }).optional(),
    addPath: z.enum(["receive", "send", "both"], { error: "is none of receive, send, both" }).optional(),
    addPathBest: wholeNumber(1, 64).optional(),
    nextHop: z.enum(["self", "unchanged"], { error: "is none of self, unchanged" }).optional(),
    allowOwnAsn: wholeNumber(1, 10).optional(),
    routeReflectorClient: yes,
  },
  { error: "is not the options of a family; write {import: NAME, …}, or {} for none" },
);

const bfdSchema = z
  .strictObject(
    {
      transmit: durationSchema.default(300),
      receive: durationSchema.default(300),
      multiplier: wholeNumber(2, 255).default(3),
      keepRoutes: z.boolean({ error: "is not true or false" }).default(false),
      passive: z.boolean({ error: "is not true or false" }).default(false),
      minimumTtl: wholeNumber(1, 254).optional(),
    },
    { error: "is not BFD's parameters; write {transmit: 300ms, receive: 300ms, multiplier: 3}, or {}" },
  )
  .refine(({ transmit, receive }) => [transmit, receive].every((ms) => ms >= 10 && ms <= 60_000), {
    error: "has an interval that is not from 10ms to 60s",
  })
  .transform(({ transmit, receive, multiplier, keepRoutes, passive, minimumTtl }): BfdOptions => ({
    transmitMs: transmit,
    receiveMs: receive,
    multiplier,
    ...(keepRoutes ? { keepRoutes } : {}),
    ...(passive ? { passive } : {}),
    ...(minimumTtl === undefined ? {} : { minimumTtl }),
  }));

const INTERFACE = /^[^\s/:%]{1,15}$/;
const interfaceSchema = z
  .string()
  .regex(INTERFACE, { error: "is not a name of a link; it has 1 to 15 bytes, without spaces and / : %" });

export const asnSchema = wholeNumber(1, 4294967294);

const optionFields = {
  description: z
    .string()
    .min(1)
    .max(200)
    .regex(/^\P{C}+$/u, "holds control characters")
    .optional(),
  asn: z
    .union([asnSchema, z.enum(["internal", "external"])], {
      error: "is not an AS number from 1 to 4294967294, nor internal or external",
    })
    .optional(),
  port: wholeNumber(1, 65535).optional(),
  source: addressSchema.optional(),
  passive: yes,
  passwordFile: z.string().regex(/^\//, "is not an absolute path").max(4096).optional(),
  multihop: wholeNumber(2, 255).optional(),
  ttlSecurity: wholeNumber(1, 254).optional(),
  hold: durationSchema.optional(),
  keepalive: durationSchema.optional(),
  connectRetry: durationSchema.optional(),
  bfd: bfdSchema.optional(),
  routeReflectorClient: yes,
  shutdown: yes,
  shutdownText: z.string().max(255).optional(),
  gracefulRestart: yes,
  extendedMessages: yes,
  families: z
    .partialRecord(
      z.enum(bgpFamilies, { error: `is no family; the families are ${bgpFamilies.join(", ")}` }),
      familySchema,
      { error: "is not a set of families; write {ipv4-unicast: {}}" },
    )
    .optional(),
} as const;

type OptionsGiven = z.output<z.ZodObject<typeof optionFields>>;

function optionsOf<G extends OptionsGiven>({ hold, keepalive, connectRetry, families, ...rest }: G) {
  return withoutAbsent({
    ...rest,
    holdMs: hold,
    keepaliveMs: keepalive,
    connectRetryMs: connectRetry,
    families:
      families &&
      Object.fromEntries(
        Object.entries(families).map(([name, options]) => [name, withoutAbsent(options ?? {})]),
      ),
  });
}

/** groupSchema reads the options that a group gives to its neighbors. */
export const groupSchema = z
  .strictObject(optionFields, { error: "is not a group; write the fields that its neighbors share" })
  .transform((given) => optionsOf(given) as NeighborOptions);

/** neighborSchema reads one neighbor. */
export const neighborSchema = z
  .strictObject(
    {
      address: addressSchema.optional(),
      interface: interfaceSchema.optional(),
      group: labelSchema.optional(),
      ...optionFields,
    },
    { error: "is not a neighbor; write {address: 192.0.2.1, asn: 65001, families: {ipv4-unicast: {}}}" },
  )
  .transform((given) => optionsOf(given) as Neighbor);

/** dynamicSchema reads one prefix of dynamic neighbors. */
export const dynamicSchema = z.strictObject(
  { prefix: prefixSchema(), group: labelSchema, limit: wholeNumber(1, 10000).default(100) },
  { error: "is not a prefix of neighbors; write {prefix: 10.0.0.0/24, group: NAME}" },
);

/** optionsJson undoes groupSchema. */
export function optionsJson(options: NeighborOptions): { readonly [field: string]: Json } {
  const { source, holdMs, keepaliveMs, connectRetryMs, bfd, families, ...rest } = options;
  const duration = (ms: number | undefined) => (ms === undefined ? undefined : formatDurationMs(ms));
  return present({
    ...(rest as { readonly [field: string]: Json }),
    source: source && formatIp(source),
    hold: duration(holdMs),
    keepalive: duration(keepaliveMs),
    connectRetry: duration(connectRetryMs),
    bfd: bfd && {
      transmit: formatDurationMs(bfd.transmitMs),
      receive: formatDurationMs(bfd.receiveMs),
      multiplier: bfd.multiplier,
      ...(bfd.keepRoutes === true ? { keepRoutes: true } : {}),
      ...(bfd.passive === true ? { passive: true } : {}),
      ...(bfd.minimumTtl === undefined ? {} : { minimumTtl: bfd.minimumTtl }),
    },
    families: families as Json | undefined,
  });
}

/** neighborJson undoes neighborSchema. */
export function neighborJson(neighbor: Neighbor): { readonly [field: string]: Json } {
  const { address, interface: link, group, ...options } = neighbor;
  return present({
    address: address && formatIp(address),
    interface: link,
    group,
    ...optionsJson(options),
  });
}

/** dynamicJson undoes dynamicSchema. */
export function dynamicJson({ prefix, group, limit }: DynamicNeighbors): { readonly [field: string]: Json } {
  return { prefix: formatPrefix(prefix), group, limit };
}
