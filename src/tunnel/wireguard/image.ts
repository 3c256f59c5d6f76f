/**
 * A device as a value that a successor begins with: all but what waits for an answer, which is asked for again.
 *
 * It holds the private key and the pre-shared keys in plain text: for the hands of one process of the same user, and nothing else. Session keys are
 * not in it; they lie in the memory that both share (session.ts), with the counters, which must never be taken from an older copy.
 */
import {
  formatEndpoint,
  formatPrefix,
  parseEndpoint,
  parsePrefix,
  type Prefix,
  PrivateKey,
  type PublicKey,
  publicKeyBytes,
  Secret,
} from "../../net/mod.ts";
import { type Keypairs, keypairsOf } from "./keypair.ts";
import { macKeys } from "./mac.ts";
import type { PeerState } from "./peer-state.ts";
import type { Primitives } from "../../noise/mod.ts";
import { Session, type SessionNumbers } from "./session.ts";
import type { Timers } from "./timers.ts";
import type { Moment } from "./timestamp.ts";

/** DeviceImage is JSON. */
export interface DeviceImage {
  readonly privateKey?: string;
  readonly formerPrivateKey?: string;
  readonly listenPort: number;
  readonly fwmark: number;
  readonly peers: readonly PeerImage[];
}

/** SessionImage says which piece of the shared memory a session is. */
export interface SessionImage extends Omit<SessionNumbers, "peer"> {
  readonly slot: number;
}

type KeypairName = "previous" | "current" | "next";

/** PeerImage is one peer. */
export interface PeerImage {
  readonly publicKey: PublicKey;
  readonly psk?: string;
  readonly endpoint?: string;
  readonly allowedIps: readonly string[];
  readonly persistentMs: number;
  readonly timers: Timers;
  readonly sessions: { readonly [N in KeypairName]?: SessionImage };
  readonly crossing?: "open" | "settled";
  readonly former?: true;
  readonly moving?: true;
  readonly spokeMs?: number;
  readonly moment?: Moment;
  readonly greatest?: string;
  readonly heardMs?: number;
  readonly renewed: boolean;
  readonly lastHandshakeMs?: number;
  readonly traffic: readonly [number, number];
}

const text = (bytes: Uint8Array) => Buffer.from(bytes).toString("base64");
const bytesOf = (base64: string) => new Uint8Array(Buffer.from(base64, "base64"));

/** keyText and keyOf write and read a private key. */
export const keyText = (secret: Secret): string => text(secret.reveal());
export const keyOf = (base64: string): PrivateKey => new PrivateKey(bytesOf(base64));

/** peerImage returns the image of a peer; `slotOf` tells which piece of the shared memory is a session's. */
export function peerImage(
  state: PeerState,
  options: { readonly allowedIps: readonly Prefix[]; readonly slotOf: (session: Session) => number },
): PeerImage {
  const { identity, psk, endpoint, keypairs, greatest, traffic } = state;
  const { persistentMs, timers, spokeMs, moment, heardMs, renewed, lastHandshakeMs } = state;
  const image = (session: Session | undefined): SessionImage | undefined =>
    session === undefined
      ? undefined
      : {
          slot: options.slotOf(session),
          localIndex: session.localIndex,
          remoteIndex: session.remoteIndex,
          initiator: session.initiator,
          bornMs: session.bornMs,
          ...(session.former ? { former: true } : {}),
        };
  return present({
    publicKey: identity.publicKey,
    psk: psk === undefined ? undefined : text(psk.reveal()),
    endpoint: endpoint === undefined ? undefined : formatEndpoint(endpoint),
    allowedIps: options.allowedIps.map(formatPrefix),
    persistentMs,
    timers,
    sessions: present({
      previous: image(keypairs.previous),
      current: image(keypairs.current),
      next: image(keypairs.next),
    }),
    crossing: keypairs.crossing,
    former: state.former,
    moving: state.moving,
    spokeMs,
    moment,
    greatest: greatest === undefined ? undefined : text(greatest),
    heardMs,
    renewed,
    lastHandshakeMs,
    traffic: [traffic[0] as number, traffic[1] as number] as const,
  });
}

/** Restored is a peer of an image. */
export interface Restored {
  readonly state: PeerState;
  readonly allowedIps: readonly Prefix[];
}

/** restorePeer returns a peer of an image. A session whose memory `memoryOf` does not give is left out: it is made anew. */
export function restorePeer(
  image: PeerImage,
  options: {
    readonly number: number;
    readonly primitives: Primitives;
    readonly staticStatic?: Secret;
    readonly memoryOf: (session: SessionImage) => Uint8Array<ArrayBufferLike> | undefined;
  },
): Restored {
  const { number, primitives, staticStatic, memoryOf } = options;
  const publicBytes = publicKeyBytes(image.publicKey);
  const session = (name: KeypairName): Session | undefined => {
    const numbers = image.sessions[name];
    const memory = numbers === undefined ? undefined : memoryOf(numbers);
    return numbers === undefined || memory === undefined
      ? undefined
      : new Session(memory, { ...numbers, peer: number });
  };
  const keypairs: Keypairs = present({
    previous: session("previous"),
    current: session("current"),
    next: session("next"),
    crossing: image.crossing,
  });
  const { persistentMs, timers, spokeMs, moment, heardMs, renewed, lastHandshakeMs } = image;
  // A handshake that waits for an answer is not handed over, and a session may not be: begin at once, though the last one was just begun.
  const lost = keypairsOf(keypairs).length < Object.keys(image.sessions).length;
  const again = lost || timers.retransmit !== undefined;
  const state: PeerState = {
    identity: { number, publicKey: image.publicKey, publicBytes, macKeys: macKeys(primitives, publicBytes) },
    persistentMs,
    timers: again ? { ...timers, retransmit: 0 } : timers,
    keypairs: keypairsOf(keypairs).length === 0 ? {} : keypairs,
    renewed,
    staged: [],
    traffic: new Float64Array(image.traffic),
    ...present({
      former: image.former,
      moving: image.moving,
      staticStatic,
      psk: image.psk === undefined ? undefined : new Secret(bytesOf(image.psk)),
      endpoint: image.endpoint === undefined ? undefined : parseEndpoint(image.endpoint),
      spokeMs: again ? undefined : spokeMs,
      moment,
      greatest: image.greatest === undefined ? undefined : bytesOf(image.greatest),
      heardMs,
      lastHandshakeMs,
    }),
  };
  return { state, allowedIps: image.allowedIps.map(parsePrefix) };
}

type Present<T> = { [K in keyof T as undefined extends T[K] ? never : K]: T[K] } & {
  [K in keyof T as undefined extends T[K] ? K : never]?: Exclude<T[K], undefined>;
};

/** Leaves out the fields that are undefined. */
function present<T extends object>(fields: T): Present<T> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Present<T>;
}
