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
import { applyState, type SignedState, StateError } from "./signed-state.ts";
import { type NodeFacts, registerEvent, SYNC_VERSION } from "./sync-protocol.ts";

const FIRST_RETRY_MS = 500;
const MAX_RETRY_MS = 15_000;

/** SyncClient is the state of the machine. */
export interface SyncClient {
  readonly trust: { readonly signingKey: SigningKey; readonly node: string };
  readonly phase: "waiting" | "connecting" | "online" | "ended";
  readonly signed?: SignedState;
  readonly facts: NodeFacts;
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
  | { readonly kind: "invite"; readonly peer: string };

/** ClientEffect is to be carried out in order. */
export type ClientEffect =
  | { readonly kind: "connect" }
  | { readonly kind: "send"; readonly message: unknown }
  | { readonly kind: "close"; readonly reason: string }
  | { readonly kind: "retry"; readonly afterMs: number }
  /** Store it, then use it. */
  | { readonly kind: "state"; readonly signed: SignedState }
  | { readonly kind: "probe"; readonly peer: string; readonly inMs: number }
  | { readonly kind: "online" }
  | { readonly kind: "offline"; readonly reason: string }
  | { readonly kind: "left" };

type Step = readonly [SyncClient, readonly ClientEffect[]];

/** startClient makes the machine; `signed` is the stored state. */
export function startClient(options: Pick<SyncClient, "trust" | "facts" | "signed">): SyncClient {
  return {
    ...options,
    phase: "waiting",
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
    ...(client.signed === undefined ? {} : { header: client.signed.header }),
    facts: factsJson(client.facts),
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
      return [client, [{ kind: "probe", peer: message.peer, inMs: message.inMs }]];
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
    return [
      { ...client, signed, retryMs: FIRST_RETRY_MS, resyncing: false },
      [{ kind: "state", signed }],
    ];
  } catch (error) {
    if (!(error instanceof StateError)) throw error;
    if (error.resync && !client.resyncing)
      return [{ ...client, resyncing: true }, [{ kind: "send", message: { type: "resync" } }]];
    return hangUp(client, error.message);
  }
}

/** The connection ends; the state that we have stays. */
function hangUp(client: SyncClient, reason: string): Step {
  const [next, effects] = onDisconnected(client, reason);
  return [next, [{ kind: "close", reason }, ...effects]];
}

function factsJson(facts: NodeFacts): unknown {
  return { ...facts, local: facts.local.map(formatEndpoint), mapped: facts.mapped.map(formatEndpoint) };
}
