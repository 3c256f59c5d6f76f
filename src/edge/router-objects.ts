/**
 * A router in its namespace, and both ends of a leg to the host, as kernel objects.
 *
 * ```
 *   host ── hostLink ═ host0 ── cw-<vni>        (a domain's leg)
 *   host ── hostLink ═ host0 ── cw-<router>     (a passthrough)
 * ```
 * The VXLAN guard and domains themselves are the affair of `domain`.
 */
import type { KernelObject, Sysctl } from "../engine/mod.ts";
import { hostPrefix, type InterfaceAddress, ipEqual } from "../net/mod.ts";
import type { Netns } from "../sys/mod.ts";
import type { EdgeLink, EdgeRouter, HostLeg } from "./model.ts";

const setting = (path: string, value: string): Sysctl => ({ kind: "sysctl", path: `net/${path}`, value });

/** RouterLinks are addresses that moved links had before, by name: they stay theirs. */
export type RouterLinks = ReadonlyMap<string, readonly InterfaceAddress[]>;

/** routerObjects is scope `router` of a router's namespace. */
export function routerObjects(router: EdgeRouter, had: RouterLinks): KernelObject[] {
  return [
    { kind: "link", name: "lo", type: "external" },
    setting("ipv4/ip_forward", "1"),
    setting("ipv6/conf/all/forwarding", "1"),
    // A fabric has several ways, and answers may come by another one.
    setting("ipv4/conf/all/rp_filter", "0"),
    setting("ipv4/conf/default/rp_filter", "0"),
    ...router.links.flatMap((link): KernelObject[] => [
      ...linkObjects(link),
      ...distinct([...(had.get(link.name) ?? []), ...link.addresses]).map((address): KernelObject => ({
        kind: "address",
        link: link.name,
        address,
      })),
    ]),
    ...router.endpoints.flatMap(({ address, link = "lo" }): KernelObject[] => {
      if (address === undefined) return [];
      const { family, length } = hostPrefix(address);
      return [{ kind: "address", link, address: { ip: { family, value: address.value }, length } }];
    }),
    ...router.routes.map(({ prefix, via }): KernelObject => ({
      ...{ kind: "route", destination: prefix },
      ...(via === undefined ? { type: "blackhole" } : { hops: [{ via }] }),
    })),
    // A link that is moved has the default of that moment, which is the host's; an address keeps it so (net/ipv4/devinet.c, rtm_to_ifaddr).
    ...router.links.map(({ name }) => setting(`ipv4/conf/${name}/rp_filter`, "0")),
  ];
}

/** Links of plugins bear no mark of ours: host-device keeps the host's name in the alias, and addresses of plugins are theirs. */
function linkObjects({ name, made, mtuBytes }: EdgeLink): KernelObject[] {
  if (made.type === "cni") return [];
  return [{ ...{ kind: "link", name, type: "external" }, ...(mtuBytes === undefined ? {} : { mtuBytes }) }];
}

function distinct(addresses: readonly InterfaceAddress[]): InterfaceAddress[] {
  return addresses.filter(
    (one, i) =>
      addresses.findIndex((other) => other.length === one.length && ipEqual(other.ip, one.ip)) === i,
  );
}

/** legObjects is scope `edge/leg` of the namespace at the edge's end. `home` is the host's namespace, `mtuBytes` what the fabric leaves. */
export function legObjects(
  leg: HostLeg,
  { home, mtuBytes }: { readonly home: Netns; readonly mtuBytes: number },
): KernelObject[] {
  const name = leg.edgeLink;
  return [
    {
      ...{ kind: "link", name, type: "veth", mtuBytes, master: null, addrGen: "none" },
      peer: { name: leg.hostLink, netns: home, mtuBytes },
    },
    ...sixth(leg.edge, name),
    ...leg.edge.map((address): KernelObject => ({ kind: "address", link: name, address })),
  ];
}

/** hostEndObjects is the host's end, for a scope of the host's namespace. */
export function hostEndObjects(leg: HostLeg, mtuBytes: number): KernelObject[] {
  const name = leg.hostLink;
  return [
    { kind: "link", name, type: "external", mtuBytes },
    ...sixth(leg.host, name),
    ...leg.host.map((address): KernelObject => ({ kind: "address", link: name, address })),
  ];
}

function sixth(addresses: readonly InterfaceAddress[], link: string): KernelObject[] {
  if (!addresses.some(({ ip }) => ip.family === 6)) return [];
  return [setting(`ipv6/conf/${link}/disable_ipv6`, "0"), setting(`ipv6/conf/${link}/accept_ra`, "0")];
}
