import { expect, test } from "bun:test";
import { formatIp, parseEndpoint, parseIp, parsePrefix } from "../net/mod.ts";
import { VtepClaims } from "./vtep-claims.ts";

const node = (name: string, host: number, ...local: string[]) => ({
  name,
  overlay4: parseIp(`10.90.0.${host}`),
  local: local.map(parseEndpoint),
});
const wire = parsePrefix("192.0.2.0/24");
const text = (vteps: readonly { readonly vteps: readonly Parameters<typeof formatIp>[0][] }[]) =>
  vteps.map(({ vteps: own }) => own.map(formatIp).join(" "));

test("over the overlay a node is at its overlay address, whatever it says of others", () => {
  const nodes = [node("attic", 7, "192.0.2.7:51820"), node("cellar", 8)];
  expect(text(new VtepClaims().entitled(nodes, undefined))).toEqual(["10.90.0.7", "10.90.0.8"]);
});

test("over a link it is also where it says, inside the link's network", () => {
  const nodes = [node("attic", 7, "192.0.2.7:51820", "172.17.0.1:51820"), node("cellar", 8, "10.90.0.7:1")];
  expect(text(new VtepClaims().entitled(nodes, wire))).toEqual(["10.90.0.7 192.0.2.7", "10.90.0.8"]);
});

test("who said it first keeps it, whoever says the same later, until it does not say so any more", () => {
  const claims = new VtepClaims();
  const [attic, thief] = [node("attic", 7, "192.0.2.7:1"), node("a-thief", 2, "192.0.2.7:1")];
  expect(text(claims.entitled([attic, node("a-thief", 2)], wire))).toEqual([
    "10.90.0.7 192.0.2.7",
    "10.90.0.2",
  ]);
  expect(text(claims.entitled([attic, thief], wire))).toEqual(["10.90.0.7 192.0.2.7", "10.90.0.2"]);
  expect(text(claims.entitled([node("attic", 7), thief], wire))).toEqual([
    "10.90.0.7",
    "10.90.0.2 192.0.2.7",
  ]);
  expect(text(claims.entitled([attic, thief], wire))).toEqual(["10.90.0.7", "10.90.0.2 192.0.2.7"]);
});

test("of two that are met together the one with the lower overlay address has it; the other one is not silenced otherwise", () => {
  const nodes = [node("zoo", 3, "192.0.2.7:1"), node("attic", 7, "192.0.2.7:1", "192.0.2.8:1")];
  expect(text(new VtepClaims().entitled(nodes, wire))).toEqual([
    "10.90.0.3 192.0.2.7",
    "10.90.0.7 192.0.2.8",
  ]);
});
