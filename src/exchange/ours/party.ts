/**
 * Who the two ends of a route are, and what follows from that before any message.
 *
 * ```
 *  prologue     "causeway exchange" | version 1 | family 1 | route 4 | length 1, initiator | length 1, responder
 *  identity     the public key; or with a pre-shared key alone, a name
 *  static key   the private key; or with a pre-shared key alone, derived from it and the name
 *  code keys    from the secret that both static keys share, the pre-shared key, and the prologue with the sender first
 * ```
 * The code keys make that nobody but the peer costs us a curve operation, or can challenge us.
 */
import { equalBytes } from "../../sys/mod.ts";
import { type PrivateKey, type PublicKey, publicKeyBytes, type Secret } from "../../net/mod.ts";
import { type Bytes, type DhKey, kdf, type Primitives } from "../../noise/mod.ts";
import { OURS_VERSION } from "./message.ts";

/** OursTrust is how the ends know each other. */
export type OursTrust =
  | {
      readonly kind: "public keys";
      readonly privateKey: PrivateKey;
      readonly remote: PublicKey;
      readonly psk?: Secret;
    }
  /** Names of 1 to 64 bytes, the same at both ends the other way round. */
  | {
      readonly kind: "pre-shared key";
      readonly psk: Secret;
      readonly local: string;
      readonly remote: string;
    };

/** families are what a route carries; a number on the wire by index + 1. */
const families = ["ipv4", "ipv6", "both"] as const;
export type OursFamily = (typeof families)[number];

/** OursTerms are what both ends of a route must have been told alike. */
export interface OursTerms {
  /** Tags the messages, and may be seen by all. */
  readonly route: number;
  readonly family: OursFamily;
  readonly trust: OursTrust;
}

/** CodeKeys are of messages from one end. */
export interface CodeKeys {
  /** Of the code of handshake messages. */
  readonly code: Bytes;
  /** Of cookies that it sends. */
  readonly cookie: Bytes;
}

/** OursParty is a route's end. It owns secrets: dispose of it. */
export interface OursParty extends Disposable {
  readonly route: number;
  readonly key: DhKey;
  readonly remoteKey: Bytes;
  readonly staticStatic: Bytes;
  readonly psk: Bytes;
  readonly own: CodeKeys;
  readonly peer: CodeKeys;
  /** The prologue when we are the initiator, and when the peer is. */
  readonly asInitiator: Bytes;
  readonly asResponder: Bytes;
  /** When both begin at once, the senior's exchange goes on. */
  readonly senior: boolean;
}

const MOST_NAME = 64;
const LABEL = new TextEncoder().encode("causeway exchange");
const STATIC = new TextEncoder().encode("causeway exchange static");

/** oursParty makes an end; throws if both ends would be the same, or a key or name is none. */
export function oursParty(primitives: Primitives, terms: OursTerms): OursParty {
  const ends = endsOf(primitives, terms.trust);
  if (equalBytes(ends.local, ends.remote))
    throw new Error(`Route ${terms.route}: both ends have the same identity; give each its own`);
  const staticStatic = ends.key.agree(ends.remoteKey);
  if (staticStatic === undefined)
    throw new Error(`Route ${terms.route}: the peer's public key is no key (it is of low order)`);
  const asInitiator = prologueOf(terms, ends.local, ends.remote);
  const asResponder = prologueOf(terms, ends.remote, ends.local);
  const shared = primitives.hmac(ends.psk, staticStatic);
  const own = codeKeys(primitives, shared, asInitiator);
  const peer = codeKeys(primitives, shared, asResponder);
  shared.fill(0);
  return {
    route: terms.route,
    ...ends,
    staticStatic,
    own,
    peer,
    asInitiator,
    asResponder,
    senior: Buffer.compare(ends.local, ends.remote) < 0,
    [Symbol.dispose]: () => {
      ends.key[Symbol.dispose]();
      for (const secret of [staticStatic, ends.psk, own.code, own.cookie, peer.code, peer.cookie])
        secret.fill(0);
    },
  };
}

function codeKeys(primitives: Primitives, shared: Uint8Array, input: Uint8Array): CodeKeys {
  const [code, cookie] = kdf(primitives, shared, { input, count: 2 });
  return { code: code as Bytes, cookie: cookie as Bytes };
}

function endsOf(primitives: Primitives, trust: OursTrust) {
  if (trust.kind === "public keys") {
    const key = primitives.privateKey(trust.privateKey.reveal());
    const remote = publicKeyBytes(trust.remote);
    const psk = new Uint8Array(trust.psk?.reveal() ?? new ArrayBuffer(32));
    return { key, local: key.publicKey, remote, remoteKey: remote, psk };
  }
  const psk = new Uint8Array(trust.psk.reveal());
  const [local, remote] = [nameBytes(trust.local), nameBytes(trust.remote)];
  using other = namedKey(primitives, psk, remote);
  return { key: namedKey(primitives, psk, local), local, remote, remoteKey: other.publicKey, psk };
}

/** The static key of an end that has a name and the pre-shared key: both ends can make both. */
function namedKey(primitives: Primitives, psk: Uint8Array, name: Uint8Array): DhKey {
  const input = new Uint8Array([...STATIC, ...name]);
  const [secret, rest] = kdf(primitives, psk, { input, count: 2 }) as [Bytes, Bytes];
  const key = primitives.privateKey(secret);
  secret.fill(0);
  rest.fill(0);
  return key;
}

function nameBytes(name: string): Bytes {
  const bytes = new Uint8Array(new TextEncoder().encode(name));
  if (bytes.length < 1 || bytes.length > MOST_NAME)
    throw new RangeError(
      `The identity "${name}" has ${bytes.length} bytes; it has to have 1 to ${MOST_NAME}`,
    );
  return bytes;
}

function prologueOf({ route, family }: OursTerms, initiator: Uint8Array, responder: Uint8Array): Bytes {
  const head = new Uint8Array(LABEL.length + 6);
  head.set(LABEL);
  head[LABEL.length] = OURS_VERSION;
  head[LABEL.length + 1] = families.indexOf(family) + 1;
  new DataView(head.buffer).setUint32(LABEL.length + 2, route);
  return new Uint8Array([...head, initiator.length, ...initiator, responder.length, ...responder]);
}
