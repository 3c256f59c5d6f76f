/**
 * A WireGuard peer by hand: it makes any message at any time, also those that no peer would send. It has no timers, keeps no rules,
 * and remembers nothing.
 */
import { PrivateKey } from "../../src/net/mod.ts";
import { macKeys, writeMacs } from "../../src/tunnel/wireguard/mac.ts";
import { writeReply } from "../../src/tunnel/wireguard/cookie.ts";
import { decodeMessage, encodeMessage, type HandshakeMessage } from "../../src/tunnel/wireguard/message.ts";
import {
  type DhKey,
  type Keys,
  type Primitives,
  readInitiation,
  readPayload,
  readResponse,
  type Sent,
  systemPrimitives,
  writeInitiation,
  writeResponse,
} from "../../src/noise/mod.ts";
import { ownMemory, Session } from "../../src/tunnel/wireguard/session.ts";
import { IDENTIFIER, SPECIFIED } from "../../src/tunnel/wireguard/specification.ts";
import { encodeMoment } from "../../src/tunnel/wireguard/timestamp.ts";
import { sealPacket } from "../../src/tunnel/wireguard/transport.ts";

type Bytes = Uint8Array<ArrayBuffer>;
const NO_MAC = new Uint8Array(16);

/** Hand is one such peer, which speaks with one other. */
export class Hand {
  readonly key = PrivateKey.random();
  readonly #primitives: Primitives;
  readonly #dh: DhKey;
  readonly #other: Bytes;
  readonly #psk: Bytes;

  constructor(other: Bytes, options: { readonly psk?: Bytes; readonly primitives?: Primitives } = {}) {
    this.#primitives = options.primitives ?? systemPrimitives;
    this.#dh = this.#primitives.privateKey(this.key.reveal());
    this.#other = other;
    this.#psk = options.psk ?? new Uint8Array(32);
  }

  #party() {
    return { primitives: this.#primitives, key: this.#dh, prologue: IDENTIFIER };
  }

  #finished(message: HandshakeMessage, cookie?: Bytes): Bytes {
    const bytes = encodeMessage(message);
    const receiver = macKeys(this.#primitives, this.#other);
    writeMacs(bytes, { primitives: this.#primitives, receiver, ...(cookie === undefined ? {} : { cookie }) });
    return bytes;
  }

  /** initiation returns the message, and what is needed to understand its answer. */
  initiation(options: { readonly seconds: number; readonly sender?: number; readonly cookie?: Bytes }): {
    readonly bytes: Bytes;
    readonly sent: Sent;
    readonly sender: number;
  } {
    const staticStatic = this.#dh.agree(this.#other) as Bytes;
    const payload = encodeMoment({ seconds: options.seconds, nanoseconds: 0 });
    const written = writeInitiation(this.#party(), { remote: this.#other, staticStatic, payload });
    if (written === undefined) throw new Error("the other key is of low order");
    const { sent, payload: timestamp, ...parts } = written;
    const sender = options.sender ?? 0x1000;
    const message = { kind: "initiation", sender, ...parts, timestamp, mac1: NO_MAC, mac2: NO_MAC } as const;
    return { bytes: this.#finished(message, options.cookie), sent, sender };
  }

  /** session returns ours after the answer to an initiation. */
  session(begun: { readonly sent: Sent; readonly sender: number }, answer: Uint8Array): Session {
    const message = decodeMessage(answer);
    if (message?.kind !== "response") throw new Error("this is no response");
    const parts = { ephemeral: message.ephemeral, payload: message.nothing, psk: this.#psk };
    const read = readResponse(this.#party(), begun.sent, parts);
    if (read === undefined) throw new Error("the response cannot be read");
    return this.#make(read.keys, { localIndex: begun.sender, remoteIndex: message.sender, initiator: true });
  }

  /** response returns the answer to an initiation, and our session. */
  response(initiation: Uint8Array, sender = 0x2000): { readonly bytes: Bytes; readonly session: Session } {
    const message = decodeMessage(initiation);
    if (message?.kind !== "initiation") throw new Error("this is no initiation");
    const heard = readInitiation(this.#party(), message);
    if (heard === undefined) throw new Error("the initiation cannot be read");
    const staticStatic = this.#dh.agree(heard.remote) as Bytes;
    if (readPayload(heard, { payload: message.timestamp, staticStatic }) === undefined)
      throw new Error("no timestamp");
    const written = writeResponse(this.#party(), heard, { psk: this.#psk });
    if (written === undefined) throw new Error("a key is of low order");
    const receiver = message.sender;
    const { ephemeral, payload: nothing, keys } = written;
    const bytes = this.#finished({
      kind: "response",
      sender,
      receiver,
      ephemeral,
      nothing,
      mac1: NO_MAC,
      mac2: NO_MAC,
    });
    return {
      bytes,
      session: this.#make(keys, { localIndex: sender, remoteIndex: receiver, initiator: false }),
    };
  }

  #make(keys: Keys, numbers: { localIndex: number; remoteIndex: number; initiator: boolean }): Session {
    return new Session(ownMemory.take(), { keys, peer: 0, bornMs: 0, ...numbers });
  }

  /** cookieReply answers a message with a cookie. */
  cookieReply(message: Uint8Array, cookie: Bytes): Bytes {
    const decoded = decodeMessage(message);
    if (decoded === undefined || decoded.kind === "cookie") throw new Error("this has no answer");
    const { cookie: key } = macKeys(this.#primitives, this.#dh.publicKey);
    return writeReply(this.#primitives, { receiver: decoded.sender, mac1: decoded.mac1, key, cookie });
  }

  /** data returns a packet (empty: a keepalive) under a session. */
  data(session: Session, packet: Uint8Array = new Uint8Array(0)): Bytes {
    const options = { primitives: this.#primitives, timing: SPECIFIED, mtuBytes: 1420 };
    const bytes = sealPacket(session, packet, options);
    if (bytes === undefined) throw new Error("the session has no counters left");
    return bytes;
  }
}
