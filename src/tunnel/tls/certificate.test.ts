import { expect, test } from "bun:test";
import { createPublicKey, X509Certificate } from "node:crypto";
import { keyHashOfCertificate, runSync, which } from "../../sys/mod.ts";
import { makeCertificate } from "./certificate.ts";

test("a certificate is read back, signed by its own key, and known by the hash", () => {
  for (let i = 0; i < 20; i++) {
    const { certificatePem, keyPem, pin } = makeCertificate();
    const read = new X509Certificate(certificatePem);
    expect(read.subject).toBe("CN=localhost");
    expect(read.verify(createPublicKey(keyPem))).toBe(true);
    expect(keyHashOfCertificate(certificatePem)).toBe(pin);
  }
});

const openssl = which("openssl");
test.skipIf(openssl === undefined)(
  "openssl reads it, and finds no fault but that nobody else signed it",
  () => {
    const { certificatePem, pin } = makeCertificate();
    const asked = (args: string[], input: string) => runSync(["openssl", ...args], { input });
    expect(asked(["x509", "-noout", "-enddate"], certificatePem).stdout).toBe(
      "notAfter=Dec 31 23:59:59 9999 GMT\n",
    );
    expect(asked(["x509", "-noout", "-checkend", "3153600000"], certificatePem).status).toBe(0);
    const key = asked(["x509", "-noout", "-pubkey"], certificatePem).stdout;
    const hash = runSync(
      ["sh", "-c", "openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64"],
      {
        input: key,
      },
    );
    expect(hash.stdout.trim()).toBe(pin);
  },
);
