/**
 * The symmetric state of Noise (specification revision 34, sections 5.1 and 5.2): a chaining key, a hash of all that was said, and a
 * cipher key. Secrets are wiped when the next ones take their place.
 */
import type { Bytes, Primitives } from "./primitives.ts";

const NOTHING = new Uint8Array(0);

/** NoiseCipher is a cipher function by its name in Noise (section 12). */
export type NoiseCipher = "ChaChaPoly" | "AESGCM";

interface Cipher {
  readonly seal: "seal" | "sealAes";
  readonly open: "open" | "openAes";
  /** Where the lowest byte of the counter stands in the nonce: ChaChaPoly's is little-endian, AESGCM's big-endian. */
  readonly nonceAt: number;
}

const ciphers: Readonly<Record<NoiseCipher, Cipher>> = {
  ChaChaPoly: { seal: "seal", open: "open", nonceAt: 4 },
  AESGCM: { seal: "sealAes", open: "openAes", nonceAt: 11 },
};

interface State {
  readonly chainingKey: Bytes;
  readonly hash: Bytes;
  /** There is none before the first mixKey. */
  readonly key: Bytes | undefined;
  readonly nonce: number;
}

/** kdf derives two or three 32-byte keys from a key and more (HKDF of Noise, section 4.3; Kdf of the whitepaper, section 5.4). */
export function kdf(
  primitives: Primitives,
  key: Uint8Array,
  options: { input: Uint8Array; count: 2 | 3 },
): Bytes[] {
  const secret = primitives.hmac(key, options.input);
  const keys: Bytes[] = [];
  for (let i = 1; i <= options.count; i++) {
    const last = keys.at(-1) ?? NOTHING;
    const input = new Uint8Array(last.length + 1);
    input.set(last);
    input[last.length] = i;
    keys.push(primitives.hmac(secret, input));
    input.fill(0);
  }
  secret.fill(0);
  return keys;
}

/** SymmetricState owns secrets: dispose of it. */
export class SymmetricState implements Disposable {
  readonly #primitives: Primitives;
  readonly #cipher: Cipher;
  #state: State;

  private constructor(primitives: Primitives, cipher: Cipher, state: State) {
    this.#primitives = primitives;
    this.#cipher = cipher;
    this.#state = state;
  }

  /** begin is InitializeSymmetric for a name longer than a hash, and MixHash of the prologue. */
  static begin(
    primitives: Primitives,
    names: { protocol: Uint8Array; prologue: Uint8Array; cipher?: NoiseCipher },
  ): SymmetricState {
    const chainingKey = primitives.hash(names.protocol);
    const hash = primitives.hash(chainingKey, names.prologue);
    const cipher = ciphers[names.cipher ?? "ChaChaPoly"];
    return new SymmetricState(primitives, cipher, { chainingKey, hash, key: undefined, nonce: 0 });
  }

  /** copy returns a second state: what is tried on it leaves the first as it was. */
  copy(): SymmetricState {
    const { chainingKey, hash, key, nonce } = this.#state;
    const state = { chainingKey: chainingKey.slice(), hash: hash.slice(), key: key?.slice(), nonce };
    return new SymmetricState(this.#primitives, this.#cipher, state);
  }

  mixHash(data: Uint8Array): void {
    this.#state = { ...this.#state, hash: this.#primitives.hash(this.#state.hash, data) };
  }

  mixKey(input: Uint8Array): void {
    this.#mix(kdf(this.#primitives, this.#state.chainingKey, { input, count: 2 }));
  }

  /** mixKeyAndHash takes in a pre-shared key. */
  mixKeyAndHash(input: Uint8Array): void {
    const [chainingKey, hashed, key] = kdf(this.#primitives, this.#state.chainingKey, { input, count: 3 });
    this.mixHash(hashed as Bytes);
    hashed?.fill(0);
    this.#mix([chainingKey as Bytes, key as Bytes]);
  }

  #mix([chainingKey, key]: readonly Bytes[]): void {
    this.#wipe();
    this.#state = { ...this.#state, chainingKey: chainingKey as Bytes, key: key as Bytes, nonce: 0 };
  }

  /** seal is EncryptAndHash. */
  seal(plaintext: Uint8Array): Bytes {
    const sealed = this.#primitives[this.#cipher.seal](plaintext, this.#aead());
    this.mixHash(sealed);
    this.#state = { ...this.#state, nonce: this.#state.nonce + 1 };
    return sealed;
  }

  /** open is DecryptAndHash; undefined, with nothing changed, for what is not authentic. */
  open(sealed: Uint8Array): Bytes | undefined {
    const plaintext = this.#primitives[this.#cipher.open](sealed, this.#aead());
    if (plaintext === undefined) return undefined;
    this.mixHash(sealed);
    this.#state = { ...this.#state, nonce: this.#state.nonce + 1 };
    return plaintext;
  }

  #aead() {
    const { key, nonce, hash } = this.#state;
    if (key === undefined) throw new Error("Noise: a text before the first key");
    const bytes = new Uint8Array(12);
    // Handshakes have few texts under one key: one byte counts them.
    bytes[this.#cipher.nonceAt] = nonce;
    return { key, nonce: bytes, additional: hash };
  }

  /** split returns the two keys of the transport, the initiator's first, and ends the state. */
  split(): readonly [forward: Bytes, backward: Bytes] {
    const keys = kdf(this.#primitives, this.#state.chainingKey, { input: NOTHING, count: 2 });
    this[Symbol.dispose]();
    return [keys[0] as Bytes, keys[1] as Bytes];
  }

  /** end hands the chaining key to a protocol that splits in its own way, and ends the state. */
  end<T>(split: (chainingKey: Uint8Array) => T): T {
    const result = split(this.#state.chainingKey);
    this[Symbol.dispose]();
    return result;
  }

  #wipe(): void {
    this.#state.chainingKey.fill(0);
    this.#state.key?.fill(0);
  }

  [Symbol.dispose](): void {
    this.#wipe();
  }
}
