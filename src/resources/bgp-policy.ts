/**
 * Policies of a BgpRouter: ordered rules, the first that decides ends it, and what no rule decides is rejected.
 *
 * ```yaml
 * policies:
 *   from-fabric:
 *     - match: {prefix: ["10.0.0.0/8 le 24"], community: ["65000:1"]}
 *       set: {localPreference: 200, addCommunity: ["65000:9"]}
 *       action: accept
 *     - action: reject
 * ```
 * All that a match names must fit; of a list, one. A rule without `match` fits every route. `next` goes on with what was set.
 */
import { z } from "zod";
import { bitsOf, formatIp, formatPrefix, type Ip, parsePrefix, type Prefix, tryParseIp } from "../net/mod.ts";
import { type Json, present, withoutAbsent } from "./canonical.ts";
import { addressSchema, textValue, wholeNumber } from "./scalars.ts";

/** PrefixRange fits prefixes inside `prefix` whose length is from `least` to `most`. */
export interface PrefixRange {
  readonly prefix: Prefix;
  readonly least: number;
  readonly most: number;
}

/** parsePrefixRange reads `10.0.0.0/8` (that prefix alone) or `10.0.0.0/8 ge 16 le 24`. */
export function parsePrefixRange(text: string): PrefixRange {
  const match = /^(\S+)(?: ge (\d{1,3}))?(?: le (\d{1,3}))?$/.exec(text);
  if (match === null) throw new Error('is not a range of prefixes; write it like "10.0.0.0/8 ge 16 le 24"');
  const prefix = parsePrefix(match[1] as string);
  const bits = bitsOf(prefix.family);
  const least = match[2] === undefined ? prefix.length : Number(match[2]);
  const most = match[3] === undefined ? (match[2] === undefined ? prefix.length : bits) : Number(match[3]);
  if (least < prefix.length || least > most || most > bits)
    throw new Error(`has lengths that no prefix has; write ${prefix.length} <= ge <= le <= ${bits}`);
  return { prefix, least, most };
}

/** formatPrefixRange undoes parsePrefixRange. */
export function formatPrefixRange({ prefix, least, most }: PrefixRange): string {
  const text = formatPrefix(prefix);
  if (least === prefix.length) return most === prefix.length ? text : `${text} le ${most}`;
  return most === bitsOf(prefix.family) ? `${text} ge ${least}` : `${text} ge ${least} le ${most}`;
}

const DECIMAL = /^(0|[1-9]\d*)$/;
/** Well-known communities by name (IANA, RFC 1997, 7999, 8326, 9494). */
const WELL_KNOWN: Readonly<Record<string, number>> = {
  "graceful-shutdown": 0xffff0000,
  "llgr-stale": 0xffff0006,
  "no-llgr": 0xffff0007,
  blackhole: 0xffff029a,
  "no-export": 0xffffff01,
  "no-advertise": 0xffffff02,
  "no-export-subconfed": 0xffffff03,
};

/** parseCommunity reads `65000:1` or a well-known name (RFC 1997) as 32 bits. */
export function parseCommunity(text: string): number {
  const known = WELL_KNOWN[text];
  if (known !== undefined) return known;
  const parts = text.split(":");
  const [high, low] = parts.map(Number);
  if (parts.length !== 2 || !parts.every((part) => DECIMAL.test(part) && Number(part) <= 0xffff))
    throw new Error("is not a community; write it like 65000:1, or no-export");
  return (high as number) * 65536 + (low as number);
}

/** formatCommunity undoes parseCommunity. */
export function formatCommunity(value: number): string {
  const name = Object.keys(WELL_KNOWN).find((key) => WELL_KNOWN[key] === value);
  return name ?? `${Math.floor(value / 65536)}:${value % 65536}`;
}

function checkText(text: string, fits: boolean, problem: string): string {
  if (!fits) throw new Error(problem);
  return text;
}

/** Large communities (RFC 8092) and route targets (RFC 4360, 5668) stay text: what they are in bytes is the protocol's affair. */
function largeCommunity(text: string): string {
  const parts = text.split(":");
  const fits = parts.length === 3 && parts.every((part) => DECIMAL.test(part) && Number(part) <= 0xffffffff);
  return checkText(text, fits, "is not a large community; write it like 65000:1:2");
}

function routeTarget(text: string): string {
  const at = text.lastIndexOf(":");
  const administrator = text.slice(0, at);
  const number = text.slice(at + 1);
  const wide = DECIMAL.test(administrator) && Number(administrator) <= 0xffff;
  const four =
    (DECIMAL.test(administrator) && Number(administrator) <= 0xffffffff) ||
    tryParseIp(administrator)?.family === 4;
  const fits =
    at > 0 &&
    DECIMAL.test(number) &&
    (wide ? Number(number) <= 0xffffffff : four && Number(number) <= 0xffff);
  return checkText(
    text,
    fits,
    "is not a route target; write it like 65000:100, 4200000000:100 or 192.0.2.1:100",
  );
}

const communitySchema = textValue<number>("a community such as 65000:1", parseCommunity);
const largeSchema = textValue<string>("a large community such as 65000:1:2", largeCommunity);

/** routeTargetSchema reads a route target; it stays text. */
export const routeTargetSchema = textValue<string>("a route target such as 65000:100", routeTarget);

/** A repeated group that repeats something itself: a path of a neighbor could keep the search busy for years. */
const NESTED = /[*+?][^()]*\)[*+]/;

/** AS path patterns: `_65001_` and anchors as FRR and Cisco have them; `_` is a border between AS numbers. */
const asPathSchema = textValue<string>("a pattern of an AS path such as ^65001_", (text) =>
  checkText(
    text,
    /^[\d_^$.*+?()|[\]-]{1,200}$/.test(text) && !NESTED.test(text) && compiles(asPathPattern(text)),
    "is not a pattern of an AS path; write it like ^65001_ or _65010$",
  ),
);

/** asPathPattern returns the regular expression of a pattern, on AS numbers joined by spaces. */
export function asPathPattern(text: string): string {
  return text.replaceAll("_", "(?:^|$|[ {},()])");
}

function compiles(source: string): boolean {
  try {
    new RegExp(source);
    return true;
  } catch {
    return false;
  }
}

/** RouteMatch fits a route if each field that is there fits. */
export interface RouteMatch {
  readonly prefix?: readonly PrefixRange[];
  readonly community?: readonly number[];
  readonly largeCommunity?: readonly string[];
  readonly routeTarget?: readonly string[];
  readonly asPath?: readonly string[];
  /** Type of an EVPN route, 1 to 5. */
  readonly evpnType?: readonly number[];
  readonly vni?: readonly number[];
  readonly nextHop?: readonly Prefix[];
}

/** RouteChange is what a rule sets on a route that fits. */
export interface RouteChange {
  readonly localPreference?: number;
  readonly med?: number;
  readonly nextHop?: Ip;
  readonly addCommunity?: readonly number[];
  readonly removeCommunity?: readonly number[];
  readonly addLargeCommunity?: readonly string[];
  readonly removeLargeCommunity?: readonly string[];
  readonly addRouteTarget?: readonly string[];
  readonly removeRouteTarget?: readonly string[];
  /** Own AS number put before the path so many times. */
  readonly prepend?: number;
}

/** PolicyRule is one step of a policy. */
export interface PolicyRule {
  readonly match: RouteMatch;
  readonly set: RouteChange;
  readonly action: "accept" | "reject" | "next";
}

const some = <T>(value: z.ZodType<T>) => z.array(value).min(1).max(1024).optional();
const word32 = wholeNumber(0, 0xffffffff).optional();

const matchSchema = z.strictObject(
  {
    prefix: some(textValue<PrefixRange>("a prefix such as 10.0.0.0/8 le 24", parsePrefixRange)),
    community: some(communitySchema),
    largeCommunity: some(largeSchema),
    routeTarget: some(routeTargetSchema),
    asPath: some(asPathSchema),
    evpnType: some(wholeNumber(1, 255)),
    vni: some(wholeNumber(1, 0xffffff)),
    nextHop: some(textValue<Prefix>("a network such as 10.0.0.0/8", parsePrefix)),
  },
  { error: "is not a match; write {prefix: […], community: […], …}" },
);

const setSchema = z.strictObject(
  {
    localPreference: word32,
    med: word32,
    nextHop: addressSchema.optional(),
    addCommunity: some(communitySchema),
    removeCommunity: some(communitySchema),
    addLargeCommunity: some(largeSchema),
    removeLargeCommunity: some(largeSchema),
    addRouteTarget: some(routeTargetSchema),
    removeRouteTarget: some(routeTargetSchema),
    prepend: wholeNumber(1, 32).optional(),
  },
  { error: "is not a change; write {localPreference: 200, addCommunity: […], …}" },
);

const actionSchema = z.enum(["accept", "reject", "next"], { error: "is none of accept, reject, next" });

/** policySchema reads one policy. */
export const policySchema = z
  .array(
    z
      .strictObject(
        { match: matchSchema.default({}), set: setSchema.default({}), action: actionSchema },
        { error: "is not a rule; write {match: {…}, set: {…}, action: accept}" },
      )
      .transform(({ match, set, action }): PolicyRule => ({
        match: withoutAbsent(match) as RouteMatch,
        set: withoutAbsent(set) as RouteChange,
        action,
      })),
  )
  .max(1024);

/** policyJson undoes policySchema. */
export function policyJson(rules: readonly PolicyRule[]): Json {
  return rules.map(({ match, set, action }) =>
    present({
      match: nonEmpty({
        ...(match as { readonly [field: string]: Json }),
        prefix: match.prefix?.map(formatPrefixRange),
        community: match.community?.map(formatCommunity),
        nextHop: match.nextHop?.map(formatPrefix),
      }),
      set: nonEmpty({
        ...(set as { readonly [field: string]: Json }),
        nextHop: set.nextHop && formatIp(set.nextHop),
        addCommunity: set.addCommunity?.map(formatCommunity),
        removeCommunity: set.removeCommunity?.map(formatCommunity),
      }),
      action,
    }),
  );
}

function nonEmpty(fields: { readonly [field: string]: Json | undefined }): Json | undefined {
  const given = present(fields);
  return Object.keys(given).length === 0 ? undefined : given;
}
