/**
 * The hub's own certificate: X.509 (RFC 5280) in its smallest form, signed by its own key. Nodes know the key by its hash, so nothing in it
 * is believed; it has no end (RFC 5280 section 4.1.2.5), as nobody asks.
 */
import { newP256Key, randomBytes, sha256, signP256 } from "../../sys/mod.ts";

/** Certificate is a new key with its certificate, as PEM, and the hash that nodes know it by (base64 of the SHA-256 of the public key). */
export interface Certificate {
  readonly certificatePem: string;
  readonly keyPem: string;
  readonly pin: string;
}

/** Tags of ASN.1 (ITU-T X.690). */
const TAG = {
  integer: 0x02,
  bits: 0x03,
  oid: 0x06,
  utf8: 0x0c,
  generalizedTime: 0x18,
  utcTime: 0x17,
} as const;
const SEQUENCE = 0x30;
const SET = 0x31;
const VERSION = 0xa0;

/** 1.2.840.10045.4.3.2, ecdsa-with-SHA256 (RFC 5758), and 2.5.4.3, commonName. */
const ECDSA_SHA256 = Uint8Array.of(0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02);
const COMMON_NAME = Uint8Array.of(0x55, 0x04, 0x03);

/** What the certificate calls itself: nothing that says whose it is. */
const NAME = "localhost";
/** Clocks of nodes may be wrong. */
const FROM = "200101000000Z";
/** The value of RFC 5280 for "no well-defined end". */
const UNTIL = "99991231235959Z";

function der(tag: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const body = Buffer.concat(parts);
  const { length } = body;
  if (length > 0xffff)
    throw new RangeError(`An ASN.1 value of ${length} bytes is too long for a certificate`);
  const head =
    length < 0x80
      ? [tag, length]
      : length < 0x100
        ? [tag, 0x81, length]
        : [tag, 0x82, length >> 8, length & 255];
  return new Uint8Array(Buffer.concat([Uint8Array.from(head), body]));
}

const text = (tag: number, value: string) => der(tag, new TextEncoder().encode(value));

/** makeCertificate makes a key and its certificate. */
export function makeCertificate(): Certificate {
  const { privatePem, publicDer } = newP256Key();
  const algorithm = der(SEQUENCE, der(TAG.oid, ECDSA_SHA256));
  const name = der(SEQUENCE, der(SET, der(SEQUENCE, der(TAG.oid, COMMON_NAME), text(TAG.utf8, NAME))));
  const serial = randomBytes(16);
  // Positive, and as long as it says.
  serial[0] = ((serial[0] as number) & 0x7f) | 0x40;
  const body = der(
    SEQUENCE,
    der(VERSION, der(TAG.integer, Uint8Array.of(2))),
    der(TAG.integer, serial),
    algorithm,
    name,
    der(SEQUENCE, text(TAG.utcTime, FROM), text(TAG.generalizedTime, UNTIL)),
    name,
    publicDer,
  );
  const signature = der(TAG.bits, Uint8Array.of(0), signP256(privatePem, body));
  const whole = Buffer.from(der(SEQUENCE, body, algorithm, signature)).toString("base64");
  const lines = whole.match(/.{1,64}/g) ?? [];
  return {
    certificatePem: `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`,
    keyPem: privatePem,
    pin: Buffer.from(sha256(publicDer)).toString("base64"),
  };
}
