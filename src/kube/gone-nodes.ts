/**
 * Which nodes of the mesh were nodes of Kubernetes and are so no more, and when what they have may be given to others. Values in, values out.
 *
 * A Node that was deleted says that the cluster wants it no more. It does not say that the machine is off: its Node may be deleted so that kubelet
 * makes it anew. So what it has is released only when, besides, a hub that it reached and that hears others has not heard it for long, and none of its pods
 * is left.
 */
import { formatIp } from "../net/mod.ts";
import type { Json } from "../resources/mod.ts";
import { fieldOf } from "./metadata.ts";
import type { KubeNode, MeshNode } from "./node-ranges.ts";

/** Former is the Node that a node of the mesh was last. */
export interface Former {
  readonly name: string;
  readonly uid: string;
}

/** Formers are them, by the name in the mesh: kept in the cluster, because another controller may lead when a Node goes. */
export type Formers = ReadonlyMap<string, Former>;

/** parseFormers reads the data of a ConfigMap; what is not ours to read is passed over. */
export function parseFormers(data: unknown): Formers {
  if (typeof data !== "object" || data === null) return new Map();
  return new Map(
    Object.entries(data).flatMap(([mesh, text]) => {
      const former = typeof text === "string" ? parseFormer(text) : undefined;
      return former === undefined ? [] : [[mesh, former] as const];
    }),
  );
}

function parseFormer(text: string): Former | undefined {
  try {
    const value: unknown = JSON.parse(text);
    const [name, uid] = [fieldOf(value, "name"), fieldOf(value, "uid")];
    return typeof name === "string" && typeof uid === "string" ? { name, uid } : undefined;
  } catch {
    return undefined;
  }
}

/** formersChange returns what is to be merged into the ConfigMap's data (RFC 7386); undefined where nothing is. */
export function formersChange(
  before: Formers,
  after: Formers,
): { readonly [mesh: string]: Json } | undefined {
  const gone = [...before.keys()].filter((mesh) => !after.has(mesh)).map((mesh) => [mesh, null] as const);
  const set = [...after]
    .filter(([mesh, { name, uid }]) => before.get(mesh)?.name !== name || before.get(mesh)?.uid !== uid)
    .map(([mesh, { name, uid }]) => [mesh, JSON.stringify({ name, uid })] as const);
  return gone.length + set.length === 0 ? undefined : Object.fromEntries([...gone, ...set]);
}

/** GoneNode is a node of the mesh whose Node is gone. */
export interface GoneNode {
  readonly node: MeshNode;
  readonly former: Former;
}

/**
 * goneNodes returns whose Node is gone, and the Nodes that those are that have one. A Node whose address is another one for a while is not gone, and
 * a machine whose Node has another name now is not either.
 */
export function goneNodes(
  formers: Formers,
  nodes: Iterable<KubeNode>,
  mesh: readonly MeshNode[],
): { readonly formers: Formers; readonly gone: readonly GoneNode[] } {
  const all = [...nodes];
  const byAddress = new Map(all.flatMap((one) => one.addresses.map((ip) => [formatIp(ip), one] as const)));
  const uids = new Set(all.map(({ uid }) => uid));
  const next = new Map<string, Former>();
  const gone: GoneNode[] = [];
  for (const node of mesh) {
    const now = byAddress.get(formatIp(node.overlay4)) ?? byAddress.get(formatIp(node.overlay6));
    const former = now ?? formers.get(node.name);
    if (former === undefined) continue;
    next.set(node.name, { name: former.name, uid: former.uid });
    if (now === undefined && !uids.has(former.uid)) gone.push({ node, former });
  }
  return { formers: next, gone };
}

/** Namesake says whose a Node is that has the name of one that was deleted. */
export type Namesake = "own" | "another" | "unknown";

/**
 * namesakeOf compares by addresses: only that of another node of the mesh proves another machine. One without an overlay address may be the same machine,
 * whose kubelet made the Node anew before it knew its address, or with another one; its pods still run.
 */
export function namesakeOf(namesake: KubeNode, node: MeshNode, mesh: readonly MeshNode[]): Namesake {
  const addresses = new Set(namesake.addresses.map(formatIp));
  const isOf = ({ overlay4, overlay6 }: MeshNode) =>
    addresses.has(formatIp(overlay4)) || addresses.has(formatIp(overlay6));
  if (isOf(node)) return "own";
  return mesh.some(isOf) ? "another" : "unknown";
}

/** Hearing is when a hub last heard anybody anew, by the monotonic clock. Who hears nobody knows of nobody's absence: its own way may be cut. */
export interface Hearing {
  readonly atMs: number;
  /** When each node was heard last, as in Away. */
  readonly heard: ReadonlyMap<string, number>;
}

/** hearingNow returns it after another look. */
export function hearingNow(
  before: Hearing | undefined,
  heard: ReadonlyMap<string, number>,
  nowMs: number,
): Hearing {
  const anew = before === undefined || [...heard].some(([name, at]) => before.heard.get(name) !== at);
  return { atMs: anew ? nowMs : before.atMs, heard };
}

/** Peers that are well are heard several times while one must be silent to be away. */
const DEAF_SHARE = 1 / 3;

/** isDeaf tells that nobody was heard for a third of `awayMs`. */
export function isDeaf({ atMs }: Hearing, nowMs: number, awayMs: number): boolean {
  return nowMs - atMs > awayMs * DEAF_SHARE;
}

/** Away is what is known of the absence of a node that is gone, by the monotonic clock. */
export interface Away {
  /** Since when it is known that its Node is gone, and since when it was not heard. */
  readonly goneMs: number;
  readonly silentMs: number;
  /** When a hub heard it last, by a clock that is only compared with itself; undefined: never, since this hub began. */
  readonly heard: number | undefined;
}

/** awayNow returns it after another look. */
export function awayNow(before: Away | undefined, heard: number | undefined, nowMs: number): Away {
  if (before === undefined) return { goneMs: nowMs, silentMs: nowMs, heard };
  return before.heard === heard ? before : { ...before, silentMs: nowMs, heard };
}

/**
 * awayVerdict says what becomes of it. Who is switched off soon after its Node was deleted is released when it was silent for `awayMs`; who is still heard
 * later than that stays for good, since it has a use beside the cluster, and may be off at times.
 */
export function awayVerdict(
  { goneMs, silentMs }: Away,
  nowMs: number,
  awayMs: number,
): "wait" | "stay" | "release" {
  if (silentMs - goneMs > awayMs) return "stay";
  return nowMs - silentMs < awayMs ? "wait" : "release";
}
