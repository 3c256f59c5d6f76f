/** Keys of the curve P-256 (FIPS 186-5), which every TLS takes for certificates. */
import { createPrivateKey, generateKeyPairSync, sign, X509Certificate } from "node:crypto";
import { hashOfKey } from "./tls-connect.ts";

/** P256Key is a new key: private as PEM (PKCS #8), public as DER (SubjectPublicKeyInfo). */
export interface P256Key {
  readonly privatePem: string;
  readonly publicDer: Uint8Array;
}

/** newP256Key makes a key. */
export function newP256Key(): P256Key {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  return {
    privatePem: privateKey.export({ format: "pem", type: "pkcs8" }).toString(),
    publicDer: new Uint8Array(publicKey.export({ format: "der", type: "spki" })),
  };
}

/** signP256 returns the ECDSA signature over the SHA-256 of a message, as DER. */
export function signP256(privatePem: string, message: Uint8Array): Uint8Array {
  return new Uint8Array(sign("sha256", message, createPrivateKey(privatePem)));
}

/** keyHashOfCertificate returns the hash of a PEM certificate's key (hashOfKey); throws for what is no certificate. */
export function keyHashOfCertificate(pem: string): string {
  return hashOfKey(new X509Certificate(pem));
}

/** isSelfIssued tells whether a PEM certificate names itself as its issuer; throws for what is no certificate. */
export function isSelfIssued(pem: string): boolean {
  const certificate = new X509Certificate(pem);
  return certificate.issuer === certificate.subject;
}

/** namesOfCertificate returns the names and addresses that a PEM certificate is for (RFC 5280, section 4.2.1.6); throws for what is no certificate. */
export function namesOfCertificate(pem: string): readonly string[] {
  const names = new X509Certificate(pem).subjectAltName ?? "";
  return [...names.matchAll(/(?:DNS|IP Address):([^,\s]+)/g)].map(([, name]) => name as string);
}
