/** A segment that has pods on this node, and the node's side of a pod in it. */
import type { KernelObject } from "../engine/mod.ts";
import { vniLinks } from "./domain-objects.ts";
import type { DomainNode, LocalAttachment, Segment } from "./model.ts";
import { segmentMtu } from "./mtu.ts";
import { bridgeOf, portMac, portOf } from "./names.ts";

/** segmentObjects is scope `segment/<vni>` of the domain's namespace. */
export function segmentObjects(segment: Segment, node: DomainNode): KernelObject[] {
  const { vni, gatewayMac: mac, gateways, dstPort } = segment;
  const mtuBytes = segmentMtu(segment, node);
  return [
    ...vniLinks({ vni, mac, mtuBytes, node, ...(dstPort !== undefined && { dstPort }) }),
    ...gateways.map((address): KernelObject => ({ kind: "address", link: bridgeOf(vni), address })),
  ];
}

/**
 * portObjects is scope `port/<id>` of the domain's namespace. The link is `external`: it is made together with its inner end, and goes with
 * the pod's namespace. Where the pod is stands fast, so that it can take nobody's place by sending in their name.
 */
export function portObjects(
  attachment: LocalAttachment,
  { isElsewhere = false }: { readonly isElsewhere?: boolean } = {},
): KernelObject[] {
  const { id, segment, mtuBytes } = attachment;
  const link = portOf(id);
  return [
    {
      kind: "link",
      type: "external",
      name: link,
      master: bridgeOf(segment),
      mtuBytes,
      mac: portMac(id),
      addrGen: "none",
      port: { learning: false },
    },
    ...(isElsewhere ? [] : stationObjects(attachment)),
  ];
}

/** Where frames for it go. */
function stationObjects({ id, segment, mac, addresses }: LocalAttachment): KernelObject[] {
  return [
    { kind: "fdb", link: portOf(id), mac, master: true },
    ...addresses.map((ip): KernelObject => ({ kind: "neighbour", link: bridgeOf(segment), ip, mac })),
  ];
}
