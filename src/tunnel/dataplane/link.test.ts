import { describe, expect, test } from "bun:test";
import { newSeed, Random } from "../../../test/support/random.ts";
import { parseEndpoint } from "../../net/mod.ts";
import { receiveMessage, sendMessage, socketPair, stable, trySendMessage } from "../../sys/mod.ts";
import { ENDPOINT_BYTES } from "../path/mod.ts";
import {
  decodeMessage,
  encodeDatagram,
  encodeLists,
  encodePacket,
  LINK_BYTES,
  MOST_MESSAGE,
  type Order,
  type Report,
} from "./link.ts";
import { placeOf } from "./place.ts";

const place = placeOf(parseEndpoint("[2001:db8::1]:51820"));
const hex = Buffer.from(place).toString("hex");

describe("messages between threads", () => {
  const seed = newSeed();
  test(`packets and datagrams of any length come back, as copies (seed ${seed})`, () => {
    const random = new Random(seed);
    for (const length of [0, 1, 20, 1500, 65_535]) {
      const bytes = random.bytes(length);
      const packet = encodePacket(0xfffffffe, bytes);
      const read = decodeMessage(packet);
      packet.fill(0xff);
      expect(read).toEqual({ kind: "packet", peer: 0xfffffffe, packet: bytes });
      const datagram = encodeDatagram(place, bytes);
      const heard = decodeMessage(datagram);
      datagram.fill(0xff);
      expect(heard).toEqual({ kind: "datagram", place, datagram: bytes });
      expect(Math.max(packet.length, datagram.length)).toBeLessThanOrEqual(MOST_MESSAGE);
    }
  });

  test("a message is read where it lies in the inbox", () => {
    const inbox = stable(1000).fill(0x5b);
    const message = encodePacket(7, new Uint8Array([1, 2, 3]));
    inbox.set(message, 100);
    expect(decodeMessage(inbox.subarray(100, 100 + message.length))).toEqual({
      kind: "packet",
      peer: 7,
      packet: new Uint8Array([1, 2, 3]),
    });
  });

  test("lists of any length come back in order, in messages that fit", () => {
    const orders: Order[] = Array.from({ length: 5000 }, (_, peer) => ({
      kind: "peer",
      peer: 2 ** 31 + peer,
      place: hex,
      session: 2 ** 32 - 1 - peer,
    }));
    const messages = encodeLists(orders);
    expect(messages.length).toBeGreaterThan(1);
    for (const message of messages) expect(message.length).toBeLessThan(MOST_MESSAGE);
    expect(
      messages.flatMap((message) => {
        const read = decodeMessage<Order>(message);
        return read.kind === "list" ? read.list : [];
      }),
    ).toEqual(orders);
    expect(encodeLists([])).toEqual([]);
  });

  test("the longest reports fit as well", () => {
    const most = { data: true, bytes: Number.MAX_SAFE_INTEGER };
    const reports: Report[] = Array.from({ length: 400 }, () => ({
      kind: "traffic",
      session: 2 ** 32 - 1,
      sent: most,
      received: most,
      place: hex,
    }));
    for (const message of encodeLists(reports)) expect(message.length).toBeLessThan(MOST_MESSAGE);
  });

  test("anything else is an error, not something to guess at", () => {
    for (const bytes of [[], [0], [0x7b, 0x7d], [0xff, 1, 2]])
      expect(() => decodeMessage(new Uint8Array(bytes))).toThrow();
    expect(hex).toHaveLength(2 * ENDPOINT_BYTES);
  });
});

describe("the pair of sockets", () => {
  test("keeps messages whole and in order, both ways, and says when there is nothing", () => {
    const [a, b] = socketPair(LINK_BYTES);
    using _a = a;
    using _b = b;
    const inbox = stable(MOST_MESSAGE);
    expect(receiveMessage(b.number, inbox)).toBeUndefined();
    for (let i = 1; i <= 50; i++) sendMessage(a.number, new Uint8Array(i * 100).fill(i));
    sendMessage(b.number, new Uint8Array([1]));
    for (let i = 1; i <= 50; i++) {
      expect(receiveMessage(b.number, inbox)).toBe(i * 100);
      expect(inbox[i * 100 - 1]).toBe(i);
    }
    expect(receiveMessage(b.number, inbox)).toBeUndefined();
    expect(receiveMessage(a.number, inbox)).toBe(1);
  });

  test("takes the longest message, and no more than there is room for", () => {
    const [a, b] = socketPair(LINK_BYTES);
    using _a = a;
    using _b = b;
    const inbox = stable(MOST_MESSAGE);
    const longest = new Uint8Array(MOST_MESSAGE).fill(3);
    let sent = 0;
    while (trySendMessage(a.number, longest)) sent++;
    expect(sent).toBeGreaterThan(0);
    for (let i = 0; i < sent; i++) expect(receiveMessage(b.number, inbox)).toBe(MOST_MESSAGE);
    expect(trySendMessage(a.number, longest)).toBe(true);
  });

  test("holds many short messages: a list for each of a thousand peers", () => {
    const [a, b] = socketPair(LINK_BYTES);
    using _a = a;
    using _b = b;
    for (let i = 0; i < 400; i++) expect(trySendMessage(a.number, new Uint8Array(100))).toBe(true);
  });

  test("an end that is gone is told from one that says nothing", () => {
    const [a, b] = socketPair(LINK_BYTES);
    using _b = b;
    sendMessage(a.number, new Uint8Array([5]));
    a.close();
    const inbox = stable(10);
    expect([receiveMessage(b.number, inbox), receiveMessage(b.number, inbox)]).toEqual([1, 0]);
    expect(trySendMessage(b.number, inbox)).toBe(false);
  });
});
