import { expect, test } from "bun:test";
import { formatEndpoint } from "../net/mod.ts";
import { resolveInTurn } from "./endpoint.ts";

const names: Readonly<Record<string, string[]>> = { "both.test": ["2001:db8::1", "192.0.2.1"] };

const resolve = async (name: string): Promise<string[]> => {
  const found = names[name];
  if (found === undefined) throw new Error(`no such name: ${name}`);
  return found;
};

test("each turn tries the next endpoint, and in the next round the next address of a name", async () => {
  const texts = ["both.test:1", "198.51.100.7:2"];
  const seen = [];
  for (let turn = 0; turn < 4; turn++) seen.push(formatEndpoint(await resolveInTurn(texts, turn, resolve)));
  expect(seen).toEqual(["[2001:db8::1]:1", "198.51.100.7:2", "192.0.2.1:1", "198.51.100.7:2"]);
});

test("a name that does not resolve is passed over, and told when there is nothing else", async () => {
  expect(formatEndpoint(await resolveInTurn(["gone.test:1", "192.0.2.9:2"], 0, resolve))).toBe("192.0.2.9:2");
  expect(resolveInTurn(["gone.test:1"], 0, resolve)).rejects.toThrow("no such name");
  expect(resolveInTurn([], 0, resolve)).rejects.toThrow("there is no endpoint");
});
