import { describe, expect, test } from "bun:test";
import { noTenants, parseManifest, type TenantResource, tenantsOf } from "../resources/mod.ts";
import { boundIdentity } from "./bound-identity.ts";
import { Refusal } from "./refusal.ts";

const rules = [{ from: { site: ["attic"] }, to: { role: ["control"] } }];

function refused(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (error instanceof Refusal) return `${error.code}: ${error.message}`;
    throw error;
  }
  return "taken";
}

describe("what a token binds", () => {
  test("the newcomer gets the token's role and site, whether it asks for the site or not", () => {
    const use = { role: "worker", site: "attic" };
    expect(boundIdentity(use, {}, { tenants: noTenants, mesh: { rules } })).toEqual({
      role: "worker",
      site: "attic",
    });
    expect(boundIdentity(use, { site: "attic" }, { tenants: noTenants, mesh: { rules } })).toEqual({
      role: "worker",
      site: "attic",
    });
  });

  test("it cannot choose another site, nor one that a rule names", () => {
    expect(
      refused(() =>
        boundIdentity({ role: "node", site: "cellar" }, { site: "attic" }, { tenants: noTenants, mesh: {} }),
      ),
    ).toBe("not-bound: The token is for site cellar; join without --site, or ask for a token for site attic");
    expect(
      refused(() =>
        boundIdentity({ role: "node" }, { site: "attic" }, { tenants: noTenants, mesh: { rules } }),
      ),
    ).toStartWith(
      "not-bound: Site attic is named by a rule of the mesh or by tenants' resources, so only a token can give it",
    );
    const manifest = `apiVersion: causeway.network/v1alpha1
kind: VPC
metadata: {name: a}
spec: {nodes: {site: cellar}}`;
    const tenants = tenantsOf(parseManifest(manifest).resources as TenantResource[]);
    expect(
      refused(() => boundIdentity({ role: "node" }, { site: "cellar" }, { tenants, mesh: {} })),
    ).toStartWith("not-bound: Site cellar is named by");
    // Where it means nothing, it may say where it stands.
    expect(
      boundIdentity({ role: "node" }, { site: "cellar" }, { tenants: noTenants, mesh: { rules } }),
    ).toEqual({
      site: "cellar",
    });
    expect(boundIdentity({ role: "node" }, { site: "attic" }, { tenants: noTenants, mesh: {} })).toEqual({
      site: "attic",
    });
  });

  test("a machine that takes a node's place keeps what the token does not change", () => {
    const old = { role: "worker", site: "attic" };
    expect(boundIdentity({ role: "node" }, {}, { tenants: noTenants, mesh: { rules }, old })).toEqual(old);
    expect(
      boundIdentity({ role: "node" }, { site: "attic" }, { tenants: noTenants, mesh: { rules }, old }),
    ).toEqual(old);
    expect(
      boundIdentity({ role: "control", site: "cellar" }, {}, { tenants: noTenants, mesh: { rules }, old }),
    ).toEqual({
      role: "control",
      site: "cellar",
    });
  });
});
