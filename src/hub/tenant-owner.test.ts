import { expect, test } from "bun:test";
import { PrivateKey } from "../net/mod.ts";
import { newMesh, parseManifest, type TenantResource } from "../resources/mod.ts";
import { Register } from "./register.ts";
import { Registrar } from "./registrar.ts";

const vpc = (name: string, spec = "{}") =>
  parseManifest(
    `apiVersion: causeway.network/v1alpha1\nkind: VPC\nmetadata: {name: ${name}}\nspec: ${spec}\n`,
  ).resources as TenantResource[];
const named = (name: string) => [{ kind: "VPC", name } as const];

async function open() {
  const register = Register.open(":memory:");
  const registrar = new Registrar(register);
  const mesh = newMesh("home", { endpoints: ["192.0.2.1:51820"], overlay6: "fd01:2:3::/64" });
  await registrar.init(mesh, { name: "hub", publicKey: PrivateKey.random().publicKey, endpoints: [] });
  const said = (work: Promise<unknown>) =>
    work.then(
      () => register.owners().get("vpc/a") ?? "nobody's",
      (error: Error & { code?: string }) => `${error.code}: ${error.message}`,
    );
  return { register, registrar, said, [Symbol.dispose]: () => register.close() };
}

const [ONE, TWO] = [{ owner: "one" }, { owner: "two" }];

test("what a hand put is not a cluster's, until it wants the same", async () => {
  using hub = await open();
  const { registrar, said } = hub;
  await registrar.putResources(vpc("a"));
  for (const other of ["{allow: {namespaces: [x]}}", "{routed: false, vni: 5000}"])
    expect(await said(registrar.putResources(vpc("a", other), ONE))).toBe(
      'not-admitted: VPC "a": there is another one that was made with causeway apply; apply the same here to own it, or choose another name',
    );
  expect(await said(registrar.deleteResources(named("a"), ONE))).toBe(
    'not-admitted: VPC "a": was made with causeway apply; delete it with causeway delete',
  );
  const before = hub.register.revision;
  expect(await said(registrar.putResources(vpc("a"), ONE))).toBe("one");
  // Nodes are not told: nothing of theirs has changed.
  expect(hub.register.revision).toBe(before);
  expect(await said(registrar.deleteResources(named("a"), ONE))).toBe("nobody's");
});

test("what a cluster put is neither another one's nor a hand's, but by force", async () => {
  using hub = await open();
  const { registrar, said } = hub;
  const changed = vpc("a", "{allow: {namespaces: [x]}}");
  expect(await said(registrar.putResources(vpc("a"), ONE))).toBe("one");
  for (const wanted of [vpc("a"), changed])
    expect(await said(registrar.putResources(wanted, TWO))).toBe(
      'not-admitted: VPC "a": belongs to the Kubernetes cluster one; delete it there, or choose another name',
    );
  expect(await said(registrar.deleteResources(named("b"), TWO))).toContain("not there");
  expect(await said(registrar.deleteResources(named("a"), TWO))).toContain("belongs to the Kubernetes");
  // The same again by hand is no change, and leaves it where it belongs.
  expect(await said(registrar.putResources(vpc("a")))).toBe("one");
  expect(await said(registrar.putResources(changed))).toBe(
    'not-admitted: VPC "a": belongs to the Kubernetes cluster one; change it there with kubectl, or take it with --force',
  );
  expect(await said(registrar.deleteResources(named("a")))).toBe(
    'not-admitted: VPC "a": belongs to the Kubernetes cluster one; delete it there with kubectl, or here with --force',
  );
  expect(await said(registrar.putResources(changed, ONE))).toBe("one");
  expect(await said(registrar.putResources(changed, { force: true }))).toBe("nobody's");
  expect(await said(registrar.putResources(changed, TWO))).toBe("two");
  expect(await said(registrar.deleteResources(named("a"), { force: true }))).toBe("nobody's");
});

test("one that is another's changes nothing; whose they are is in a snapshot", async () => {
  using hub = await open();
  const { register, registrar } = hub;
  await registrar.putResources(vpc("a"), ONE);
  await expect(registrar.putResources([...vpc("b"), ...vpc("a")], TWO)).rejects.toThrow("belongs to");
  expect([...register.view("hub").tenants.VPC.keys()]).toEqual(["a"]);
  using copy = Register.open(":memory:");
  copy.restore(register.dump(), 1);
  expect([...copy.owners()]).toEqual([["vpc/a", "one"]]);
});
