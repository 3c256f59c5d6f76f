import { describe, expect, test } from "bun:test";
import { parseEndpoint } from "../../net/mod.ts";
import { readReply, usableCookie, writeReply } from "./cookie.ts";
import { hasMac1, hasMac2, macKeys, writeMacs } from "./mac.ts";
import { type CookieReply, decodeMessage } from "./message.ts";
import { cookieOf, currentSecret, systemPrimitives as primitives } from "../../noise/mod.ts";

const hex = (bytes: Uint8Array | undefined) => Buffer.from(bytes ?? []).toString("hex");
const own = macKeys(primitives, new Uint8Array(32).fill(5));
const other = macKeys(primitives, new Uint8Array(32).fill(6));
const message = () => Uint8Array.from({ length: 148 }, (_, i) => i);

describe("codes of a message", () => {
  test("section 5.4.4, with values of CPython's hashlib", () => {
    expect(hex(own.mac1)).toBe("268cdb54c795b815cfd6b6aacee4481f36adadbfcf4f3e24bac9f2d6a8341bf6");
    expect(hex(own.cookie)).toBe("4ae43b15d47faf4e67c3e4a30927c7eaabb188e74cc4abc81879f8e47d489785");
    const bytes = message();
    const cookie = new Uint8Array(16).fill(9);
    expect(hex(writeMacs(bytes, { primitives, receiver: own, cookie }))).toBe(
      "fbb687771920b5d5427b728b0839773d",
    );
    expect(hex(bytes)).toBe(
      `${hex(message().subarray(0, 116))}fbb687771920b5d5427b728b0839773d066fdc90ce52afae03bd6a7381540e19`,
    );
  });

  test("the first is for one receiver, the second needs the cookie", () => {
    const bytes = message();
    const cookie = new Uint8Array(16).fill(9);
    writeMacs(bytes, { primitives, receiver: own, cookie });
    expect(hasMac1(bytes, { primitives, own })).toBe(true);
    expect(hasMac1(bytes, { primitives, own: other })).toBe(false);
    expect(hasMac2(bytes, { primitives, cookie })).toBe(true);
    expect(hasMac2(bytes, { primitives, cookie: new Uint8Array(16).fill(8) })).toBe(false);
  });

  test("every byte counts", () => {
    const bytes = message();
    const cookie = new Uint8Array(16).fill(9);
    writeMacs(bytes, { primitives, receiver: own, cookie });
    for (let at = 0; at < bytes.length; at++) {
      const changed = bytes.slice();
      changed[at] = (changed[at] as number) ^ 1;
      expect([at, hasMac1(changed, { primitives, own })]).toEqual([at, at >= 132]);
      expect([at, hasMac2(changed, { primitives, cookie })]).toEqual([at, false]);
    }
  });

  test("without a cookie the second code stays as it was", () => {
    const bytes = new Uint8Array(148);
    writeMacs(bytes, { primitives, receiver: own });
    expect(hex(bytes.subarray(132))).toBe("00".repeat(16));
  });
});

describe("cookies", () => {
  const from = parseEndpoint("192.0.2.1:51820");
  const secret = currentSecret(undefined, { primitives, nowMs: 0 });
  const cookie = cookieOf(primitives, { secret, from });
  const mac1 = new Uint8Array(16).fill(3);
  const reply = () =>
    decodeMessage(writeReply(primitives, { receiver: 77, mac1, key: own.cookie, cookie })) as {
      kind: "cookie";
    } & CookieReply;

  test("a reply is read by the one whose message it answers, and says who answers", () => {
    expect(reply().receiver).toBe(77);
    expect(hex(readReply(primitives, reply(), { mac1, key: own.cookie }))).toBe(hex(cookie));
    expect(readReply(primitives, reply(), { mac1: new Uint8Array(16), key: own.cookie })).toBeUndefined();
    expect(readReply(primitives, reply(), { mac1, key: other.cookie })).toBeUndefined();
  });

  test("two replies have two nonces", () => {
    expect(hex(reply().nonce)).not.toBe(hex(reply().nonce));
  });

  test("a cookie is for one address and one port", () => {
    for (const text of ["192.0.2.1:51821", "192.0.2.2:51820", "[2001:db8::1]:51820"])
      expect(hex(cookieOf(primitives, { secret, from: parseEndpoint(text) }))).not.toBe(hex(cookie));
    expect(hex(cookieOf(primitives, { secret, from: parseEndpoint("192.0.2.1:51820") }))).toBe(hex(cookie));
  });

  test("the secret is another one after two minutes, and the old one is wiped", () => {
    const first = currentSecret(undefined, { primitives, nowMs: 1000 });
    expect(currentSecret(first, { primitives, nowMs: 120_999 })).toBe(first);
    const bytes = hex(first.secret);
    const second = currentSecret(first, { primitives, nowMs: 121_000 });
    expect(hex(second.secret)).not.toBe(bytes);
    expect(hex(first.secret)).toBe("00".repeat(32));
  });

  test("a cookie is used for two minutes less the time on the way", () => {
    const held = { value: cookie, bornMs: 1000 };
    expect(usableCookie(held, 115_999)).toBe(cookie);
    expect(usableCookie(held, 116_000)).toBeUndefined();
    expect(usableCookie(undefined, 0)).toBeUndefined();
  });
});
