/** Recordings of BGP sessions, run again through the machine: each folder of test/replay/bgp has the events and what must come out. */
import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { eventLine, parseRecording, RecordingError, replay } from "../../src/bgp/io/mod.ts";

const folder = join(import.meta.dir, "bgp");

describe("recorded sessions", () => {
  for (const name of readdirSync(folder).sort()) {
    const events = readFileSync(join(folder, name, "events.jsonl"), "utf8");
    const title = /^# (.*)$/m.exec(events)?.[1] ?? "";
    test(`${name}: ${title}`, () => {
      expect(`${replay(events).join("\n")}\n`).toBe(readFileSync(join(folder, name, "expected.txt"), "utf8"));
    });

    test(`${name}: what was read is written the same`, () => {
      const lines = events.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
      const parsed = (list: readonly string[]) => list.map((line) => JSON.parse(line) as unknown);
      expect(parsed(parseRecording(events).events.map(eventLine))).toEqual(parsed(lines.slice(1)));
    });
  }
});

test("a line that is no event is named", () => {
  const config = '{"config":{"localAs":1,"remoteAs":2,"routerId":"10.0.0.1","holdMs":9000,"families":[]}}';
  const message = (text: string) => {
    try {
      replay(text);
    } catch (error) {
      expect(error).toBeInstanceOf(RecordingError);
      return (error as Error).message;
    }
    return undefined;
  };
  expect(message("")).toBe("Cannot read the recording: its first line is not a configuration");
  expect(message(`${config}\n{"at":0,"event":"dance"}`)).toBe(
    'Cannot read line 2 of the recording: "dance" is no event',
  );
  expect(message(`${config}\n{"at":0`)).toMatch(/^Cannot read line 2 of the recording: /);
});
