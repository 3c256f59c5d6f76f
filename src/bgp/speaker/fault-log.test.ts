import { expect, test } from "bun:test";
import { FaultLog } from "./fault-log.ts";

test("of each neighbor one fault in a second is told, and a neighbor that is gone is forgotten", () => {
  const told: unknown[] = [];
  const log = new FaultLog((event, fields) => told.push([event, fields["neighbor"], fields["fault"]]));
  log.tell("a", [], 0);
  log.tell("a", ["one", "two"], 0);
  log.tell("a", ["three"], 999);
  log.tell("b", ["four"], 999);
  log.tell("a", ["five"], 1000);
  log.forget("a");
  log.tell("a", ["six"], 1001);
  expect(told.map((line) => (line as string[]).slice(1).join(" "))).toEqual([
    "a one",
    "b four",
    "a five",
    "a six",
  ]);
});
