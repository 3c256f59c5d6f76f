/** CHECK of an attachment to a VPC: is the container's side as ADD made it? */
import { CniError } from "../cni/mod.ts";
import { formatIp, formatMac, ipEqual } from "../net/mod.ts";
import { Rtnetlink } from "../netlink/mod.ts";
import type { Netns } from "../sys/mod.ts";
import type { StoredVpcPod } from "./vpc-store.ts";

/** checkInside throws a CniError that names the first thing that is missing or wrong. */
export function checkInside({ local }: StoredVpcPod, netns: Netns): void {
  const { ifname, mac, mtuBytes, addresses } = local;
  using inside = Rtnetlink.open({ netns });
  const link = inside.link(ifname);
  if (link === undefined) throw damaged(`interface ${ifname} is missing in the container`);
  if (!link.up) throw damaged(`interface ${ifname} is down in the container`);
  if (link.mac !== mac)
    throw damaged(
      `interface ${ifname} has address ${link.mac === undefined ? "none" : formatMac(link.mac)}, not ${formatMac(mac)}`,
    );
  if (link.mtuBytes !== mtuBytes)
    throw damaged(`interface ${ifname} has MTU ${link.mtuBytes}, not ${mtuBytes}`);
  const there = inside.addresses({ linkIndex: link.index });
  for (const address of addresses)
    if (!there.some((one) => ipEqual(one.address.ip, address)))
      throw damaged(`interface ${ifname} lacks ${formatIp(address)}`);
}

function damaged(what: string): CniError {
  return new CniError(
    "checkFailed",
    `The attachment is damaged: ${what}; delete the pod, so that it is made anew`,
  );
}
