/** What the kernel says of this node's own network: its addresses, what fits through the way out, and where that leads. */
import { tunnelMtu } from "../mesh/mod.ts";
import { type Endpoint, formatIp, type Ip, parseIp, type Prefix } from "../net/mod.ts";
import { type RouteInfo, Rtnetlink } from "../netlink/mod.ts";
import type { Mesh } from "../resources/mod.ts";
import { readText } from "../sys/mod.ts";
import { localEndpoints, underlayMtu } from "./underlay.ts";

/** Routes that router advertisements made (linux/rtnetlink.h). */
const RTPROT_RA = 9;
const MAIN_TABLE = 254;

/** OwnFacts are compared with what was read before. */
export interface OwnFacts {
  readonly local: readonly Endpoint[];
  /** Of the tunnel's link. */
  readonly mtuBytes: number;
  readonly underlayMtuBytes: number;
  readonly advertisedLinks: readonly string[];
  /** Default routes as text: with another one packets come from elsewhere, though all addresses are the same. */
  readonly doors: readonly string[];
}

/** NO_FACTS is before anything was read. */
export const NO_FACTS: OwnFacts = {
  local: [],
  mtuBytes: 1280,
  underlayMtuBytes: 1500,
  advertisedLinks: [],
  doors: [],
};

/** readOwnFacts asks the kernel. `without` are the mesh's own networks; `outward` is where this node speaks to the world. */
export function readOwnFacts(
  mesh: Mesh,
  options: { readonly without: readonly Prefix[]; readonly outward: Ip | undefined },
): OwnFacts {
  const { without, outward = parseIp("192.0.2.1") } = options;
  using route = Rtnetlink.open();
  const links = route.links();
  const routes = route.routes();
  const local = localEndpoints(links, route.addresses(), { port: mesh.listenPort, without });
  // A direct peer may be met over IPv6, whose header is longer.
  const outerFamily = outward.family === 6 || local.some(({ ip }) => ip.family === 6) ? 6 : 4;
  const underlayBytes = underlayMtu(routes, links, outward);
  const advertised = new Set(
    routes
      .filter((entry) => entry.protocol === RTPROT_RA)
      .flatMap((entry) => entry.hops.map((hop) => hop.linkIndex)),
  );
  return {
    local,
    mtuBytes: mesh.mtuBytes ?? tunnelMtu({ underlayBytes, outerFamily }),
    underlayMtuBytes: underlayBytes,
    advertisedLinks: links
      .filter((link) => advertised.has(link.index) || isHeldOpen(link.name))
      .map((link) => link.name),
    doors: doorsOf(routes),
  };
}

/** One that heard advertisements goes on to, though its router is away for longer than a route lives: it forwards, and would not hear it come back. */
function isHeldOpen(link: string): boolean {
  return !link.startsWith("cw") && readText(`/proc/sys/net/ipv6/conf/${link}/accept_ra`)?.trim() === "2";
}

/** doorsOf writes the default routes that may be used, the best first. */
export function doorsOf(routes: readonly RouteInfo[]): string[] {
  return routes
    .filter(({ table, destination }) => table === MAIN_TABLE && destination.length === 0)
    .sort((a, b) => a.destination.family - b.destination.family || a.metric - b.metric)
    .flatMap((entry) =>
      entry.hops.map(({ linkIndex, via }) =>
        [entry.destination.family, via === undefined ? "" : formatIp(via), linkIndex].join(" "),
      ),
    );
}
