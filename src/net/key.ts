/**
 * Keys. Public keys are text (base64, as wg(8) prints them). Secret keys are objects that cannot be printed:
 * text conversion, JSON and the inspector all show `(hidden)`.
 */
import { ed25519Public, ed25519Signer, randomBytes, x25519, x25519Public } from "../sys/mod.ts";

declare const brand: unique symbol;

/** PublicKey is a Curve25519 public key: 44 characters of base64. */
export type PublicKey = string & { readonly [brand]: "PublicKey" };

/** SigningKey is an Ed25519 public key: 44 characters of base64. */
export type SigningKey = string & { readonly [brand]: "SigningKey" };

function decode32(text: string, what: string): Uint8Array<ArrayBuffer> {
  if (!/^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$/.test(text))
    throw new Error(`This is not a ${what}: 44 characters of base64 are expected`);
  return new Uint8Array(Buffer.from(text, "base64"));
}

/** parsePublicKey reads 44 characters of base64 (32 bytes). */
export function parsePublicKey(text: string): PublicKey {
  decode32(text, "public key");
  return text as PublicKey;
}

/** publicKeyFromBytes makes a key from 32 bytes. */
export function publicKeyFromBytes(bytes: Uint8Array): PublicKey {
  if (bytes.length !== 32) throw new RangeError(`A public key has 32 bytes, not ${bytes.length}`);
  return Buffer.from(bytes).toString("base64") as PublicKey;
}

/** publicKeyBytes returns the 32 bytes of either kind of public key. */
export function publicKeyBytes(key: PublicKey | SigningKey): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Buffer.from(key, "base64"));
}

/** parseSigningKey reads 44 characters of base64 (32 bytes). */
export function parseSigningKey(text: string): SigningKey {
  decode32(text, "signing key");
  return text as SigningKey;
}

/** Secret holds 32 secret bytes; `reveal` is the only way to them, and easy to search for. */
export class Secret {
  readonly #bytes: Uint8Array<ArrayBuffer>;

  constructor(bytes: Uint8Array) {
    if (bytes.length !== 32) throw new RangeError(`A secret key has 32 bytes, not ${bytes.length}`);
    this.#bytes = new Uint8Array(bytes);
  }

  static random(): Secret {
    return new Secret(randomBytes(32));
  }

  /** fromBase64 reads what `toFile` wrote; the text never appears in the error. */
  static fromBase64(text: string): Secret {
    return new Secret(decode32(text.trim(), "secret key"));
  }

  /** reveal returns the bytes, for a library or the kernel. Never log or store what it returns. */
  reveal(): Uint8Array<ArrayBuffer> {
    return this.#bytes;
  }

  /** toFile returns the base64 text for a file of mode 0600. */
  toFile(): string {
    return `${Buffer.from(this.#bytes).toString("base64")}\n`;
  }

  toString(): string {
    return "(hidden)";
  }

  toJSON(): string {
    return "(hidden)";
  }

  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return "(hidden)";
  }
}

/** PrivateKey is a Curve25519 private key, clamped as RFC 7748 says. */
export class PrivateKey extends Secret {
  readonly publicKey: PublicKey;

  constructor(bytes: Uint8Array) {
    const clamped = new Uint8Array(bytes);
    clamped[0] = (clamped[0] ?? 0) & 248;
    clamped[31] = ((clamped[31] ?? 0) & 127) | 64;
    super(clamped);
    this.publicKey = publicKeyFromBytes(x25519Public(clamped));
  }

  static override random(): PrivateKey {
    return new PrivateKey(randomBytes(32));
  }

  static override fromBase64(text: string): PrivateKey {
    return new PrivateKey(Secret.fromBase64(text).reveal());
  }

  /** agree returns the secret shared with the holder of a public key. */
  agree(peer: PublicKey): Uint8Array<ArrayBuffer> {
    return x25519(this.reveal(), publicKeyBytes(peer));
  }
}

/** SigningSecret is an Ed25519 private key. */
export class SigningSecret extends Secret {
  readonly publicKey: SigningKey;
  #sign: ((message: Uint8Array) => Uint8Array<ArrayBuffer>) | undefined;

  constructor(bytes: Uint8Array) {
    super(bytes);
    this.publicKey = publicKeyFromBytes(ed25519Public(bytes)) as string as SigningKey;
  }

  static override random(): SigningSecret {
    return new SigningSecret(randomBytes(32));
  }

  static override fromBase64(text: string): SigningSecret {
    return new SigningSecret(Secret.fromBase64(text).reveal());
  }

  /** sign returns a 64-byte signature. */
  sign(message: Uint8Array): Uint8Array<ArrayBuffer> {
    this.#sign ??= ed25519Signer(this.reveal());
    return this.#sign(message);
  }
}
