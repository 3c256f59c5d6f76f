import { describe, expect, test } from "bun:test";
import { attributes, DecodeError, u32, Writer } from "../wire/mod.ts";
import { NetlinkError } from "./error.ts";
import { type Answer, eachAnswer, writeMessage } from "./message.ts";

function answers(hex: string): Answer[] {
  const found: Answer[] = [];
  eachAnswer(Buffer.from(hex.replaceAll(/[\s|]/g, ""), "hex"), (answer) => {
    found.push(answer);
    return true;
  });
  return found;
}

/** Header of a message: length, type, flags, sequence 7, port 0. */
const header = (length: string, type: string, flags: string) =>
  `${length} ${type} ${flags} 07000000 00000000`;

describe("messages", () => {
  test("a request has a header of 16 bytes and is padded to 4", () => {
    const writer = new Writer();
    writeMessage(writer, { type: 16, flags: 5, body: new Uint8Array([1, 2, 3]) }, 9);
    expect(Buffer.from(writer.finish()).toString("hex")).toBe(
      "13000000" + "1000" + "0500" + "09000000" + "00000000" + "01020300",
    );
  });

  test("an acknowledgement is an error with number 0", () => {
    const [ack] = answers(
      `${header("24000000", "0200", "0001")} | 00000000 | ${header("20000000", "1400", "0506")}`,
    );
    expect(ack).toEqual({ kind: "ack", sequence: 7, interrupted: false, errno: 0 });
  });

  test("an error carries the kernel's text, after the header only (NLM_F_CAPPED)", () => {
    const text = Buffer.from("No such\0").toString("hex");
    const [error] = answers(
      `${header("30000000", "0200", "0003")} | edffffff | ${header("20000000", "1400", "0506")} | 0c000100 ${text}`,
    );
    expect(error).toEqual({
      kind: "ack",
      sequence: 7,
      interrupted: false,
      errno: 19,
      extendedAck: "No such",
    });
  });

  test("or after the whole request, when the kernel sends that back", () => {
    const text = Buffer.from("No such\0").toString("hex");
    const [error] = answers(
      `${header("38000000", "0200", "0002")} | edffffff | ${header("18000000", "1400", "0506")} 0102030405060708` +
        ` | 0c000100 ${text}`,
    );
    expect(error).toMatchObject({ errno: 19, extendedAck: "No such" });
  });

  test("a missing attribute is named", () => {
    const [error] = answers(
      `${header("2c000000", "0200", "0003")} | eaffffff | ${header("20000000", "1400", "0506")} | 08000500 09000000`,
    );
    expect(error).toMatchObject({ errno: 22, extendedAck: "attribute 9 is missing" });
  });

  test("several in one datagram: data, an interrupted one, the end of the dump", () => {
    const found = answers(
      `${header("14000000", "1000", "0200")} 01020304` +
        `${header("12000000", "1000", "1200")} 0102 0000` +
        `${header("14000000", "0300", "0200")} 00000000`,
    );
    expect(found.map((answer) => [answer.kind, answer.interrupted])).toEqual([
      ["data", false],
      ["data", true],
      ["done", false],
    ]);
    expect(found[1]).toMatchObject({ type: 16, multi: true });
  });

  test("whoever decodes a bad nested attribute and goes on is given the next message", () => {
    const table = attributes({ outer: [1, attributes({ inner: [1, u32] })], next: [2, u32] });
    // The inner value has two bytes of four.
    const bad = "0c000100 06000100 01020000 | 08000200 01000000";
    const good = "0c000100 08000100 05000000 | 08000200 02000000";
    const decoded: unknown[] = [];
    const datagram = [bad, good].map((body) => `${header("24000000", "1000", "0200")} ${body}`).join("");
    eachAnswer(Buffer.from(datagram.replaceAll(/[\s|]/g, ""), "hex"), (answer) => {
      if (answer.kind !== "data") return;
      try {
        decoded.push(table.decode(answer.body));
      } catch (error) {
        decoded.push((error as Error).message);
      }
      return true;
    });
    expect(decoded).toEqual(["outer.inner: 4 bytes needed, 2 left", { outer: { inner: 5 }, next: 2 }]);
  });

  test("the end of a dump can be an error", () => {
    const [done] = answers(`${header("14000000", "0300", "0200")} feffffff`);
    expect(done).toMatchObject({ kind: "done", errno: 2 });
  });

  test("lengths that lead outside are decode errors", () => {
    expect(() => answers(header("0f000000", "1000", "0000"))).toThrow(DecodeError);
    expect(() => answers(header("11000000", "1000", "0000"))).toThrow(DecodeError);
    expect(() => answers(`${header("10000000", "1000", "0000")} 00`)).toThrow(DecodeError);
    expect(() => answers(header("10000000", "0200", "0000"))).toThrow(DecodeError);
  });
});

describe("errors", () => {
  test("name the action, the kernel's text or ours, and the number", () => {
    expect(new NetlinkError("add link x", 17).message).toBe("Cannot add link x: already exists (EEXIST)");
    const error = new NetlinkError("add link x", 22, "Invalid handle.");
    expect(error.message).toBe("Cannot add link x: Invalid handle (EINVAL)");
    expect(error).toMatchObject({ errno: 22, code: "EINVAL", extendedAck: "Invalid handle." });
  });
});
