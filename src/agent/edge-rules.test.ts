import { describe, expect, test } from "bun:test";
import { compilePrefixRules, type EvpnHost, type EvpnPrefix } from "../bgp/mod.ts";
import { planEdge } from "../edge/mod.ts";
import { mac, parseIp, parsePrefix } from "../net/mod.ts";
import { parseManifest, type TenantResource, tenantsOf } from "../resources/mod.ts";
import { EdgeRules } from "./edge-rules.ts";

function domainOf(underlay: string) {
  const { resources } = parseManifest(`
apiVersion: causeway.network/v1alpha1
kind: Underlay
metadata: {name: rack}
spec:
  asn: 64514
  links: [{name: eth1}]
  neighbors: [{address: 192.168.11.2, asn: 64512}]
  tunnelEndpoint: {prefixes: [100.65.0.0/24]}
---
apiVersion: causeway.network/v1alpha1
kind: VPC
metadata: {name: red}
spec: {vni: 5100, underlay: {${underlay}}}
`);
  const tenants = tenantsOf(resources as unknown as readonly TenantResource[]);
  const plan = planEdge(tenants, { node: { name: "a", hub: false, index: 0 } });
  const [domain] = plan.edge.routers[0]?.domains ?? [];
  if (domain === undefined) throw new Error(JSON.stringify(plan.problems));
  return domain;
}

const vtep = parseIp("100.65.0.9");
const prefix: EvpnPrefix = {
  ...{ kind: "prefix", vni: 5100, prefix: parsePrefix("10.9.1.0/24"), vtep, localPreference: 100 },
  ...{ targets: ["64524:5100"], routerMac: mac(0x02_00_00_00_00_09) },
};
const host: EvpnHost & { ip: ReturnType<typeof parseIp> } = {
  ...{ kind: "host", vni: 5110, l3vni: 5100, ip: parseIp("10.8.0.5"), mac: mac(1), vtep },
  ...{ targets: ["64524:5100"], routerMac: mac(0x02_00_00_00_00_09), sequence: 0, sticky: false },
};

describe("rules of a domain of the edge", () => {
  const rules = new EdgeRules();

  test("while nobody reads them nothing is taken or given; without rules everything is", () => {
    const ruled = rules.of(domainOf("import: [{action: accept}], export: [{action: accept}]"), 64514);
    expect(ruled.imports?.(prefix)).toBeUndefined();
    expect(ruled.exports?.({ prefix: prefix.prefix })).toBeUndefined();
    expect(rules.of(domainOf(""), 64514)).toEqual({});
    rules.setReader(compilePrefixRules);
  });

  test("the same rules are the same functions, so that nothing is told again", () => {
    const text = 'import: [{match: {prefix: ["10.9.0.0/16 le 32"]}, action: accept}]';
    const first = rules.of(domainOf(text), 64514);
    expect(rules.of(domainOf(text), 64514)).toBe(first);
    const second = rules.of(domainOf("import: [{action: accept}]"), 64514);
    expect(second).not.toBe(first);
    rules.forget(5100);
    expect(rules.of(domainOf("import: [{action: accept}]"), 64514)).not.toBe(second);
  });

  test("import: networks, and addresses that are routed to; what is set counts", () => {
    const { imports } = rules.of(
      domainOf(
        'import: [{match: {prefix: ["10.9.0.0/16 le 32"]}, set: {localPreference: 200}, action: accept}]',
      ),
      64514,
    );
    expect(imports?.(prefix)).toEqual({ ...prefix, localPreference: 200 });
    expect(imports?.(host)).toBeUndefined();
    expect(imports?.({ ...host, ip: parseIp("10.9.0.5") })).toBeDefined();
  });

  test("export: path, communities and targets go as rules say", () => {
    const { exports, byPath } = rules.of(
      domainOf(
        'export: [{match: {community: ["65001:9"]}, set: {prepend: 1, addRouteTarget: ["1:2"]}, action: accept}]',
      ),
      64514,
    );
    const local = { prefix: prefix.prefix, communities: [65001 * 65536 + 9] };
    expect(exports?.({ prefix: prefix.prefix })).toBeUndefined();
    expect(exports?.(local)).toEqual({
      ...local,
      asPath: [{ kind: "sequence", asns: [64514] }],
      targets: ["64514:5100", "1:2"],
    });
    // Of what an earlier agent heard nobody knows the communities.
    expect(byPath).toBe(true);
  });
});
