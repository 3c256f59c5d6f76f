import { expect, test } from "bun:test";
import { formatEndpoint } from "../net/mod.ts";
import { Resolver } from "./resolver.ts";

const shown = (found: ReadonlyMap<string, readonly Parameters<typeof formatEndpoint>[0][]>) =>
  Object.fromEntries([...found].map(([text, endpoints]) => [text, endpoints.map(formatEndpoint)]));

test("addresses are there at once, names when they are resolved; what failed says why", async () => {
  let changes = 0;
  const asked: string[] = [];
  const resolver = new Resolver(
    () => changes++,
    async (name) => {
      asked.push(name);
      if (name === "nowhere.example") throw new Error("no such name");
      return ["192.0.2.1", "2001:db8::1"];
    },
  );
  const texts = ["203.0.113.7:5", "hub.example:51820", "nowhere.example:1"];
  expect(shown(resolver.lookUp(texts))).toEqual({
    "203.0.113.7:5": ["203.0.113.7:5"],
    "hub.example:51820": [],
    "nowhere.example:1": [],
  });
  await Bun.sleep(0);
  expect(changes).toBe(1);
  expect(shown(resolver.lookUp(texts))["hub.example:51820"]).toEqual([
    "192.0.2.1:51820",
    "[2001:db8::1]:51820",
  ]);
  expect(resolver.problem("nowhere.example:1")).toBe("no such name");
  resolver.again();
  // Known, and not due: nobody is asked again.
  expect(asked).toEqual(["hub.example", "nowhere.example"]);
  resolver.lookUp([]);
  resolver.lookUp(["hub.example:51820"]);
  await Bun.sleep(0);
  expect(asked).toHaveLength(3);
});
