import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { formatIp, formatPrefix } from "../net/mod.ts";
import { CniError } from "./error.ts";
import { Reader } from "./json.ts";
import { parseOptions } from "./options.ts";

const parse = (configuration: object) => parseOptions(new Reader(configuration as never));

function refusal(configuration: object): CniError {
  try {
    parse(configuration);
  } catch (error) {
    if (error instanceof CniError) return error;
    throw error;
  }
  throw new Error(`not refused: ${JSON.stringify(configuration)}`);
}

describe("options that are so anyway", () => {
  test.each([
    {},
    { bridge: "cw-pods", isGateway: true, isDefaultGateway: true, ipMasq: true, ipMasqBackend: "nftables" },
    { promiscMode: false, vlan: 0, vlanTrunk: [], preserveDefaultVlan: true, macspoofchk: true },
    { enabledad: false, disableContainerInterface: false, forceAddress: true, portIsolation: false },
    { hairpinMode: false, IsGateway: true, IPMASQ: true, bridge: "", vlan: null },
    { ipam: {} },
    { ipam: { type: "causeway", ranges: [], subnet: "", routes: [] } },
    { runtimeConfig: { ipRanges: [], aliases: [], deviceID: "" } },
    { whatever: { deep: true }, ipam: { whatever: 3 } },
  ])("%j", (configuration) => expect(parse(configuration)).toEqual({}));
});

describe("options that ask for something else are code 2, with key, value and what to do", () => {
  test.each([
    [{ bridge: "cni0" }, 'bridge is "cni0"'],
    [{ isGateway: false }, "isGateway is false"],
    [{ ipMasq: false }, "ipMasq is false"],
    [{ IPMasq: "true" }, 'ipMasq is "true"'],
    [{ ipMasqBackend: "iptables" }, 'ipMasqBackend is "iptables"'],
    [{ promiscMode: true }, "promiscMode is true"],
    [{ vlan: 100 }, "vlan is 100"],
    [{ vlan: 5000 }, "vlan is 5000"],
    [{ vlanTrunk: [{ id: 101 }] }, 'vlanTrunk is [{"id":101}]'],
    [{ macspoofchk: false }, "macspoofchk is false"],
    [{ enabledad: true }, "enabledad is true"],
    [{ disableContainerInterface: true }, "disableContainerInterface is true"],
    [{ ipam: { type: "host-local" } }, 'ipam.type is "host-local"'],
    [{ ipam: { type: "causeway", subnet: "10.1.0.0/16" } }, 'ipam.subnet is "10.1.0.0/16"'],
    [{ ipam: { rangeStart: "10.1.0.9" } }, 'ipam.rangeStart is "10.1.0.9"'],
    [{ ipam: { rangeEnd: "10.1.0.9" } }, 'ipam.rangeEnd is "10.1.0.9"'],
    [{ ipam: { gateway: "10.1.0.1" } }, 'ipam.gateway is "10.1.0.1"'],
    [{ ipam: { ranges: [[{ subnet: "10.1.0.0/16" }]] } }, 'ipam.ranges is [[{"subnet":"10.1.0.0/16"}]]'],
    [{ ipam: { dataDir: "/run/x" } }, 'ipam.dataDir is "/run/x"'],
    [{ runtimeConfig: { ipRanges: [[{}]] } }, "runtimeConfig.ipRanges is [[{}]]"],
    [{ runtimeConfig: { Aliases: ["x"] } }, 'runtimeConfig.aliases is ["x"]'],
    [{ runtimeConfig: { infinibandGUID: "c2:11" } }, 'runtimeConfig.infinibandGUID is "c2:11"'],
    [{ runtimeConfig: { deviceID: "0000:af" } }, 'runtimeConfig.deviceID is "0000:af"'],
  ])("%j", (configuration, details) => {
    const error = refusal(configuration);
    expect([error.code, error.details]).toEqual([2, details]);
    expect(error.message).toMatch(/^Cannot use .+: .+; remove /);
  });
});

test("options that are acted on", () => {
  expect(parse({ isDefaultGateway: false, portIsolation: true, hairpinMode: true })).toEqual({
    defaultRoute: false,
    bridgePort: { isolated: true, hairpin: true },
  });
  expect(parse({ IPAM: { ResolvConf: "/etc/resolv.conf" } })).toEqual({ resolvConf: "/etc/resolv.conf" });
  for (const key of ["isDefaultGateway", "portIsolation", "hairpinMode"])
    expect(refusal({ [key]: "yes" })).toMatchObject({ code: 7, details: `${key} is "yes"` });
});

describe("routes", () => {
  const routes = (...list: object[]) =>
    (parse({ routes: list }).routes ?? []).map(({ destination, gateway, ...more }) => ({
      ...more,
      to: `${formatPrefix(destination)}${gateway === undefined ? "" : ` via ${formatIp(gateway)}`}`,
    }));

  test("of the configuration and of ipam, with all fields; 0 is absent", () => {
    expect(
      routes(
        { dst: "10.9.0.0/16", gw: "10.1.0.9", mtu: 1300, advmss: 1200, priority: 5, table: 100, scope: 0 },
        { Dst: "10.8.0.7/16", GW: "", MTU: 0, advmss: 0, priority: 0, table: 0 },
        { dst: "10.7.0.0/16", scope: 253 },
        { dst: "10.6.0.0/16", scope: 254 },
        { dst: "fd09::/64", gw: "fe80::1" },
        { dst: "fd08::/64", scope: 253 },
      ),
    ).toEqual([
      {
        to: "10.9.0.0/16 via 10.1.0.9",
        mtuBytes: 1300,
        advmssBytes: 1200,
        priority: 5,
        table: 100,
        scope: "global",
      },
      { to: "10.8.0.0/16" },
      { to: "10.7.0.0/16", scope: "link" },
      { to: "10.6.0.0/16", scope: "host" },
      { to: "fd09::/64 via fe80::1" },
      { to: "fd08::/64", scope: "link" },
    ]);
    const both = parse({ routes: [{ dst: "10.9.0.0/16" }], ipam: { routes: [{ dst: "0.0.0.0/0" }] } });
    expect(both.routes?.map(({ destination }) => formatPrefix(destination))).toEqual([
      "10.9.0.0/16",
      "0.0.0.0/0",
    ]);
  });

  test.each([
    [{}, "routes[0].dst is absent"],
    [{ dst: "10.9.0.0" }, 'routes[0].dst is "10.9.0.0"'],
    [{ dst: "10.9.0.0/16", gw: "x" }, 'routes[0].gw is "x"'],
    [{ dst: "10.9.0.0/16", gw: "fd00::1" }, 'routes[0].gw is "fd00::1"'],
    [{ dst: "10.9.0.0/16", mtu: 65521 }, "routes[0].mtu is 65521"],
    [{ dst: "10.9.0.0/16", advmss: 65496 }, "routes[0].advmss is 65496"],
    [{ dst: "10.9.0.0/16", priority: -1 }, "routes[0].priority is -1"],
    [{ dst: "10.9.0.0/16", table: 2 ** 32 }, "routes[0].table is 4294967296"],
    [{ dst: "10.9.0.0/16", scope: 200 }, "routes[0].scope is 200"],
    [{ dst: "10.9.0.0/16", gw: "10.1.0.1", scope: 253 }, "routes[0].scope is 253"],
    [{ dst: "fd09::/64", scope: 254 }, "routes[0].scope is 254"],
  ])("%j is code 7", (route, details) =>
    expect(refusal({ routes: [route] })).toMatchObject({ code: 7, details }),
  );
});

test("every option that is named here stands in docs/cni.md", () => {
  const page = readFileSync(new URL("../../docs/cni.md", import.meta.url), "utf8");
  const source = readFileSync(new URL("./options.ts", import.meta.url), "utf8");
  const keys = [...source.matchAll(/^  (\w+): \{\s+allowed|(?:boolean|string|objects)\("(\w+)"\)/gm)].map(
    (match) => match[1] ?? match[2],
  );
  expect(keys).toContain("vlanTrunk");
  expect(keys).toContain("resolvConf");
  expect(keys.filter((key) => !new RegExp(`\\b${key}\\b`).test(page))).toEqual([]);
});
