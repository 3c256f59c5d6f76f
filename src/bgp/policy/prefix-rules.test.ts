import { describe, expect, test } from "bun:test";
import { parsePrefix } from "../../net/mod.ts";
import type { PolicyRule } from "../../resources/mod.ts";
import { compilePrefixRules, type RuledPrefix } from "./prefix-rules.ts";

const route = (prefix: string, more: Partial<RuledPrefix> = {}): RuledPrefix => ({
  ...{ type: 5, prefix: parsePrefix(prefix), vni: 5100, targets: ["64514:5100"], attributes: { asPath: [] } },
  ...more,
});
/** `10.9.0.0/16 le 32`. */
const SHARED = { prefix: parsePrefix("10.9.0.0/16"), least: 16, most: 32 };
const rules = (...list: Partial<PolicyRule>[]) =>
  compilePrefixRules(
    list.map((rule) => ({ match: {}, set: {}, action: "accept", ...rule })),
    { asn: 64514 },
  );

describe("rules of a routing domain", () => {
  test("a network by its prefix, a VNI, a type and a target; what no rule decides is rejected", () => {
    const shared = rules({ match: { prefix: [SHARED] } });
    expect(shared(route("10.9.1.0/24"))).toEqual({
      targets: ["64514:5100"],
      attributes: { origin: "igp", asPath: [] },
    } as never);
    expect(shared(route("10.8.0.0/16"))).toBeUndefined();
    expect(rules()(route("10.9.0.0/16"))).toBeUndefined();
    expect(rules({ match: { vni: [5200] } })(route("10.9.0.0/16"))).toBeUndefined();
    expect(rules({ match: { routeTarget: ["64514:5100"] } })(route("10.9.0.0/16"))).toBeDefined();
    const hosts = rules({ match: { evpnType: [2] }, action: "reject" }, {});
    expect(hosts(route("10.9.0.1/32", { type: 2 }))).toBeUndefined();
    expect(hosts(route("10.9.0.1/32"))).toBeDefined();
  });

  test("an address of a host is a network of its full length", () => {
    const within = rules({ match: { prefix: [SHARED] } });
    expect(within(route("10.9.0.1/32", { type: 2 }))).toBeDefined();
    expect(within(route("10.8.0.1/32", { type: 2 }))).toBeUndefined();
  });

  test("paths and communities; a rule that goes on hands over what it set", () => {
    const far = rules(
      { match: { asPath: ["_65010_"] }, action: "reject" },
      { set: { addCommunity: [77] }, action: "next" },
      {
        match: { community: [77] },
        set: { localPreference: 50, prepend: 2, removeRouteTarget: ["64514:5100"], addRouteTarget: ["1:2"] },
      },
    );
    const sequence = (...asns: number[]) => [{ kind: "sequence" as const, asns }];
    expect(far(route("10.9.0.0/16", { attributes: { asPath: sequence(65001, 65010) } }))).toBeUndefined();
    expect(far(route("10.9.0.0/16", { attributes: { asPath: sequence(65001) } }))).toEqual({
      targets: ["1:2"],
      attributes: {
        origin: "igp",
        asPath: sequence(64514, 64514, 65001),
        communities: [77],
        localPreference: 50,
      },
    } as never);
  });
});
