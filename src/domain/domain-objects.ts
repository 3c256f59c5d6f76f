/**
 * A domain's router in its namespace: the kernel's own, with one more VNI by which the routers of all nodes reach each other (symmetric
 * IRB, RFC 9135 section 4.4).
 *
 * ```
 *   pod ── cw<id> ── br<vni> (gateway, the same on all nodes) ── routes ── br<l3vni> ── vx<l3vni> ─▶ underlay, in the host's namespace
 *                      └─ vx<vni> ─▶ underlay
 * ```
 * What no route leads to ends here: a domain has no way out but the one that a gateway gives it.
 */
import type { KernelObject, Link, Route, Sysctl } from "../engine/mod.ts";
import { type Ip, type Mac, parsePrefix } from "../net/mod.ts";
import type { Domain, DomainNode } from "./model.ts";
import { domainMtu } from "./mtu.ts";
import { bridgeOf, routerMac, VXLAN_GROUP, vxlanOf } from "./names.ts";

/** The last that the kernel looks at; FRR uses the same for its defaults. */
const LAST_METRIC = 4_278_198_272;

const VXLAN_MTU = 65_000;

/** routesFamily tells whether a domain routes packets of a family. */
export function routesFamily(domain: Domain, family: 4 | 6): boolean {
  return (
    domain.routing !== undefined &&
    (domain.families?.includes(family) === true ||
      domain.segments.some(({ prefixes }) => prefixes.some((prefix) => prefix.family === family)))
  );
}

/** domainObjects is scope `domain` of a domain's namespace. */
export function domainObjects(domain: Domain, node: DomainNode): KernelObject[] {
  // Its alias tells that the namespace is ours.
  const loopback: Link = { kind: "link", name: "lo", type: "external" };
  if (domain.routing === undefined) return [loopback];
  const { vni, dstPort } = domain;
  const links = { vni, mac: routerMac(node.vtep), mtuBytes: domainMtu(node), node };
  return [
    loopback,
    ...settings(domain),
    ...vniLinks({ ...links, ...(dstPort !== undefined && { dstPort }) }),
    ...([4, 6] as const).filter((family) => routesFamily(domain, family)).map(noWayOut),
  ];
}

/** VniLinks is what the bridge and the VXLAN device of a VNI are made of. */
export interface VniLinks {
  readonly vni: number;
  /** Of the bridge, that is of the router. */
  readonly mac: Mac;
  readonly mtuBytes: number;
  readonly dstPort?: number;
  readonly node: { readonly vtep: Ip };
}

/** vniLinks returns bridge and VXLAN device of a VNI. Who is where is told, never learned. */
export function vniLinks({ vni, mac, mtuBytes, dstPort, node }: VniLinks): Link[] {
  return [
    {
      kind: "link",
      name: bridgeOf(vni),
      type: "bridge",
      mac,
      mtuBytes,
      addrGen: "none",
      stp: false,
      mcastSnooping: false,
      defaultPvid: 0,
    },
    {
      kind: "link",
      name: vxlanOf(vni),
      type: "vxlan",
      vni,
      local: node.vtep,
      ...(dstPort !== undefined && { dstPort }),
      learning: false,
      underlay: true,
      // A smaller one would have the bridge drop without a word what a pod sends that is too large by now; VXLAN itself tells it
      // how much its underlay takes (drivers/net/vxlan, skb_tunnel_check_pmtu).
      mtuBytes: VXLAN_MTU,
      group: VXLAN_GROUP,
      addrGen: "none",
      master: bridgeOf(vni),
      port: { learning: false, neighSuppress: true },
    },
  ];
}

function settings(domain: Domain): Sysctl[] {
  const setting = (path: string, value: string): Sysctl => ({ kind: "sysctl", path: `net/${path}`, value });
  return [
    setting("ipv4/ip_forward", "1"),
    // A packet may come routed by the domain's VNI from a host whose segment is here as well.
    setting("ipv4/conf/all/rp_filter", "0"),
    setting("ipv4/conf/default/rp_filter", "0"),
    // Another node's router says "too large" and the like from a gateway's address, which is this router's too: it would be a
    // martian (net/ipv4/fib_frontend.c, fib_validate_source). IPv6 has no such check.
    setting(`ipv4/conf/${bridgeOf(domain.vni)}/accept_local`, "1"),
    setting("ipv4/conf/all/send_redirects", "0"),
    setting("ipv4/conf/default/send_redirects", "0"),
    ...(routesFamily(domain, 6)
      ? [
          setting("ipv6/conf/all/forwarding", "1"),
          // Gateways are the same on all nodes, so nobody is to object to them.
          setting("ipv6/conf/default/disable_ipv6", "0"),
          setting("ipv6/conf/default/accept_dad", "0"),
          setting("ipv6/conf/default/accept_ra", "0"),
        ]
      : []),
  ];
}

function noWayOut(family: 4 | 6): Route {
  const destination = parsePrefix(family === 4 ? "0.0.0.0/0" : "::/0");
  return { kind: "route", destination, type: "unreachable", metric: LAST_METRIC };
}
