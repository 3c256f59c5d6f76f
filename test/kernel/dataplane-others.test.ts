/** Datagrams that are not WireGuard's on WireGuard's port: they reach the program that asked for them, and nothing else notices. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { formatEndpoint, parseEndpoint } from "../../src/net/mod.ts";
import { type Heard, OthersClient } from "../../src/tunnel/dataplane/mod.ts";
import { ownBackend } from "../../src/tunnel/own.ts";
import { CountedFlow } from "../support/counted-flow.ts";
import { sendDatagram } from "../support/datagrams.ts";
import { ownLacks } from "../support/own-needs.ts";
import { type Side, TunnelPair } from "../support/tunnel-pair.ts";

const executable = process.env.CAUSEWAY_EXECUTABLE ?? "dist/causeway";
const cannot = ownLacks ?? (existsSync(executable) ? undefined : "needs dist/causeway: npm run build");

let pair: TunnelPair;
const open = (side: Side) => OthersClient.open(`/var/run/wireguard/${side.link}.sock`);
const text = (bytes: Uint8Array) => Buffer.from(bytes).toString();
const bytes = (from: string) => new Uint8Array(Buffer.from(from));

/** What a client hears next, or nothing in a second. */
async function hear(client: OthersClient) {
  for (let i = 0; i < 100; i++) {
    const heard = client.receive(0);
    if (heard === undefined || heard.length > 0) return heard;
    await Bun.sleep(10);
  }
  return [];
}

beforeEach(async () => {
  if (cannot !== undefined) return;
  const backend = ownBackend({ command: [executable], build: "any" });
  pair = await TunnelPair.open({ near: backend, far: backend });
  pair.meet();
});

afterEach(async () => {
  if (cannot === undefined) await pair[Symbol.asyncDispose]();
});

describe.skipIf(cannot !== undefined)(
  `other traffic${cannot === undefined ? "" : ` (skipped: ${cannot})`}`,
  () => {
    test("goes from port to port in both families while the tunnel carries packets, and answers find their way", async () => {
      const { near, far } = pair;
      expect(await pair.pings(near)).toBe(true);
      using flow = new CountedFlow(near.netns, {
        netns: far.netns,
        address: far.overlay4,
        port: 7001,
        perSecond: 1000,
      });
      using asks = open(near);
      using answers = open(far);
      for (const [to, from] of [
        [`${far.underlay4}:51820`, `${near.underlay4}:51820`],
        [`[${far.underlay6}]:51820`, `[${near.underlay6}]:51820`],
      ] as const) {
        // The first ones may be lost while the cable's ends find each other (RFC 4861).
        let question: Heard | undefined;
        for (let i = 0; i < 20 && question === undefined; i++) {
          asks.send(parseEndpoint(to), bytes(`question to ${to}`));
          [question] = (await hear(answers)) ?? [];
        }
        if (question === undefined) throw new Error(`nothing came to ${to}`);
        expect([text(question.bytes), formatEndpoint(question.from)]).toEqual([`question to ${to}`, from]);
        answers.send(question.place, bytes("answer"));
        const [answer] = (await hear(asks)) ?? [];
        expect(answer === undefined ? undefined : [text(answer.bytes), formatEndpoint(answer.from)]).toEqual([
          "answer",
          to,
        ]);
      }
      expect(await flow.stop()).toMatchObject({ lost: 0, duplicates: 0 });
    });

    test("only what begins with the magic is handed on, to one program at a time", async () => {
      const { near, far } = pair;
      using first = open(far);
      using client = open(far);
      // The first one is told by the end of its connection.
      expect(await hear(first)).toBeUndefined();
      const send = (content: string) =>
        sendDatagram(near.netns, { to: far.underlay4, port: 51820, text: content });
      for (const content of [
        "",
        "C",
        "CWA",
        "CWAX and more",
        "\u0001\0\0\0",
        `CWAY${"x".repeat(1229)}`,
        "CWAY",
      ])
        expect(send(content)).toBe(true);
      expect(send("CWAYthis")).toBe(true);
      const heard = [];
      while (heard.length < 3) heard.push(...((await hear(client)) ?? []));
      // Of a long one the beginning, and how long it was.
      expect(heard.map((one) => [text(one.bytes), one.datagramBytes])).toEqual([
        ["x".repeat(252), 1233],
        ["", 4],
        ["this", 8],
      ]);
      expect(() => client.send(parseEndpoint("192.0.2.1:1"), new Uint8Array(1229))).toThrow(
        "1228 are the most",
      );
      // A program that does not read loses what comes; the tunnel does not.
      for (let i = 0; i < 5000; i++) send(`CWAY${"x".repeat(1000)}`);
      expect(await pair.pings(near)).toBe(true);
      // One that talks nonsense is cut off.
      client.socket.close();
      expect(await pair.pings(far)).toBe(true);
    });
  },
);
