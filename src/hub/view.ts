/** What a node knows of the mesh: published entries, parsed. */
import {
  type ExternalPeer,
  type Mesh,
  type Node,
  parseObject,
  type Resource,
  type TenantResources,
} from "../resources/mod.ts";
import type { FactBook, FactStatus } from "./facts.ts";
import { isOwn, selfKey } from "./signed-state.ts";
import { isTenantEntry, tenantsIn } from "./tenant-view.ts";

/** MeshView is the register's content as one node may see it. */
export interface MeshView {
  readonly mesh: Mesh;
  /** This node; absent when it was removed. */
  readonly self?: Node;
  /** All other nodes, by name. With a cache, one of which nothing is new is the value of the view before. */
  readonly nodes: readonly Node[];
  /** External peers, by name. */
  readonly peers: readonly ExternalPeer[];
  /** VPCs and all that belongs to them; the same object as long as they are the same. */
  readonly tenants: TenantResources;
  /** The newest generation of pre-shared keys; absent: pairs have none. */
  readonly pskGeneration?: number;
}

/** concerns tells whether an entry is for this node: everything but what is for another alone. */
export function concerns(key: string, name: string): boolean {
  return !isOwn(key) || key.split("/")[1] === name;
}

interface Parsed {
  readonly text: string;
  readonly resource: Resource | undefined;
  /** A node with what is known of it beside. */
  whole?: { readonly node: Node; readonly facts: FactStatus };
}

/** ViewCache keeps what was parsed, by key of the entry, so that a change costs what it touches. */
export type ViewCache = Map<string, Parsed>;

/**
 * meshView parses entries (key to canonical JSON); throws when there is no valid mesh, or when this node's own entry is not valid: that
 * it cannot be read does not mean that the node was removed. Another node that is not valid is left out.
 */
export function meshView(
  entries: ReadonlyMap<string, string>,
  selfName: string,
  options: { readonly facts?: FactBook | undefined; readonly cache?: ViewCache } = {},
): MeshView {
  const { facts, cache = new Map() } = options;
  for (const key of cache.keys()) if (!entries.has(key)) cache.delete(key);
  const read = (key: string, text: string) => {
    const known = cache.get(key);
    if (known?.text === text) return known.resource;
    const resource = parseObject(JSON.parse(text), { problems: [], strict: false });
    cache.set(key, { text, resource });
    return resource;
  };
  const meshText = entries.get("mesh");
  const mesh = meshText === undefined ? undefined : read("mesh", meshText);
  if (mesh?.kind !== "Mesh")
    throw new Error("Cannot read the register's content: it holds no mesh; update this node");
  const nodes: Node[] = [];
  const peers: ExternalPeer[] = [];
  const tenants: Resource[] = [];
  let self: Node | undefined;
  for (const [key, value] of entries) {
    if (key.startsWith("peer/")) {
      const peer = read(key, value);
      if (peer?.kind === "Peer") peers.push(peer.value);
      continue;
    }
    if (isTenantEntry(key)) {
      // One that a newer hub made and that cannot be read here is not there.
      const resource = read(key, value);
      if (resource !== undefined) tenants.push(resource);
      continue;
    }
    const alone = key === selfKey(selfName);
    if (!key.startsWith("node/") && !alone) continue;
    const resource = read(key, value);
    if (resource?.kind !== "Node") {
      if (key !== `node/${selfName}` && !alone) continue;
      throw new Error(`Cannot read the register's entry of ${selfName}, this node; update this node`);
    }
    const node =
      facts === undefined ? resource.value : whole(cache.get(key) as Parsed, resource.value, facts);
    if (node.name === selfName) self = node;
    else nodes.push(node);
  }
  nodes.sort((a, b) => (a.name < b.name ? -1 : 1));
  peers.sort((a, b) => (a.name < b.name ? -1 : 1));
  const pskGeneration = mesh.value.presharedKeys ? generationOf(entries.get("psk")) : undefined;
  return {
    mesh: mesh.value,
    ...(self === undefined ? {} : { self }),
    nodes,
    peers,
    tenants: tenantsIn(tenants, cache),
    ...(pskGeneration === undefined ? {} : { pskGeneration }),
  };
}

function whole(parsed: Parsed, node: Node, book: FactBook): Node {
  const facts = book.of(node.name);
  if (parsed.whole?.facts !== facts) parsed.whole = { node: { ...node, ...facts }, facts };
  return parsed.whole.node;
}

function generationOf(text: string | undefined): number | undefined {
  const generation =
    text === undefined ? undefined : (JSON.parse(text) as { generation?: unknown }).generation;
  return typeof generation === "number" ? generation : undefined;
}
