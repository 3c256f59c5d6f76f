/** Which ports the machines used, with what NAT boxes did to them undone. */
import { type Endpoint, ipEqual, parseIp } from "../net/mod.ts";
import { Nftables } from "../netlink/mod.ts";
import type { Lab } from "./lab.ts";
import { LAB_TABLE } from "./nat.ts";
import type { UdpFlow } from "./pcap.ts";
import { isNat } from "./topology.ts";

/** An element of the map `reverse` as libnftables prints it: external port, and who had it inside. */
type MapElement = readonly [
  { readonly elem: { readonly val: number } } | number,
  { readonly concat: readonly [string, number] },
];

interface MapListing {
  readonly nftables: readonly { readonly map?: { readonly elem?: readonly MapElement[] } }[];
}

/** natMappings returns the external UDP ports that a NAT box gave out lately, and who inside has each. */
export function natMappings(lab: Lab, name: string): Map<number, Endpoint> {
  using netns = lab.netns(name);
  using nftables = Nftables.open({ netns });
  const listing = nftables.json(`list map ip ${LAB_TABLE} reverse`) as MapListing;
  const elements = listing.nftables.flatMap((item) => item.map?.elem ?? []);
  return new Map(
    elements.map(([key, { concat }]) => [
      typeof key === "number" ? key : key.elem.val,
      { ip: parseIp(concat[0]), port: concat[1] },
    ]),
  );
}

/**
 * servicePorts returns the UDP ports on machines that captured flows belong to, sorted. An external port of a NAT box
 * counts as the port inside that it stands for, through as many boxes as there are.
 */
export function servicePorts(lab: Lab, flows: readonly UdpFlow[]): number[] {
  const nats = lab.topology.boxes.filter(isNat).map((nat) => ({
    outside: nat.attachments[1].address4.ip,
    mappings: natMappings(lab, nat.name),
  }));
  const portOf = (endpoint: Endpoint, boxes: typeof nats): number => {
    const nat = boxes.find((candidate) => ipEqual(candidate.outside, endpoint.ip));
    const inside = nat?.mappings.get(endpoint.port);
    return inside === undefined
      ? endpoint.port
      : portOf(
          inside,
          boxes.filter((other) => other !== nat),
        );
  };
  // A probe of where a node was seen before its NAT forgot it: that port is nobody's any more.
  const gone = ({ ip, port }: Endpoint) =>
    nats.some(({ outside, mappings }) => ipEqual(outside, ip) && !mappings.has(port));
  const ports = flows.flatMap(({ source, destination }) => [
    portOf(source, nats),
    ...(gone(destination) ? [] : [portOf(destination, nats)]),
  ]);
  return [...new Set(ports)].sort((a, b) => a - b);
}
