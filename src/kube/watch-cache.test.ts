import { expect, test } from "bun:test";
import { type Metadata, parseMetadata } from "./metadata.ts";
import { parseKubeNode } from "./node-ranges.ts";
import { WatchCache } from "./watch-cache.ts";

const pod = (name: string, version = "1") => ({
  metadata: { namespace: "n", name, uid: name, resourceVersion: version },
});
const list = (version: string, names: readonly string[], next?: string) =>
  JSON.stringify({
    metadata: { resourceVersion: version, continue: next },
    items: names.map((name) => pod(name)),
  });
const line = (type: string, object: unknown) => JSON.stringify({ type, object });

function listed(...names: string[]): WatchCache<Metadata> {
  const cache = new WatchCache({ parse: parseMetadata, most: 3 });
  cache.begin();
  cache.page(list("7", names));
  return cache;
}

test("a list counts when its last page is there; until then the old one does", () => {
  const cache = listed("a");
  cache.begin();
  expect(cache.version).toBeUndefined();
  expect(cache.page(list("9", ["b"], "more"))).toEqual({ next: "more" });
  expect([cache.get("n/a")?.name, cache.get("n/b")]).toEqual(["a", undefined]);
  expect(cache.page(list("9", ["c"]))).toEqual({});
  expect([cache.get("n/a"), cache.get("n/b")?.name, cache.get("n/c")?.name]).toEqual([undefined, "b", "c"]);
  expect(cache.version).toBe("9");
});

test("events change what is known; each brings the version, bookmarks and unknown types too", () => {
  const cache = listed("a");
  expect(cache.line(line("ADDED", pod("b", "8")))).toBe("changed");
  expect(cache.line(line("DELETED", pod("a", "9")))).toBe("changed");
  expect([cache.size, cache.version]).toEqual([1, "9"]);
  cache.line(line("BOOKMARK", { metadata: { resourceVersion: "20" } }));
  cache.line(line("NEWER", pod("b", "21")));
  expect([cache.size, cache.version]).toEqual([1, "21"]);
});

test("an event that changes nothing of what is kept says so, and brings the version", () => {
  const cache = new WatchCache({ parse: parseKubeNode, most: 3 });
  cache.begin();
  cache.page(list("7", []));
  const node = (version: string, address: string, at: string) => ({
    metadata: { name: "a", uid: "1", resourceVersion: version },
    status: {
      addresses: [{ type: "InternalIP", address }],
      conditions: [{ type: "Ready", lastHeartbeatTime: at }],
    },
  });
  expect(cache.line(line("ADDED", node("8", "10.80.0.1", "1")))).toBe("changed");
  expect(cache.line(line("MODIFIED", node("9", "10.80.0.1", "2")))).toBe("same");
  expect(cache.version).toBe("9");
  expect(cache.line(line("MODIFIED", node("10", "10.80.0.2", "2")))).toBe("changed");
  expect(cache.line(line("BOOKMARK", { metadata: { resourceVersion: "11" } }))).toBe("same");
  expect(cache.line(line("DELETED", node("12", "10.80.0.2", "2")))).toBe("changed");
  expect(cache.line(line("DELETED", node("13", "10.80.0.2", "2")))).toBe("same");
});

test("an error of 410 wants a new list, another one is an error; both forget the version", () => {
  for (const [code, outcome] of [
    [410, "expired"],
    [500, undefined],
  ] as const) {
    const cache = listed("a");
    const work = () => cache.line(line("ERROR", { code, message: "broken" }));
    if (outcome === undefined) expect(work).toThrow("the API says: broken");
    else expect(work()).toBe(outcome);
    expect([cache.version, cache.size]).toEqual([undefined, 1]);
  }
});

test("more objects than the limit are an error, changes of those that are there are none", () => {
  const cache = listed("a", "b", "c");
  cache.line(line("MODIFIED", pod("c", "8")));
  expect(() => cache.line(line("ADDED", pod("d", "9")))).toThrow("more than 3 objects");
});

test.each(["", "null", "[]", "{}", '{"type":"ADDED"}', '{"type":"ADDED","object":{"metadata":{}}}'])(
  "%p is no event",
  (text) => {
    expect(() => listed("a").line(text)).toThrow();
  },
);

test.each([
  "",
  "null",
  "{}",
  '{"metadata":{},"items":[]}',
  '{"metadata":{"resourceVersion":"1"},"items":{}}',
])("%p is no list", (text) => {
  const cache = new WatchCache({ parse: parseMetadata, most: 3 });
  cache.begin();
  expect(() => cache.page(text)).toThrow();
});

test("an empty collection of Go is null", () => {
  const cache = new WatchCache({ parse: parseMetadata, most: 3 });
  cache.begin();
  expect(cache.page('{"metadata":{"resourceVersion":"1"},"items":null}')).toEqual({});
  expect(cache.version).toBe("1");
});
