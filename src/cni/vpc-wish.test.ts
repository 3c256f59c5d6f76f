import { describe, expect, test } from "bun:test";
import { formatInterfaceAddress, formatMac } from "../net/mod.ts";
import { CniError } from "./error.ts";
import type { PodFacts } from "./pod-facts.ts";
import type { VpcConfiguration } from "./vpc-configuration.ts";
import { primaryWish, secondaryWish } from "./vpc-wish.ts";

const pod = { namespace: "team-a", name: "db-0" };
const machine = { "vm.kubevirt.io/name": "db" };

function facts(annotations: Record<string, string>, labels: Record<string, string> = {}): PodFacts {
  const named = Object.entries(annotations).map(([key, value]) => [`causeway.network/${key}`, value]);
  return { labels, annotations: Object.fromEntries(named) };
}

const primary = (annotations: Record<string, string>, labels?: Record<string, string>) =>
  primaryWish(pod, facts({ vpc: "blue", ...annotations }, labels));

function refusal(work: () => unknown): { code: number; message: string; details?: string } {
  try {
    work();
  } catch (error) {
    if (!(error instanceof CniError)) throw error;
    const { code, message, details } = error;
    return { code, message, ...(details !== undefined && { details }) };
  }
  throw new Error("not refused");
}

describe("by annotations", () => {
  test("a pod without the annotation of a VPC, or with an empty one, is of the default network", () => {
    for (const vpc of [{}, { vpc: "" }])
      expect(primaryWish(pod, facts({ ...vpc, ips: "x" }))).toBeUndefined();
  });

  test("a VPC alone: its default route, no groups, and whose pod it is", () => {
    expect(primary({}, { app: "db" })).toEqual({
      ...{ vpc: "blue", defaultRoute: true, groups: [] },
      pod: { namespace: "team-a", name: "db-0", labels: { app: "db" } },
    });
  });

  test("subnet, addresses of both families, MAC address and groups", () => {
    const wish = primary({
      ...{ subnet: "blue.web", ips: "10.1.0.7, fd00::7", mac: "02:00:00:00:00:07", groups: "web, db,, ops" },
    });
    expect(wish?.subnet).toBe("blue.web");
    expect(wish?.addresses?.map(formatInterfaceAddress)).toEqual(["10.1.0.7/32", "fd00::7/128"]);
    expect(wish?.mac === undefined ? undefined : formatMac(wish.mac)).toBe("02:00:00:00:00:07");
    expect(wish?.groups).toEqual(["web", "db", "ops"]);
  });

  test("what is empty is not said", () => {
    const nothing = { subnet: "", ips: "", mac: "", groups: "", owner: "" };
    expect(primary(nothing) as object).toEqual(primary({}) as object);
  });

  for (const [key, value, what] of [
    ["vpc", "Blue", "a resource's name: small letters, digits, - and ."],
    ["subnet", "a/b", "a resource's name: small letters, digits, - and ."],
    ["ips", "10.1.0.7/24", "a list of addresses"],
    ["ips", "10.1.0.7,x", "a list of addresses"],
    ["mac", "03:00:00:00:00:07", "the MAC address of one station"],
    ["mac", "00:00:00:00:00:00", "the MAC address of one station"],
    ["groups", "web,Web", "a list of SecurityGroups"],
    ["owner", "a\nb", "a short printable text"],
  ] as const)
    test(`${key} ${JSON.stringify(value)} is refused with its place, its value and what it should be`, () => {
      const full = `causeway.network/${key}`;
      expect(refusal(() => primary({ [key]: value }))).toEqual({
        code: 7,
        message: `Cannot use the annotation ${full} of pod team-a/db-0: it is not ${what}`,
        details: `${full} is ${JSON.stringify(value)}`,
      });
    });
});

describe("owners of addresses", () => {
  const further = (
    vpc: VpcConfiguration,
    ifname = "net1",
    labels = {},
    whose: typeof pod | undefined = pod,
  ) =>
    secondaryWish(
      { vpc, ...(whose && { pod: whose }) },
      { ifname, facts: { labels, annotations: {} }, ipam: undefined },
    ).owner;

  test("a name is of the pod's namespace", () => {
    expect(primary({ owner: "db" })?.owner).toBe("team-a/db");
    expect(further({ owner: "db" })).toBe("team-a/db");
  });

  test("pods of a virtual machine of KubeVirt have it as owner, each interface by itself", () => {
    expect(primary({}, machine)?.owner).toBe("vm team-a/db vpc0");
    expect(["net1", "net2"].map((ifname) => further({}, ifname, machine))).toEqual([
      "vm team-a/db net1",
      "vm team-a/db net2",
    ]);
  });

  test("what is said counts before what a pod is", () => {
    expect(primary({ owner: "mine" }, machine)?.owner).toBe("team-a/mine");
    expect(further({ owner: "mine" }, "net1", machine)).toBe("team-a/mine");
  });

  test("a machine may be named, of the own namespace only", () => {
    expect(primary({ owner: "vm team-a/db" })?.owner).toBe("vm team-a/db");
    for (const work of [() => primary({ owner: "vm team-b/db" }), () => further({ owner: "vm team-b/db" })])
      expect(refusal(work)).toMatchObject({
        code: 7,
        message:
          'Cannot use owner "vm team-b/db": it is a machine of namespace team-b, and the pod is of team-a; name one of team-a',
      });
  });

  test("no pod, no machine: a runtime without Kubernetes says what it likes", () => {
    const nobody = (vpc: VpcConfiguration) =>
      secondaryWish(
        { vpc },
        { ifname: "net1", facts: { labels: machine, annotations: {} }, ipam: undefined },
      );
    expect(nobody({}).owner).toBeUndefined();
    expect(nobody({ owner: "db" }).owner).toBe("db");
    expect(nobody({}).pod).toBeUndefined();
  });
});

test("a further network has the default route where it is the pod's main interface, or says so", () => {
  const route = (vpc: VpcConfiguration, ifname: string) =>
    secondaryWish({ vpc }, { ifname, facts: undefined, ipam: undefined }).defaultRoute;
  expect([route({}, "eth0"), route({}, "net1")]).toEqual([true, false]);
  expect([route({ defaultRoute: false }, "eth0"), route({ defaultRoute: true }, "net1")]).toEqual([
    false,
    true,
  ]);
});
