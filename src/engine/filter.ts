/** Filters of all that comes in by a link: it is sent out by another, or judged by a program. Words of tc(8). */
import { addFilter, addQdisc, deleteFilter, type FilterInfo, setProgram } from "../netlink/mod.ts";
import { type KindHandler, linkKey, requests, SAME, step, type View, type Work } from "./kind.ts";
import type { Filter } from "./object.ts";
import { qdiscKey } from "./qdisc.ts";

/** filterKey identifies a filter by its link. */
export function filterKey(link: string): string {
  return `filter ${link} ingress`;
}

/** isOurFilter tells whether a filter carries our mark: it stands in the preference and under the node or handle of our number. */
export function isOurFilter(info: FilterInfo, protocol: number): boolean {
  if (info.pref !== protocol) return false;
  return info.kind === "u32" ? (info.handle & 0xfff) === protocol : isProgram(info, protocol);
}

const isProgram = ({ program, handle }: FilterInfo, protocol: number) =>
  program !== undefined && handle === protocol;

type Redirect = Extract<Filter, { redirect: string }>;
type Judge = Exclude<Filter, Redirect>;

/** A filter of another kind cannot be changed into this one. */
interface Change {
  readonly linkIndex: number;
  /** Ours, that is there and has to go first. */
  readonly old: FilterInfo | undefined;
  /** Whether the qdisc that holds filters is there. */
  readonly held: boolean;
}

/**
 * filter handles redirection and programs. The qdisc that holds filters has no handle to mark it by, and holds those of others too: it is made
 * where it is missing and never removed; it goes with its link.
 */
export const filter: KindHandler<Filter> = {
  order: () => 26,
  key: (object) => filterKey(object.link),
  needs: (object) => [object.link, ...("redirect" in object ? [object.redirect] : [])].map(linkKey),

  compare(object, view) {
    const { link } = object;
    const { filter, qdisc } = view.mirror.tables;
    const info = filter.get(filterKey(link));
    const change = { linkIndex: indexOf(link, view), held: qdisc.has(qdiscKey(link, "ingress")) };
    if ("redirect" in object) {
      if (info?.matchesAll === true && info.redirect === indexOf(object.redirect, view)) return SAME;
      // A u32 filter keeps its match when it is changed (cls_u32.c, u32_init_knode).
      return stepOf(object, { ...change, old: info }, redirecting(object, view));
    }
    if (info?.program === object.program.name) return SAME;
    // One program follows the other without a gap.
    const isPlace = info !== undefined && isProgram(info, view.mark.protocol);
    return stepOf(object, { ...change, old: isPlace ? undefined : info }, judging(object, view), isPlace);
  },

  remove(object, view) {
    const info = view.mirror.tables.filter.get(filterKey(object.link));
    if (info === undefined) return undefined;
    return { text: deleteText(object.link, info), work: requests(() => deleteFilter(info)) };
  },

  *ours(view) {
    for (const { linkIndex, redirect = 0, program } of view.mirror.tables.filter.values()) {
      const link = view.mirror.nameOf(linkIndex);
      if (link === undefined) continue;
      if (program === undefined) yield { kind: "filter", link, redirect: view.mirror.nameOf(redirect) ?? "" };
      else yield { kind: "filter", link, program: { name: program, code: new Uint8Array() } };
    }
  },
};

/** What makes a filter: words, and work that follows some requests. */
interface Making {
  readonly text: string;
  readonly work: (before: readonly (() => ReturnType<typeof addQdisc>)[]) => Work;
}

function stepOf({ link }: Filter, { linkIndex, old, held }: Change, making: Making, isChange = false) {
  const before = old === undefined ? [] : [() => deleteFilter(old)];
  const holder = held || old !== undefined ? [] : [() => addQdisc({ linkIndex, kind: "clsact" })];
  const lines = [
    ...(old === undefined ? [] : [deleteText(link, old)]),
    ...(holder.length === 0 ? [] : [`tc qdisc add dev ${link} clsact`]),
    making.text,
  ];
  const action = old !== undefined || isChange ? "change" : "add";
  return step(action, lines.join("\n"), making.work([...before, ...holder]));
}

function redirecting({ link, redirect: target }: Redirect, view: View): Making {
  const { protocol } = view.mark;
  const [linkIndex, redirect] = [indexOf(link, view), indexOf(target, view)];
  const add = () => addFilter({ linkIndex, pref: protocol, node: protocol, redirect });
  return {
    text: `tc filter add dev ${link} ingress pref ${protocol} protocol all handle ::${protocol.toString(16)} u32 match u32 0 0 action mirred egress redirect dev ${target}`,
    work: (before) => requests(...before, add),
  };
}

function judging({ link, program }: Judge, view: View): Making {
  const { protocol } = view.mark;
  const at = { linkIndex: indexOf(link, view), pref: protocol, handle: protocol, name: program.name };
  return {
    text: `tc filter replace dev ${link} ingress pref ${protocol} protocol all handle 0x${protocol.toString(16)} bpf direct-action name ${program.name}`,
    work: (before) => ({
      via: "classifier",
      program,
      before,
      set: (descriptor) => setProgram({ ...at, descriptor }),
    }),
  };
}

function indexOf(link: string, view: View): number {
  return view.mirror.link(link)?.index ?? 0;
}

function deleteText(link: string, { kind, pref, handle }: FilterInfo): string {
  const [table, bucket, node] = [handle >>> 20, (handle >>> 12) & 0xff, handle & 0xfff];
  const name = `${table.toString(16)}:${bucket === 0 ? "" : bucket.toString(16)}:${node.toString(16)}`;
  const shown = kind === "u32" ? name : `0x${handle.toString(16)}`;
  return `tc filter del dev ${link} ingress pref ${pref} protocol all handle ${shown} ${kind}`;
}
