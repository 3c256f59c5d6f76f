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
import type { SigningKey } from "../net/mod.ts";
import { type Fact, factsJson, type NodeFacts } from "./facts.ts";
import type { SealedKey } from "./pair-keys.ts";
import type { Removal } from "./removal.ts";
import { applyState, type SignedState, StateError } from "./signed-state.ts";
import { type ClaimAnswer, registerEvent, SYNC_VERSION } from "./sync-protocol.ts";

const FIRST_RETRY_MS = 500;
const MAX_RETRY_MS = 15_000;
/** While there is a hub that was not tried since the last connection, the next one is tried at once. */
const NEXT_HUB_MS = 20;

/** SyncClient is the state of the machine. */
export interface SyncClient {
  readonly trust: { readonly signingKey: SigningKey; readonly node: string };
  readonly phase: "waiting" | "connecting" | "online" | "ended";
  readonly signed?: SignedState;
  readonly facts: NodeFacts;
  readonly retryMs: number;
  /** How many hubs there are, and how many connections failed since the last that held. */
  readonly hubs: number;
  readonly failures: number;
  /** How far the facts of which hub were read. */
  readonly read?: { readonly book: string; readonly version: number };
  /** Revision of the newest removal that was heard. */
  readonly removedTo?: number;
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
  /** Said once, to a hub that is connected. */
  | { readonly kind: "tell"; readonly message: unknown }
  | { readonly kind: "tell-removals"; readonly removals: readonly Removal[] }
  | { readonly kind: "hubs"; readonly count: number }
  | { readonly kind: "invite"; readonly peer: string };

/** ClientEffect is to be carried out in order. */
export type ClientEffect =
  | { readonly kind: "connect" }
  | { readonly kind: "send"; readonly message: unknown }
  | { readonly kind: "close"; readonly reason: string }
  | { readonly kind: "retry"; readonly afterMs: number }
  /** Store it, then use it. */
  | { readonly kind: "state"; readonly signed: SignedState }
  /** What is known of nodes beside the state. */
  | { readonly kind: "facts"; readonly facts: readonly Fact[] }
  /** The operator wants another key of this node. */
  | { readonly kind: "rotate" }
  | { readonly kind: "psk"; readonly keys: readonly SealedKey[] }
  /** What was asked with `tell` is answered. */
  | { readonly kind: "answer"; readonly answer: ClaimAnswer }
  /** Take over those that hold. */
  | { readonly kind: "removals"; readonly removals: readonly Removal[] }
  | { readonly kind: "probe"; readonly peer: string; readonly inMs: number }
  | { readonly kind: "online" }
  | { readonly kind: "offline"; readonly reason: string }
  | { readonly kind: "left" };

type Step = readonly [SyncClient, readonly ClientEffect[]];

/** startClient makes the machine; `signed` is the stored state. */
export function startClient(
  options: Pick<SyncClient, "trust" | "facts" | "signed" | "removedTo"> & { readonly hubs?: number },
): SyncClient {
  return {
    ...options,
    hubs: options.hubs ?? 1,
    failures: 0,
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
    case "hubs":
      return [{ ...client, hubs: event.count }, []];
    case "invite":
      return [client, online ? [{ kind: "send", message: { type: "invite", peer: event.peer } }] : []];
    case "tell":
      return [client, online ? [{ kind: "send", message: event.message }] : []];
    case "tell-removals":
      return [client, online ? [{ kind: "send", message: { type: "removals", list: event.removals } }] : []];
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
    ...(client.read === undefined ? {} : { read: client.read }),
    ...(client.removedTo === undefined ? {} : { removedTo: client.removedTo }),
  };
  const leave = client.leaving ? [{ kind: "send", message: { type: "leave" } } as const] : [];
  return [
    { ...client, phase: "online", resyncing: false },
    [{ kind: "send", message: hello }, ...leave, { kind: "online" }],
  ];
}

function onDisconnected(client: SyncClient, reason: string): Step {
  if (client.phase === "waiting") return [client, []];
  const failures = client.failures + 1;
  const untried = failures % client.hubs !== 0;
  const afterMs = untried ? NEXT_HUB_MS : client.retryMs;
  const retryMs = untried ? client.retryMs : Math.min(client.retryMs * 2, MAX_RETRY_MS);
  return [
    { ...client, phase: "waiting", failures, retryMs },
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
    case "facts": {
      const { book, version, facts } = message;
      return [{ ...client, read: { book, version } }, [{ kind: "facts", facts }]];
    }
    case "removals": {
      const removedTo = Math.max(client.removedTo ?? 0, ...message.list.map((removal) => removal.revision));
      return [{ ...client, removedTo }, [{ kind: "removals", removals: message.list }]];
    }
    case "rotate":
      return [client, [{ kind: "rotate" }]];
    case "psk":
      return [client, [{ kind: "psk", keys: message.keys }]];
    case "answer":
      return [client, [{ kind: "answer", answer: message }]];
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
      { ...client, signed, retryMs: FIRST_RETRY_MS, failures: 0, resyncing: false },
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
