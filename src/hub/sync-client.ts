/**
 * The node's side of the sync protocol: a state machine without socket, clock or file. The hub may be away for any time; the
 * last signed state stays valid, and what the node has to say is kept and said again at the next connection.
 *
 * ```
 *  waiting ── retry ──▶ connecting ── connected: hello ──▶ online
 *     ▲                     │ failed                         │ disconnected, refused, bad state
 *     └──── back-off ───────┴────────────────────────────────┘
 * ```
 */
import { formatEndpoint, type SigningKey } from "../net/mod.ts";
import type { PairReport } from "./arbiter.ts";
import { applyState, type SignedState, StateError } from "./signed-state.ts";
import { type NodeFacts, registerEvent, SYNC_VERSION } from "./sync-protocol.ts";

const FIRST_RETRY_MS = 500;
const MAX_RETRY_MS = 15_000;

/** SyncClient is the state of the machine. */
export interface SyncClient {
  readonly trust: { readonly signingKey: SigningKey; readonly node: string };
  /** Random, one per life of the agent. */
  readonly session: string;
  readonly phase: "waiting" | "connecting" | "online" | "ended";
  readonly signed?: SignedState;
  readonly facts: NodeFacts;
  readonly reports: ReadonlyMap<string, PairReport>;
  readonly sequence: number;
  readonly retryMs: number;
  /** Whether everything was asked for on this connection already. */
  readonly resyncing: boolean;
  readonly leaving: boolean;
}

/** ClientEvent is what happened. */
export type ClientEvent =
  | { readonly kind: "start" | "retry" | "connected" | "leave" }
  /** The wish to leave is given up: it is not said again at the next connection. */
  | { readonly kind: "stay" }
  | { readonly kind: "disconnected"; readonly reason: string }
  | { readonly kind: "line"; readonly text: string }
  | { readonly kind: "facts"; readonly facts: NodeFacts }
  | { readonly kind: "report"; readonly peer: string; readonly up: boolean }
  | { readonly kind: "invite"; readonly peer: string };

/** ClientEffect is to be carried out in order. */
export type ClientEffect =
  | { readonly kind: "connect" }
  | { readonly kind: "send"; readonly message: unknown }
  | { readonly kind: "close"; readonly reason: string }
  | { readonly kind: "retry"; readonly afterMs: number }
  /** Store it, then use it. */
  | { readonly kind: "state"; readonly signed: SignedState }
  | { readonly kind: "probe"; readonly peer: string }
  | { readonly kind: "online" }
  | { readonly kind: "offline"; readonly reason: string }
  | { readonly kind: "left" };

type Step = readonly [SyncClient, readonly ClientEffect[]];

/** startClient makes the machine; `signed` is the stored state. */
export function startClient(options: Pick<SyncClient, "trust" | "session" | "facts" | "signed">): SyncClient {
  return {
    ...options,
    phase: "waiting",
    reports: new Map(),
    sequence: 0,
    retryMs: FIRST_RETRY_MS,
    resyncing: false,
    leaving: false,
  };
}

/** stepClient takes one event. */
export function stepClient(client: SyncClient, event: ClientEvent): Step {
  if (client.phase === "ended") return [client, []];
  const online = client.phase === "online";
  switch (event.kind) {
    case "start":
    case "retry":
      return client.phase === "waiting"
        ? [{ ...client, phase: "connecting" }, [{ kind: "connect" }]]
        : [client, []];
    case "connected":
      return onConnected(client);
    case "disconnected":
      return onDisconnected(client, event.reason);
    case "line":
      return online ? onLine(client, event.text) : [client, []];
    case "facts": {
      const next = { ...client, facts: event.facts };
      return [
        next,
        online ? [{ kind: "send", message: { type: "facts", facts: factsJson(event.facts) } }] : [],
      ];
    }
    case "report": {
      const report: PairReport = { peer: event.peer, up: event.up, sequence: client.sequence };
      const reports = new Map(client.reports).set(event.peer, report);
      const next = { ...client, reports, sequence: client.sequence + 1 };
      return [next, online ? [{ kind: "send", message: { type: "report", ...report } }] : []];
    }
    case "invite":
      return [client, online ? [{ kind: "send", message: { type: "invite", peer: event.peer } }] : []];
    case "leave":
      return [{ ...client, leaving: true }, online ? [{ kind: "send", message: { type: "leave" } }] : []];
    case "stay":
      return [{ ...client, leaving: false }, []];
  }
}

function onConnected(client: SyncClient): Step {
  if (client.phase !== "connecting") return [client, []];
  const hello = {
    type: "hello",
    version: SYNC_VERSION,
    session: client.session,
    ...(client.signed === undefined ? {} : { header: client.signed.header }),
    facts: factsJson(client.facts),
    reports: [...client.reports.values()],
  };
  const leave = client.leaving ? [{ kind: "send", message: { type: "leave" } } as const] : [];
  return [
    { ...client, phase: "online", resyncing: false },
    [{ kind: "send", message: hello }, ...leave, { kind: "online" }],
  ];
}

function onDisconnected(client: SyncClient, reason: string): Step {
  if (client.phase === "waiting") return [client, []];
  const afterMs = client.retryMs;
  return [
    { ...client, phase: "waiting", retryMs: Math.min(afterMs * 2, MAX_RETRY_MS) },
    [
      { kind: "offline", reason },
      { kind: "retry", afterMs },
    ],
  ];
}

function onLine(client: SyncClient, text: string): Step {
  let message: ReturnType<typeof registerEvent.parse>;
  try {
    message = registerEvent.parse(JSON.parse(text));
  } catch {
    return hangUp(
      client,
      "the hub's message cannot be understood; install the same version of causeway as the hub's",
    );
  }
  switch (message.type) {
    case "state":
      return onState(client, message);
    case "probe":
      return [client, [{ kind: "probe", peer: message.peer }]];
    case "pong":
      return [client, []];
    case "left":
      return [{ ...client, phase: "ended" }, [{ kind: "left" }, { kind: "close", reason: "left" }]];
    case "refused":
      return hangUp(client, `the hub refuses: ${message.message}`);
  }
}

function onState(client: SyncClient, message: Parameters<typeof applyState>[1]): Step {
  try {
    const signed = applyState(client.signed, message, client.trust);
    const reports = reportsThatHold(client, signed);
    return [
      { ...client, signed, reports, retryMs: FIRST_RETRY_MS, resyncing: false },
      [{ kind: "state", signed }],
    ];
  } catch (error) {
    if (!(error instanceof StateError)) throw error;
    if (error.resync && !client.resyncing)
      return [{ ...client, resyncing: true }, [{ kind: "send", message: { type: "resync" } }]];
    return hangUp(client, error.message);
  }
}

/** What was said of a node that was removed, or came back with another key, is forgotten; so the list stays as short as the register. */
function reportsThatHold(client: SyncClient, signed: SignedState): SyncClient["reports"] {
  const holds = (peer: string) => {
    const before = client.signed?.entries.get(`node/${peer}`);
    const now = signed.entries.get(`node/${peer}`);
    return now !== undefined && (before === undefined || before === now || keyOf(before) === keyOf(now));
  };
  return new Map([...client.reports].filter(([peer]) => holds(peer)));
}

function keyOf(entry: string): unknown {
  return (JSON.parse(entry) as { spec?: { publicKey?: unknown } } | null)?.spec?.publicKey;
}

/** The connection ends; the state that we have stays. */
function hangUp(client: SyncClient, reason: string): Step {
  const [next, effects] = onDisconnected(client, reason);
  return [next, [{ kind: "close", reason }, ...effects]];
}

function factsJson(facts: NodeFacts): unknown {
  return { ...facts, local: facts.local.map(formatEndpoint) };
}
