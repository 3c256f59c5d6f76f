/** Commands on the register as a whole. */
import { MAX_OPEN_VNI } from "../domain/mod.ts";
import { formatPrefix, type Prefix, prefixEqual } from "../net/mod.ts";
import type { Mesh } from "../resources/mod.ts";
import type { Handlers } from "./apply.ts";
import { checkName } from "./apply-node.ts";
import { Refusal } from "./refusal.ts";
import { parseMesh, type Tables } from "./tables.ts";

function tenantWithVniUpTo(
  tables: Tables,
  most: number,
): { readonly name: string; readonly vni?: number } | undefined {
  const { VPC, Subnet } = tables.tenants.all();
  return [...VPC.values(), ...Subnet.values()].find(({ vni }) => vni !== undefined && vni <= most);
}

/** apply holds the commands on the mesh and its register. */
export const apply = {
  init(tables, { epoch, mesh: json, hub }) {
    const old = tables.mesh();
    if (old !== undefined)
      throw new Error(`Cannot make mesh: this register holds mesh ${old.name} already; leave it first`);
    checkName(hub.name);
    const mesh = needMesh(json);
    tables.begin(epoch);
    tables.storeMesh(mesh);
    const { name, publicKey, endpoints, site, number } = hub;
    tables.nodes.add(mesh, {
      name,
      publicKey,
      endpoints,
      hub: true,
      number,
      ...(site === undefined ? {} : { site }),
    });
    return tables.publishNode(name);
  },

  "update-mesh"(tables, { mesh: json }) {
    const old = tables.mesh() as Mesh;
    const mesh = needMesh(json);
    const same = (a: Prefix | undefined, b: Prefix | undefined) =>
      a === undefined || b === undefined ? a === b : prefixEqual(a, b);
    for (const field of ["overlay4", "overlay6", "enrol6", "pods4", "pods6"] as const)
      if (!same(old[field], mesh[field]))
        throw new Error(
          `Cannot change mesh ${old.name}: ${field} is ${old[field] === undefined ? "absent" : formatPrefix(old[field])} and in use; make a new mesh instead`,
        );
    if (old.nodeBits !== mesh.nodeBits || old.name !== mesh.name)
      throw new Error(
        `Cannot change mesh ${old.name}: its name and nodeBits are in use; make a new mesh instead`,
      );
    // Automatic route targets of all VPCs begin with it.
    if (old.asn !== mesh.asn && tables.tenants.all().VPC.size > 0)
      throw new Error(
        `Cannot change mesh ${old.name}: asn is ${old.asn} and in use by VPCs; delete them first, or keep it`,
      );
    const low = mesh.openVnis && !old.openVnis ? tenantWithVniUpTo(tables, MAX_OPEN_VNI) : undefined;
    if (low !== undefined)
      throw new Error(
        `Cannot change mesh ${old.name}: openVnis would open VNI ${low.vni} of ${low.name} to everybody; delete that first, or keep them closed`,
      );
    tables.storeMesh(mesh);
    moveHub(tables, old, mesh);
  },

  /** The next number becomes higher than one that nodes have seen before the register was restored from a copy. */
  raise(tables, { revision }) {
    const head = tables.ledger.head();
    if (head !== undefined && revision > head.revision) tables.ledger.raise(revision + 1);
  },
} as const satisfies Handlers<"init" | "update-mesh" | "raise">;

/** Nodes follow what a hub's own entry says; that of the only hub goes with the mesh's endpoints, as in tokens. */
function moveHub(tables: Tables, old: Mesh, mesh: Mesh): void {
  const [hub, ...more] = tables.nodes.all().filter((node) => node.hub);
  if (hub === undefined || more.length > 0 || hub.endpoints.length === 0) return;
  if (old.endpoints.join() === mesh.endpoints.join()) return;
  tables.nodes.setConfigured(hub.name, { endpoints: mesh.endpoints, site: hub.site });
  tables.publishNode(hub.name);
}

function needMesh(json: unknown): Mesh {
  const mesh = parseMesh(json);
  if (mesh === undefined)
    throw new Refusal("bad-request", "The mesh cannot be understood; use the same version everywhere");
  return mesh;
}
