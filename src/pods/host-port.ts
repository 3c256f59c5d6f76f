/**
 * Host ports: what comes to a port of the node goes to a pod. As values, and as elements of the maps in host-port-ruleset.ts.
 *
 * | host address | means |
 * |---|---|
 * | absent | all addresses of the node, both families |
 * | 0.0.0.0 or :: | all addresses of that family |
 * | any other | that address, as long as the node has it |
 *
 * The pod's first address of a family is the target; without one, nothing is mapped for that family.
 */
import type { SetElement, Sysctl } from "../engine/mod.ts";
import { type Family, formatEndpoint, formatIp, type Ip, ipEqual } from "../net/mod.ts";
import { BRIDGE } from "./identity.ts";

/** Transport is a protocol with ports. */
export type Transport = "tcp" | "udp" | "sctp";

/** HostPort is one mapping; ports are 1 to 65535. */
export interface HostPort {
  readonly hostPort: number;
  readonly containerPort: number;
  readonly protocol: Transport;
  readonly hostIp?: Ip;
}

const families: readonly Family[] = [4, 6];

/** isEveryAddress tells whether a mapping is for all addresses of the node, of one family or both. */
export function isEveryAddress({ hostIp }: HostPort): boolean {
  return hostIp === undefined || hostIp.value === 0n;
}

/** hostPortsOverlap tells whether two mappings want the same port of the same address. */
export function hostPortsOverlap(a: HostPort, b: HostPort): boolean {
  if (a.protocol !== b.protocol || a.hostPort !== b.hostPort) return false;
  if (a.hostIp === undefined || b.hostIp === undefined) return true;
  if (a.hostIp.family !== b.hostIp.family) return false;
  return isEveryAddress(a) || isEveryAddress(b) || ipEqual(a.hostIp, b.hostIp);
}

/** formatHostPort writes the node's side of a mapping: `80/tcp`, `192.0.2.1:80/tcp`. */
export function formatHostPort({ hostPort, protocol, hostIp }: HostPort): string {
  const place = hostIp === undefined ? `${hostPort}` : formatEndpoint({ ip: hostIp, port: hostPort });
  return `${place}/${protocol}`;
}

/** hostPortKeys returns the elements that a mapping is looked up by, one per family: set and key. */
export function hostPortKeys(port: HostPort): { family: Family; set: string; key: string[] }[] {
  const key = [port.protocol, String(port.hostPort)];
  const { hostIp } = port;
  return families
    .filter((family) => hostIp === undefined || hostIp.family === family)
    .map((family) =>
      hostIp === undefined || isEveryAddress(port)
        ? { family, set: "host_port", key }
        : { family, set: "host_port_at", key: [formatIp(hostIp), ...key] },
    );
}

/** Mapped is the part of a pod that host ports depend on. */
export interface Mapped {
  readonly addresses: readonly Ip[];
  readonly hostPorts?: readonly HostPort[];
}

/** hostPortElements returns what makes a pod's host ports work. */
export function hostPortElements({ addresses, hostPorts = [] }: Mapped): SetElement[] {
  return hostPorts.flatMap((port) =>
    hostPortKeys(port).flatMap(({ family, set, key }): SetElement[] => {
      const target = addresses.find((address) => address.family === family);
      if (target === undefined) return [];
      const value = `${formatIp(target)} . ${port.containerPort}`;
      return [{ kind: "element", family: family === 4 ? "ip" : "ip6", set, key, value }];
    }),
  );
}

/**
 * hostPortBridgePort returns what the bridge has to do for a pod that calls its own host port: with bridge-nf-call-iptables the frame is
 * translated inside the bridge (net/bridge/br_netfilter_hooks.c, br_nf_pre_routing_finish), so it returns by the port that it came by.
 */
export function hostPortBridgePort({ hostPorts = [] }: Mapped): { readonly hairpin?: true } {
  return hostPorts.length > 0 ? { hairpin: true } : {};
}

/**
 * hostPortSettings returns what the kernel needs to send on what the node itself sent to 127.0.0.1: packets with such an address on a link
 * that is no loopback. Pods are kept from using it by the ruleset. IPv6 has no such setting, so ::1 cannot be mapped.
 */
export function hostPortSettings(pod: Mapped): Sysctl[] {
  if (!hostPortElements(pod).some(({ family }) => family === "ip")) return [];
  return [{ kind: "sysctl", path: `net/ipv4/conf/${BRIDGE}/route_localnet`, value: "1" }];
}
