/**
 * The capability `portMappings`: what a runtime asks for, and whether the node still has it.
 *
 * containerd writes `HostPort`, and `HostIP: ""`; kubelet passes ports that nobody asked the node for, without `hostPort` or with 0.
 */
import { type Ip, ip, parsePrefix, prefixContains, tryParseIp } from "../net/mod.ts";
import type { Attachment } from "../ipam/mod.ts";
import {
  formatHostPort,
  type HostPort,
  hostPortKeys,
  hostPortsOverlap,
  type NodeFacts,
  type Transport,
} from "../pods/mod.ts";
import { CniError } from "./error.ts";
import type { Reader } from "./json.ts";
import type { StoredPod } from "./store.ts";

const transports: readonly Transport[] = ["tcp", "udp", "sctp"];

/** IPv4 addresses in the form of IPv6 (RFC 4291, section 2.5.5.2): Go's parser takes them for what they are. */
const MAPPED = parsePrefix("::ffff:0:0/96");

/** Addresses that nothing is forwarded from or to, so a mapping could not work: loopback of IPv6, link-local, multicast. */
const unforwarded = ["::1/128", "fe80::/10", "ff00::/8", "224.0.0.0/3"].map(parsePrefix);

/** More than any pod can use, and each costs a rule. */
const MOST_HOST_PORTS = 1024;

/** parsePortMappings reads `runtimeConfig.portMappings`; code 7 names the field that is wrong. */
export function parsePortMappings(runtime: Reader | undefined): HostPort[] {
  const mappings = (runtime?.objects("portMappings") ?? []).flatMap((entry) => {
    const mapping = parseMapping(entry);
    return mapping === undefined ? [] : [{ entry, mapping }];
  });
  if (mappings.length > MOST_HOST_PORTS)
    throw new CniError(
      "badConfiguration",
      `Cannot map ${mappings.length} host ports: ${MOST_HOST_PORTS} are the most`,
      {
        details: `runtimeConfig.portMappings has ${mappings.length} entries with a hostPort`,
      },
    );
  const seen = new Set<string>();
  for (const { entry, mapping } of mappings)
    for (const key of hostPortKeys(mapping).map((parts) => JSON.stringify(parts))) {
      if (seen.has(key)) throw entry.wrong("hostPort", `free: ${formatHostPort(mapping)} is mapped twice`);
      seen.add(key);
    }
  return mappings.map(({ mapping }) => mapping);
}

function parseMapping(entry: Reader): HostPort | undefined {
  const hostPort = entry.integer("hostPort", { least: 0, most: 65535 }) ?? 0;
  if (hostPort === 0) return undefined;
  const containerPort = entry.integer("containerPort", { least: 1, most: 65535 });
  if (containerPort === undefined) throw entry.wrong("containerPort", "a whole number from 1 to 65535");
  const protocol =
    entry.parsed("protocol", "tcp, udp or sctp", (text) =>
      transports.find((transport) => transport === text.toLowerCase()),
    ) ?? "tcp";
  const hostIp = entry.parsed("hostIP", "an address that can be mapped", parseHostIp);
  return { hostPort, containerPort, protocol, ...(hostIp !== undefined && { hostIp }) };
}

function parseHostIp(text: string): Ip | undefined {
  const address = tryParseIp(text);
  if (address === undefined || unforwarded.some((prefix) => prefixContains(prefix, address)))
    return undefined;
  return prefixContains(MAPPED, address) ? ip(4, address.value & 0xffff_ffffn) : address;
}

/** Claim is who wants host ports, and who may have them already. */
export interface Claim {
  readonly attachment: Attachment;
  readonly node: NodeFacts;
  /** Attachments of the node. */
  readonly pods: readonly StoredPod[];
}

/**
 * claimHostPorts returns what an attachment gets of the host ports that it wants; code 105 when the node itself or another container has
 * one. A runtime asks for the same ones again for each network of a container: the first interface has them.
 */
export function claimHostPorts(wanted: readonly HostPort[], { attachment, node, pods }: Claim): HostPort[] {
  if (wanted.length === 0) return [];
  const held = pods.flatMap((pod) => (pod.hostPorts ?? []).map((port) => ({ pod, port })));
  return wanted.filter((port) => {
    const own = node.ownPorts?.find(
      (candidate) => candidate.protocol === port.protocol && candidate.port === port.hostPort,
    );
    if (own !== undefined) throw taken(port, `it is the port of ${own.purpose}`, "choose another hostPort");
    const others = held.filter((one) => hostPortsOverlap(one.port, port));
    const other = others.find(({ pod }) => pod.containerId !== attachment.containerId);
    if (other !== undefined) {
      const who = `${other.pod.ifname} of container ${other.pod.containerId}`;
      throw taken(
        port,
        `${who} in network ${other.pod.network} has ${formatHostPort(other.port)}`,
        "delete that container or choose another hostPort",
      );
    }
    return others.length === 0;
  });
}

function taken(port: HostPort, why: string, fix: string): CniError {
  return new CniError("hostPortTaken", `Cannot map host port ${formatHostPort(port)}: ${why}; ${fix}`, {
    details: `runtimeConfig.portMappings has ${formatHostPort(port)} to port ${port.containerPort}`,
  });
}
