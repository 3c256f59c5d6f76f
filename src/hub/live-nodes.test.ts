/** Connections of many nodes: found by node, and told some at a time. */
import { expect, test } from "bun:test";
import { LiveNodes } from "./live-nodes.ts";

const connection = (id: number, node: string) => ({ id, session: { node } });

test("connections of a node are found, the oldest first, until they are gone", () => {
  const live = new LiveNodes();
  const [first, second, other] = [connection(1, "a"), connection(2, "a"), connection(3, "b")] as const;
  for (const one of [first, second, other]) live.add(one);
  expect([live.size, live.of("a"), live.of("b"), live.of("c")]).toEqual([3, [first, second], [other], []]);
  live.delete(first);
  live.delete(other);
  expect([live.size, live.of("a"), live.of("b"), live.all()]).toEqual([1, [second], [], [second]]);
});

test("what is done for all is done for each once, in their order, whatever goes meanwhile", () => {
  const live = new LiveNodes();
  const all = Array.from({ length: 300 }, (_, id) => connection(id, `n${id}`));
  for (const one of all) live.add(one);
  const told: unknown[] = [];
  live.forAll((one) => {
    told.push(one);
    live.delete(one);
  });
  expect(told).toEqual(all);
  expect(live.size).toBe(0);
});
