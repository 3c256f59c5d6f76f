/**
 * One node with a real agent, which is its own hub, and the rack's router: a Causeway speaker in this process, with a tunnel endpoint that takes
 * what comes.
 *
 * ```
 *  host: cwh<vni> ═ cw-<vni> ═ cw-underlay ═ eth1 ═════ tor: AS 64512, 100.65.255.1:4789
 * ```
 */
import { Routers, type Speaker } from "../../src/bgp/mod.ts";
import { formatIp, parseIp, parseMac, parsePrefix } from "../../src/net/mod.ts";
import { type BgpRouter, type Json, parseManifest } from "../../src/resources/mod.ts";
import { ensureDirectory, type Netns, removeTree } from "../../src/sys/mod.ts";
import { SmallMesh } from "../../test/support/small-mesh.ts";
import { ip } from "../../test/support/tunnel-pair.ts";

const FOLDER = "/run/causeway-bench-tor";
const FIRST_VNI = 5001;
const [ASN, HOST_ASN, TOR_ASN] = [64514, 64515, 64512];
const [TOR, NODE, ENDPOINT] = ["192.168.11.2", "192.168.11.3", "100.65.255.1"];
const ROUTER_MAC = parseMac("02:00:00:00:0f:a0");
/** How many resources one request brings. */
const AT_ONCE = 100;

const resource = (kind: string, name: string, spec: Json) => ({
  ...{ apiVersion: "causeway.network/v1alpha1", kind, metadata: { name }, spec },
});

/** The network between a domain and the host: eight addresses of 172.16.0.0/12. */
const legOf = (domain: number, host: number) =>
  formatIp({ family: 4, value: BigInt(0xac10_0000 + domain * 8 + host) });

/** vniOf returns the VNI of a domain, counted from 0. */
export const vniOf = (domain: number): number => FIRST_VNI + domain;

/** edgeOf returns the edge's address on the host's link to a domain: the first, or the second where that ends in 0. */
export const edgeOf = (domain: number): string => legOf(domain, (domain * 8) % 256 === 0 ? 1 : 0);

const domainOf = (domain: number) =>
  resource("VPC", `domain-${domain}`, {
    vni: vniOf(domain),
    underlay: { announce: [`10.${100 + (domain >> 8)}.${domain & 255}.0/24`] },
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
export class Rack implements AsyncDisposable {
  readonly tor: Netns;
  readonly host: Netns;
  readonly #mesh: SmallMesh;
  readonly #speaker: Speaker;
  readonly #stopping = new DisposableStack();
  /** Domains of which the router has heard. */
  readonly #heard = new Set<number>();
  readonly #waiting = new Map<string, () => void>();

  private constructor(mesh: SmallMesh, tor: Netns, routers: Routers) {
    this.#mesh = mesh;
    this.tor = tor;
    this.host = mesh.node("a").netns;
    this.#speaker = routers.speaker("tor") as Speaker;
    this.#stopping.defer(() => routers.stop());
    this.#stopping.use(
      this.#speaker.onEvpn((changes) => {
        for (const change of changes)
          if (change.op === "set" && change.route.kind === "prefix") this.#heard.add(change.route.vni);
        for (const [, look] of this.#waiting) look();
      }),
    );
  }

  static async open(executable: string): Promise<Rack> {
    const mesh = await SmallMesh.open([executable], [{ name: "a", agentOptions: [] }]);
    await mesh.start("a");
    await mesh.ask("a", { op: "init", name: "a", endpoints: ["10.77.0.1:51820"], exposedPorts: [] });
    const tor = mesh.netns("tor");
    const there = `/proc/${process.pid}/fd/${mesh.node("a").netns.fd.number}`;
    ip(tor, `link add to-a mtu 1600 type veth peer name eth1 netns ${there}`);
    ip(tor, `addr add ${TOR}/24 dev to-a`);
    ip(tor, `addr add ${ENDPOINT}/32 dev lo`);
    ip(mesh.node("a").netns, `addr add ${NODE}/24 dev eth1`);
    ip(mesh.node("a").netns, "link set eth1 mtu 1600 up");
    for (const link of ["lo", "to-a"]) ip(tor, `link set ${link} up`);
    const rack = new Rack(mesh, tor, torRouters(tor));
    await rack.apply([UNDERLAY]);
    await rack.#until("the session", () => rack.#speaker.neighbors[0]?.peer !== undefined);
    return rack;
  }

  /** The agent's process. */
  get agent(): number {
    return this.#mesh.processes("a")[0] as number;
  }

  async apply(resources: readonly ReturnType<typeof resource>[]): Promise<void> {
    for (let from = 0; from < resources.length; from += AT_ONCE)
      await this.#mesh.ask("a", { op: "resource-apply", resources: resources.slice(from, from + AT_ONCE) });
  }

  /** prepare has the router import what some domains will announce. */
  prepare(domains: readonly number[]): void {
    for (const domain of domains)
      this.#speaker.evpn.setRouting({
        ...{ vni: vniOf(domain), vtep: parseIp(ENDPOINT), routerMac: ROUTER_MAC },
        importTargets: [`${ASN}:${vniOf(domain)}`],
      });
  }

  /** add makes domains, and resolves when the router has heard of each. */
  async add(domains: readonly number[]): Promise<void> {
    await this.apply(domains.map(domainOf));
    await this.#until("all domains are announced", () => domains.every((one) => this.#heard.has(vniOf(one))));
  }

  /** announce has the router announce a network of a domain. */
  announce(domain: number, prefix: string): void {
    this.#speaker.evpn.setPrefix(vniOf(domain), { prefix: parsePrefix(prefix) });
  }

  /** What changes is looked at when something is heard; what is only seen by looking, every 20 ms. */
  async #until(what: string, holds: () => boolean): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const look = () => holds() && resolve();
    this.#waiting.set(what, look);
    const poll = setInterval(look, 20);
    const late = setTimeout(() => {
      reject(new Error(`not in two minutes: ${what}; the agent said:\n${this.#mesh.log("a").slice(-3000)}`));
    }, 120_000);
    await promise.finally(() => {
      this.#waiting.delete(what);
      clearInterval(poll);
      clearTimeout(late);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.dispose();
    await this.#mesh[Symbol.asyncDispose]();
    removeTree(FOLDER);
  }
}

function torRouters({ path: namespace }: Netns): Routers {
  ensureDirectory(FOLDER);
  const routers = new Routers({ folder: FOLDER, log: () => {} });
  const neighbor = {
    ...{ address: NODE, asn: ASN, connectRetry: "1s" },
    families: { "ipv4-unicast": {}, "l2vpn-evpn": {} },
  };
  const spec = {
    ...{ asn: TOR_ASN, routerId: "10.0.1.1", namespace, install: true, requirePolicy: false },
    ...{ networks: [`${ENDPOINT}/32`], neighbors: [neighbor] },
  };
  const { resources } = parseManifest(JSON.stringify(resource("BgpRouter", "tor", spec)));
  for (const [, error] of routers.set(resources.map(({ value }) => value as BgpRouter))) throw error;
  return routers;
}
