/** The rack's router of bench edge: a Causeway speaker in this process, with a tunnel endpoint that takes what comes. */
import { Routers, type Speaker } from "../../src/bgp/mod.ts";
import { parseIp, parseMac, parsePrefix } from "../../src/net/mod.ts";
import { type BgpRouter, parseManifest } from "../../src/resources/mod.ts";
import { ensureDirectory, type Netns, removeTree } from "../../src/sys/mod.ts";
import { ip } from "../../test/support/tunnel-pair.ts";
import { ASN, ENDPOINT, NODE, TOR, TOR_ASN, vniOf } from "./bed.ts";

const FOLDER = "/run/causeway-bench-tor";
const ROUTER_MAC = parseMac("02:00:00:00:0f:a0");
/** Hundreds of domains in an emulated machine take minutes. */
const DEADLINE_MS = 1_200_000;

/** TorOptions say where it is, and what to tell when nothing comes. */
export interface TorOptions {
  readonly netns: Netns;
  /** Namespace of the node's end of the link, eth1. */
  readonly node: Netns;
  readonly log: () => string;
}

/** Tor is the router. */
export class Tor implements Disposable {
  readonly netns: Netns;
  readonly #log: () => string;
  readonly #speaker: Speaker;
  readonly #stopping = new DisposableStack();
  /** Domains of which it has heard. */
  readonly #heard = new Set<number>();
  readonly #waiting = new Map<string, () => void>();

  constructor({ netns, node, log }: TorOptions) {
    this.netns = netns;
    this.#log = log;
    plug(netns, node);
    const routers = torRouters(netns);
    this.#stopping.defer(() => removeTree(FOLDER));
    this.#stopping.defer(() => routers.stop());
    this.#speaker = routers.speaker("tor") as Speaker;
    this.#stopping.use(
      this.#speaker.onEvpn((changes) => {
        for (const change of changes)
          if (change.op === "set" && change.route.kind === "prefix") this.#heard.add(change.route.vni);
        for (const [, look] of this.#waiting) look();
      }),
    );
  }

  /** connected resolves when the node's router has called. */
  async connected(): Promise<void> {
    await this.#until("the session", () => this.#speaker.neighbors[0]?.peer !== undefined);
  }

  /** prepare has it import what some domains will announce. */
  prepare(domains: readonly number[]): void {
    for (const domain of domains)
      this.#speaker.evpn.setRouting({
        ...{ vni: vniOf(domain), vtep: parseIp(ENDPOINT), routerMac: ROUTER_MAC },
        importTargets: [`${ASN}:${vniOf(domain)}`],
      });
  }

  /** heard resolves when it has heard of each of some domains. */
  async heard(domains: readonly number[]): Promise<void> {
    await this.#until("all domains are announced", () =>
      domains.every((domain) => this.#heard.has(vniOf(domain))),
    );
  }

  /** announce has it announce a network of a domain. */
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
      reject(
        new Error(`not in ${DEADLINE_MS / 1000} s: ${what}; the node said:\n${this.#log().slice(-3000)}`),
      );
    }, DEADLINE_MS);
    await promise.finally(() => {
      this.#waiting.delete(what);
      clearInterval(poll);
      clearTimeout(late);
    });
  }

  [Symbol.dispose](): void {
    this.#stopping.dispose();
  }
}

/** The link carries VXLAN over frames of 1500 bytes. */
function plug(tor: Netns, node: Netns): void {
  ip(tor, `link add to-a mtu 1600 type veth peer name eth1 netns /proc/${process.pid}/fd/${node.fd.number}`);
  ip(tor, `addr add ${TOR}/24 dev to-a`);
  ip(tor, `addr add ${ENDPOINT}/32 dev lo`);
  ip(node, `addr add ${NODE}/24 dev eth1`);
  ip(node, "link set eth1 mtu 1600 up");
  for (const link of ["lo", "to-a"]) ip(tor, `link set ${link} up`);
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
  const manifest = {
    ...{ apiVersion: "causeway.network/v1alpha1", kind: "BgpRouter" },
    ...{ metadata: { name: "tor" }, spec },
  };
  const { resources } = parseManifest(JSON.stringify(manifest));
  for (const [, error] of routers.set(resources.map(({ value }) => value as BgpRouter))) throw error;
  return routers;
}
