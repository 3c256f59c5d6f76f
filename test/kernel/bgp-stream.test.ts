/** Bytes of a session: what is queued arrives as it is, KEEPALIVEs find their place between, and nobody who is slow loses the session for it. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import type { Outbox } from "../../src/bgp/io/mod.ts";
import {
  bgpError,
  encodeMessage,
  encodeRefresh,
  ERROR,
  IPV4_UNICAST,
  MESSAGE,
} from "../../src/bgp/wire/mod.ts";
import { bgpEnds, neighbor, session, Speaker, until } from "../support/bgp-ends.ts";
import { Random } from "../support/random.ts";
import { notRoot } from "../support/scratch.ts";

setDefaultTimeout(120_000);

/** Messages is an outbox of made-up UPDATEs in pieces of whole messages, and their hash. */
class Messages implements Outbox {
  readonly hash = new Bun.CryptoHasher("sha256");
  count = 0;
  #piece: Uint8Array | undefined;
  readonly #pieces: Iterator<Uint8Array>;

  constructor(random: Random, options: { readonly messages: number; readonly mostBytes: number }) {
    this.#pieces = this.#make(random, options);
  }

  *#make(
    random: Random,
    { messages, mostBytes }: { messages: number; mostBytes: number },
  ): Generator<Uint8Array> {
    for (let left = messages; left > 0;) {
      const parts: Uint8Array[] = [];
      for (let i = random.below(40) + 1; i > 0 && left > 0; i--, left--) {
        // Now and then as long as it may be.
        const body = new Uint8Array(random.below(9) === 0 ? mostBytes - 19 : 4 + random.below(200));
        for (let at = 0; at < body.length; at += 7) body[at] = random.below(256);
        this.hash.update(body);
        this.count++;
        parts.push(encodeMessage(MESSAGE.update, body));
      }
      yield Buffer.concat(parts);
    }
  }

  peek(): Uint8Array | undefined {
    this.#piece ??= this.#pieces.next().value as Uint8Array | undefined;
    return this.#piece;
  }

  advance(bytes: number): void {
    const piece = this.#piece as Uint8Array;
    this.#piece = bytes === piece.length ? undefined : piece.subarray(bytes);
  }
}

describe.skipIf(notRoot !== undefined)(
  `streams of a session${notRoot === undefined ? "" : ` (${notRoot})`}`,
  () => {
    const seed = Number(process.env["SEED"] ?? Date.now() % 1_000_000);
    for (const extended of [false, true])
      test(`a long queue to a reader that stops and goes, messages of up to ${extended ? 65_535 : 4096} bytes (SEED=${seed})`, async () => {
        using ends = bgpEnds();
        using first = new Speaker({ netns: ends.first });
        using second = new Speaker({ netns: ends.second });
        const messages = new Messages(new Random(seed), {
          messages: extended ? 6_000 : 60_000,
          mostBytes: extended ? 65_535 : 4096,
        });
        first.outboxes.set("n2", messages);
        const short = { holdMs: 3_000, extendedMessages: extended };
        const hash = new Bun.CryptoHasher("sha256");
        let count = 0;
        second.keepUpdates = false;
        second.judge = (body) => {
          hash.update(body);
          // Reads a thousand messages, and then nothing for a while.
          if (++count % 1_000 === 0) {
            const reader = second.io.session("n1");
            reader?.hold();
            setTimeout(() => reader?.release(), 20);
          }
          return undefined;
        };
        first.io.add(neighbor(2, { session: session(1, short) }));
        second.io.add(neighbor(1, { session: session(2, short) }));
        await first.up("n2");
        // Longer than the hold time: it does not count while it is the reader who keeps the other waiting.
        await until("some have come", () => count > 500);
        second.io.session("n1")?.hold();
        await Bun.sleep(4_000);
        expect([first.state("n2"), second.state("n1")]).toEqual(["established", "established"]);
        second.io.session("n1")?.release();
        await until("all have come", () => messages.peek() === undefined && count === messages.count, 60_000);
        expect(hash.digest("hex")).toBe(messages.hash.digest("hex"));
        const counts = second.io.session("n1")?.counts?.received;
        expect(counts?.[MESSAGE.update]).toBe(messages.count);
        // Those that were sent while the queue was long.
        expect(counts?.[MESSAGE.keepalive]).toBeGreaterThan(2);
        expect([first.downs, second.downs]).toEqual([[], []]);
      });

    test("a message of our own goes before a queue that waits", async () => {
      using ends = bgpEnds();
      using first = new Speaker({ netns: ends.first });
      using second = new Speaker({ netns: ends.second });
      const messages = new Messages(new Random(seed), { messages: 60_000, mostBytes: 4096 });
      first.outboxes.set("n2", messages);
      let count = 0;
      second.keepUpdates = false;
      second.judge = () => {
        if (++count === 1) second.io.session("n1")?.hold();
        return undefined;
      };
      first.io.add(neighbor(2));
      second.io.add(neighbor(1));
      const here = await first.up("n2");
      await until("it has stopped", () => count === 1);
      await until("the kernel is full", () => here.connection?.stuckMs !== undefined);
      here.send(encodeRefresh({ family: IPV4_UNICAST, subtype: 0 }));
      second.io.session("n1")?.release();
      await until("all have come", () => count === messages.count, 60_000);
      expect(second.refreshes).toMatchObject([{ name: "n1", refresh: { family: IPV4_UNICAST, subtype: 0 } }]);
      // What the kernel had already came first: some megabytes at most, of more than thirty.
      expect(second.refreshes[0]?.after).toBeLessThan(second.updateBytes / 2);
    });

    test("an error of an UPDATE ends the session with what is wrong with it, and the other side is told", async () => {
      using ends = bgpEnds();
      using first = new Speaker({ netns: ends.first });
      using second = new Speaker({ netns: ends.second });
      const messages = new Messages(new Random(seed), { messages: 5_000, mostBytes: 4096 });
      first.outboxes.set("n2", messages);
      const data = new Uint8Array([1, 2, 3]);
      let count = 0;
      second.judge = () => (++count < 1_000 ? undefined : bgpError(ERROR.update, 1, { text: "bad", data }));
      const patient = { options: { idleHoldMs: 60_000 } };
      first.io.add(neighbor(2, patient));
      second.io.add(neighbor(1, patient));
      // Much that the other side sent has not been read when it ends: the NOTIFICATION arrives all the same.
      await until("the end is told", () => first.downs.length > 0);
      expect(first.downs[0]?.down.ended).toMatchObject({
        by: "received",
        error: { code: 3, subcode: 1, data },
        text: "UPDATE message error: malformed attribute list",
      });
    });
  },
);
