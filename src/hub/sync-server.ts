/** The hub's side of one node's connection: a state machine without socket, clock or file. */
import type { SigningKey } from "../net/mod.ts";
import { Refusal } from "./refusal.ts";
import { headerHolds, type StateHeader } from "./signed-state.ts";
import type { StateSource } from "./snapshot.ts";
import { type NodeFacts, nodeMessage, SYNC_VERSION } from "./sync-protocol.ts";

/** Lines that a node may send at once, and per second in the long run. */
const BURST = 400;
const LINES_PER_SECOND = 50;

/** SyncSession is one connection. */
export interface SyncSession {
  readonly node: string;
  readonly phase:
    | { readonly kind: "new" }
    /** `sent` is what the node has when it has read everything. */
    | { readonly kind: "live"; readonly sent: StateHeader }
    | { readonly kind: "ended" };
  readonly budget: { readonly lines: number; readonly atMs: number };
}

/** SyncEvent is what happened. `changed`: the register has a new revision. */
export type SyncEvent =
  | { readonly kind: "line"; readonly text: string; readonly nowMs: number }
  | { readonly kind: "changed" }
  | { readonly kind: "left" };

/** SyncEffect is to be carried out in order. */
export type SyncEffect =
  | { readonly kind: "send"; readonly message: unknown }
  | { readonly kind: "close"; readonly reason: string }
  /** The node is there: earlier connections of it are to be closed. */
  | { readonly kind: "hello"; readonly version: string }
  | { readonly kind: "facts"; readonly facts: NodeFacts }
  | { readonly kind: "invite"; readonly peer: string }
  /** The node has seen this revision from us, though we are behind it: we were restored from a copy. */
  | { readonly kind: "raise"; readonly revision: number }
  /** Remove the node; the event `left` follows. */
  | { readonly kind: "leave" };

type Step = readonly [SyncSession, readonly SyncEffect[]];

/** startSync begins a connection of a node. */
export function startSync(node: string, nowMs: number): SyncSession {
  return { node, phase: { kind: "new" }, budget: { lines: BURST, atMs: nowMs } };
}

/** stepSync takes one event; `source` is the register as it is now. */
export function stepSync(
  session: SyncSession,
  event: SyncEvent,
  context: { readonly source: StateSource; readonly signingKey: SigningKey },
): Step {
  if (session.phase.kind === "ended") return [session, []];
  switch (event.kind) {
    case "changed": {
      const { phase } = session;
      if (phase.kind !== "live" || phase.sent.revision === context.source.revision) return [session, []];
      return push(session, phase.sent, context.source);
    }
    case "left":
      return end(session, "left", [{ kind: "send", message: { type: "left" } }]);
    case "line": {
      const lines =
        Math.min(
          BURST,
          session.budget.lines + ((event.nowMs - session.budget.atMs) / 1000) * LINES_PER_SECOND,
        ) - 1;
      const next = { ...session, budget: { lines, atMs: event.nowMs } };
      if (lines < 0)
        return refuse(next, new Refusal("too-many", "Too many messages; the node connects again later"));
      return onLine(next, event.text, context);
    }
  }
}

function onLine(
  session: SyncSession,
  text: string,
  context: { readonly source: StateSource; readonly signingKey: SigningKey },
): Step {
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
  switch (message.type) {
    case "facts":
      return [session, [{ kind: "facts", facts: message.facts }]];
    case "invite":
      return [session, [{ kind: "invite", peer: message.peer }]];
    case "resync":
      return push(session, undefined, context.source);
    case "leave":
      return [session, [{ kind: "leave" }]];
    case "ping":
      return [session, [{ kind: "send", message: { type: "pong" } }]];
  }
}

function onHello(
  session: SyncSession,
  hello: Extract<ReturnType<typeof nodeMessage.parse>, { type: "hello" }>,
  context: { readonly source: StateSource; readonly signingKey: SigningKey },
): Step {
  const { header, facts } = hello;
  // A header that we signed proves what the node has; any other is as good as none.
  const proven =
    header !== undefined && header.node === session.node && headerHolds(header, context.signingKey)
      ? header
      : undefined;
  const before: SyncEffect[] = [
    { kind: "hello", version: facts.version },
    { kind: "facts", facts },
  ];
  if (proven !== undefined && proven.revision > context.source.revision) {
    // The register moves on first; `changed` then sends everything.
    const phase = { kind: "live", sent: { ...proven, epoch: "" } } as const;
    return [{ ...session, phase }, [...before, { kind: "raise", revision: proven.revision }]];
  }
  const [next, effects] = push(session, proven, context.source);
  return [next, [...before, ...effects]];
}

function push(
  session: SyncSession,
  since: StateHeader | undefined,
  source: StateSource,
): Step {
  const message = source.message(session.node, since);
  const phase = { kind: "live", sent: message.header } as const;
  return [{ ...session, phase }, [{ kind: "send", message }]];
}

function refuse(session: SyncSession, { code, message }: Refusal): Step {
  return end(session, message, [{ kind: "send", message: { type: "refused", code, message } }]);
}

function end(session: SyncSession, reason: string, effects: readonly SyncEffect[]): Step {
  return [{ ...session, phase: { kind: "ended" } }, [...effects, { kind: "close", reason }]];
}
