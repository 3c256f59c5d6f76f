import { expect, test } from "bun:test";
import { hex, toHex } from "../../../test/support/bgp-bytes.ts";
import { newSeed, Random } from "../../../test/support/random.ts";
import {
  bgpError,
  decodeNotification,
  decodeRefresh,
  encodeKeepalive,
  encodeMessage,
  encodeNotification,
  encodeRefresh,
  EVPN,
  errorName,
  headerError,
  MESSAGE,
  MESSAGE_BYTES_MAX,
  messageBytes,
  MessageStream,
  REFRESH,
  shutdownData,
  shutdownText,
} from "./mod.ts";

const MARKER = "ffffffffffffffffffffffffffffffff";

test("RFC 4271 section 4.4: KEEPALIVE is a header and nothing else", () => {
  expect(toHex(encodeKeepalive())).toBe(`${MARKER}001304`);
});

test("RFC 4271 section 6.1: what is wrong with a header, and what the NOTIFICATION's data are", () => {
  const cases: readonly (readonly [string, number, readonly [number, number, string]])[] = [
    ["fffffffffffffffffffffffffffffffe 0013 04", 4096, [1, 1, ""]],
    ["00000000000000000000000000000000 0013 04", 4096, [1, 1, ""]],
    [`${MARKER} 0012 04`, 4096, [1, 2, "0012"]],
    [`${MARKER} 0014 04`, 4096, [1, 2, "0014"]],
    [`${MARKER} 001c 01`, 4096, [1, 2, "001c"]],
    [`${MARKER} 1001 02`, 4096, [1, 2, "1001"]],
    // RFC 8654 section 4: OPEN and KEEPALIVE stay short.
    [`${MARKER} 1001 01`, 65_535, [1, 2, "1001"]],
    [`${MARKER} 0016 02`, 4096, [1, 2, "0016"]],
    [`${MARKER} 0014 03`, 4096, [1, 2, "0014"]],
    [`${MARKER} 0016 05`, 4096, [1, 2, "0016"]],
    [`${MARKER} 0013 00`, 4096, [1, 3, "00"]],
    [`${MARKER} 0013 06`, 4096, [1, 3, "06"]],
  ];
  for (const [text, most, [code, subcode, data]] of cases) {
    const bytes = hex(text);
    expect(messageBytes(bytes, 0, bytes.length, most), text).toBe(-1);
    const error = headerError(bytes, 0, most);
    expect([error.code, error.subcode, toHex(error.data)], text).toEqual([code, subcode, data]);
  }
  const long = hex(`${MARKER} 1001 02`);
  expect(messageBytes(long, 0, long.length, 65_535)).toBe(4097);
  expect(messageBytes(long, 0, 18, 65_535)).toBe(0);
});

test("a stream in chunks of any size gives the same messages (random)", () => {
  const seed = newSeed();
  const random = new Random(seed);
  for (let round = 0; round < 200; round++) {
    const messages = Array.from({ length: 1 + random.below(8) }, () =>
      random.chance(0.3)
        ? encodeKeepalive()
        : encodeMessage(MESSAGE.update, random.bytes(4 + random.below(random.chance(0.1) ? 4000 : 60))),
    );
    const bytes = new Uint8Array(Buffer.concat(messages));
    const stream = new MessageStream();
    const seen: string[] = [];
    for (let at = 0; at < bytes.length;) {
      const end = Math.min(bytes.length, at + 1 + random.below(random.chance(0.5) ? 30 : 5000));
      stream.feed(bytes.slice(at, end));
      while (stream.next()) {
        expect(stream.type).toBe(stream.bytes[stream.at + 18] as number);
        expect(stream.bodyAt - stream.at).toBe(19);
        seen.push(toHex(stream.bytes.subarray(stream.at, stream.end)));
      }
      at = end;
    }
    expect(seen, `seed ${seed}`).toEqual(messages.map(toHex));
    expect(stream.waitingBytes).toBe(0);
    expect(stream.error).toBeUndefined();
  }
});

test("a stream ends at the first wrong header, also when it straddles chunks", () => {
  const bytes = new Uint8Array(Buffer.concat([encodeKeepalive(), hex(`${MARKER} 0013 09`)]));
  for (let cut = 1; cut < bytes.length; cut++) {
    const stream = new MessageStream();
    let messages = 0;
    for (const chunk of [bytes.slice(0, cut), bytes.slice(cut)]) {
      stream.feed(chunk);
      while (stream.next()) messages++;
    }
    expect([messages, stream.error?.code, stream.error?.subcode], `cut at ${cut}`).toEqual([1, 1, 3]);
    stream.feed(encodeKeepalive());
    expect(stream.next()).toBe(false);
  }
});

test("RFC 4271 section 4.5: NOTIFICATION", () => {
  const error = bgpError(3, 9, { text: "own words", data: hex("80 0f 02 0001") });
  const bytes = encodeNotification(error);
  expect(toHex(bytes)).toBe(`${MARKER}001a03030980` + "0f020001");
  const read = decodeNotification(bytes, 19, bytes.length);
  expect([read.code, read.subcode, toHex(read.data)]).toEqual([3, 9, "800f020001"]);
  expect(read.text).toBe("UPDATE message error: optional attribute error");
  expect(errorName(6, 9)).toBe("cease: hard reset");
  expect(errorName(6, 77)).toBe("cease: subcode 77");
  expect(errorName(8, 0)).toBe("send hold timer expired");
  const cut = encodeNotification({ code: 3, subcode: 1, data: new Uint8Array(65_000) });
  expect(cut.length).toBe(MESSAGE_BYTES_MAX);
});

test("RFC 9003: shutdown communication", () => {
  expect(toHex(shutdownData("bye"))).toBe("03627965");
  expect(shutdownText(6, 2, shutdownData("upgrade tonight"))).toBe("upgrade tonight");
  expect(shutdownText(6, 4, shutdownData("ä€"))).toBe("ä€");
  expect(shutdownText(6, 3, shutdownData("not for this subcode"))).toBeUndefined();
  expect(shutdownText(6, 2, hex("00"))).toBeUndefined();
  expect(shutdownText(6, 2, hex("05 6162"))).toBeUndefined();
  expect(shutdownText(6, 2, hex(""))).toBeUndefined();
  expect(shutdownText(6, 2, hex("03 1b 41 ff"))).toBe("\u{fffd}A\u{fffd}");
  // Section 2: at most 255 octets, whole characters.
  const long = shutdownData("€".repeat(100));
  expect(long[0]).toBe(255);
  expect(shutdownText(6, 2, long)).toBe("€".repeat(85));
  expect(shutdownData(`a${"€".repeat(100)}`)[0]).toBe(253);
});

test("RFC 2918 section 3, RFC 7313 section 3: ROUTE-REFRESH", () => {
  const bytes = encodeRefresh({ family: EVPN, subtype: REFRESH.begin });
  expect(toHex(bytes)).toBe(`${MARKER}001705` + "00190146");
  expect(decodeRefresh(bytes, 19, bytes.length)).toEqual({ family: EVPN, subtype: 1 });
  // RFC 5291: a request may be longer (ORF).
  expect(decodeRefresh(hex("0001 00 01 01 80 0000"), 0, 8)).toEqual({ family: 0x10001, subtype: 0 });
});

test("RFC 7313 section 5: begin and end have four octets; else the NOTIFICATION holds the whole message", () => {
  const message = encodeMessage(MESSAGE.refresh, hex("0001 02 01 00"));
  const error = decodeRefresh(message, 19, message.length);
  if (!("code" in error)) throw new Error("accepted");
  expect([error.code, error.subcode]).toEqual([7, 1]);
  expect(error.data).toEqual(message);
});
