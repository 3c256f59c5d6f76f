import { expect, test } from "bun:test";
import { formatManifest, formatProblem, parseManifest } from "./manifest.ts";
import { formatRule } from "./rules.ts";

const manifest = (spec: string) => `apiVersion: causeway.network/v1alpha1
kind: Mesh
metadata: {name: home}
spec:
  endpoints: ["h:1"]
  overlay6: fd01:2:3::/64
${spec}`;

function mesh(spec: string) {
  const { resources, problems } = parseManifest(manifest(spec));
  if (problems[0] !== undefined) throw new Error(problems.map(formatProblem).join("\n"));
  const [resource] = resources;
  if (resource?.kind !== "Mesh") throw new Error("no mesh");
  return resource.value;
}

test("rules, ages and keys are read, and written as they were", () => {
  const read = mesh(`  rules:
    - {from: {role: worker, site: attic}, to: {role: control}}
    - {from: {node: [nas, printer]}, to: {}}
  keyMaxAge: 90d
  presharedKeys: true
  snapshotMaxAge: 36h
  operatorKey: HIgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw=
`);
  expect(read.rules?.map(formatRule)).toEqual([
    "role worker, site attic ↔ role control",
    "node nas|printer ↔ any node",
  ]);
  expect([read.keyMaxAgeMs, read.snapshotMaxAgeMs, read.presharedKeys]).toEqual([
    7_776_000_000,
    129_600_000,
    true,
  ]);
  const text = formatManifest([{ kind: "Mesh", value: read }]);
  expect(text).toContain("role: worker\n        site: attic");
  expect(text).toContain("keyMaxAge: 90d");
  expect(text).toContain("snapshotMaxAge: 36h");
  const again = parseManifest(text).resources[0];
  expect(again?.value).toEqual(read);
});

test("absent means all may talk, an empty list that only hubs are talked to", () => {
  expect(mesh("").rules).toBeUndefined();
  expect(mesh("  rules: []\n").rules).toEqual([]);
});

test("mistakes are named with the place and the fix", () => {
  for (const [spec, message] of [
    ["  rules: [{from: {roll: worker}, to: {}}]", "spec.rules[0].from"],
    ["  rules: [{from: {}}]", "spec.rules[0].to is missing"],
    ["  rules: [{from: {role: 'A b'}, to: {}}]", "spec.rules[0].from.role"],
    ["  rules: [{from: {}, to: {}, both: true}]", "is not a rule; write {from: {…}, to: {…}}"],
    ["  keyMaxAge: 5m", "is less than a day"],
    ["  keyMaxAge: often", "is not a duration"],
    ["  operatorKey: abc", "spec.operatorKey"],
  ] as const)
    expect(() => mesh(`${spec}\n`)).toThrow(message);
});
