/** Pods whose primary network is a private one: which of their attachments belongs to the default network's, and what does not go together. */
import type { Attachment } from "../ipam/mod.ts";
import { formatIp, ipEqual, tryParseIp } from "../net/mod.ts";
import type { Confinement } from "../pods/mod.ts";
import type { Configuration } from "./configuration.ts";
import { CniError } from "./error.ts";
import type { StoredPod } from "./store.ts";
import type { VpcAttached } from "./vpc-network.ts";
import { PRIMARY_LINK } from "./vpc-wish.ts";

/** primaryOf names the private attachment that comes and goes with one of the default network. No network of a runtime has such a name. */
export function primaryOf({ network, containerId, ifname }: Attachment): Attachment {
  return { network: `${network}/${ifname}`, containerId, ifname: PRIMARY_LINK };
}

/** defaultOf is the way back; undefined for an attachment that is nobody's primary one. */
export function defaultOf({ network, containerId, ifname }: Attachment): Attachment | undefined {
  const at = network.lastIndexOf("/");
  if (at < 0 || ifname !== PRIMARY_LINK) return undefined;
  return { network: network.slice(0, at), containerId, ifname: network.slice(at + 1) };
}

/** confinementOf returns what is so of such a pod; code 7 for what its configuration cannot have. */
export function confinementOf({ hostPorts, dns }: Configuration): Confinement {
  if (hostPorts !== undefined)
    throw new CniError(
      "badConfiguration",
      "Cannot map ports of the node into a pod of a VPC; use a FloatingIP",
      {
        details: `runtimeConfig.portMappings has ${hostPorts.length}`,
      },
    );
  return { dnsServers: (dns?.nameservers ?? []).map(tryParseIp).filter((server) => server !== undefined) };
}

/** beside returns what is so of it in its VPC: servers of names that the VPC has itself are reached there, whoever else names them. */
export function beside({ dnsServers }: Confinement, vpc: Pick<VpcAttached, "dnsServers">): Confinement {
  return { dnsServers: dnsServers.filter((server) => !vpc.dnsServers.some((own) => ipEqual(own, server))) };
}

/** requireDistinct throws code 11 where both networks have the same address, as when the runtime asks for one that the VPC gave by chance. */
export function requireDistinct(pod: Pick<StoredPod, "addresses">, attached: VpcAttached): void {
  const both = pod.addresses.find((address) => attached.addresses.some(({ ip }) => ipEqual(ip, address)));
  if (both === undefined) return;
  throw new CniError(
    "tryAgain",
    `Cannot attach the pod: ${formatIp(both)} is its address in both networks; try again`,
  );
}
