/**
 * Who the two ends of a route are, and what follows from that before any message.
 *
 * ```
 *  prologue     "causeway exchange" | version 1 | family 1 | route 4 | length 1, initiator | length 1, responder
 *  identity     the public key; or with a pre-shared key alone, the role: "initiator" or "responder"
 *  static key   the private key; or with a pre-shared key alone, derived from it and the role
 *  code keys    from the secret that both static keys share, the pre-shared key, and the prologue with the sender first
 * ```
 * The code keys make that nobody but the peer costs us a curve operation, or can challenge us. With a pre-shared key alone an end has another
 * identity as initiator than as responder: so neither has to be told which of the two it is, and what tells it from its peer is the boot number.
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
  | { readonly kind: "pre-shared key"; readonly psk: Secret };

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

/** OursRole is what an end is as initiator, or as responder. */
export interface OursRole {
  readonly key: DhKey;
  readonly remoteKey: Bytes;
  readonly prologue: Bytes;
  /** Of what we send, and of what the peer sends. */
  readonly own: CodeKeys;
  readonly peer: CodeKeys;
}

/** OursParty is a route's end. It owns secrets: dispose of it. */
export interface OursParty extends Disposable {
  readonly route: number;
  readonly staticStatic: Bytes;
  readonly psk: Bytes;
  readonly initiator: OursRole;
  readonly responder: OursRole;
}

const LABEL = new TextEncoder().encode("causeway exchange");
const STATIC = new TextEncoder().encode("causeway exchange static");
const ROLES = {
  initiator: new Uint8Array(new TextEncoder().encode("initiator")),
  responder: new Uint8Array(new TextEncoder().encode("responder")),
};

/** The ends as they are in one role. */
interface Ends {
  readonly key: DhKey;
  readonly local: Bytes;
  readonly remote: Bytes;
  readonly remoteKey: Bytes;
}

/** oursParty makes an end; throws if both ends would be the same, or a key is none. */
export function oursParty(primitives: Primitives, terms: OursTerms): OursParty {
  const psk = new Uint8Array(terms.trust.psk?.reveal() ?? new ArrayBuffer(32));
  const ends = endsOf(primitives, terms.trust, psk);
  const wipeEnds = () => {
    for (const { key } of Object.values(ends)) key[Symbol.dispose]();
    psk.fill(0);
  };
  const { key, remoteKey } = ends.initiator;
  const staticStatic = key.agree(remoteKey);
  if (staticStatic === undefined || equalBytes(ends.initiator.local, ends.initiator.remote)) {
    wipeEnds();
    const fault =
      staticStatic === undefined
        ? "the peer's public key is no key (it is of low order)"
        : "both ends have the same identity; give each its own";
    staticStatic?.fill(0);
    throw new Error(`Route ${terms.route}: ${fault}`);
  }
  const shared = primitives.hmac(psk, staticStatic);
  const role = (one: Ends, isInitiator: boolean): OursRole => {
    const [ahead, back] = [
      prologueOf(terms, one.local, one.remote),
      prologueOf(terms, one.remote, one.local),
    ] as const;
    const own = codeKeys(primitives, shared, ahead);
    const peer = codeKeys(primitives, shared, back);
    return { key: one.key, remoteKey: one.remoteKey, prologue: isInitiator ? ahead : back, own, peer };
  };
  const initiator = role(ends.initiator, true);
  const responder = role(ends.responder, false);
  shared.fill(0);
  return {
    route: terms.route,
    staticStatic,
    psk,
    initiator,
    responder,
    [Symbol.dispose]: () => {
      wipeEnds();
      staticStatic.fill(0);
      for (const { own, peer } of [initiator, responder])
        for (const secret of [own.code, own.cookie, peer.code, peer.cookie]) secret.fill(0);
    },
  };
}

function codeKeys(primitives: Primitives, shared: Uint8Array, input: Uint8Array): CodeKeys {
  const [code, cookie] = kdf(primitives, shared, { input, count: 2 });
  return { code: code as Bytes, cookie: cookie as Bytes };
}

function endsOf(
  primitives: Primitives,
  trust: OursTrust,
  psk: Uint8Array,
): Readonly<Record<"initiator" | "responder", Ends>> {
  if (trust.kind === "public keys") {
    const key = primitives.privateKey(trust.privateKey.reveal());
    const remote = publicKeyBytes(trust.remote);
    const ends = { key, local: key.publicKey, remote, remoteKey: remote };
    return { initiator: ends, responder: ends };
  }
  const [first, second] = [ROLES.initiator, ROLES.responder];
  const [initiator, responder] = [roleKey(primitives, psk, first), roleKey(primitives, psk, second)];
  return {
    initiator: { key: initiator, local: first, remote: second, remoteKey: responder.publicKey },
    responder: { key: responder, local: second, remote: first, remoteKey: initiator.publicKey },
  };
}

/** The static key of a role under a pre-shared key: both ends can make both. */
function roleKey(primitives: Primitives, psk: Uint8Array, role: Uint8Array): DhKey {
  const input = new Uint8Array([...STATIC, ...role]);
  const [secret, rest] = kdf(primitives, psk, { input, count: 2 }) as [Bytes, Bytes];
  const key = primitives.privateKey(secret);
  secret.fill(0);
  rest.fill(0);
  return key;
}

function prologueOf({ route, family }: OursTerms, initiator: Uint8Array, responder: Uint8Array): Bytes {
  const head = new Uint8Array(LABEL.length + 6);
  head.set(LABEL);
  head[LABEL.length] = OURS_VERSION;
  head[LABEL.length + 1] = families.indexOf(family) + 1;
  new DataView(head.buffer).setUint32(LABEL.length + 2, route);
  return new Uint8Array([...head, initiator.length, ...initiator, responder.length, ...responder]);
}
