/** What a connection writes of an outbox, wherever the kernel stops. */
import { expect, test } from "bun:test";
import type { TcpStream } from "../../sys/mod.ts";
import { encodeMessage, MESSAGE } from "../wire/mod.ts";
import { Connection, type Outbox } from "./connection.ts";

/** A piece of whole messages, the last of which begins `before` bytes before 256 KiB: the most that is written at once. */
function pieceWith(before: number): Uint8Array {
  const full = encodeMessage(MESSAGE.update, new Uint8Array(65_535 - 19));
  const rest = 256 * 1024 - before - 3 * full.length;
  const fourth = encodeMessage(MESSAGE.update, new Uint8Array(rest - 19));
  return Buffer.concat([full, full, full, fourth, encodeMessage(MESSAGE.update, new Uint8Array(100))]);
}

test("a message may begin anywhere near the end of what is written at once", () => {
  for (let before = 4; before <= 40; before++) {
    const piece = pieceWith(before);
    let left: Uint8Array | undefined = piece;
    const outbox: Outbox = {
      peek: () => left,
      advance: (bytes) => {
        const rest = left?.subarray(bytes);
        left = rest?.length === 0 ? undefined : rest;
      },
    };
    const written: Uint8Array[] = [];
    const write = (bytes: Uint8Array): number => {
      written.push(bytes.slice());
      return bytes.length;
    };
    using connection = new Connection({
      connected: () => {},
      message: () => {},
      headerError: () => {},
      closed: () => {},
    });
    connection.use({ write, abort: () => {} } as unknown as TcpStream);
    connection.attach(outbox);
    expect(written.map(({ length }) => length)).toEqual([256 * 1024, piece.length - 256 * 1024]);
    expect(Buffer.concat(written).equals(piece)).toBe(true);
    expect([...connection.sent]).toEqual([piece.length, 0, 5, 0, 0, 0]);
  }
});
