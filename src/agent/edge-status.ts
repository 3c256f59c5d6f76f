/** Routers of the edge as people see them. */
import { type EdgeRouter, type HostLeg, routerNamespace } from "../edge/mod.ts";
import type { Engine } from "../engine/mod.ts";
import { formatInterfaceAddress, formatIp, type InterfaceAddress } from "../net/mod.ts";
import type { DomainHost } from "./domain-host.ts";
import type { DomainStatus } from "./domain-status.ts";
import type { EdgeLegs } from "./edge-legs.ts";

/** EdgeStatus is what people see of a router. */
export interface EdgeStatus extends ShownRouter {
  readonly router: string;
  readonly namespace: string;
  readonly domains: readonly (DomainStatus & { readonly fromHost: readonly string[] })[];
  /** What is not as it should be. */
  readonly problems: readonly string[];
}

interface StatusSources {
  readonly router: EdgeRouter | undefined;
  readonly host: DomainHost | undefined;
  readonly legs: EdgeLegs;
  /** Of the router's namespace. */
  readonly engine: Engine;
  readonly problems: readonly string[];
}

/** edgeStatus returns what people see of a router. */
export function edgeStatus(
  name: string,
  { router, host, legs, engine, problems }: StatusSources,
): EdgeStatus {
  const refused = engine.problems().map(({ key, reason }) => `${key}: ${reason ?? "not tried yet"}`);
  return {
    ...{ router: name, ...shownRouter(router), namespace: routerNamespace(name) },
    domains: (host?.status() ?? []).map((domain) => ({
      ...domain,
      fromHost: legs.routes.get(domain.vni)?.fromHost ?? [],
    })),
    problems: [...problems, ...refused],
  };
}

/** ShownRouter is what a router is to be, with the addresses that this node has of pools; only `underlay`, empty, as long as nothing could be applied. */
export interface ShownRouter {
  readonly underlay: string;
  readonly asn?: number;
  readonly routerId?: string;
  readonly links?: readonly string[];
  /** Tunnel endpoints; a link's name where its own address is one. */
  readonly endpoints?: readonly string[];
  readonly legs?: readonly ShownLeg[];
}

/** ShownLeg is a link to the host. */
export interface ShownLeg {
  /** Absent: the router's own, of a passthrough. */
  readonly vpc?: string;
  /** On the host. */
  readonly link: string;
  readonly edge: readonly string[];
  readonly host: readonly string[];
}

/** shownRouter returns a router as people see it. */
export function shownRouter(router: EdgeRouter | undefined): ShownRouter {
  if (router === undefined) return { underlay: "" };
  const { underlay, asn, routerId, links, endpoints, passthrough, domains } = router;
  return {
    ...{ underlay, asn, routerId: formatIp(routerId), links: links.map(({ name }) => name) },
    endpoints: endpoints.map(({ address, link }) => (address === undefined ? `${link}` : formatIp(address))),
    legs: [
      ...(passthrough === undefined ? [] : [legOf(passthrough)]),
      ...domains.flatMap(({ vpc, routing }) =>
        routing?.host === undefined ? [] : [{ vpc, ...legOf(routing.host) }],
      ),
    ],
  };
}

function legOf({ hostLink, edge, host }: HostLeg): ShownLeg {
  const texts = (addresses: readonly InterfaceAddress[]) => addresses.map(formatInterfaceAddress);
  return { link: hostLink, edge: texts(edge), host: texts(host) };
}
