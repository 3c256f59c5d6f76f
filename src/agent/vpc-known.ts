/** VpcKnown: what this node knows of the mesh, as far as VPCs ask: by it a wish of a pod is understood, or waits for news. */
import { CniError, type VpcWish } from "../cni/mod.ts";
import {
  compileDomains,
  type Domain,
  type DomainNode,
  type Not,
  onlyInFile,
  type Resolved,
  resolveSegment,
} from "../domain/mod.ts";
import { sameValue } from "../engine/mod.ts";
import type { MeshView } from "../hub/mod.ts";
import { type Mesh, type Node, type TenantResources, tenantsOf } from "../resources/mod.ts";
import { monotonicMs, sleep } from "../sys/mod.ts";
import type { ClusterBgp } from "./cluster-bgp.ts";
import { keepSame } from "./keep-same.ts";
import { roomOf } from "./vpc-site.ts";
import { domainNode, sameSeats } from "./vpc-underlay.ts";

/** How long a name that nobody knows is waited for. */
const NEWS_MS = 3_000;

/** Known is what is known of the mesh. */
export interface Known {
  readonly mesh: Mesh;
  readonly self: Node;
  readonly nodes: readonly Node[];
  readonly tenants: TenantResources;
  readonly domains: readonly Domain[];
  readonly byVni: ReadonlyMap<number, Domain>;
  readonly node: DomainNode;
}

/** VpcKnown remembers the last of it. */
export class VpcKnown {
  readonly #onProblem: (error: Error) => void;
  #known: Known | undefined;
  /** Resolves when more is known. */
  #news = Promise.withResolvers<void>();
  #linkProblem: string | undefined;

  constructor(onProblem: (error: Error) => void) {
    this.#onProblem = onProblem;
  }

  /** now is what is known; undefined as long as the node's place in the mesh is not. */
  get now(): Known | undefined {
    return this.#known;
  }

  /** linkProblem says what is wrong with the link that is to carry VXLAN. */
  get linkProblem(): string | undefined {
    return this.#linkProblem;
  }

  /** require returns what is known; throws a CniError "not available" when that is nothing. */
  require(): Known {
    if (this.#known !== undefined) return this.#known;
    throw notThere(this.#linkProblem);
  }

  /** take takes in what the register and the node's own interfaces say: what is the same as before is the same value. Undefined while VXLAN has no place here. */
  take(view: MeshView & { readonly self: Node }, mtuBytes: number): Known | undefined {
    const { mesh, self, tenants } = view;
    const last = this.#known;
    // Nodes of a large mesh tell something new all the time, and hardly ever anything that matters here.
    const nodes = last !== undefined && sameSeats(last.nodes, view.nodes) ? last.nodes : view.nodes;
    const domains =
      last !== undefined && last.tenants === tenants && last.mesh.asn === mesh.asn
        ? last.domains
        : keepSame(last?.domains ?? [], compileDomains(tenants, mesh), ({ vni }) => vni);
    const fresh = this.#nodeOf(mesh, self, mtuBytes);
    if (fresh === undefined) return undefined;
    const node = last !== undefined && sameValue(last.node, fresh) ? last.node : fresh;
    const byVni =
      last?.domains === domains ? last.byVni : new Map(domains.map((domain) => [domain.vni, domain]));
    this.#known = { mesh, self, nodes, tenants, domains, byVni, node };
    return this.#known;
  }

  /** told says that what is known is at work: wishes that wait look at it again. */
  told(): void {
    this.#news.resolve();
    this.#news = Promise.withResolvers<void>();
  }

  /** Where VXLAN ends here; a link that is to carry it and is not there is a problem, told once. */
  #nodeOf(mesh: Mesh, self: Node, mtuBytes: number): DomainNode | undefined {
    const node = domainNode(mesh, self, mtuBytes);
    const problem = "error" in node ? node.error : undefined;
    if (problem !== undefined && problem !== this.#linkProblem) this.#onProblem(new Error(problem));
    this.#linkProblem = problem;
    return "error" in node ? this.#known?.node : node;
  }

  /** resolve finds what a wish means, and what MTU is left there; what was applied a moment ago at a hub may not be known here yet. Rejects with a CniError. */
  async resolve(wish: VpcWish, bgp: VpcSources): Promise<Resolved & { readonly mostBytes: number }> {
    const endMs = monotonicMs() + NEWS_MS;
    for (;;) {
      const found = this.#look(wish, bgp);
      if (!("error" in found)) return found;
      const leftMs = endMs - monotonicMs();
      if (leftMs <= 0) throw new CniError("badConfiguration", `Cannot attach to a VPC: ${found.error}`);
      await Promise.race([this.#news.promise, sleep(leftMs)]);
    }
  }

  #look(wish: VpcWish, { fabric, files }: VpcSources): (Resolved & { readonly mostBytes: number }) | Not {
    const known = this.require();
    const error = onlyInFile(wish, { files, register: known.tenants });
    if (error !== undefined) return { error };
    const resolved = resolveSegment(wish, {
      ...known,
      node: known.self,
      fileGroups: tenantsOf(files).SecurityGroup,
    });
    if ("error" in resolved) return resolved;
    const room = roomOf(resolved, { node: known.node, fabric });
    return "error" in room ? room : { ...resolved, mostBytes: room.mtuBytes };
  }
}

/** VpcSources are what a node has beside the register. */
export type VpcSources = Pick<ClusterBgp, "fabric" | "files">;

/** notThere is why nothing can be attached now. */
export function notThere(problem = "the node takes part in no mesh yet"): CniError {
  return new CniError("notAvailable", `Cannot attach to a VPC: ${problem}`);
}
