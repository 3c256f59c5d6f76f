import { expect, test } from "bun:test";
import {
  type DataplaneStatus,
  decodeDataplaneStatus,
  encodeDataplaneStatus,
  providerText,
} from "./dataplane-status.ts";
import { UapiError } from "./uapi.ts";

const status: DataplaneStatus = {
  version: "0.1.0",
  build: "5f0c9a7e1b2d",
  pid: 812,
  aead: "libcrypto 3",
  workers: 2,
  passedOver: [
    { name: "ipsec-mb-2", reason: "Cannot load libIPSec_MB.so.2: no such file" },
    { name: "ipsec-mb-1", reason: "does not run on this processor (error 5)" },
  ],
  counters: { forged: 3, replayed: 0, unrouted: 17 },
};

test("what is written is read", () => {
  expect(decodeDataplaneStatus(`${encodeDataplaneStatus(status)}errno=0\n\n`)).toEqual(status);
  expect(providerText(status)).toBe("causeway 0.1.0, ChaCha20-Poly1305 by libcrypto 3");
});

test("a reason of several lines stays one, so that the answer does not end in it", () => {
  const torn = {
    ...status,
    passedOver: [{ name: "ipsec-mb-2", reason: "first\n\nerrno=1\n\n second: third" }],
  };
  const answer = `${encodeDataplaneStatus(torn)}errno=0\n\n`;
  expect(decodeDataplaneStatus(answer).passedOver).toEqual([
    { name: "ipsec-mb-2", reason: "first errno=1 second: third" },
  ]);
});

test("another version may say more: numbers are counters, the rest is skipped", () => {
  const answer = `${encodeDataplaneStatus(status)}mood=good\ncoalesced=5\nhuge=123456789012345678901\nerrno=0\n\n`;
  expect(decodeDataplaneStatus(answer)).toEqual({
    ...status,
    counters: { ...status.counters, coalesced: 5 },
  });
});

test("what is no such answer is refused", () => {
  // wireguard-go hangs up; a WireGuard device refuses an operation that it does not know.
  expect(() => decodeDataplaneStatus("")).toThrow("ends in the middle");
  expect(() => decodeDataplaneStatus("errno=-22\n\n")).toThrow(UapiError);
  expect(() => decodeDataplaneStatus("listen_port=51820\nerrno=0\n\n")).toThrow("the answer has no version");
  const lines = encodeDataplaneStatus(status).replace("pid=812", "pid=x");
  expect(() => decodeDataplaneStatus(`${lines}errno=0\n\n`)).toThrow("pid is not a number");
});
