import { expect, test } from "bun:test";
import { hubAnswer, hubLine } from "./hub-protocol.ts";

test("a hub with a long story of why it cannot write is still heard, and cut short", () => {
  const problem = "etcd does not answer; ".repeat(200);
  const health = { revision: 1, position: 2, problem };
  const ping = hubLine.parse({ type: "ping", ...health });
  const pong = hubAnswer.parse({ type: "pong", ...health });
  expect([ping, pong]).toEqual([
    { type: "ping", ...health, problem: problem.slice(0, 1024) },
    { type: "pong", ...health, problem: problem.slice(0, 1024) },
  ]);
});
