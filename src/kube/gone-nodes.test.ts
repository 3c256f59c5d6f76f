import { expect, test } from "bun:test";
import { parseIp, parsePrefix } from "../net/mod.ts";
import {
  awayNow,
  awayVerdict,
  formersChange,
  goneNodes,
  hearingNow,
  isDeaf,
  namesakeOf,
  parseFormers,
} from "./gone-nodes.ts";

const mesh = (name: string, number: number) => ({
  ...{ name, hub: false, overlay4: parseIp(`10.90.0.${number}`), overlay6: parseIp(`fd00::${number}`) },
  pods4: parsePrefix(`10.244.${number}.0/24`),
});
const node = (name: string, uid: string, ...addresses: string[]) => ({
  ...{ name, uid, addresses: addresses.map(parseIp), ranges: [], labels: {} },
});
const [a, b] = [mesh("a", 2), mesh("b", 3)];
const formers = new Map([["a", { name: "worker-1", uid: "u1" }]]);

test("a Node that was deleted is gone; one of another address is not, and who never was one is none", () => {
  const none = goneNodes(new Map(), [node("worker-1", "u1", "10.90.0.2")], [a, b]);
  expect(none).toEqual({ formers, gone: [] });
  expect(goneNodes(formers, [], [a, b])).toEqual({
    ...{ formers, gone: [{ node: a, former: { name: "worker-1", uid: "u1" } }] },
  });
  expect(goneNodes(formers, [node("worker-1", "u1", "192.168.1.2")], [a]).gone).toEqual([]);
});

test("a machine in its place, with the same name, has what is its own", () => {
  const { formers: next, gone } = goneNodes(formers, [node("worker-1", "u2", "fd00::3")], [a, b]);
  expect(gone.map(({ node: { name } }) => name)).toEqual(["a"]);
  expect(next.get("b")).toEqual({ name: "worker-1", uid: "u2" });
  // The same machine, whose kubelet made the Node anew.
  expect(goneNodes(formers, [node("worker-1", "u2", "10.90.0.2")], [a]).gone).toEqual([]);
});

test("a Node of that name is another machine's only if it has the address of another one", () => {
  const whose = (...addresses: string[]) => namesakeOf(node("worker-1", "u2", ...addresses), a, [a, b]);
  expect(whose("10.90.0.3")).toBe("another");
  expect(whose("fd00::2")).toBe("own");
  // Before it knows its addresses, and with that of another network.
  expect([whose(), whose("192.168.1.2")]).toEqual(["unknown", "unknown"]);
});

test("a hub that hears nobody any more is deaf, until it hears somebody", () => {
  const heard = (one: number) => new Map([["a", one]]);
  const first = hearingNow(undefined, new Map(), 0);
  expect([isDeaf(first, 33, 99), isDeaf(first, 34, 99)]).toEqual([false, true]);
  const silent = hearingNow(hearingNow(first, heard(7), 40), heard(7), 80);
  expect([isDeaf(silent, 73, 99), isDeaf(silent, 80, 99)]).toEqual([false, true]);
  expect(isDeaf(hearingNow(silent, heard(8), 80), 80, 99)).toBe(false);
});

test("a node that left the mesh is forgotten, and the ConfigMap is told of changes only", () => {
  const { formers: next } = goneNodes(formers, [], [b]);
  expect(formersChange(formers, next)).toEqual({ a: null });
  expect(formersChange(formers, formers)).toBeUndefined();
  const change = formersChange(new Map(), formers);
  expect(change).toEqual({ a: '{"name":"worker-1","uid":"u1"}' });
  expect(parseFormers(change)).toEqual(formers);
  expect(parseFormers({ a: "{", b: "1", c: 3 })).toEqual(new Map());
});

test("who is off soon after is released when it was silent for long; who is heard later stays", () => {
  const first = awayNow(undefined, 7, 0);
  expect(awayVerdict(first, 99, 100)).toBe("wait");
  expect(awayVerdict(first, 100, 100)).toBe("release");
  const soon = awayNow(first, 8, 50);
  expect(awayNow(soon, 8, 149)).toBe(soon);
  expect([awayVerdict(soon, 149, 100), awayVerdict(soon, 150, 100)]).toEqual(["wait", "release"]);
  const later = awayNow(soon, 9, 101);
  expect(awayVerdict(later, 101, 100)).toBe("stay");
});
