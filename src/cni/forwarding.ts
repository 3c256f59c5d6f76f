/**
 * When the kernel forwards for a new link: it notes a little later that a link works (net/core/link_watch.c), and takes up IPv6 addresses in its work
 * queue (net/ipv6/addrconf.c, addrconf_dad_work), when their local routes appear; what comes before, it drops.
 */
import { formatIp, hostPrefix, type Ip, prefixEqual } from "../net/mod.ts";
import type { Rtnetlink } from "../netlink/mod.ts";

/** RT_TABLE_LOCAL: what is delivered here. */
const LOCAL_TABLE = 255;

/** Needs are what must work in one namespace. */
export interface Needs {
  /** Socket in the namespace. */
  readonly route: Rtnetlink;
  readonly links: readonly string[];
  readonly addresses: readonly Ip[];
}

/** missingOf returns the names of what does not work yet: links, and addresses. Asking for a link has the kernel note at once that it works, from Linux 6.8 on, as far as seen. */
export function missingOf({ route, links, addresses }: Needs): string[] {
  const down = links.filter((name) => route.link(name)?.operState !== "up");
  return [...down, ...notTakenUp(route, addresses)];
}

function notTakenUp(route: Rtnetlink, addresses: readonly Ip[]): string[] {
  const six = addresses.filter(({ family }) => family === 6);
  if (six.length === 0) return [];
  const local = route.routes({ table: LOCAL_TABLE });
  const isLocal = (own: Ip) => local.some(({ destination }) => prefixEqual(destination, hostPrefix(own)));
  return six.filter((own) => !isLocal(own)).map(formatIp);
}
