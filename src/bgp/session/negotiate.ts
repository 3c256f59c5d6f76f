/**
 * Our OPEN from what a session is configured with, and what the session can do from both OPENs; or why there can be none (RFC 4271 section 6.2).
 */
import { type Ip, ipEqual } from "../../net/mod.ts";
import {
  type BgpError,
  bgpError,
  type BgpFamily,
  type Capability,
  encodeCapability,
  encodeOpen,
  ERROR,
  familyName,
  IPV4_UNICAST,
  OPEN_ERROR,
  type Open,
} from "../wire/mod.ts";
import type { FsmConfig } from "./fsm.ts";
import type { Negotiated, PeerLongLived, PeerRestart } from "./negotiated.ts";
import type { PeerConfig } from "./peer.ts";
import { sendHoldMs } from "./timers.ts";

/** FamilyConfig is one family of a session. */
export interface FamilyConfig {
  readonly family: BgpFamily;
  /** Path identifiers (RFC 7911), as we see it. */
  readonly addPath?: "send" | "receive" | "both";
  /** IPv4 routes may have IPv6 next hops (RFC 8950). */
  readonly extendedNextHop?: boolean;
  /** Peers shall keep our routes of this family while we restart (RFC 4724). */
  readonly restart?: boolean;
  /** …and how long, with the last preference, after that (RFC 9494); 0 or absent: not at all. */
  readonly longLivedMs?: number;
}

/** Role is what this side of an eBGP session is to the other (RFC 9234 section 4). */
export type Role = "provider" | "route-server" | "route-server-client" | "customer" | "peer";

/** SessionConfig is one side's. */
export interface SessionConfig {
  readonly localAs: number;
  /** BGP identifier. */
  readonly routerId: Ip;
  /** The AS that the peer must have; `internal` and `external` leave the rest to it. */
  readonly remoteAs: number | "internal" | "external";
  /** 0, or 3 seconds and more. */
  readonly holdMs: number;
  /** Default a third of what is negotiated. */
  readonly keepaliveMs?: number;
  readonly families: readonly FamilyConfig[];
  /** Absent: neither helper nor restarter. */
  readonly restart?: {
    /** How long our restart takes. */
    readonly restartMs: number;
    /** Routes are kept over NOTIFICATIONs as well (RFC 8538). */
    readonly notification: boolean;
  };
  /** Messages of up to 65,535 bytes (RFC 8654). */
  readonly extendedMessages?: boolean;
  /** Absent: no role is announced. */
  readonly role?: Role;
  /** A peer without a role is refused (RFC 9234 section 4.2, strict mode). */
  readonly strictRole?: boolean;
  readonly hostname?: string;
  readonly software?: string;
}

/** Restarted says that we come back after a restart, and in which families packets went on meanwhile. */
export interface Restarted {
  readonly forwarding: ReadonlySet<BgpFamily>;
  /** It was said: a session ended, and nothing else. What we forward goes on. */
  readonly over?: true;
}

/** LocalOpen is our OPEN. */
export function localOpen(config: SessionConfig, restarted?: Restarted): Open {
  return {
    as: config.localAs,
    holdSeconds: Math.round(config.holdMs / 1000),
    routerId: config.routerId,
    capabilities: capabilitiesOf(config, restarted),
  };
}

function capabilitiesOf(config: SessionConfig, restarted: Restarted | undefined): Capability[] {
  const { families, restart } = config;
  const list: Capability[] = families.map(({ family }) => ({ kind: "multiprotocol", family }));
  list.push({ kind: "refresh" }, { kind: "enhanced-refresh" }, { kind: "as4", as: config.localAs });
  const sixth = families.filter(({ extendedNextHop }) => extendedNextHop === true);
  if (sixth.length > 0)
    list.push({
      kind: "extended-next-hop",
      families: sixth.map(({ family }) => ({ family, nextHopAfi: AFI_IPV6 })),
    });
  if (config.extendedMessages === true) list.push({ kind: "extended-messages" });
  if (config.role !== undefined && !isInternal(config))
    list.push({ kind: "role", role: ROLES.indexOf(config.role) });
  const paths = families.filter(({ addPath }) => addPath !== undefined);
  if (paths.length > 0)
    list.push({
      kind: "add-path",
      families: paths.map(({ family, addPath }) => ({
        family,
        send: addPath !== "receive",
        receive: addPath !== "send",
      })),
    });
  if (restart !== undefined) {
    list.push({
      kind: "graceful-restart",
      restarting: restarted !== undefined && restarted.over !== true,
      notification: restart.notification,
      restartSeconds: Math.min(4095, Math.ceil(restart.restartMs / 1000)),
      families: families
        .filter((family) => family.restart === true)
        .map(({ family }) => ({ family, forwarding: restarted?.forwarding.has(family) === true })),
    });
    const long = families.filter(({ longLivedMs }) => longLivedMs !== undefined && longLivedMs > 0);
    list.push({
      kind: "long-lived-graceful-restart",
      families: long.map(({ family, longLivedMs }) => ({
        family,
        forwarding: restarted?.forwarding.has(family) === true,
        staleSeconds: Math.min(0xff_ffff, Math.ceil((longLivedMs ?? 0) / 1000)),
      })),
    });
  }
  if (config.hostname !== undefined) list.push({ kind: "fqdn", host: config.hostname, domain: "" });
  if (config.software !== undefined) list.push({ kind: "software-version", version: config.software });
  return list;
}

const AFI_IPV6 = 2;
/** In the order of RFC 9234 section 4.1. */
const ROLES: readonly Role[] = ["provider", "route-server", "route-server-client", "customer", "peer"];
/** Whom each of them may face (RFC 9234 section 4.2, table 2). */
const FACING = [3, 2, 1, 0, 4];

const isInternal = ({ localAs, remoteAs }: SessionConfig) => remoteAs === "internal" || remoteAs === localAs;

/** negotiate returns what a session can do, or the error with which it is refused. */
export function negotiate(open: Open, config: SessionConfig): Negotiated | BgpError {
  return (
    asError(open, config) ?? identifierError(open, config) ?? roleError(open, config) ?? agree(open, config)
  );
}

const refuse = (subcode: number, text: string, data?: Uint8Array): BgpError =>
  bgpError(ERROR.open, subcode, data === undefined ? { text } : { text, data });

function asError(open: Open, { localAs, remoteAs }: SessionConfig): BgpError | undefined {
  const expected =
    remoteAs === "internal"
      ? open.as === localAs
      : remoteAs === "external"
        ? open.as !== localAs
        : open.as === remoteAs;
  if (expected) return undefined;
  const wanted = typeof remoteAs === "number" ? `AS ${remoteAs}` : `an ${remoteAs} one`;
  return refuse(OPEN_ERROR.badPeerAs, `the peer is AS ${open.as}, and not ${wanted}`);
}

function identifierError(open: Open, { localAs, routerId }: SessionConfig): BgpError | undefined {
  // RFC 6286 section 2.2: "if the BGP Identifier field of the OPEN message is zero, or if it is the same as the BGP Identifier of the local BGP
  // speaker and the message is from an internal peer". Zero is decodeOpen's.
  if (open.as !== localAs || !ipEqual(open.routerId, routerId)) return undefined;
  return refuse(OPEN_ERROR.badIdentifier, "the internal peer has our own BGP identifier");
}

function roleError(open: Open, config: SessionConfig): BgpError | undefined {
  if (config.role === undefined || open.as === config.localAs) return undefined;
  const roles = open.capabilities.flatMap((one) => (one.kind === "role" ? [one.role] : []));
  const [role] = roles;
  if (role === undefined)
    return config.strictRole === true
      ? refuse(OPEN_ERROR.roleMismatch, "the peer announces no role")
      : undefined;
  // RFC 9234 section 4.2: several roles that are not the same are a mismatch too.
  if (roles.every((one) => one === role) && FACING[ROLES.indexOf(config.role)] === role) return undefined;
  return refuse(
    OPEN_ERROR.roleMismatch,
    `the peer is ${ROLES[role] ?? `role ${role}`}, we are ${config.role}`,
  );
}

function agree(open: Open, config: SessionConfig): Negotiated | BgpError {
  const theirs = open.capabilities;
  const has = (kind: Capability["kind"]) => theirs.some((one) => one.kind === kind);
  const announced = theirs.flatMap((one) => (one.kind === "multiprotocol" ? [one.family] : []));
  // RFC 4760 section 8: a speaker without the capability has IPv4 unicast only.
  const remote = new Set(announced.length === 0 ? [IPV4_UNICAST] : announced);
  const own = config.families.filter(({ family }) => remote.has(family));
  if (own.length === 0) return noFamily(config);
  const families = new Set(own.map(({ family }) => family));
  const holdMs = Math.min(config.holdMs, open.holdSeconds * 1000);
  const fqdn = theirs.find((one) => one.kind === "fqdn");
  const software = theirs.find((one) => one.kind === "software-version");
  const restart = config.restart === undefined ? undefined : peerRestart(theirs, { config, families });
  return {
    localAs: config.localAs,
    localId: config.routerId,
    remoteAs: open.as,
    remoteId: open.routerId,
    external: open.as !== config.localAs,
    as4: has("as4"),
    holdMs,
    // RFC 4271 section 4.4: "A reasonable maximum time between KEEPALIVE messages would be one third of the Hold Time interval."
    keepaliveMs: Math.max(1000, Math.min(config.keepaliveMs ?? Number.POSITIVE_INFINITY, holdMs / 3)),
    families,
    addPathSend: addPath(theirs, own, "send"),
    addPathReceive: addPath(theirs, own, "receive"),
    extendedNextHop: extendedNextHop(theirs, own),
    extendedMessagesSend: has("extended-messages"),
    extendedMessagesReceive: config.extendedMessages === true,
    refresh: has("refresh") || has("cisco-refresh"),
    enhancedRefresh: has("enhanced-refresh"),
    ...(restart === undefined ? {} : { restart }),
    longLived: restart === undefined ? new Map() : longLived(theirs, families),
    ...(fqdn === undefined
      ? {}
      : { hostname: fqdn.domain === "" ? fqdn.host : `${fqdn.host}.${fqdn.domain}` }),
    ...(software === undefined ? {} : { software: software.version }),
    capabilities: theirs,
  };
}

/** RFC 5492 section 5: the data lists the capabilities that were missed. */
function noFamily(config: SessionConfig): BgpError {
  const wanted = config.families.map(({ family }) => family);
  const data = Buffer.concat(wanted.map((family) => encodeCapability({ kind: "multiprotocol", family })));
  return refuse(
    OPEN_ERROR.unsupportedCapability,
    `the peer has none of ${wanted.map(familyName).join(", ")}`,
    data,
  );
}

function addPath(
  theirs: readonly Capability[],
  own: readonly FamilyConfig[],
  direction: "send" | "receive",
): ReadonlySet<BgpFamily> {
  const other = direction === "send" ? "receive" : "send";
  const able = new Set(
    theirs.flatMap((one) =>
      one.kind === "add-path" ? one.families.flatMap((entry) => (entry[other] ? [entry.family] : [])) : [],
    ),
  );
  return new Set(
    own
      .filter((config) => config.addPath === direction || config.addPath === "both")
      .map(({ family }) => family)
      .filter((family) => able.has(family)),
  );
}

function extendedNextHop(
  theirs: readonly Capability[],
  own: readonly FamilyConfig[],
): ReadonlySet<BgpFamily> {
  const able = new Set(
    theirs.flatMap((one) =>
      one.kind === "extended-next-hop"
        ? one.families.flatMap(({ family, nextHopAfi }) => (nextHopAfi === AFI_IPV6 ? [family] : []))
        : [],
    ),
  );
  return new Set(
    own
      .filter((config) => config.extendedNextHop === true)
      .map(({ family }) => family)
      .filter((family) => able.has(family)),
  );
}

function peerRestart(
  theirs: readonly Capability[],
  { config, families }: { readonly config: SessionConfig; readonly families: ReadonlySet<BgpFamily> },
): PeerRestart | undefined {
  // RFC 4724 section 3: "If more than one instance of the capability … the receiver MUST ignore all but the last instance."
  const last = theirs.findLast((one) => one.kind === "graceful-restart");
  if (last === undefined) return undefined;
  return {
    restarting: last.restarting,
    notification: last.notification && config.restart?.notification === true,
    restartMs: last.restartSeconds * 1000,
    families: new Map(
      last.families
        .filter(({ family }) => families.has(family))
        .map(({ family, forwarding }) => [family, forwarding]),
    ),
  };
}

function longLived(
  theirs: readonly Capability[],
  families: ReadonlySet<BgpFamily>,
): ReadonlyMap<BgpFamily, PeerLongLived> {
  const last = theirs.findLast((one) => one.kind === "long-lived-graceful-restart");
  return new Map(
    (last?.families ?? [])
      .filter(({ family, staleSeconds }) => families.has(family) && staleSeconds > 0)
      .map(({ family, forwarding, staleSeconds }) => [family, { forwarding, staleMs: staleSeconds * 1000 }]),
  );
}

/** PeerOptions are those attributes of a session that do not show in its OPEN. */
export type PeerOptions = Partial<Omit<FsmConfig, "open">> & {
  readonly sendHoldMs?: number;
  /** Our OPEN says that we come back. */
  readonly restarted?: Restarted | undefined;
};

/** PEER_DEFAULTS: RFC 4271 section 10 suggests 120 s for ConnectRetryTime, which is how long a peer is missed that comes back; 10 s is what data centres use. */
export const PEER_DEFAULTS: Omit<FsmConfig, "open"> = {
  passive: false,
  delayOpenMs: 0,
  connectRetryMs: 10_000,
  idleHoldMs: 1_000,
  idleHoldMostMs: 120_000,
  stableMs: 300_000,
};

/** peerConfig brings together all that `stepPeer` needs. */
export function peerConfig(session: SessionConfig, options: PeerOptions = {}): PeerConfig {
  const { sendHoldMs: hold, restarted, ...fsm } = options;
  return {
    session,
    fsm: { ...PEER_DEFAULTS, ...fsm, open: encodeOpen(localOpen(session, restarted)) },
    sendHoldMs: hold ?? sendHoldMs(session.holdMs),
  };
}
