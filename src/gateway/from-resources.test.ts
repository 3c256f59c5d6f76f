/** A Gateway and its Routes mean the same as text, and what is refused is told of the object that somebody wrote. */
import { expect, test } from "bun:test";
import {
  type Gateway,
  formatProblem,
  gatewayExample,
  parseManifest,
  type Route,
  routeExample,
} from "../resources/mod.ts";
import { configOfResources } from "./from-resources.ts";
import { sameValue } from "./identity.ts";
import { planGateway } from "./plan.ts";
import { noState } from "./state-schema.ts";
import { perform, readConfig } from "./verbs.ts";

function parse(text: string): { readonly gateway: Gateway; readonly routes: Route[] } {
  const { resources, problems } = parseManifest(text);
  expect(problems.map(formatProblem)).toEqual([]);
  const gateway = resources.find(({ kind }) => kind === "Gateway")?.value as Gateway;
  return { gateway, routes: resources.flatMap((one) => (one.kind === "Route" ? [one.value] : [])) };
}

function routeText(name: string, spec: string): string {
  return `---\napiVersion: causeway.network/v1alpha1\nkind: Route\nmetadata: {name: ${name}}\nspec: {gateway: paris, ${spec}}\n`;
}

function configOf(text: string) {
  const { gateway, routes } = parse(text);
  return configOfResources(gateway, routes);
}

const text = `
private-interface4 { ifname eth1; ip 172.31.1.20; nexthop-ip 172.31.0.1; }
private-interface6 { ifname eth1; ip fd00:31::20; nexthop-ip fd00:31::1; }
public-interface4 { ip 172.31.1.30; ifname eth2; device-queue 1; nat-ip 203.0.113.2; nexthop-ip 172.31.0.1; }
public-interface4 { ip 172.31.1.31; ifname eth3; device-queue 1; nat-ip 203.0.113.3; nexthop-ip 172.31.0.1; queue 2; }
mtu 1440; cpu 2; cpu 3;
route {
  id tokyo; spi 1234; net 172.32.0.0/16; net fd00:32::/48;
  gateway { ip 203.0.113.5; } gateway { ip 203.0.113.6; queue 2; }
  public-key HIgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw=;
  preshared-key-file /etc/causeway/tokyo.psk;
}`;

test("the examples are the configuration that this text is", () => {
  const { config, problems, warnings } = configOf(`${gatewayExample}---\n${routeExample}`);
  expect([problems, warnings]).toEqual([[], []]);
  if (config === undefined) throw new Error("refused");
  expect(sameValue(config, readConfig(text).config)).toBe(true);
  const printed = perform({ config, state: { "gateway-state": noState } }, { verb: "get", path: "/" }).text;
  expect(sameValue(readConfig(printed).config, config)).toBe(true);
  expect(planGateway(config).routes.get("tokyo")?.unusable).toContain("/etc/causeway/tokyo.psk");
});

test("Routes of other Gateways are passed over", () => {
  const { config } = configOf(
    `${gatewayExample}---\n${routeExample.replace("gateway: paris", "gateway: rome")}`,
  );
  expect(config?.route.size).toBe(0);
});

test("a Route that does not fit is left out with its reason, and the others are used", () => {
  const { config, problems } = configOf(
    [
      `${gatewayExample}---\n${routeExample}`,
      routeText("b", "spi: 1234, prefixes: [10.2.0.0/16], presharedKeyFile: /b"),
      routeText("c", "spi: 7777, prefixes: [10.3.0.0/16, 172.32.0.0/16], presharedKeyFile: /c"),
      routeText("d", "spi: 7778, prefixes: [10.4.0.0/16], presharedKeyFile: /d, gateways: [{ip: 127.0.0.1}]"),
      // What it shares with one that is refused is free.
      routeText("e", "spi: 7777, prefixes: [10.5.0.0/16], presharedKeyFile: /e"),
    ].join(""),
  );
  expect([...(config?.route.keys() ?? [])]).toEqual(["tokyo", "e"]);
  expect(problems.map(formatProblem)).toEqual([
    'Route "b": spec.spi 1234 is not unique: Route "tokyo" has it; write another',
    'Route "c": spec.prefixes 172.32.0.0/16 is not unique: Route "tokyo" has it; write another',
    'Route "d": spec.gateways[0].ip 127.0.0.1 is no address of a host: it lies in 127.0.0.0/8',
  ]);
});

test("a Gateway that does not fit is refused as a whole, by its fields", () => {
  const cases = [
    [
      "interface: eth3",
      "interface: eth2",
      'Gateway "paris": spec.public[1].deviceQueue 1 is bound by spec.public[0]',
    ],
    [
      "ip: 172.31.1.31",
      "ip: 172.31.1.20",
      'Gateway "paris": spec.public[1].address4.ip 172.31.1.20 is not unique: spec.private has it',
    ],
    [
      "interface: eth3",
      "interface: eth1",
      'Gateway "paris": spec.public[1] eth1 is the device of spec.private',
    ],
    [
      "nextHop: 172.31.0.1}",
      "nextHop: 127.0.0.1}",
      'Gateway "paris": spec.private.address4.nextHop 127.0.0.1 is no address of a host',
    ],
  ] as const;
  for (const [from, to, expected] of cases) {
    const { config, problems } = configOf(gatewayExample.replace(from, to));
    expect(config).toBeUndefined();
    expect(problems.map(formatProblem).join("\n")).toContain(expected);
  }
});

test("a time that leaves gaps is told", () => {
  const { warnings } = configOf(gatewayExample.replace("associationTime: 10m", "associationTime: 15s"));
  expect(warnings.map(formatProblem)).toEqual([
    'Gateway "paris": spec.associationTime 15 leaves gaps between keys: it is not more than 3 times negotiation-ttl, which is 5',
  ]);
});
