import { expect, test } from "bun:test";
import {
  noTenants,
  parseManifest,
  type TenantResource,
  type TenantResources,
  vpcExample,
  withTenants,
} from "../resources/mod.ts";
import { type CustomObject, parseCustomObject } from "./custom-object.ts";
import { statusOf, Wishes } from "./verdict.ts";

function vpc(spec: object, more: { generation?: number; status?: unknown } = {}): CustomObject {
  const { generation = 3, status } = more;
  const metadata = { name: "team-a", resourceVersion: "7", generation, uid: "u", managedFields: [] };
  const object = parseCustomObject("VPC")({ metadata, spec, status });
  if (object === undefined) throw new Error("no object");
  return object;
}

const [resource] = parseManifest(vpcExample).resources as [TenantResource];
const tenants = withTenants(noTenants, { set: [resource] });
const same = {
  allow: { namespaces: ["team-a", "ci"] },
  nodes: { role: "worker" },
  services: [{ ports: ["udp/53", "tcp/53"] }, { prefixes: ["10.96.0.1/32"], ports: ["tcp/443"] }],
};

const wantedOf = (object: CustomObject, tenants: TenantResources) => new Wishes().of(object, tenants);

test("what only lacks the VNI that the register gave is the same", () => {
  expect(wantedOf(vpc(same), tenants)).toMatchObject({ same: true });
  expect(wantedOf(vpc({ ...same, vni: 5000 }), tenants)).toMatchObject({ same: true });
  expect(wantedOf(vpc({ ...same, vni: 5001 }), tenants)).toMatchObject({ same: false });
  expect(wantedOf(vpc({ ...same, routed: false }), tenants)).toMatchObject({ same: false });
  expect(wantedOf(vpc(same), noTenants)).toMatchObject({ same: false });
});

test("an object is read once, and compared again when the register has another value only", () => {
  const wishes = new Wishes();
  let reads = 0;
  const object = vpc(same);
  const counted = {
    ...object,
    get manifest() {
      reads++;
      return object.manifest;
    },
  };
  const first = wishes.of(counted, tenants);
  expect(first).toMatchObject({ same: true });
  const more = parseManifest(vpcExample.replaceAll("team-a", "team-b")).resources as TenantResource[];
  expect(wishes.of(counted, withTenants(tenants, { set: more }))).toBe(first);
  expect(wishes.of(counted, noTenants)).toMatchObject({ same: false });
  expect(wishes.of(counted, tenants)).toMatchObject({ same: true });
  expect(reads).toBe(1);
});

test("what is no manifest says so in the words of manifests", () => {
  expect(wantedOf(vpc({ vni: "x" }), tenants)).toEqual({
    problem: 'VPC "team-a": spec.vni "x" is not a whole number from 1 to 16777215; write one without quotes',
  });
});

test("a status is written once, and keeps the time when it changed", () => {
  const first = statusOf(vpc(same), { verdict: { is: "accepted", vni: 5000 } }, "2020-01-01T00:00:00Z");
  expect(first).toMatchObject({ observedGeneration: 3, vni: 5000, conditions: [{ status: "True" }] });
  expect(
    statusOf(vpc(same, { status: first }), { verdict: { is: "accepted", vni: 5000 } }, "later"),
  ).toBeUndefined();
  const next = vpc(same, { status: first, generation: 4 });
  expect(statusOf(next, { verdict: { is: "accepted", vni: 5000 } }, "later")?.conditions[0]).toMatchObject({
    lastTransitionTime: "2020-01-01T00:00:00Z",
    observedGeneration: 4,
  });
  const refused = statusOf(next, { verdict: { is: "NotAdmitted", message: "because" } }, "later");
  expect(refused).toMatchObject({
    vni: 5000,
    conditions: [{ status: "False", reason: "NotAdmitted", message: "because", lastTransitionTime: "later" }],
  });
});

test("a Route says whether packets go by it, in the words of its node", () => {
  const spec = { gateway: "paris", prefixes: ["172.32.0.0/16"], spi: 1234, presharedKeyFile: "/k" };
  const metadata = { name: "tokyo", resourceVersion: "7", generation: 3, uid: "u" };
  const route = (status?: unknown) => parseCustomObject("Route")({ metadata, spec, status }) as CustomObject;
  const verdict = { is: "accepted" } as const;
  const first = statusOf(route(), { verdict, up: { up: undefined } }, "1");
  expect(first?.conditions.map(({ type, status, reason }) => `${type} ${status} ${reason}`)).toEqual([
    "Accepted True Accepted",
    "Up Unknown NotHeard",
  ]);
  const down = { up: false, reason: "no gateway answers: 203.0.113.5 is silent" };
  const second = statusOf(route(first), { verdict, up: down }, "2");
  expect(second?.conditions).toMatchObject([
    { type: "Accepted", lastTransitionTime: "1" },
    { type: "Up", status: "False", reason: "Down", message: down.reason, lastTransitionTime: "2" },
  ]);
  expect(statusOf(route(second), { verdict, up: down }, "3")).toBeUndefined();
  const third = statusOf(route(second), { verdict, up: { up: true } }, "4");
  expect(third?.conditions[1]).toMatchObject({ status: "True", message: "packets go by it" });
});

test("what is in a fabric says on which nodes it is not as asked, and nothing when it has left", () => {
  const spec = { underlay: {} };
  const verdict = { is: "accepted", vni: 5000 } as const;
  const down = { up: false, reason: "on a: spec.vni 5000 is that of another" };
  const first = statusOf(vpc(spec), { verdict, up: down }, "1");
  const [, condition] = first?.conditions ?? [];
  expect(condition).toMatchObject({ type: "Up", status: "False", reason: "Degraded", message: down.reason });
  const healed = statusOf(vpc(spec, { status: first }), { verdict, up: { up: true } }, "2");
  expect(healed?.conditions[1]).toMatchObject({
    status: "True",
    reason: "Up",
    message: "no node says that it is not as asked",
    lastTransitionTime: "2",
  });
  expect(statusOf(vpc(spec, { status: healed }), { verdict, up: { up: true } }, "3")).toBeUndefined();
  const left = statusOf(vpc(spec, { status: healed }), { verdict }, "4");
  expect(left?.conditions.map(({ type }) => type)).toEqual(["Accepted"]);
});
