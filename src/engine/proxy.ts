/** Proxy entries: addresses that the node answers for on a link, without having them. Words of ip-neighbour(8). */
import { formatIp, type Ip } from "../net/mod.ts";
import { addNeighbour, deleteNeighbour } from "../netlink/mod.ts";
import { type KindHandler, linkKey, SAME, step, type Work } from "./kind.ts";
import type { Proxy } from "./object.ts";

/** proxyKey identifies a proxy entry by link and address. */
export function proxyKey(link: string, ip: Ip): string {
  return `proxy ${link} ${formatIp(ip)}`;
}

/** The kernel tells nobody of such entries (net/core/neighbour.c, pneigh_create), and drops them when the link goes down. */
function silent(request: Extract<Work, { via: "rtnetlink" }>["requests"][number]): Work {
  return { via: "rtnetlink", requests: [request], refresh: { proxies: true } };
}

/** proxy handles proxy entries. One of somebody else for the same address becomes ours: it does the same. */
export const proxy: KindHandler<Proxy> = {
  order: () => 80,
  key: (object) => proxyKey(object.link, object.ip),
  needs: (object) => [linkKey(object.link)],

  compare({ link, ip }, view) {
    if (view.mirror.tables.proxy.has(proxyKey(link, ip))) return SAME;
    const { protocol } = view.mark;
    const linkIndex = view.mirror.link(link)?.index ?? 0;
    const add = () => addNeighbour({ linkIndex, ip, proxy: true, protocol, replace: true });
    return step("add", `ip neighbour add proxy ${formatIp(ip)} dev ${link} proto ${protocol}`, silent(add));
  },

  remove({ link, ip }, view) {
    const info = view.mirror.tables.proxy.get(proxyKey(link, ip));
    if (info === undefined) return undefined;
    const remove = () => deleteNeighbour({ linkIndex: info.linkIndex, ip, proxy: true });
    return { text: `ip neighbour del proxy ${formatIp(ip)} dev ${link}`, work: silent(remove) };
  },

  *ours(view) {
    for (const { ip, linkIndex } of view.mirror.tables.proxy.values()) {
      const link = view.mirror.nameOf(linkIndex);
      if (link !== undefined) yield { kind: "proxy", link, ip };
    }
  },
};
