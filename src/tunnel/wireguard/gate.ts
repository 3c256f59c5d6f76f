/**
 * The gate before the handshakes: what costs little is checked first, and curve operations are spent only on those who may have them.
 *
 * ```
 *   initiation, response ─▶ mac1 ─▶ (under load: cookie in mac2 ─▶ rate of the source) ─▶ pass
 *                            │                      │                     │
 *                         silence             cookie reply             silence
 * ```
 */
import type { Endpoint } from "../../net/mod.ts";
import { writeReply } from "./cookie.ts";
import { hasMac1, hasMac2, type MacKeys } from "./mac.ts";
import type { Initiation, Response } from "./message.ts";
import { type Bytes, type CookieSecret, cookieOf, currentSecret, type Primitives } from "../../noise/mod.ts";
import { isUnderLoad, LoadBook } from "./under-load.ts";

/** Arrival is a handshake message as it came. */
export interface Arrival {
  readonly message: Initiation | Response;
  readonly datagram: Uint8Array;
  readonly from: Endpoint;
  readonly nowMs: number;
  /** Handshake messages that wait at the caller. */
  readonly backlog?: number;
}

/** Verdict on a message; a reply goes back to where it came from. */
export type Verdict =
  | { readonly kind: "pass" }
  | { readonly kind: "drop" }
  | { readonly kind: "reply"; readonly datagram: Bytes };

const PASS: Verdict = { kind: "pass" };
const DROP: Verdict = { kind: "drop" };

/** Gate decides for the holder of one public key. It owns the secret of its cookies; what handshakes cost counts for all identities of a device. */
export class Gate implements Disposable {
  readonly #primitives: Primitives;
  readonly #own: MacKeys;
  readonly #book: LoadBook;
  #secret: CookieSecret | undefined;

  constructor(primitives: Primitives, own: MacKeys, book = new LoadBook()) {
    this.#primitives = primitives;
    this.#own = own;
    this.#book = book;
  }

  /** judge decides on a message. */
  judge({ message, datagram, from, nowMs, backlog = 0 }: Arrival): Verdict {
    const primitives = this.#primitives;
    if (!hasMac1(datagram, { primitives, own: this.#own })) return DROP;
    const book = this.#book;
    book.charge(nowMs, backlog);
    if (!isUnderLoad(book.load, nowMs)) return PASS;
    this.#secret = currentSecret(this.#secret, { primitives, nowMs });
    const cookie = cookieOf(primitives, { secret: this.#secret, from });
    if (hasMac2(datagram, { primitives, cookie })) return book.sources.allow(from.ip, nowMs) ? PASS : DROP;
    const { sender: receiver, mac1 } = message;
    return {
      kind: "reply",
      datagram: writeReply(primitives, { receiver, mac1, cookie, key: this.#own.cookie }),
    };
  }

  [Symbol.dispose](): void {
    this.#secret?.secret.fill(0);
  }
}
