/** The hub's side of one node's connection: a state machine without socket, clock or file. */
import type { PublicKey, SigningKey } from "../net/mod.ts";
import type { Json } from "../resources/mod.ts";
import type { NodeFacts } from "./facts.ts";
import { Refusal } from "./refusal.ts";
import type { Removal } from "./removal.ts";
import { headerHolds, type StateHeader } from "./signed-state.ts";
import type { StateSource } from "./snapshot.ts";
import { type ClaimRequest, nodeMessage, SYNC_VERSION } from "./sync-protocol.ts";

/** Lines that a node may send at once, and per second in the long run. */
const BURST = 400;
const LINES_PER_SECOND = 50;
/** What costs more than a line counts as so many more: the whole register with a signature, sixty keys, 32 signatures to check. */
const COSTS: Readonly<Record<string, number>> = { resync: 50, psk: 10, removals: 10 };
/**
 * Requests for addresses that a node may make at once, and per second in the long run: each may be a write at all hubs. One in hundreds of
 * subnets claims hundreds of blocks at once; what is too much is refused, and the connection stays.
 */
const CLAIM_BURST = 600;
const CLAIMS_PER_SECOND = 50;

/** SyncSession is one connection. */
export interface SyncSession {
  readonly node: string;
  readonly phase:
    | { readonly kind: "new" }
    /** `sent` and `told` are the state and the facts that the node has when it has read everything. */
    | { readonly kind: "live"; readonly sent: StateHeader; readonly told: number }
    | { readonly kind: "ended" };
  readonly budget: { readonly lines: number; readonly claims: number; readonly atMs: number };
}

/** FactsSource is the facts as they are now. */
export interface FactsSource {
  /** Names the numbers: each life of a hub has its own. */
  readonly book: string;
  readonly version: number;
  /** since returns what changed after a version and may be told to the node; `undefined`: everything. */
  since(node: string, version: number | undefined): readonly Json[];
}

/** SyncContext is what a connection needs of the hub. */
export interface SyncContext {
  readonly source: StateSource;
  readonly facts: FactsSource;
  readonly signingKey: SigningKey;
}

/** SyncEvent is what happened. `changed`: the register has a new revision; `facts`: there are new facts. */
export type SyncEvent =
  | { readonly kind: "line"; readonly text: string; readonly nowMs: number }
  | { readonly kind: "changed" }
  /** `all`: the node may see more than before. */
  | { readonly kind: "facts"; readonly all?: true }
  | { readonly kind: "left" };

/** SyncEffect is to be carried out in order. */
export type SyncEffect =
  | { readonly kind: "send"; readonly message: unknown }
  | { readonly kind: "close"; readonly reason: string }
  /** The node is there: earlier connections of it are to be closed. */
  | { readonly kind: "hello"; readonly version: string; readonly removedTo: number }
  /** Removals that the operator signed, as the node says. */
  | { readonly kind: "removals"; readonly removals: readonly Removal[] }
  | { readonly kind: "facts"; readonly facts: NodeFacts }
  | { readonly kind: "invite"; readonly peer: string }
  /** The node will have another key. */
  | { readonly kind: "rotate"; readonly now: PublicKey; readonly next: PublicKey; readonly proof: string }
  /** The node wants its keys with these. */
  | { readonly kind: "psk"; readonly peers: readonly string[] }
  /** The node asks about its addresses of subnets. */
  | { readonly kind: "claims"; readonly request: ClaimRequest }
  /** How many addresses of its grants a node has leased. */
  | { readonly kind: "usage"; readonly used: readonly (readonly [number, number])[] }
  /** The node has seen this revision from us, though we are behind it: we were restored from a copy. */
  | { readonly kind: "raise"; readonly revision: number }
  /** Remove the node; the event `left` follows. */
  | { readonly kind: "leave" };

type Step = readonly [SyncSession, readonly SyncEffect[]];

/** startSync begins a connection of a node. */
export function startSync(node: string, nowMs: number): SyncSession {
  return { node, phase: { kind: "new" }, budget: { lines: BURST, claims: CLAIM_BURST, atMs: nowMs } };
}

/** stepSync takes one event; `source` is the register as it is now. */
export function stepSync(session: SyncSession, event: SyncEvent, context: SyncContext): Step {
  if (session.phase.kind === "ended") return [session, []];
  switch (event.kind) {
    case "changed": {
      const { phase } = session;
      // A hub that is behind waits until it has what the node has seen from another.
      if (phase.kind !== "live" || phase.sent.revision >= context.source.revision) return [session, []];
      return push(session, { since: phase.sent, told: phase.told }, context.source);
    }
    case "facts": {
      const { phase } = session;
      const all = event.all === true;
      if (phase.kind !== "live" || (phase.told === context.facts.version && !all)) return [session, []];
      return tell(session, all ? undefined : phase.told, context.facts);
    }
    case "left":
      return end(session, "left", [{ kind: "send", message: { type: "left" } }]);
    case "line": {
      const { budget } = session;
      const seconds = (event.nowMs - budget.atMs) / 1000;
      const lines = Math.min(BURST, budget.lines + seconds * LINES_PER_SECOND) - 1;
      const claims = Math.min(CLAIM_BURST, budget.claims + seconds * CLAIMS_PER_SECOND);
      const next = { ...session, budget: { lines, claims, atMs: event.nowMs } };
      if (lines < 0)
        return refuse(next, new Refusal("too-many", "Too many messages; the node connects again later"));
      return onLine(next, event.text, context);
    }
  }
}

function onLine(session: SyncSession, text: string, context: SyncContext): Step {
  let message: ReturnType<typeof nodeMessage.parse>;
  try {
    message = nodeMessage.parse(JSON.parse(text));
  } catch {
    return refuse(
      session,
      new Refusal(
        "bad-request",
        "A message cannot be understood; install the same version of causeway as the hub's",
      ),
    );
  }
  const { phase } = session;
  if (message.type === "hello") {
    if (phase.kind === "live")
      return refuse(session, new Refusal("bad-request", "A second hello; connect anew"));
    if (message.version > SYNC_VERSION)
      return refuse(session, new Refusal("bad-request", "This hub is older than the node; update the hub"));
    return onHello(session, message, context);
  }
  if (phase.kind !== "live")
    return refuse(session, new Refusal("bad-request", "The first message is not a hello"));
  const { lines, ...rest } = session.budget;
  const charged = { ...session, budget: { ...rest, lines: lines - (COSTS[message.type] ?? 0) } };
  switch (message.type) {
    case "facts":
      return [session, [{ kind: "facts", facts: message.facts }]];
    case "invite":
      return [session, [{ kind: "invite", peer: message.peer }]];
    case "removals":
      return [charged, [{ kind: "removals", removals: message.list }]];
    case "rotate":
      return [session, [{ ...message, kind: "rotate" }]];
    case "psk":
      return [charged, [{ kind: "psk", peers: message.peers }]];
    case "resync":
      return push(charged, { since: undefined, told: phase.told }, context.source);
    case "claim":
    case "claim-address":
    case "return":
    case "grants":
      return onClaim(session, message);
    case "usage":
      return [session, [{ kind: "usage", used: message.used }]];
    case "leave":
      return [session, [{ kind: "leave" }]];
    case "ping":
      return [session, [{ kind: "send", message: { type: "pong" } }]];
  }
}

function onHello(
  session: SyncSession,
  hello: Extract<ReturnType<typeof nodeMessage.parse>, { type: "hello" }>,
  context: SyncContext,
): Step {
  const { header, facts, read } = hello;
  const told = read?.book === context.facts.book ? read.version : undefined;
  // A header that we signed proves what the node has; any other is as good as none.
  const proven =
    header !== undefined && header.node === session.node && headerHolds(header, context.signingKey)
      ? header
      : undefined;
  const before: SyncEffect[] = [
    { kind: "hello", version: facts.version, removedTo: proven === undefined ? 0 : (hello.removedTo ?? 0) },
    { kind: "facts", facts },
  ];
  if (proven !== undefined && proven.revision > context.source.revision) {
    // The register moves on first; then the node is told what it has not seen.
    const phase = { kind: "live", sent: proven, told: 0 } as const;
    const [ahead, effects] = tell({ ...session, phase }, told, context.facts);
    return [ahead, [...before, { kind: "raise", revision: proven.revision }, ...effects]];
  }
  const [pushed, state] = push(session, { since: proven, told: 0 }, context.source);
  const [next, known] = tell(pushed, told, context.facts);
  return [next, [...before, ...state, ...known]];
}

/** A request that its own budget allows is no line of the other one. */
function onClaim(session: SyncSession, request: ClaimRequest): Step {
  const { lines, claims, atMs } = session.budget;
  if (claims >= 1) {
    const budget = { lines: lines + 1, claims: claims - 1, atMs };
    return [{ ...session, budget }, [{ kind: "claims", request }]];
  }
  const refused = {
    code: "too-many",
    message: "This node asks for addresses too often; it asks again later",
  } as const;
  return [session, [{ kind: "send", message: { type: "answer", id: request.id, refused } }]];
}

function push(
  session: SyncSession,
  has: { readonly since: StateHeader | undefined; readonly told: number },
  source: StateSource,
): Step {
  const message = source.message(session.node, has.since);
  const phase = { kind: "live", sent: message.header, told: has.told } as const;
  return [{ ...session, phase }, [{ kind: "send", message }]];
}

/** Tells the facts after a version; `undefined`: all of them. */
function tell(session: SyncSession, after: number | undefined, source: FactsSource): Step {
  if (session.phase.kind !== "live") return [session, []];
  const { book, version } = source;
  const phase = { ...session.phase, told: version };
  const facts = source.since(session.node, after);
  return [{ ...session, phase }, [{ kind: "send", message: { type: "facts", book, version, facts } }]];
}

function refuse(session: SyncSession, { code, message }: Refusal): Step {
  return end(session, message, [{ kind: "send", message: { type: "refused", code, message } }]);
}

function end(session: SyncSession, reason: string, effects: readonly SyncEffect[]): Step {
  return [{ ...session, phase: { kind: "ended" } }, [...effects, { kind: "close", reason }]];
}
