/** The newcomer's side: through which use to ask, and one exchange with the hub. */
import { ENROL_PORT, enrolServiceAddress, type TlsMode } from "../mesh/mod.ts";
import { formatIp, type PrivateKey, type PublicKey, type Secret } from "../net/mod.ts";
import { type Json, present } from "../resources/mod.ts";
import { after, connectTcp, randomBytes, sleep, wallMs } from "../sys/mod.ts";
import { ENROL_VERSION, hubMessage } from "./enrol-protocol.ts";
import { nodeSecret } from "./pair-key.ts";
import { proofOf } from "./proof.ts";
import { Refusal, type RefusalCode } from "./refusal.ts";
import { applyState, type SignedState } from "./signed-state.ts";
import { type HubSecret, openHubSecret } from "./hub-secret.ts";
import {
  type Token,
  type TokenHub,
  tokenHubs,
  type TokenTls,
  tokenUse,
  type TokenUse,
  useOrder,
  useSecret,
} from "./token.ts";

/** How long one use is tried: the tunnel's handshake, which repeats after 5 s, and the exchange. */
const TRY_MS = 7_000;
/** The first use is given up sooner while there are others, where newcomers who meet block each other's handshakes, or another hub. */
const FIRST_TRY_MS = 2_500;
/** More tries than this do not help: the hub is not reached at all. */
const MAX_TRIES = 12;
/** The hub's device learns of the new key a moment after the answer; a handshake before that is lost, and repeated only after 5 s. */
const ADMIT_MS = 250;
const NO_TLS =
  "the token does not say that hubs take TLS; set tlsPort in the mesh and make another token (docs/operate.md)";
/** The hub's answer holds the whole register. */
const MAX_ANSWER_BYTES = 16 * 1024 * 1024;

/** Newcomer is what a node brings to its registration. The key must be stored before it is used here. */
export interface Newcomer {
  readonly key: PrivateKey;
  readonly name: string;
  readonly endpoints: readonly string[];
  readonly site?: string;
}

/** Enrolled is the hub's yes. */
export interface Enrolled {
  /** The node's name: the token's, if it is for one node. */
  readonly name: string;
  readonly state: SignedState;
  /** Of the hub that answered. */
  readonly hubKey: PublicKey;
  /** What the node and the hubs have in common from now on, for pre-shared keys (pair-key.ts). */
  readonly nodeSecret: Secret;
  /** Only for a hub: what it needs to be one. */
  readonly secret?: HubSecret;
}

/** EnrolWay is where an attempt goes: a hub, by UDP or by TLS, and the number of the round in which all its endpoints are tried. */
export interface EnrolWay {
  readonly hub: TokenHub;
  readonly tls?: TokenTls;
  readonly turn: number;
}

/** enrolWays returns the ways that are tried in one round: each hub by UDP, and then by TLS if it takes that. */
export function enrolWays(
  token: Parameters<typeof tokenHubs>[0],
  tls: TlsMode,
): readonly Omit<EnrolWay, "turn">[] {
  return tokenHubs(token).flatMap((hub) => [
    ...(tls === "always" ? [] : [{ hub }]),
    ...(tls === "never" || hub.tls === undefined ? [] : [{ hub, tls: hub.tls }]),
  ]);
}

/** nextUses returns the uses still to try: those that the hub named as free, in the newcomer's own order. */
export function nextUses(
  order: readonly number[],
  tried: ReadonlySet<number>,
  free?: readonly number[],
): readonly number[] {
  return order.filter((number) => (free === undefined ? !tried.has(number) : free.includes(number)));
}

/** usesAfterRefusal puts the uses that did not answer first: one of them may be this key's own, with only the answer lost. */
export function usesAfterRefusal(free: readonly number[], silent: ReadonlySet<number>): readonly number[] {
  return [...silent, ...free.filter((number) => !silent.has(number))];
}

/**
 * enrol registers a newcomer through a token: for each use that it tries it asks the caller to set the tunnel up for that use, and
 * then speaks to the hub. Throws Refusal when the hub says no, and Error when it does not answer.
 */
export async function enrol(options: {
  readonly token: Token;
  readonly newcomer: Newcomer;
  /** Default `never`. */
  readonly tls?: TlsMode;
  /** Makes the tunnel to the hub that of this use (newcomerObjects of mesh); resolves with the reason if there is no such way from here. */
  readonly setUse: (use: TokenUse, way: EnrolWay) => Promise<string | void> | void;
  readonly progress?: (text: string) => void;
  /** For tests: another way to the service. */
  readonly service?: { readonly address: string; readonly port: number };
  readonly tryMs?: number;
}): Promise<Enrolled> {
  const { token, newcomer, progress, tls = "never" } = options;
  const order = useOrder(token, newcomer.key.publicKey);
  const hubs = tokenHubs(token);
  const ways = enrolWays(token, tls);
  if (ways.length === 0) throw new Error(`Cannot join mesh ${token.mesh} by TLS: ${NO_TLS}; or join by UDP`);
  const tries = Math.min(Math.max(MAX_TRIES, ways.length), Math.max(4, token.uses * 2, ways.length * 3));
  const tried = new Set<number>();
  // No answer may mean that only the answer was lost: the use may be this key's own by now.
  const silent = new Set<number>();
  let queue = order;
  let failure: Error | undefined;
  for (let attempt = 0; attempt < tries; attempt++) {
    if (queue.length === 0) {
      tried.clear();
      queue = order;
    }
    const number = queue[0] as number;
    tried.add(number);
    queue = queue.slice(1);
    const use = tokenUse(token, number);
    const way = ways[attempt % ways.length] as EnrolWay;
    const { hub } = way;
    const which = hubs.length === 1 ? "the hub" : `hub ${hubs.indexOf(hub) + 1} of ${hubs.length}`;
    progress?.(
      `asking ${which}${way.tls === undefined ? "" : " by TLS"} through use ${number + 1} of ${token.uses}`,
    );
    const closed = await options.setUse(use, { ...way, turn: Math.floor(attempt / ways.length) });
    try {
      if (typeof closed === "string") throw new Error(closed);
      // Where TLS comes next, the first round is for finding out which of them works.
      const other =
        attempt === 0
          ? ways.length > 1 || token.uses > 1
          : way.tls === undefined && ways[attempt + 1]?.tls !== undefined;
      const enrolled = await exchange({
        ...options,
        hubKey: hub.key,
        use,
        timeoutMs: options.tryMs ?? (other ? FIRST_TRY_MS : TRY_MS),
      });
      await sleep(ADMIT_MS);
      return enrolled;
    } catch (error) {
      failure = error as Error;
      if (error instanceof Refusal) {
        silent.delete(number);
        // A key that has registered did so by a use whose answer was lost: there it is told again.
        const registered = error.code === "key-exists" && silent.size > 0;
        if (error.code !== "use-taken" && !registered) throw error;
        queue = registered ? [...silent] : usesAfterRefusal(nextUses(order, tried, error.freeUses), silent);
        if (queue.length === 0) throw error;
      } else {
        silent.add(number);
        progress?.(`no answer: ${failure.message}`);
      }
    }
    // Newcomers who meet at one use must not stay in step.
    await sleep(((randomBytes(1)[0] as number) / 255) * 500);
  }
  if (failure instanceof Refusal) throw failure;
  // Only a hint: the hub's clock decides, and to a token that it does not accept it is silent.
  const late = token.expiresAtMs < wallMs() ? "; by this machine's clock the token has expired" : "";
  throw new Error(
    `Cannot join mesh ${token.mesh}: the hub does not answer at ${hubs.flatMap(({ endpoints }) => endpoints).join(", ")} (${failure?.message}); ` +
      `check that ${tls === "always" ? "TLS" : "UDP"} gets through${tlsHint(tls, hubs)}, that the hub runs, and that the token is not revoked or expired${late}`,
  );
}

/** What may help where UDP is blocked. */
function tlsHint(tls: TlsMode, hubs: readonly TokenHub[]): string {
  const taken = hubs.some((hub) => hub.tls !== undefined);
  if (tls === "always") return "";
  if (tls === "auto") return taken ? ", or TLS" : ` (${NO_TLS})`;
  return taken ? " (where it is blocked, this mesh can be joined by TLS: --tls auto)" : "";
}

/** exchange speaks to the hub once, through a use that the tunnel is set up for. */
function exchange(options: {
  readonly token: Token;
  readonly newcomer: Newcomer;
  readonly hubKey: PublicKey;
  readonly use: TokenUse;
  readonly timeoutMs: number;
  readonly service?: { readonly address: string; readonly port: number };
}): Promise<Enrolled> {
  const { token, newcomer, hubKey, use, timeoutMs } = options;
  const service = options.service ?? { address: formatIp(enrolServiceAddress(token)), port: ENROL_PORT };
  const { promise, resolve, reject } = Promise.withResolvers<Enrolled>();
  let connection: { send(text: string): void; close(): void } | undefined;
  let early: string[] | undefined = [];
  const onLine = (text: string) => {
    try {
      const answer = answerTo(text, { token, newcomer, use, hubKey });
      if (answer.kind === "send") connection?.send(JSON.stringify(answer.message));
      else resolve(answer.enrolled);
    } catch (error) {
      reject(error as Error);
    }
  };
  const deadline = after(timeoutMs, () => reject(new Error("the hub was silent")));
  connectTcp({
    ...service,
    maxLineBytes: MAX_ANSWER_BYTES,
    timeoutMs,
    events: {
      line: (text) => (early === undefined ? onLine(text) : void early.push(text)),
      closed: (reason) => reject(new Error(reason ?? "the hub closed the connection")),
    },
  }).then((made) => {
    connection = made;
    const lines = early ?? [];
    early = undefined;
    for (const line of lines) onLine(line);
  }, reject);
  return promise.finally(() => {
    deadline[Symbol.dispose]();
    connection?.close();
  });
}

type Answer =
  | { readonly kind: "send"; readonly message: unknown }
  | { readonly kind: "done"; readonly enrolled: Enrolled };

/** answerTo takes one line of the hub; throws Refusal for a no, and StateError for a state that is not the hub's. */
export function answerTo(
  text: string,
  from: {
    readonly token: Token;
    readonly newcomer: Newcomer;
    readonly use: TokenUse;
    /** Of the hub that is asked; the token's first if absent. */
    readonly hubKey?: PublicKey;
  },
): Answer {
  const { token, newcomer, use, hubKey = token.hubKey } = from;
  let message: ReturnType<typeof hubMessage.parse>;
  try {
    message = hubMessage.parse(JSON.parse(text));
  } catch {
    throw new Error(
      "the hub's answer cannot be understood; install the same version of causeway as the hub's",
    );
  }
  switch (message.type) {
    case "nonce": {
      const request: Json = present({
        version: ENROL_VERSION,
        name: newcomer.name,
        publicKey: newcomer.key.publicKey,
        endpoints: newcomer.endpoints,
        site: newcomer.site,
      });
      const keys = { own: newcomer.key, peer: hubKey };
      const proof = proofOf(keys, { nonce: message.nonce, address: use.address, request });
      return {
        kind: "send",
        message: { type: "register", request, proof: Buffer.from(proof).toString("base64") },
      };
    }
    case "welcome": {
      const state = applyState(undefined, message.state, {
        signingKey: token.signingKey,
        node: message.name,
      });
      const secret =
        message.secret === undefined
          ? undefined
          : openHubSecret({ own: newcomer.key, peer: hubKey }, message.secret);
      return {
        kind: "done",
        enrolled: {
          name: message.name,
          state,
          hubKey,
          nodeSecret: nodeSecret(useSecret(token, use.number), newcomer.key.publicKey),
          ...(secret === undefined ? {} : { secret }),
        },
      };
    }
    case "refused":
      throw new Refusal(message.code as RefusalCode, message.message, {
        ...(message.freeUses === undefined ? {} : { freeUses: message.freeUses }),
      });
  }
}
