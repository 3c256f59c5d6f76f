/** An agent's counts, as Prometheus reads them. docs/operate.md has each name. */
import type { PeerState, PublicKey } from "../net/mod.ts";
import { PrometheusText } from "../wire/mod.ts";
import type { Results, ShownPeer, Status } from "./api.ts";
import { failedResources } from "./edge-told.ts";

/** MetricsOf is what they are of. */
export interface MetricsOf {
  readonly status: Status;
  readonly peers: readonly Pick<ShownPeer, "path">[];
  readonly vpcs: Results["vpc-status"]["vpcs"];
  readonly carried: { readonly rxBytes: number; readonly txBytes: number };
}

type Edge = NonNullable<Status["edge"]>;

const PATHS: readonly ShownPeer["path"][] = ["lan", "direct", "punched", "relay", "down"];

/** metricsText returns all of them; labels hold names, and nothing secret. */
export function metricsText({ status, peers, vpcs, carried }: MetricsOf): string {
  const text = new PrometheusText("causeway_");
  const put = (name: string, value: number, labels: Readonly<Record<string, string>> = {}) =>
    text.put(name, labels, value);
  const { node, mesh, tunnel, hub, relay, objects, edge } = status;
  put("agent_info", 1, {
    version: status.version,
    ...(node && { node: node.name, role: node.hub ? "hub" : "member" }),
    ...(mesh !== undefined && { mesh }),
    ...(tunnel && { tunnel: tunnel.backend }),
  });
  put("agent_pods", status.pods);
  put("agent_objects", objects.ready, { state: "ready" });
  put("agent_objects", objects.pending, { state: "pending" });
  put("agent_objects", objects.failed.length, { state: "failed" });
  if (hub !== undefined) {
    put("agent_hub_connected", hub.connected ? 1 : 0);
    put("agent_register_revision", hub.revision);
    if (hub.writes !== undefined) put("agent_register_writable", hub.writes.possible ? 1 : 0);
    for (const path of PATHS) put("agent_peers", peers.filter((peer) => peer.path === path).length, { path });
  }
  if (tunnel !== undefined) {
    put("agent_tunnel_mtu_bytes", tunnel.mtuBytes);
    put("agent_tunnel_received_bytes_total", carried.rxBytes);
    put("agent_tunnel_sent_bytes_total", carried.txBytes);
  }
  if (relay !== undefined) {
    put("agent_relay_pairs", relay.pairs);
    put("agent_relay_bytes_total", relay.bytes + (relay.xdp?.bytes ?? 0));
  }
  for (const { name: vpc, attachments, remote, problems } of vpcs) {
    put("vpc_attachments", attachments.length, { vpc });
    put("vpc_remote_hosts", remote.hosts, { vpc });
    put("vpc_remote_prefixes", remote.prefixes, { vpc });
    put("vpc_problems", problems.length, { vpc });
  }
  if (edge !== undefined) putEdge(edge, put);
  return text.text();
}

type Put = (name: string, value: number, labels?: Readonly<Record<string, string>>) => void;

function putEdge(edge: Edge, put: Put): void {
  for (const { router, links = [], domains, problems } of edge.routers) {
    put("edge_router_up", problems.length === 0 ? 1 : 0, { router });
    put("edge_links", links.length, { router });
    put("edge_domains", domains.length, { router });
    for (const { name: vpc, fromHost, remote } of domains) {
      put("edge_host_prefixes", fromHost.length, { router, vpc });
      put("edge_remote_hosts", remote.hosts, { router, vpc });
      put("edge_remote_prefixes", remote.prefixes, { router, vpc });
      put("edge_remote_floods", remote.floods, { router, vpc });
    }
  }
  // Zeros too: an alert has to see that it is well again.
  const failed = failedResources(edge);
  for (const kind of ["Node", "Underlay", "VPC", "Subnet", "SecurityGroup"])
    for (const reason of ["invalid", "dependency", "failed"] as const) {
      const those = failed.filter((one) => one.kind === kind && one.reason === reason);
      put("edge_failed_resources", new Set(those.map(({ name }) => name)).size, { kind, reason });
    }
}

/** Carried adds up what peers of the tunnel got and sent: sums that only grow, though peers come, go and begin anew. */
export class Carried {
  #known: ReadonlyMap<PublicKey, { readonly rxBytes: number; readonly txBytes: number }> | undefined;
  rxBytes = 0;
  txBytes = 0;

  /** look takes what the device says now. What it had counted before the first look counts as nothing. */
  look(peers: readonly Pick<PeerState, "publicKey" | "rxBytes" | "txBytes">[]): this {
    const known = this.#known;
    for (const { publicKey, rxBytes, txBytes } of known === undefined ? [] : peers) {
      const before = known?.get(publicKey) ?? { rxBytes: 0, txBytes: 0 };
      this.rxBytes += since(before.rxBytes, rxBytes);
      this.txBytes += since(before.txBytes, txBytes);
    }
    this.#known = new Map(peers.map((peer) => [peer.publicKey, peer]));
    return this;
  }
}

/** A count that is less than before began anew. */
function since(before: number, now: number): number {
  return now < before ? now : now - before;
}
