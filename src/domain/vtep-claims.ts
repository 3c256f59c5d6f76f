/**
 * Which addresses VXLAN is sent to, as reflectors know nodes from the register. A node says itself what its addresses are: it must not be able to
 * speak as another one, nor to silence it.
 */
import { formatIp, type Ip, ipCompare, ipEqual, type Prefix, prefixContains } from "../net/mod.ts";
import type { Node } from "../resources/mod.ts";

/** EntitledNode is a node as reflectors know it from the register, or a VTEP that is none. */
export interface EntitledNode {
  /** Of a VTEP that is no node: `VTEP NAME`, which no node is called. */
  readonly name: string;
  /** Where its session comes from, and what its route distinguishers begin with. */
  readonly overlay4: Ip;
  /** Addresses that VXLAN is sent to it at. */
  readonly vteps: readonly Ip[];
}

type Claimant = Pick<Node, "name" | "overlay4" | "local">;

/** VtepClaims remembers who said first of an address that it is its own. */
export class VtepClaims {
  readonly #holders = new Map<string, string>();

  /**
   * entitled returns nodes with their addresses. Where VXLAN goes over a link of each node, `network` is that link's, and a node is reached by what it
   * says are its addresses in it, unless another one said so before and still does. Of those who are met together, the one with the lowest
   * overlay address counts, mostly the one that is longest in the mesh. What people have said of `outside` no node can say of itself.
   */
  entitled(
    nodes: readonly Claimant[],
    network: Prefix | undefined,
    outside: readonly EntitledNode[] = [],
  ): EntitledNode[] {
    const isOutside = (ip: Ip) => outside.some(({ vteps }) => vteps.some((one) => ipEqual(one, ip)));
    const isOwn = (ip: Ip) => network !== undefined && prefixContains(network, ip) && !isOutside(ip);
    const own = ({ local }: Claimant) => local.map(({ ip }) => ip).filter(isOwn);
    const byAge = [...nodes].sort((a, b) => ipCompare(a.overlay4, b.overlay4));
    const claims = byAge.flatMap((node) => own(node).map((ip) => ({ ip: formatIp(ip), name: node.name })));
    const claimed = new Set(claims.map(({ ip, name }) => `${ip} ${name}`));
    for (const [ip, name] of this.#holders) if (!claimed.has(`${ip} ${name}`)) this.#holders.delete(ip);
    for (const { ip, name } of claims) if (!this.#holders.has(ip)) this.#holders.set(ip, name);
    return nodes.map((node) => {
      const { name, overlay4 } = node;
      const held = own(node).filter((ip) => this.#holders.get(formatIp(ip)) === name);
      return { name, overlay4, vteps: [overlay4, ...held] };
    });
  }
}
