/**
 * A hub with the register of a large mesh and the controller of a cluster, as its agent has both; without tunnel and nodes. First it says the overlay
 * addresses of all nodes; after the line "begin" it controls, and says so when it leads.
 */
import { mkdtempSync, writeFileSync } from "node:fs";
import { HubRole } from "../../src/agent/hub-role.ts";
import { registerOf } from "../../src/agent/kube-controller.ts";
import { Register } from "../../src/hub/mod.ts";
import { ClusterController } from "../../src/kube/cluster-controller.ts";
import type { KubeAccess } from "../../src/kube/access.ts";
import { formatIp, parseEndpoint, PrivateKey, SigningSecret } from "../../src/net/mod.ts";
import { newMesh } from "../../src/resources/mod.ts";
import { fillRegister } from "../mesh/full-register.ts";

/** ControllerInput is what it is told. */
export interface ControllerInput {
  readonly nodes: number;
  readonly server: string;
  readonly ca: string;
  readonly token: string;
}

const HUB = "hub";
const { nodes, server, ca, token } = JSON.parse(process.argv[2] as string) as ControllerInput;
/** Of this place alone, and gone with it (bench/tunnel/private.ts). */
const folder = mkdtempSync("/run/causeway-bench-");
const say = (what: unknown) => process.stdout.write(`${JSON.stringify(what)}\n`);

const [key, signing] = [PrivateKey.random(), SigningSecret.random()];
const file = `${folder}/register.db`;
const mesh = newMesh("home", {
  ...{ endpoints: ["h:1"], overlay4: "10.80.0.0/16", overlay6: "fd01:2:3::/64", pods4: "10.128.0.0/9" },
  nodeBits: 14,
});
{
  using register = Register.open(file);
  using role = new HubRole(register, { node: key, signing });
  await role.registrar.init(mesh, { name: HUB, publicKey: key.publicKey, endpoints: [] });
}
writeFileSync(`${folder}/register.key`, signing.toFile(), { mode: 0o600 });
const endpoint = parseEndpoint("198.18.0.1:51820");
await fillRegister(folder, { count: nodes - 1, hub: HUB, endpointOf: () => endpoint });

using register = Register.open(file);
using role = new HubRole(register, { node: key, signing });
say(register.nodes().map(({ overlay4 }) => formatIp(overlay4)));
// What filling took is not what a controller has.
Bun.gc(true);

let controller: ClusterController | undefined;
for await (const line of console) {
  if (line !== "begin") continue;
  const access: KubeAccess = { server, tls: { ca }, token: () => token };
  controller = ClusterController.start({
    ...{ access, register: registerOf(role), identity: "bench" },
    onLead: (leads) => say(leads),
    onProblem: (problem) => problem !== undefined && process.stderr.write(`controller: ${problem}\n`),
  });
  register.subscribe(() => controller?.registerChanged());
}
