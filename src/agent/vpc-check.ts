/** CHECK of an attachment to a VPC: is the container's side as ADD made it? */
import { CniError } from "../cni/mod.ts";
import type { Attachment } from "../ipam/mod.ts";
import { formatIp, formatMac, ipEqual } from "../net/mod.ts";
import { Rtnetlink } from "../netlink/mod.ts";
import type { Netns } from "../sys/mod.ts";
import type { ShownVpc } from "./vpc-shown.ts";
import type { StoredVpcPod } from "./vpc-store.ts";

/** CheckOptions say what is looked at. */
export interface CheckOptions {
  readonly attachment: Attachment;
  /** Of the container. */
  readonly netns: Netns;
  /** What of VPCs is on this node. */
  readonly here: () => readonly ShownVpc[];
}

/** checkAttached throws a CniError that names the first thing that is missing or wrong, in the container or in its VPC. */
export function checkAttached(
  stored: StoredVpcPod | undefined,
  { attachment, netns, here }: CheckOptions,
): void {
  if (stored === undefined)
    throw new CniError("checkFailed", `${attachment.ifname} of ${attachment.containerId} is not attached`);
  checkInside(stored, netns);
  const { domain } = stored.local;
  const vpc = here().find(({ vni }) => vni === domain);
  if (vpc === undefined) throw new CniError("checkFailed", `VNI ${domain} is not on this node`);
  const [problem] = vpc.problems;
  if (problem !== undefined) throw new CniError("checkFailed", `VPC ${vpc.name}: ${problem}`);
}

function checkInside({ local }: StoredVpcPod, netns: Netns): void {
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
