import { expect, test } from "bun:test";
import { parseIp, parsePrefix, type PublicKey } from "../net/mod.ts";
import { newMesh } from "../resources/mod.ts";
import { meshRuleset } from "./ruleset.ts";

// The kernel forwards no multicast of pods without a multicast router, so no packet of a test would miss this exception for IPv4.
test("what is not masqueraded is named for both families: nodes, pods, services, multicast", () => {
  const mesh = newMesh("home", {
    endpoints: ["203.0.113.1:51820"],
    overlay6: "fd01:2:3::/64",
    services: ["10.96.0.0/12", "fd09::/108"],
  });
  const self = {
    name: "a",
    publicKey: "key" as PublicKey,
    hub: false,
    overlay4: parseIp("10.90.0.2"),
    overlay6: parseIp("fd01:2:3::2"),
    pods4: parsePrefix("10.244.1.0/24"),
    pods6: parsePrefix("fd01:2:3:101::/64"),
    endpoints: [],
    local: [],
    observed: [],
    mapped: [],
    hubs: [],
  };
  const { text } = meshRuleset({ mesh, self, listenPort: 51820 });
  const exceptions = [...text.matchAll(/saddr (\S+) ip6? daddr \S+ \{ ([^}]*) \}.* masquerade/g)].map(
    ([, source, list]) => [source, list?.split(", ").sort()],
  );
  expect(exceptions).toEqual([
    ["10.244.1.0/24", ["10.244.0.0/16", "10.90.0.0/16", "10.96.0.0/12", "224.0.0.0/4", "255.255.255.255"]],
    ["fd01:2:3:101::/64", ["fd01:2:3:100::/56", "fd01:2:3::/64", "fd09::/108", "fe80::/10", "ff00::/8"]],
  ]);
});
