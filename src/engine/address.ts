/** Addresses on links. Words of ip-address(8). */
import { formatInterfaceAddress, type InterfaceAddress } from "../net/mod.ts";
import { type AddressInfo, addAddress, deleteAddress } from "../netlink/mod.ts";
import { type KindHandler, linkKey, requests, SAME, step, type View, type Work, words } from "./kind.ts";
import { isOurs } from "./link.ts";
import type { Address } from "./object.ts";

/** addressKey identifies an address by link, address and length. */
export function addressKey(link: string, address: InterfaceAddress): string {
  return `address ${link} ${formatInterfaceAddress(address)}`;
}

/** address handles addresses. */
export const address: KindHandler<Address> = {
  order: () => 50,
  key: (object) => addressKey(object.link, object.address),
  needs: (object) => [linkKey(object.link)],

  compare(object, view) {
    const info = view.mirror.tables.address.get(address.key(object));
    const change = requested(object, view);
    if (info === undefined) return step("add", text("add", object, view), addWork(change));
    if (info.dadFailed)
      return { is: "refused", reason: `${text("add", object, view)}: another host has this address` };
    const { noprefixroute = info.noprefixroute, deprecated = info.deprecated } = object;
    if (noprefixroute === info.noprefixroute && deprecated === info.deprecated) return SAME;
    return step(
      "change",
      text("change", object, view),
      requests(() => addAddress({ ...change, replace: true })),
    );
  },

  remove(object, view) {
    if (!view.mirror.tables.address.has(address.key(object))) return undefined;
    const line = `ip address del ${formatInterfaceAddress(object.address)} dev ${object.link}`;
    return { text: line, work: requests(() => deleteAddress(requested(object, view))) };
  },

  *ours(view) {
    for (const info of view.mirror.tables.address.values()) {
      const link = view.mirror.nameOf(info.linkIndex);
      if (link !== undefined && carriesMark(info, link, view))
        yield { kind: "address", link, address: info.address };
    }
  },
};

/** Where the kernel tells who made an address (Linux 5.18), that is our mark; else all on our links are ours but link-local ones. */
function carriesMark(info: AddressInfo, linkName: string, view: View): boolean {
  if (info.protocol !== undefined) return info.protocol === view.mark.protocol;
  const info6LinkLocal = info.address.ip.family === 6 && info.address.ip.value >> 118n === 0xfe80n >> 6n;
  const link = view.mirror.link(linkName);
  return !view.mirror.addressProtocol && !info6LinkLocal && link !== undefined && isOurs(link, view);
}

/** The kernel tells of a new IPv6 address after the answer, from its work queue (net/ipv6/addrconf.c, addrconf_dad_work). */
function addWork(change: ReturnType<typeof requested>): Work {
  const request = () => addAddress(change);
  if (change.address.ip.family === 4) return requests(request);
  return { via: "rtnetlink", requests: [request], refresh: { addressesOn: change.linkIndex } };
}

function requested(object: Address, view: View) {
  return {
    linkIndex: view.mirror.link(object.link)?.index ?? 0,
    address: object.address,
    nodad: object.nodad ?? true,
    ...(object.noprefixroute !== undefined && { noprefixroute: object.noprefixroute }),
    ...(object.deprecated !== undefined && { deprecated: object.deprecated }),
    protocol: view.mark.protocol,
  };
}

function text(verb: "add" | "change", object: Address, view: View): string {
  return words(
    `ip address ${verb} ${formatInterfaceAddress(object.address)} dev ${object.link}`,
    `proto ${view.mark.protocol}`,
    object.address.ip.family === 6 && (object.nodad ?? true) && "nodad",
    object.noprefixroute && "noprefixroute",
    object.deprecated && "preferred_lft 0",
  );
}
