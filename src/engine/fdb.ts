/** Forwarding entries of bridges and VXLAN devices. Words of bridge(8). The kernel has no mark for them: ours are those on our links. */
import { formatIp, formatMac, type Ip, type Mac } from "../net/mod.ts";
import { addFdb, deleteFdb, type FdbInfo } from "../netlink/mod.ts";
import { sameValue } from "./equal.ts";
import { type KindHandler, linkKey, requests, SAME, step, type View, words } from "./kind.ts";
import { isOurs } from "./link.ts";
import type { FdbEntry, KernelObject } from "./object.ts";

/** fdbKey identifies an entry by link, MAC, table (`self` or `master`), and for flooding (all-zero MAC) by destination too. */
export function fdbKey(
  link: string,
  entry: { readonly mac: Mac; readonly dst?: Ip; readonly master?: boolean },
): string {
  const where = entry.master ? "master" : "self";
  const dst = entry.mac === 0 && entry.dst !== undefined ? ` dst ${formatIp(entry.dst)}` : "";
  return `fdb ${link} ${formatMac(entry.mac)}${dst} ${where}`;
}

/** wantedFdbKey returns the key of the object that wants an entry of the bridge together with the device's; undefined for other keys. */
export function wantedFdbKey(key: string): string | undefined {
  return key.startsWith("fdb ") && key.endsWith(" master")
    ? `${key.slice(0, -"master".length)}self`
    : undefined;
}

/** fdb handles forwarding entries. */
export const fdb: KindHandler<FdbEntry> = {
  order: () => 80,
  key: (object) => fdbKey(object.link, object),
  needs: (object) => [linkKey(object.link)],

  compare(object, view, key = fdb.key(object)) {
    const info = view.mirror.tables.fdb.get(key);
    const same =
      info !== undefined &&
      sameValue(info.dst, object.dst) &&
      info.externLearn === (object.externLearn ?? false) &&
      (object.both !== true || ofBridge(object, view)?.externLearn === true);
    if (same) return SAME;
    const flood = object.mac === 0;
    const verb = info !== undefined ? "replace" : flood ? "append" : "add";
    const shown = () => text(verb, object);
    const how = flood && info === undefined ? { append: true } : { replace: true };
    const work = requests(() => addFdb({ ...requested(object, view), ...how }));
    return step(info === undefined ? "add" : "change", shown, work);
  },

  remove(object, view) {
    const { kind, link, mac, master, both } = object;
    const info = view.mirror.tables.fdb.get(fdb.key(object));
    const dst = info?.dst ?? object.dst;
    const found: FdbEntry[] = [];
    if (info !== undefined)
      found.push({ kind, link, mac, ...(dst !== undefined && { dst }), ...(master && { master }) });
    if (both === true && ofBridge(object, view) !== undefined) found.push({ kind, link, mac, master: true });
    if (found.length === 0) return undefined;
    return {
      text: found.map((one) => text("del", one)).join("\n"),
      work: requests(...found.map((one) => () => deleteFdb(requested(one, view)))),
    };
  },

  *ours(view) {
    for (const info of view.mirror.tables.fdb.values()) {
      const link = view.mirror.link(view.mirror.nameOf(info.linkIndex) ?? "");
      if (link === undefined || !isOurs(link, view)) continue;
      const master = info.master !== undefined;
      // The kernel's own: addresses of ports and bridges are `permanent`, those that a bridge learned age, and no VXLAN entry of ours
      // lacks a destination.
      if (master ? !info.static && !info.externLearn : info.dst === undefined || link.kind !== "vxlan")
        continue;
      if (master && isBoth(view.wanted(fdbKey(link.name, { mac: info.mac }))?.object)) continue;
      const base = { kind: "fdb", link: link.name, mac: info.mac } as const;
      yield { ...base, ...(info.dst !== undefined && { dst: info.dst }), ...(master && { master }) };
    }
  },
};

/** The bridge's entry of a pair. */
function ofBridge({ link, mac }: FdbEntry, view: View): FdbInfo | undefined {
  return view.mirror.tables.fdb.get(fdbKey(link, { mac, master: true }));
}

function isBoth(object: KernelObject | undefined): boolean {
  return object?.kind === "fdb" && object.both === true;
}

function requested(object: FdbEntry, view: View) {
  const { kind: _kind, link, ...rest } = object;
  return { ...rest, linkIndex: view.mirror.link(link)?.index ?? 0 };
}

function text(verb: "add" | "append" | "replace" | "del", object: FdbEntry): string {
  return words(
    `bridge fdb ${verb} ${formatMac(object.mac)} dev ${object.link}`,
    object.dst !== undefined && `dst ${formatIp(object.dst)}`,
    object.both ? "self master" : object.master ? "master" : "self",
    verb !== "del" && (object.externLearn ? "extern_learn" : object.master ? "static" : "permanent"),
  );
}
