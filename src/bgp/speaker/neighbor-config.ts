/** What a BgpRouter says of a neighbor, in the terms of sessions and of the RIB. */
import type { Ip } from "../../net/mod.ts";
import {
  type BgpRouter,
  type DynamicNeighbors as DynamicWish,
  type FamilyOptions as FamilyWish,
  type Neighbor as NeighborWish,
  type NeighborOptions,
  neighborName,
  neighborOptions,
} from "../../resources/mod.ts";
import type { DynamicNeighbors, Neighbor, Reach } from "../io/mod.ts";
import { compilePolicy, policyByFamily, rejectAll } from "../policy/mod.ts";
import type { Policy, PeerOptions as RibPeerOptions } from "../rib/mod.ts";
import {
  type FamilyConfig,
  PEER_DEFAULTS,
  type PeerOptions,
  type Restarted,
  type SessionConfig,
} from "../session/mod.ts";
import { type BgpFamily, familyFromName, IPV4_UNICAST } from "../wire/mod.ts";
import { specField } from "./router-change.ts";

/** RFC 4271 section 10 suggests 90 s. */
const HOLD_MS = 90_000;

/** NeighborContext is what a neighbor's configuration depends on beside the resource. */
export interface NeighborContext {
  readonly router: BgpRouter;
  readonly policies: ReadonlyMap<string, Policy>;
  readonly hostname: string;
  readonly software: string;
  /** MD5 passwords of sessions, by their files. */
  readonly passwords: Passwords;
  /** Our sessions say that we come back. */
  readonly restarted?: Restarted | undefined;
}

/** Passwords are those of sessions, by the paths of their files. */
export type Passwords = ReadonlyMap<string, Uint8Array>;

/**
 * readPasswords reads those of a router before anything is begun. Throws where one cannot be read, unless it is in `known`: what runs goes on with
 * what it has.
 */
export function readPasswords(
  router: BgpRouter,
  { read, known }: { readonly read: (path: string) => Uint8Array; readonly known?: Passwords | undefined },
): Passwords {
  const passwords = new Map<string, Uint8Array>();
  const options = router.neighbors.map((wish) => neighborOptions(router, wish));
  const groups = router.dynamicNeighbors.map(({ group }) => router.groups[group] ?? {});
  for (const { passwordFile, shutdown } of [...options, ...groups])
    if (passwordFile !== undefined && shutdown !== true)
      passwords.set(passwordFile, readKnown(passwordFile, read, known?.get(passwordFile)));
  return passwords;
}

function readKnown(
  path: string,
  read: (path: string) => Uint8Array,
  known: Uint8Array | undefined,
): Uint8Array {
  try {
    return read(path);
  } catch (error) {
    if (known !== undefined) return known;
    throw error;
  }
}

/** passwordsDiffer tells whether the file of a known password has another one by now; one that cannot be read has none. */
export function passwordsDiffer(
  router: BgpRouter,
  { read, known }: { readonly read: (path: string) => Uint8Array; readonly known: Passwords },
): boolean {
  if (known.size === 0) return false;
  const now = readPasswords(router, { read, known });
  return [...known].some(([path, password]) => String(now.get(path)) !== String(password));
}

/** otherPassword returns what tells whether a session has another password than before, by its options now. */
export function otherPassword(
  before: Pick<NeighborContext, "passwords">,
  now: Pick<NeighborContext, "passwords">,
): (options: NeighborOptions) => boolean {
  return ({ passwordFile = "" }) =>
    String(before.passwords.get(passwordFile)) !== String(now.passwords.get(passwordFile));
}

/** compilePolicies compiles all policies of a router, by name; those of `before` where they are the same: routes are not judged by them again. */
export function compilePolicies(
  router: BgpRouter,
  before?: Pick<NeighborContext, "router" | "policies">,
): ReadonlyMap<string, Policy> {
  if (before !== undefined && specField(before.router, "policies") === specField(router, "policies"))
    return before.policies;
  return new Map(
    Object.entries(router.policies).map(([name, rules]) => [name, compilePolicy(rules, { asn: router.asn })]),
  );
}

/** familyWishes returns a neighbor's families with their options. */
export function familyWishes(options: NeighborOptions): ReadonlyMap<BgpFamily, FamilyWish> {
  const wishes = new Map<BgpFamily, FamilyWish>();
  for (const [name, wish] of Object.entries(options.families ?? {})) {
    const family = familyFromName(name);
    if (family !== undefined && wish !== undefined) wishes.set(family, wish);
  }
  return wishes;
}

/** isInternal tells whether a neighbor is in our AS. */
export function isInternalTo(router: BgpRouter, { asn }: NeighborOptions): boolean {
  return asn === "internal" || asn === router.asn;
}

function sessionConfig(
  context: NeighborContext,
  options: NeighborOptions,
  unnumbered: boolean,
): SessionConfig {
  const { router, hostname, software } = context;
  const restarts = options.gracefulRestart !== false && router.restartMs > 0;
  const families = [...familyWishes(options)].map(([family, wish]): FamilyConfig => ({
    family,
    ...(wish.addPath === undefined ? {} : { addPath: wish.addPath }),
    // RFC 8950: only where the session may be over IPv6.
    ...(family === IPV4_UNICAST && unnumbered ? { extendedNextHop: true } : {}),
    ...(restarts ? { restart: true } : {}),
    ...(restarts && router.longLivedMs > 0 ? { longLivedMs: router.longLivedMs } : {}),
  }));
  return {
    localAs: router.asn,
    routerId: router.routerId,
    remoteAs: options.asn ?? "external",
    holdMs: options.holdMs ?? HOLD_MS,
    ...(options.keepaliveMs === undefined ? {} : { keepaliveMs: options.keepaliveMs }),
    families,
    ...(restarts ? { restart: { restartMs: router.restartMs, notification: true } } : {}),
    extendedMessages: options.extendedMessages !== false,
    hostname,
    software,
  };
}

function reachOf(options: NeighborOptions): Reach {
  if (options.ttlSecurity !== undefined) return { kind: "gtsm", hops: options.ttlSecurity };
  if (options.multihop !== undefined) return { kind: "multihop", hops: options.multihop };
  return { kind: "direct" };
}

function common(context: NeighborContext, options: NeighborOptions, sixth: boolean) {
  const { restarted, passwords } = context;
  const password = passwords.get(options.passwordFile ?? "");
  const peer: PeerOptions = {
    ...(options.passive === undefined ? {} : { passive: options.passive }),
    ...(options.connectRetryMs === undefined ? {} : patience(options.connectRetryMs)),
    ...(restarted === undefined ? {} : { restarted }),
  };
  return {
    reach: reachOf(options),
    session: sessionConfig(context, options, sixth),
    options: peer,
    ...(password === undefined ? {} : { password }),
  };
}

/** Who is to be called often is not to be held back for long either: damping ends there. */
function patience(connectRetryMs: number): PeerOptions {
  const idleHoldMostMs = Math.max(connectRetryMs, PEER_DEFAULTS.idleHoldMs);
  return { connectRetryMs, idleHoldMostMs };
}

const isSixth = (address: Ip | undefined) => address === undefined || address.family === 6;

/** neighborConfig returns a neighbor as `bgp/io` wants it. */
export function neighborConfig(context: NeighborContext, wish: NeighborWish): Neighbor {
  const options = neighborOptions(context.router, wish);
  const { address, interface: device } = wish;
  return {
    name: neighborName(wish),
    remote:
      address === undefined
        ? { kind: "interface", device: device as string }
        : { kind: "address", address, ...(device === undefined ? {} : { device }) },
    ...(options.port === undefined ? {} : { port: options.port }),
    ...(options.source === undefined ? {} : { source: options.source }),
    ...common(context, options, isSixth(address)),
  };
}

/** dynamicConfig returns dynamic neighbors as `bgp/io` wants them; they are named by their prefix's group. */
export function dynamicConfig(context: NeighborContext, wish: DynamicWish, name: string): DynamicNeighbors {
  const options = context.router.groups[wish.group] ?? {};
  return {
    name,
    prefix: wish.prefix,
    limit: wish.limit,
    ...common(context, options, wish.prefix.family === 6),
  };
}

/** ribPeer returns what the RIB has to know of a peer whose AS is known: from the session, or from its configuration. */
export function ribPeer(
  context: Pick<NeighborContext, "router" | "policies">,
  options: NeighborOptions,
  { asn, address }: { readonly asn: number; readonly address: Uint8Array },
): RibPeerOptions {
  const external = asn !== context.router.asn;
  const wishes = familyWishes(options);
  const importPolicy = policyOf(context, wishes, { external, which: "import" });
  const exportPolicy = policyOf(context, wishes, { external, which: "export" });
  const allowOwnAs = Math.max(0, ...[...wishes.values()].map(({ allowOwnAsn }) => allowOwnAsn ?? 0));
  return {
    ...{ asn, address, external },
    ...(external ? {} : clientOf(options)),
    ...(allowOwnAs > 0 ? { allowOwnAs } : {}),
    ...(importPolicy === undefined ? {} : { importPolicy }),
    ...(exportPolicy === undefined ? {} : { exportPolicy }),
  };
}

/** isReflectorClient tells whether a neighbor is a client of this reflector in a family; without one, in any. */
export function isReflectorClient(options: NeighborOptions, family?: BgpFamily): boolean {
  const { client = false } = clientOf(options);
  return typeof client === "boolean" ? client : family === undefined || client.has(family);
}

function clientOf(options: NeighborOptions): Pick<RibPeerOptions, "client"> {
  if (options.routeReflectorClient === true) return { client: true };
  const some = [...familyWishes(options)].flatMap(([family, { routeReflectorClient }]) =>
    routeReflectorClient === true ? [family] : [],
  );
  return some.length === 0 ? {} : { client: new Set(some) };
}

/** One object for all that have the same: they share update groups and what was worked out before. */
const joined = new WeakMap<ReadonlyMap<string, Policy>, Map<string, Policy | undefined>>();

function policyOf(
  { router, policies }: Pick<NeighborContext, "router" | "policies">,
  wishes: ReadonlyMap<BgpFamily, FamilyWish>,
  { external, which }: { readonly external: boolean; readonly which: "import" | "export" },
): Policy | undefined {
  const byFamily = new Map<BgpFamily, Policy>();
  const names: string[] = [];
  for (const [family, wish] of wishes) {
    const name = wish[which];
    const policy = name === undefined ? undefined : policies.get(name);
    if (policy !== undefined) byFamily.set(family, policy);
    // RFC 8212 section 3: "Routes are neither imported nor exported unless specifically enabled by configuration".
    else if (external && router.requirePolicy) byFamily.set(family, rejectAll);
    if (byFamily.has(family)) names.push(`${family} ${policy === undefined ? "" : name}`);
  }
  const known = joined.get(policies) ?? new Map<string, Policy | undefined>();
  joined.set(policies, known);
  const key = names.sort().join(", ");
  if (!known.has(key)) known.set(key, policyByFamily(byFamily));
  return known.get(key);
}

/** listenOf returns where a router is called. */
export function listenOf({ listen }: BgpRouter): { readonly port?: number; readonly listen: readonly Ip[] } {
  const port = listen[0]?.port;
  return { ...(port === undefined ? {} : { port }), listen: listen.map(({ ip }) => ip) };
}
