/** Route reflectors that are nodes of a role, in a laboratory of real agents: the hub does not reflect. */
import { afterAll, beforeAll, describe, setDefaultTimeout } from "bun:test";
import { mkdirSync, rmSync } from "node:fs";
import { Lab } from "../../src/lab/mod.ts";
import { executable, labLacks as skip } from "../support/lab-needs.ts";
import { reflectorSuite } from "../support/reflector-suite.ts";

const root = `/run/causeway-test/${process.pid}-vpc-reflectors`;
setDefaultTimeout(200_000);

const manifest = `apiVersion: causeway.network/v1alpha1
kind: Lab
metadata: { name: vpc-reflectors }
spec:
  networks:
    - { name: wire, prefix4: 203.0.113.0/24 }
  nodes:
    - { name: hub, role: hub, networks: [wire] }
    - { name: r1, networks: [wire], endpoint: auto }
    - { name: r2, networks: [wire], endpoint: auto }
    - { name: a, networks: [wire], endpoint: auto }
    - { name: b, networks: [wire], endpoint: auto }
`;

interface ShownMesh {
  readonly spec: object;
}

describe.skipIf(skip !== undefined)(`reflectors by role${skip === undefined ? "" : ` (${skip})`}`, () => {
  let lab: Lab;
  beforeAll(async () => {
    mkdirSync(root, { recursive: true });
    await Lab.remove("vpc-reflectors", { root });
    lab = await Lab.up(manifest, { root, executable });
    for (const node of ["r1", "r2"])
      await lab.causewayJson("hub", ["node", "assign", node, "--role", "reflector"]);
    const { spec, ...rest } = await lab.causewayJson<ShownMesh>("hub", ["mesh", "show"]);
    const mesh = { ...rest, spec: { ...spec, reflectors: { roles: ["reflector"] } } };
    await lab.causewayJson("hub", ["mesh", "apply", "-"], JSON.stringify(mesh));
  });
  afterAll(async () => {
    await Lab.remove("vpc-reflectors", { root });
    rmSync(root, { recursive: true, force: true });
  });

  reflectorSuite({ lab: () => lab, reflectors: ["r1", "r2"], hub: "hub" });
});
