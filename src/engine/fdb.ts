/** Forwarding entries of bridges and VXLAN devices. Words of bridge(8). The kernel has no mark for them: ours are those on our links. */
import { formatIp, formatMac, type Ip, type Mac } from "../net/mod.ts";
import { addFdb, deleteFdb } from "../netlink/mod.ts";
import { sameValue } from "./equal.ts";
import { type KindHandler, linkKey, requests, SAME, step, type View, words } from "./kind.ts";
import { isOurs } from "./link.ts";
import type { FdbEntry } from "./object.ts";

/** fdbKey identifies an entry by link, MAC, table (`self` or `master`), and for flooding (all-zero MAC) by destination too. */
export function fdbKey(
  link: string,
  entry: { readonly mac: Mac; readonly dst?: Ip; readonly master?: boolean },
): string {
  const where = entry.master ? "master" : "self";
  const dst = entry.mac === 0 && entry.dst !== undefined ? ` dst ${formatIp(entry.dst)}` : "";
  return `fdb ${link} ${formatMac(entry.mac)}${dst} ${where}`;
}

/** fdb handles forwarding entries. */
export const fdb: KindHandler<FdbEntry> = {
  order: () => 80,
  key: (object) => fdbKey(object.link, object),
  needs: (object) => [linkKey(object.link)],

  compare(object, view) {
    const info = view.mirror.tables.fdb.get(fdb.key(object));
    const same =
      info !== undefined &&
      sameValue(info.dst, object.dst) &&
      info.externLearn === (object.externLearn ?? false);
    if (same) return SAME;
    const flood = object.mac === 0;
    const verb = info !== undefined ? "replace" : flood ? "append" : "add";
    const how = flood && info === undefined ? { append: true } : { replace: true };
    const work = requests(() => addFdb({ ...requested(object, view), ...how }));
    return step(info === undefined ? "add" : "change", text(verb, object), work);
  },

  remove(object, view) {
    const info = view.mirror.tables.fdb.get(fdb.key(object));
    if (info === undefined) return undefined;
    const found = { ...object, ...(info.dst !== undefined && { dst: info.dst }) };
    return { text: text("del", object), work: requests(() => deleteFdb(requested(found, view))) };
  },

  *ours(view) {
    for (const info of view.mirror.tables.fdb.values()) {
      const link = view.mirror.link(view.mirror.nameOf(info.linkIndex) ?? "");
      if (link === undefined || !isOurs(link, view)) continue;
      const master = info.master !== undefined;
      // The kernel's own: addresses of ports and bridges are `permanent`, and no VXLAN entry of ours lacks a destination.
      if (master ? info.permanent : info.dst === undefined || link.kind !== "vxlan") continue;
      const base = { kind: "fdb", link: link.name, mac: info.mac } as const;
      yield { ...base, ...(info.dst !== undefined && { dst: info.dst }), ...(master && { master }) };
    }
  },
};

function requested(object: FdbEntry, view: View) {
  const { kind: _kind, link, ...rest } = object;
  return { ...rest, linkIndex: view.mirror.link(link)?.index ?? 0 };
}

function text(verb: "add" | "append" | "replace" | "del", object: FdbEntry): string {
  return words(
    `bridge fdb ${verb} ${formatMac(object.mac)} dev ${object.link}`,
    object.dst !== undefined && `dst ${formatIp(object.dst)}`,
    object.master ? "master" : "self",
    verb !== "del" && (object.externLearn ? "extern_learn" : object.master ? "static" : "permanent"),
  );
}
