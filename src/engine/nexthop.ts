/** Next-hop objects. Words of ip-nexthop(8). */
import { formatIp } from "../net/mod.ts";
import { addNexthop, deleteNexthop, type NexthopInfo } from "../netlink/mod.ts";
import { sameValue } from "./equal.ts";
import { type KindHandler, linkKey, requests, SAME, step, type View, words } from "./kind.ts";
import type { Nexthop } from "./object.ts";

/** nexthopKey identifies a next hop by its id. */
export function nexthopKey(id: number): string {
  return `nexthop ${id}`;
}

/** nexthop handles next-hop objects; a group needs its members. */
export const nexthop: KindHandler<Nexthop> = {
  order: () => 60,
  key: (object) => nexthopKey(object.id),
  needs: (object) => [
    ...(object.dev === undefined ? [] : [linkKey(object.dev)]),
    ...(object.group ?? []).map((member) => nexthopKey(member.id)),
  ],

  compare(object, view) {
    const info = view.mirror.tables.nexthop.get(nexthopKey(object.id));
    const change = requested(object, view);
    if (info === undefined)
      return step(
        "add",
        text("add", object, view),
        requests(() => addNexthop(change)),
      );
    if (same(object, info, view)) return SAME;
    return step(
      "change",
      text("replace", object, view),
      requests(() => addNexthop({ ...change, replace: true })),
    );
  },

  remove(object, view) {
    if (!view.mirror.tables.nexthop.has(nexthopKey(object.id))) return undefined;
    return { text: `ip nexthop del id ${object.id}`, work: requests(() => deleteNexthop({ id: object.id })) };
  },

  *ours(view) {
    for (const info of view.mirror.tables.nexthop.values()) yield { kind: "nexthop", id: info.id };
  },
};

function requested(object: Nexthop, view: View) {
  const { kind: _kind, dev, ...rest } = object;
  const index = dev === undefined ? undefined : view.mirror.link(dev)?.index;
  return { ...rest, protocol: view.mark.protocol, ...(index !== undefined && { linkIndex: index }) };
}

function same(object: Nexthop, info: NexthopInfo, view: View): boolean {
  const weights = (group: Nexthop["group"]) =>
    group === undefined
      ? undefined
      : Object.fromEntries(group.map((member) => [member.id, member.weight ?? 1]));
  return (
    sameValue(object.via, info.via) &&
    (object.dev === undefined || view.mirror.link(object.dev)?.index === info.linkIndex) &&
    (object.onlink ?? info.onlink) === info.onlink &&
    (object.blackhole ?? false) === info.blackhole &&
    sameValue(weights(object.group), weights(info.group))
  );
}

function text(verb: "add" | "replace", object: Nexthop, view: View): string {
  const member = ({ id, weight }: { id: number; weight?: number }) =>
    weight === undefined ? `${id}` : `${id},${weight}`;
  return words(
    `ip nexthop ${verb} id ${object.id}`,
    object.group !== undefined && `group ${object.group.map(member).join("/")}`,
    object.blackhole && "blackhole",
    object.via !== undefined && `via ${formatIp(object.via)}`,
    object.dev !== undefined && `dev ${object.dev}`,
    object.onlink && "onlink",
    `proto ${view.mark.protocol}`,
  );
}
