/** Queueing disciplines at the root of a link: token buckets. Words of tc(8). */
import { addQdisc, deleteQdisc, type QdiscInfo, sameTbf } from "../netlink/mod.ts";
import { type KindHandler, linkKey, requests, SAME, step, type View, words } from "./kind.ts";
import type { Qdisc } from "./object.ts";

/** qdiscKey identifies a qdisc by its link and place; objects are at the root. */
export function qdiscKey(link: string, place: NonNullable<QdiscInfo["place"]> = "root"): string {
  return `qdisc ${link} ${place}`;
}

/** qdisc handles token buckets. The kernel's default is replaced; what somebody else put there is not. */
export const qdisc: KindHandler<Qdisc> = {
  order: () => 25,
  key: (object) => qdiscKey(object.link),
  needs: (object) => [linkKey(object.link)],

  compare(object, view) {
    const info = view.mirror.tables.qdisc.get(qdiscKey(object.link));
    if (info !== undefined && info.major !== view.mark.protocol)
      return {
        is: "refused",
        reason: `Cannot add qdisc tbf on ${object.link}: somebody else set ${info.kind} ${handleText(info.major)}; remove that one`,
      };
    if (info?.tbf !== undefined && sameTbf(info.tbf, object)) return SAME;
    const add = (replace: boolean) => () => addQdisc({ ...requested(object, view), replace });
    if (info === undefined) return step("add", text("add", object, view), requests(add(false)));
    // Of another kind with our handle: only a kind's own parameters can be changed in place.
    if (info.tbf === undefined)
      return step(
        "replace",
        `${deleteText(object.link, info)}\n${text("add", object, view)}`,
        requests(() => deleteQdisc(info), add(false)),
      );
    return step("change", text("change", object, view), requests(add(true)));
  },

  remove(object, view) {
    const info = view.mirror.tables.qdisc.get(qdiscKey(object.link));
    if (info === undefined || info.major !== view.mark.protocol) return undefined;
    return { text: deleteText(object.link, info), work: requests(() => deleteQdisc(info)) };
  },

  *ours(view) {
    for (const info of view.mirror.tables.qdisc.values()) {
      const link = view.mirror.nameOf(info.linkIndex);
      if (info.place === "root" && info.major === view.mark.protocol && link !== undefined)
        yield { kind: "qdisc", link, type: "tbf", rateBytesPerSecond: 0, burstBytes: 0, limitBytes: 0 };
    }
  },
};

function requested(object: Qdisc, view: View) {
  const { rateBytesPerSecond, burstBytes, limitBytes } = object;
  const linkIndex = view.mirror.link(object.link)?.index ?? 0;
  const settings = { rateBytesPerSecond, burstBytes, limitBytes };
  return { linkIndex, kind: "tbf", major: view.mark.protocol, ...settings } as const;
}

function handleText(major: number): string {
  return `${major.toString(16)}:`;
}

function text(verb: "add" | "change", object: Qdisc, view: View): string {
  return words(
    `tc qdisc ${verb} dev ${object.link} root handle ${handleText(view.mark.protocol)}`,
    `tbf rate ${object.rateBytesPerSecond}bps burst ${object.burstBytes}b limit ${object.limitBytes}b`,
  );
}

function deleteText(link: string, info: QdiscInfo): string {
  return `tc qdisc del dev ${link} root handle ${handleText(info.major)}`;
}
