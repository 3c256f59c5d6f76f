/**
 * The mesh as kernel objects, by scope: `mesh` for the node itself, `peer/NAME` for each other node, `enrol/ID` for each token.
 */
import type { Address, KernelObject, Link, Route, Sysctl } from "../engine/mod.ts";
import {
  bitsOf,
  hostPrefix,
  type Ip,
  ipPlus,
  type Prefix,
  prefixAddress,
  type PrivateKey,
  type PublicKey,
} from "../net/mod.ts";
import type { Endpoint } from "../net/mod.ts";
import { externalObjects } from "./external.ts";
import { LINK, type MeshFacts } from "./facts.ts";
import { enrolmentPeers } from "./peers.ts";
import { restRoutes } from "./rest-routes.ts";
import { meshRuleset } from "./ruleset.ts";

/** Only where nothing better exists; any route with a metric up to this one comes first. */
const BACKSTOP_METRIC = 0x7fff_ffff;

/** enrolServiceAddress returns where the hub's enrolment service listens: the first address of the enrolment prefix. */
export function enrolServiceAddress(mesh: { readonly enrol6: Prefix }): Ip {
  return ipPlus(prefixAddress(mesh.enrol6), 1n);
}

function tunnelLink(type: MeshFacts["tunnelLink"], mtuBytes: number): Link {
  return { kind: "link", name: LINK, type, mtuBytes, addrGen: "none", up: true };
}

/** A host address only: the overlay's route is a route of its own, so that it has source and MTU, and no address is ever on-link by accident. */
function hostAddress(address: Ip): Address {
  return {
    kind: "address",
    link: LINK,
    address: { ip: address, length: bitsOf(address.family) },
    nodad: true,
  };
}

/** Overlay and pod traffic never leaves in plain text: without the tunnel's route, there is none. */
function backstop(destination: Prefix): Route {
  return { kind: "route", destination, type: "unreachable", metric: BACKSTOP_METRIC };
}

/** IPv6 is switched off on new links of many machines; the overlay has it all the same. */
const withIpv6: Sysctl = { kind: "sysctl", path: `net/ipv6/conf/${LINK}/disable_ipv6`, value: "0" };

function sysctls(facts: MeshFacts): Sysctl[] {
  const settings: [path: string, value: string][] = [
    ["net/ipv4/ip_forward", "1"],
    // Turning forwarding on makes interfaces deaf for router advertisements, unless they are at 2 before.
    ...(facts.advertisedLinks ?? []).map((link): [string, string] => [
      `net/ipv6/conf/${link}/accept_ra`,
      "2",
    ]),
    ["net/ipv6/conf/all/forwarding", "1"],
    // WireGuard has judged the source already; strict reverse path would drop what moves between direct and relayed.
    [`net/ipv4/conf/${LINK}/rp_filter`, "2"],
    // A hub sends relayed packets out where they came in, which would make it tell nodes of a shorter way that there is not.
    ...(facts.self.hub
      ? ["all", LINK].map((link): [string, string] => [`net/ipv4/conf/${link}/send_redirects`, "0"])
      : []),
  ];
  return [withIpv6, ...settings.map(([path, value]): Sysctl => ({ kind: "sysctl", path, value }))];
}

function enrolRoute(mesh: MeshFacts["mesh"]): Route {
  const source = enrolServiceAddress(mesh);
  return { kind: "route", destination: mesh.enrol6, hops: [{ dev: LINK }], source };
}

/** nodeObjects is what a node has whoever else there is; `restMtuBytes`: the least MTU of nodes at rest. */
export function nodeObjects(facts: MeshFacts, restMtuBytes: number | undefined): KernelObject[] {
  const { mesh, self } = facts;
  const networks = [mesh.overlay4, mesh.overlay6, ...(self.hub ? [mesh.enrol6] : []), mesh.pods4, mesh.pods6];
  return [
    tunnelLink(facts.tunnelLink, facts.mtuBytes),
    {
      kind: "wireguard",
      link: LINK,
      privateKey: facts.privateKey,
      ...(facts.formerKey === undefined ? {} : { formerKey: facts.formerKey }),
      listenPort: facts.listenPort,
    },
    hostAddress(self.overlay4),
    hostAddress(self.overlay6),
    // Deprecated, because masquerading asks no route for its source: it would take the one of two addresses that nodes do not answer.
    ...(self.hub ? [{ ...hostAddress(enrolServiceAddress(mesh)), deprecated: true }] : []),
    ...restRoutes(facts, restMtuBytes),
    ...(self.hub ? [enrolRoute(mesh)] : []),
    ...networks.filter((prefix) => prefix !== undefined).map(backstop),
    ...sysctls(facts),
    meshRuleset({
      mesh,
      self,
      listenPort: facts.listenPort,
      more: facts.moreRules,
      ...(facts.vxlan !== undefined && { vxlan: facts.vxlan }),
    }),
  ];
}

/** MESH_SCOPE is the scope of the node itself. */
export const MESH_SCOPE = "mesh";

/** peerScope names the scope of one peer. */
export function peerScope(node: string): string {
  return `peer/${node}`;
}

/** ownObjects returns the desired state of every scope but those of other nodes; `restMtuBytes` as for nodeObjects. */
export function ownObjects(
  facts: MeshFacts,
  restMtuBytes: number | undefined,
): ReadonlyMap<string, KernelObject[]> {
  const scopes = new Map<string, KernelObject[]>([[MESH_SCOPE, nodeObjects(facts, restMtuBytes)]]);
  if (facts.self.hub)
    for (const enrolment of facts.enrolments ?? [])
      scopes.set(`enrol/${enrolment.id}`, enrolmentPeers(enrolment));
  for (const [scope, objects] of externalObjects(facts)) scopes.set(scope, objects);
  return scopes;
}

/** newcomerObjects is the desired state of a node that registers through one use of a token: the tunnel to the enrolment service and nothing else. */
export function newcomerObjects(options: {
  readonly enrol6: Prefix;
  readonly use: { readonly privateKey: PrivateKey; readonly address: Ip };
  readonly hubKey: PublicKey;
  readonly hubEndpoint: Endpoint;
  readonly tunnelLink: MeshFacts["tunnelLink"];
  /** 0 lets the system choose. */
  readonly listenPort: number;
  readonly mtuBytes: number;
}): KernelObject[] {
  const service = hostPrefix(enrolServiceAddress(options));
  return [
    tunnelLink(options.tunnelLink, options.mtuBytes),
    { kind: "wireguard", link: LINK, privateKey: options.use.privateKey, listenPort: options.listenPort },
    withIpv6,
    hostAddress(options.use.address),
    { kind: "route", destination: service, hops: [{ dev: LINK }], source: options.use.address },
    {
      kind: "peer",
      link: LINK,
      publicKey: options.hubKey,
      endpoint: options.hubEndpoint,
      allowedIps: [service],
    },
  ];
}
