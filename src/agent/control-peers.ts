/** What the command line asks about external peers, and about networks behind nodes. */
import {
  formatEndpoint,
  formatIp,
  formatPrefix,
  NOT_HOSTS,
  parseEndpoint,
  parsePrefix,
  parsePublicKey,
  type PeerState,
  type Prefix,
  prefixContains,
  prefixEqual,
  prefixesOverlap,
  Secret,
} from "../net/mod.ts";
import type { ExternalPeer, Mesh, Node } from "../resources/mod.ts";
import { wallMs } from "../sys/mod.ts";
import type { Agent } from "./agent.ts";
import { announce } from "./announced.ts";
import type { Results } from "./api.ts";
import type { Handlers } from "./control.ts";
import { HubRole } from "./hub-role.ts";
import { peerKeys, removePeerKey, storePeerKey } from "./peer-keys.ts";

function hubOf(agent: Agent, what: string): HubRole {
  if (agent.role instanceof HubRole) return agent.role;
  throw new Error(
    `Cannot ${what}: this node is not a hub${agent.role === undefined ? "; it has not joined a mesh" : "; ask there"}`,
  );
}

function networksOf(mesh: Mesh): Prefix[] {
  return [mesh.overlay4, mesh.overlay6, mesh.pods4, mesh.pods6].filter((prefix) => prefix !== undefined);
}

/** The register knows endpoints that are configured; where nodes are seen, only the hubs do. */
function mustHoldNoEndpoint(prefix: Prefix, nodes: readonly Node[]): void {
  for (const node of nodes)
    for (const { endpoint } of node.observed)
      if (prefixContains(prefix, endpoint.ip))
        throw new Error(
          `Cannot route ${formatPrefix(prefix)}: node ${node.name} is seen at ${formatEndpoint(endpoint)}, whose packets would go round in the tunnel for ever; give the part of it that lies behind the machine`,
        );
}

function shownExternal(
  peer: ExternalPeer,
  own: {
    readonly self: string;
    readonly states: readonly PeerState[];
    readonly keys: ReadonlyMap<string, Secret>;
  },
): Results["peer-list"]["peers"][number] {
  const state = own.states.find(({ publicKey }) => publicKey === peer.publicKey);
  const missing = peer.presharedKey && peer.hub === own.self && !own.keys.has(peer.name);
  return {
    name: peer.name,
    hub: peer.hub,
    publicKey: peer.publicKey,
    ...(peer.overlay4 === undefined ? {} : { overlay4: formatIp(peer.overlay4) }),
    ...(peer.overlay6 === undefined ? {} : { overlay6: formatIp(peer.overlay6) }),
    allowed: peer.allowed.map(formatPrefix),
    presharedKey: peer.presharedKey,
    ...(peer.role === undefined ? {} : { role: peer.role }),
    ...(peer.site === undefined ? {} : { site: peer.site }),
    ...(state?.endpoint === undefined ? {} : { endpoint: formatEndpoint(state.endpoint) }),
    ...(state?.lastHandshakeMs === undefined
      ? {}
      : { lastHandshakeSeconds: Math.max(0, Math.round((wallMs() - state.lastHandshakeMs) / 1000)) }),
    ...(missing
      ? { problem: "its pre-shared key is missing on this hub; remove the peer and add it anew" }
      : {}),
  };
}

/** All that a peer may send through its hub. */
function reachable(agent: Agent, except: string): Prefix[] {
  const { mesh, self, nodes, peers } = (agent.role as HubRole).view();
  const behind = [...nodes, ...(self === undefined ? [] : [self])].flatMap((node) => [
    ...(node.subnets ?? []),
  ]);
  const others = peers.filter((peer) => peer.name !== except).flatMap((peer) => [...peer.allowed]);
  return [...networksOf(mesh), ...behind, ...others];
}

/** peerHandlers answer the operations on external peers and announced networks. */
export const peerHandlers = {
  async "peer-add"(agent, request) {
    const role = hubOf(agent, "add a peer");
    const { name, endpoint, role: label, site } = request;
    const allowed = request.allowed.map(parsePrefix);
    const presharedKey =
      request.presharedKey === undefined ? undefined : Secret.fromBase64(request.presharedKey);
    const view = role.view();
    const nodes = [...view.nodes, ...(view.self === undefined ? [] : [view.self])];
    for (const prefix of allowed) mustHoldNoEndpoint(prefix, nodes);
    const peer = await role.registrar.addPeer({
      name,
      publicKey: parsePublicKey(request.publicKey),
      hub: role.name,
      families: [4, 6],
      allowed,
      presharedKey: presharedKey !== undefined,
      ...(endpoint === undefined ? {} : { endpoint: parseEndpoint(endpoint) }),
      ...(label === undefined ? {} : { role: label }),
      ...(site === undefined ? {} : { site }),
    });
    try {
      if (presharedKey !== undefined) storePeerKey(name, presharedKey);
    } catch (error) {
      await role.registrar.removePeer(name);
      throw error;
    }
    agent.joined?.changed();
    const own = { self: role.name, states: [], keys: peerKeys() };
    const { mesh, self } = view;
    return {
      peer: shownExternal(peer, own),
      hub: {
        name: role.name,
        publicKey: (self as Node).publicKey,
        endpoints: (self as Node).endpoints.length > 0 ? (self as Node).endpoints : mesh.endpoints,
      },
      networks: reachable(agent, name).map(formatPrefix),
      ...(agent.joined === undefined ? {} : { mtuBytes: agent.joined.mtuBytes }),
    };
  },

  "peer-list"(agent) {
    if (agent.role === undefined) return { peers: [] };
    const own = {
      self: agent.role.name,
      states: agent.joined?.peers() ?? [],
      keys: agent.role.hub ? peerKeys() : new Map<string, Secret>(),
    };
    return { peers: agent.role.view().peers.map((peer) => shownExternal(peer, own)) };
  },

  async "peer-remove"(agent, { name }) {
    await hubOf(agent, "remove a peer").registrar.removePeer(name);
    removePeerKey(name);
    agent.joined?.changed();
    return {};
  },

  "node-announce"(agent, request) {
    const { role } = agent;
    if (role === undefined) throw new Error("Cannot announce a network: this node has not joined a mesh");
    const prefix = parsePrefix(request.prefix);
    const { mesh, self } = role.view();
    const taken = [...NOT_HOSTS, ...networksOf(mesh), ...mesh.services].find((other) =>
      prefixesOverlap(other, prefix),
    );
    if (taken !== undefined && !request.withdraw)
      throw new Error(
        `Cannot announce ${formatPrefix(prefix)}: it overlaps ${formatPrefix(taken)}, which is reserved or the mesh's own`,
      );
    const announced = announce(prefix, { withdraw: request.withdraw });
    role.announcedChanged();
    return { announced: announced.map(formatPrefix), approved: (self?.subnets ?? []).map(formatPrefix) };
  },

  async "node-approve"(agent, request) {
    const role = hubOf(agent, "approve a network");
    const prefix = parsePrefix(request.prefix);
    const view = role.view();
    const nodes = [...view.nodes, ...(view.self === undefined ? [] : [view.self])];
    const node = nodes.find(({ name }) => name === request.node);
    if (request.revoke) {
      await role.registrar.revokeSubnet(request.node, prefix);
    } else {
      const asked = node?.announced ?? [];
      if (node !== undefined && !asked.some((other) => prefixEqual(other, prefix)))
        throw new Error(
          `Cannot approve ${formatPrefix(prefix)}: node ${node.name} announces ${asked.map(formatPrefix).join(", ") || "nothing"}; there: causeway node announce ${formatPrefix(prefix)}`,
        );
      mustHoldNoEndpoint(prefix, nodes);
      await role.registrar.approveSubnet(request.node, prefix);
    }
    agent.joined?.changed();
    const after = role.view();
    const subnets = [...after.nodes, ...(after.self === undefined ? [] : [after.self])].find(
      ({ name }) => name === request.node,
    )?.subnets;
    return { subnets: (subnets ?? []).map(formatPrefix) };
  },
} as const satisfies Pick<
  Handlers,
  "peer-add" | "peer-list" | "peer-remove" | "node-announce" | "node-approve"
>;
