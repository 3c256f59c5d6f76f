import { describe, expect, test } from "bun:test";
import { formatInterfaceAddress, formatMac } from "../net/mod.ts";
import { CniError } from "./error.ts";
import { parseRequest } from "./request.ts";

const talk = { type: "vxlan", vni: 300, addr: "172.16.32.1/24" };
const named = { cniVersion: "1.0.0", name: "blue", type: "causeway", vpc: "blue" };

function parse(config: object, more: Record<string, string> = {}) {
  const environment = {
    CNI_COMMAND: "ADD",
    CNI_CONTAINERID: "c",
    CNI_NETNS: "/n",
    CNI_IFNAME: "net1",
    ...more,
  };
  return parseRequest({ environment, stdin: JSON.stringify(config) }).configuration;
}

function refusal(config: object, more: Record<string, string> = {}): [number, string] {
  try {
    parse(config, more);
  } catch (error) {
    if (error instanceof CniError) return [error.code, error.message];
    throw error;
  }
  throw new Error("not refused");
}

describe("by number", () => {
  test("the talk's form, without version and name", () => {
    const { version, name, vpc } = parse(talk);
    expect([version, name, vpc?.vni, vpc?.addresses?.map(formatInterfaceAddress)]).toEqual([
      ...["0.1.0", "vxlan-300", 300],
      ["172.16.32.1/24"],
    ]);
  });

  test("its fields: mtu, port, addr, ipam; an addr beside ipam does not count, ipam without a type is none", () => {
    expect(parse({ ...talk, mtu: 1280, port: 65535 }).vpc).toMatchObject({ mtuBytes: 1280, dstPort: 65535 });
    expect(parse({ ...talk, ipam: { type: "whereabouts" } }).vpc).toEqual({ vni: 300, ipam: "whereabouts" });
    expect(parse({ ...talk, ipam: {} }).vpc?.addresses).toHaveLength(1);
    expect(parse({ ...talk, vni: 16_777_215 }).vpc?.vni).toBe(16_777_215);
  });

  test("a link without an address needs a version that can say so", () => {
    const bare = { type: "vxlan", vni: 300 };
    expect(refusal(bare)[0]).toBe(1);
    expect(parse({ ...bare, cniVersion: "0.3.0" }).vpc?.addresses).toEqual([]);
    expect(parse({ ...bare, ipam: { type: "static" } }).vpc?.addresses).toBeUndefined();
  });

  test.each([
    [{ vni: undefined }, 7],
    [{ vni: 0 }, 7],
    [{ vni: 16_777_216 }, 7],
    [{ vni: 1.5 }, 7],
    [{ mtu: 1279 }, 7],
    [{ mtu: 9217 }, 7],
    [{ port: 1023 }, 7],
    [{ port: 65_536 }, 7],
    [{ addr: "172.16.32.1" }, 7],
    [{ addr: "224.0.0.1/4" }, 7],
    [{ ipam: { type: "../evil" } }, 7],
    [{ vpc: "blue" }, 2],
    [{ vlan: 7 }, 2],
    [{ runtimeConfig: { portMappings: [{ hostPort: 1, containerPort: 1 }] } }, 2],
  ])("%j is refused", (more, code) => {
    expect(refusal({ ...talk, ...more })[0]).toBe(code);
  });
});

describe("by name", () => {
  test("VPC and subnet, and what the runtime asks for beside them", () => {
    const { vpc, pod } = parse(
      {
        ...named,
        subnet: "a.b-c",
        groups: ["web"],
        owner: "vm team/db",
        runtimeConfig: { ips: ["10.0.0.7/16", "fd00::7"] },
      },
      {
        CNI_ARGS:
          "IgnoreUnknown=1;K8S_POD_NAMESPACE=team;K8S_POD_NAME=db-0;K8S_POD_UID=u;MAC=02:00:00:00:00:07",
      },
    );
    expect(vpc).toMatchObject({ vpc: "blue", subnet: "a.b-c", groups: ["web"], owner: "vm team/db" });
    expect(vpc?.addresses?.map(formatInterfaceAddress)).toEqual(["10.0.0.7/16", "fd00::7/128"]);
    expect(vpc?.mac && formatMac(vpc.mac)).toBe("02:00:00:00:00:07");
    expect(pod).toEqual({ namespace: "team", name: "db-0", uid: "u" });
  });

  test("without an addr nothing is said of addresses: they are allocated", () => {
    expect(parse(named).vpc?.addresses).toBeUndefined();
  });

  test.each([
    [{ vpc: "Blue" }, 7],
    [{ subnet: "a/b" }, 7],
    [{ groups: ["a b"] }, 7],
    [{ groups: Array.from({ length: 33 }, (_, i) => `g${i}`) }, 7],
    [{ owner: "x".repeat(254) }, 7],
    [{ addr: "10.0.0.1/24" }, 2],
    [{ port: 4790 }, 2],
    [{ ipam: { type: "host-local" } }, 2],
    [{ ingressRate: 5 }, 2],
    [{ name: undefined }, 7],
  ])("%j is refused", (more, code) => {
    expect(refusal({ ...named, ...more })[0]).toBe(code);
  });
});

test("DEL and GC depend on nothing but names, and on which IPAM plugin gives back", () => {
  const del = { CNI_COMMAND: "DEL" };
  expect(parse({ ...talk, mtu: 1, addr: "x", vlan: 9 }, del)).toMatchObject({ name: "vxlan-300", vpc: {} });
  expect(parse({ ...talk, vni: "x" }, del).name).toBe("vxlan");
  expect(parse({ ...talk, ipam: { type: "whereabouts", range: 7 } }, del).vpc).toEqual({
    ipam: "whereabouts",
  });
  const gc = { ...named, cniVersion: "1.1.0", "cni.dev/valid-attachments": [], groups: 7 };
  expect(parse(gc, { CNI_COMMAND: "GC" })).toMatchObject({ name: "blue", vpc: {}, validAttachments: [] });
});

test("a configuration without vpc, subnet and vni is the default network's", () => {
  expect(parse({ cniVersion: "1.0.0", name: "net", type: "causeway" }).vpc).toBeUndefined();
});
