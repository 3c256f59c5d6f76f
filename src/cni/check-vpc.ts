/** CHECK of a private network, as far as the container's own side and `prevResult` go; the rest is the network's to say. */
import { formatInterfaceAddress, formatMac, formatPrefix, ipEqual, prefixEqual } from "../net/mod.ts";
import { type LinkInfo, Rtnetlink } from "../netlink/mod.ts";
import type { Netns } from "../sys/mod.ts";
import { CniError } from "./error.ts";
import type { Result } from "./result.ts";

/** CheckVpcInput is what is compared. */
export interface CheckVpcInput {
  readonly ifname: string;
  readonly previous: Result;
  readonly netns: Netns;
}

/** checkVpc throws a CniError that names the first thing of `prevResult` that is missing or wrong. */
export function checkVpc({ ifname, previous, netns }: CheckVpcInput): void {
  using inside = Rtnetlink.open({ netns });
  const link = inside.link(ifname);
  if (link === undefined) throw damaged(`interface ${ifname} is missing in the container`);
  const index = previous.interfaces.findIndex(
    ({ name, sandbox }) => name === ifname && sandbox === netns.path,
  );
  if (index < 0 && previous.interfaces.length > 0)
    throw damaged(`prevResult does not list ${ifname} in ${netns.path}`);
  checkLink(link, ifname, previous.interfaces[index]?.mac);
  const found = inside.addresses({ linkIndex: link.index });
  for (const { address, interface: at } of previous.addresses) {
    if (at !== undefined && at !== index) continue;
    if (!found.some((info) => ipEqual(info.address.ip, address.ip) && info.address.length === address.length))
      throw damaged(`address ${formatInterfaceAddress(address)} is missing on ${ifname}`);
  }
  // What no address of ours is the source of belongs to the plugins of other interfaces.
  const routes = inside.routes().filter(({ hops }) => hops.some(({ linkIndex }) => linkIndex === link.index));
  for (const { destination, gateway } of previous.routes) {
    const alike = routes.some(
      (route) =>
        prefixEqual(route.destination, destination) &&
        (gateway === undefined || route.hops.some(({ via }) => via !== undefined && ipEqual(via, gateway))),
    );
    if (!alike && previous.interfaces.filter(({ sandbox }) => sandbox !== undefined).length <= 1)
      throw damaged(`the route to ${formatPrefix(destination)} is missing on ${ifname}`);
  }
}

function checkLink(link: LinkInfo, ifname: string, mac: LinkInfo["mac"]): void {
  if (!link.up) throw damaged(`${ifname} is down`);
  if (mac === undefined || link.mac === mac) return;
  const text = link.mac === undefined ? "none" : formatMac(link.mac);
  throw damaged(`the Ethernet address of ${ifname} is ${text} instead of ${formatMac(mac)}`);
}

function damaged(what: string): CniError {
  return new CniError("checkFailed", `Cannot confirm the attachment: ${what}`);
}
