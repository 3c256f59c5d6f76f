/** Filters that send what comes in by a link out by another. Words of tc(8). */
import { addFilter, addQdisc, deleteFilter, type FilterInfo } from "../netlink/mod.ts";
import { type KindHandler, linkKey, requests, SAME, step, type View } from "./kind.ts";
import type { Filter } from "./object.ts";
import { qdiscKey } from "./qdisc.ts";

/** filterKey identifies a filter by its link. */
export function filterKey(link: string): string {
  return `filter ${link} ingress`;
}

/** isOurFilter tells whether a filter carries our mark: it stands in the preference and under the node of our number. */
export function isOurFilter(info: FilterInfo, protocol: number): boolean {
  return info.kind === "u32" && info.pref === protocol && (info.handle & 0xfff) === protocol;
}

/**
 * filter handles redirection. The qdisc that holds filters has no handle to mark it by, and holds those of others too: it is made where
 * it is missing and never removed; it goes with its link.
 */
export const filter: KindHandler<Filter> = {
  order: () => 26,
  key: (object) => filterKey(object.link),
  needs: (object) => [linkKey(object.link), linkKey(object.redirect)],

  compare(object, view) {
    const { link } = object;
    const { filter, qdisc } = view.mirror.tables;
    const info = filter.get(filterKey(link));
    const linkIndex = indexOf(link, view);
    const redirect = indexOf(object.redirect, view);
    if (info?.matchesAll === true && info.redirect === redirect) return SAME;
    const { protocol } = view.mark;
    const add = () => addFilter({ linkIndex, pref: protocol, node: protocol, redirect });
    const addText = `tc filter add dev ${link} ingress pref ${protocol} protocol all handle ::${protocol.toString(16)} u32 match u32 0 0 action mirred egress redirect dev ${object.redirect}`;
    // A u32 filter keeps its match when it is changed (cls_u32.c, u32_init_knode).
    if (info !== undefined)
      return step(
        "change",
        `${deleteText(link, info)}\n${addText}`,
        requests(() => deleteFilter(info), add),
      );
    if (qdisc.has(qdiscKey(link, "ingress"))) return step("add", addText, requests(add));
    return step(
      "add",
      `tc qdisc add dev ${link} clsact\n${addText}`,
      requests(() => addQdisc({ linkIndex, kind: "clsact" }), add),
    );
  },

  remove(object, view) {
    const info = view.mirror.tables.filter.get(filterKey(object.link));
    if (info === undefined) return undefined;
    return { text: deleteText(object.link, info), work: requests(() => deleteFilter(info)) };
  },

  *ours(view) {
    for (const info of view.mirror.tables.filter.values()) {
      const link = view.mirror.nameOf(info.linkIndex);
      const redirect = view.mirror.nameOf(info.redirect ?? 0) ?? "";
      if (link !== undefined) yield { kind: "filter", link, redirect };
    }
  },
};

function indexOf(link: string, view: View): number {
  return view.mirror.link(link)?.index ?? 0;
}

function deleteText(link: string, { pref, handle }: FilterInfo): string {
  const [table, bucket, node] = [handle >>> 20, (handle >>> 12) & 0xff, handle & 0xfff];
  const name = `${table.toString(16)}:${bucket === 0 ? "" : bucket.toString(16)}:${node.toString(16)}`;
  return `tc filter del dev ${link} ingress pref ${pref} protocol all handle ${name} u32`;
}
