/** Permanent neighbours. Words of ip-neighbour(8). */
import { formatIp, formatMac, type Ip } from "../net/mod.ts";
import { addNeighbour, deleteNeighbour } from "../netlink/mod.ts";
import { type KindHandler, linkKey, requests, SAME, step, words } from "./kind.ts";
import type { Neighbour } from "./object.ts";

/** neighbourKey identifies a neighbour by link and address. */
export function neighbourKey(link: string, ip: Ip): string {
  return `neighbour ${link} ${formatIp(ip)}`;
}

/** neighbour handles permanent neighbours; what the kernel learned for the same address is overwritten, what others set is not. */
export const neighbour: KindHandler<Neighbour> = {
  order: () => 80,
  key: (object) => neighbourKey(object.link, object.ip),
  needs: (object) => [linkKey(object.link)],

  compare(object, view, key = neighbour.key(object)) {
    const info = view.mirror.tables.neighbour.get(key);
    const externLearn = object.externLearn ?? false;
    if (info !== undefined && info.protocol !== view.mark.protocol)
      return {
        is: "refused",
        reason: `Cannot add neighbour ${formatIp(object.ip)} on ${object.link}: somebody else set it; remove that entry`,
      };
    const settled = info?.externLearn === externLearn && (externLearn || info.state === "permanent");
    if (settled && info.mac === object.mac) return SAME;
    const verb = info === undefined ? "add" : "replace";
    const text = () =>
      words(
        `ip neighbour ${verb} ${formatIp(object.ip)} lladdr ${formatMac(object.mac)} dev ${object.link}`,
        externLearn ? "extern_learn" : "nud permanent",
        `proto ${view.mark.protocol}`,
      );
    const work = requests(() =>
      addNeighbour({
        linkIndex: view.mirror.link(object.link)?.index ?? 0,
        ip: object.ip,
        mac: object.mac,
        externLearn,
        protocol: view.mark.protocol,
        replace: true,
      }),
    );
    return step(info === undefined ? "add" : "change", text, work);
  },

  remove(object, view) {
    const info = view.mirror.tables.neighbour.get(neighbour.key(object));
    if (info === undefined || info.protocol !== view.mark.protocol) return undefined;
    return {
      text: `ip neighbour del ${formatIp(object.ip)} dev ${object.link}`,
      work: requests(() => deleteNeighbour({ linkIndex: info.linkIndex, ip: object.ip })),
    };
  },

  *ours(view) {
    for (const info of view.mirror.tables.neighbour.values()) {
      const link = view.mirror.nameOf(info.linkIndex);
      if (info.protocol === view.mark.protocol && info.mac !== undefined && link !== undefined)
        yield { kind: "neighbour", link, ip: info.ip, mac: info.mac };
    }
  },
};
