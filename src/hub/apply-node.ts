/** Commands on nodes: how they come into the register and leave it. */
import { formatIp, type PublicKey } from "../net/mod.ts";
import { type Mesh, type Node, nameProblem } from "../resources/mod.ts";
import type { Handlers, Of } from "./apply.ts";
import { boundIdentity } from "./bound-identity.ts";
import { Refusal } from "./refusal.ts";
import type { StoredPeer } from "./peer-store.ts";
import type { Tables } from "./tables.ts";
import type { StoredUse } from "./token-store.ts";

/** apply holds the commands on nodes. */
export const apply = {
  /** Registers a newcomer, or gives the same answer again to the same key at the same use. */
  register(tables, wanted): Node {
    const { publicKey } = wanted;
    const use = tables.tokens.useAt(wanted.address);
    if (use === undefined)
      throw new Refusal(
        "unknown-source",
        `${formatIp(wanted.address)} is no address of a token; use a token of this mesh`,
      );
    if (use.revoked) throw new Refusal("token-revoked", "The token was revoked; ask for a new one");
    if (use.boundKey === publicKey) {
      const node = tables.nodes.byKey(publicKey);
      if (node === undefined) throw keyRevoked();
      return node;
    }
    mustBeFree(tables, use, wanted.nowMs);
    mustBeNew(tables, publicKey);
    if (use.node !== undefined) replaceKey(tables, use, wanted);
    else addNode(tables, use, wanted);
    tables.tokens.bind(use, publicKey);
    tables.secrets.bind(use, { name: use.node ?? wanted.name, publicKey });
    return tables.publishNode(use.node ?? wanted.name);
  },

  "remove-node"(tables, { name, hub = false }) {
    const node = tables.nodes.byName(name);
    const list = hub ? "causeway hub list" : "causeway node list";
    if (node === undefined)
      throw new Error(`Cannot remove node ${name}: there is none with this name; see ${list}`);
    if (hub && !node.hub)
      throw new Error(`Cannot remove hub ${name}: it is no hub; use causeway node remove ${name}`);
    const hubs = tables.nodes.all().filter((other) => other.hub);
    if (node.hub && hubs.length === 1)
      throw new Error(`Cannot remove node ${name}: it is the hub; without it there is no mesh`);
    if (node.hub && !hub)
      throw new Error(`Cannot remove node ${name}: it is a hub; use causeway hub remove ${name}`);
    const carried = tables.peers.all().filter((peer) => peer.hub === name);
    if (carried.length > 0)
      throw new Error(
        `Cannot remove hub ${name}: it carries ${carried.map((peer) => `peer ${peer.name}`).join(", ")}; remove them first: causeway peer remove NAME`,
      );
    for (const key of tables.nodes.keysOf(name)) tables.revokeKey(key, name);
    tables.nodes.remove(name);
    tables.ledger.withdraw(`node/${name}`);
    if (node.hub) leaveEndpoints(tables, node, hubs);
  },

  "set-configured"(tables, { name, endpoints, site }) {
    if (tables.nodes.byName(name) === undefined) return;
    tables.nodes.setConfigured(name, { endpoints, ...(site === undefined ? {} : { site }) });
    tables.publishNode(name);
  },
} as const satisfies Handlers<"register" | "remove-node" | "set-configured">;

/** The mesh's endpoints are the first hub's, unless they were changed: with it they must go, or newcomers would ask nobody. */
function leaveEndpoints(tables: Tables, gone: Node, hubs: readonly Node[]): void {
  const mesh = tables.mesh() as Mesh;
  const rest = mesh.endpoints.filter((endpoint) => !gone.endpoints.includes(endpoint));
  const unknown = hubs[0]?.name === gone.name && rest.length === mesh.endpoints.length;
  if (!unknown && rest.length > 0) {
    if (rest.length < mesh.endpoints.length) tables.storeMesh({ ...mesh, endpoints: rest });
    return;
  }
  const others = hubs.filter((hub) => hub.name !== gone.name).flatMap((hub) => hub.endpoints);
  if (others.length > 0) tables.storeMesh({ ...mesh, endpoints: [...new Set(others)].slice(0, 8) });
}

function mustBeFree(tables: Tables, use: StoredUse, nowMs: number): void {
  if (use.expiresAtMs <= nowMs)
    throw new Refusal("token-expired", "The token has expired; ask for a new one");
  if (use.boundKey === undefined) return;
  const freeUses = tables.tokens.freeUses(use.token);
  const fix =
    freeUses.length === 0
      ? "all uses of the token are taken; ask for a new one"
      : "another use of the token is free";
  throw new Refusal("use-taken", `This use of the token belongs to another node; ${fix}`, { freeUses });
}

function mustBeNew(tables: Tables, key: PublicKey): void {
  if (tables.isRevoked(key)) throw keyRevoked();
  const same = tables.nodes.byAnyKey(key) ?? tables.peers.byKey(key);
  if (same !== undefined || tables.tokens.isUseKey(key))
    throw new Refusal(
      "key-exists",
      `This key belongs to ${same === undefined ? "a token" : `node ${same.name}`} already; if the machine was cloned, delete its key and join again`,
    );
}

function addNode(tables: Tables, use: StoredUse, wanted: Of<"register">): void {
  const { name, publicKey, endpoints } = wanted;
  const mesh = tables.mesh() as Mesh;
  checkName(name);
  if (tables.nodes.byName(name) !== undefined)
    throw new Refusal(
      "name-taken",
      `Another node is named ${name}; join with --name, or, if this machine replaces it, ask for a token made with --node ${name}`,
    );
  if (tables.peers.byName(name) !== undefined)
    throw new Refusal(
      "name-taken",
      `An external peer is named ${name}; join with --name, or, if this machine takes its place, ask for a token made with --node ${name}`,
    );
  const identity = boundIdentity(use, wanted, { mesh, tenants: tables.tenants.all() });
  tables.nodes.add(mesh, { name, publicKey, endpoints, hub: use.role === "hub", ...identity });
}

function replaceKey(tables: Tables, use: StoredUse, wanted: Of<"register">): void {
  const name = use.node as string;
  const old = tables.nodes.byName(name);
  if (old === undefined && tables.peers.byName(name) !== undefined) return replacePeer(tables, use, wanted);
  if (old === undefined)
    throw new Refusal(
      "no-such-node",
      `The token is for node ${name}, which was removed; ask for a token without --node`,
    );
  const identity = boundIdentity(use, wanted, {
    mesh: tables.mesh() as Mesh,
    tenants: tables.tenants.all(),
    old,
  });
  for (const key of tables.nodes.keysOf(name)) tables.revokeKey(key, name);
  tables.nodes.setKey(name, wanted.publicKey);
  tables.nodes.setConfigured(name, wanted);
  tables.nodes.setIdentity(name, identity);
}

/** An external peer becomes a node: number and addresses stay, the key and what lay behind it do not. */
function replacePeer(tables: Tables, use: StoredUse, wanted: Of<"register">): void {
  const { number, peer } = tables.peers.byName(use.node as string) as StoredPeer;
  const { publicKey, endpoints } = wanted;
  const mesh = tables.mesh() as Mesh;
  const identity = boundIdentity(use, wanted, { mesh, tenants: tables.tenants.all(), old: peer });
  tables.revokeKey(peer.publicKey, peer.name);
  tables.peers.remove(peer.name);
  tables.ledger.withdraw(`peer/${peer.name}`);
  tables.nodes.add(mesh, {
    name: peer.name,
    publicKey,
    endpoints,
    hub: use.role === "hub",
    number,
    ...identity,
  });
}

function keyRevoked(): Refusal {
  return new Refusal(
    "key-revoked",
    "This key was revoked, because its node left or was removed or replaced; delete the key and join again",
  );
}

/** checkName refuses what is no name for a node. */
export function checkName(name: string): void {
  const problem = nameProblem(name);
  if (problem !== undefined) throw new Refusal("bad-request", `"${name}" ${problem}`);
}
