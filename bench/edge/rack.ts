/**
 * One node with a real agent, which is its own hub, and the rack's router.
 *
 * ```
 *  host: cwh<vni> ═ cw-<vni> ═ cw-underlay ═ eth1 ═════ tor: AS 64512, 100.65.255.1:4789
 * ```
 */
import type { Json } from "../../src/resources/mod.ts";
import type { Netns } from "../../src/sys/mod.ts";
import { SmallMesh } from "../../test/support/small-mesh.ts";
import { announcedOf, ASN, type Bed, HOST_ASN, legOf, TOR, TOR_ASN, vniOf } from "./bed.ts";
import { Tor } from "./tor.ts";

/** How many resources one request brings. */
const AT_ONCE = 100;

const resource = (kind: string, name: string, spec: Json) => ({
  ...{ apiVersion: "causeway.network/v1alpha1", kind, metadata: { name }, spec },
});

const domainOf = (domain: number) =>
  resource("VPC", `domain-${domain}`, {
    vni: vniOf(domain),
    underlay: { announce: [announcedOf(domain)] },
    hostSession: { asn: ASN, peerAsn: HOST_ASN, prefixes: [`${legOf(domain, 0)}/29`] },
  });

const UNDERLAY = resource("Underlay", "rack", {
  asn: ASN,
  routerIds: "192.169.200.0/24",
  links: [{ name: "eth1" }],
  neighbors: [{ address: TOR, asn: TOR_ASN, connectRetry: "1s" }],
  tunnelEndpoint: { prefixes: ["100.65.0.0/24"] },
});

/** Rack owns the node, the router and their folders. */
export class Rack implements Bed {
  readonly tor: Tor;
  readonly host: Netns;
  readonly #mesh: SmallMesh;

  private constructor(mesh: SmallMesh, tor: Tor) {
    this.#mesh = mesh;
    this.tor = tor;
    this.host = mesh.node("a").netns;
  }

  static async open(executable: string): Promise<Rack> {
    const mesh = await SmallMesh.open([executable], [{ name: "a", agentOptions: [] }]);
    await mesh.start("a");
    await mesh.ask("a", { op: "init", name: "a", endpoints: ["10.77.0.1:51820"], exposedPorts: [] });
    const netns = mesh.netns("tor");
    const rack = new Rack(mesh, new Tor({ netns, node: mesh.node("a").netns, log: () => mesh.log("a") }));
    await rack.#apply([UNDERLAY]);
    await rack.tor.connected();
    return rack;
  }

  get processes(): readonly number[] {
    return this.#mesh.processes("a").slice(0, 1);
  }

  linkOf(domain: number): string {
    return `cwh${vniOf(domain)}`;
  }

  async #apply(resources: readonly ReturnType<typeof resource>[]): Promise<void> {
    for (let from = 0; from < resources.length; from += AT_ONCE)
      await this.#mesh.ask("a", { op: "resource-apply", resources: resources.slice(from, from + AT_ONCE) });
  }

  async add(domains: readonly number[]): Promise<void> {
    await this.#apply(domains.map(domainOf));
    await this.tor.heard(domains);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.tor[Symbol.dispose]();
    await this.#mesh[Symbol.asyncDispose]();
  }
}
