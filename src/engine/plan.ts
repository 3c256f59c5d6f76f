/** Plan: what apply would do, as commands that a person could type. Pure: desired entries and a view in, steps out. */
import type { Entry } from "./desired.ts";
import { Future } from "./future.ts";
import { type Action, linkKey, type Verdict, type View } from "./kind.ts";
import type { KernelObject } from "./object.ts";

/** Step is one change to one object. */
export interface Step {
  readonly action: Action;
  readonly key: string;
  readonly object: KernelObject;
  /** One command a line, in the words of ip(8), bridge(8), tc(8), wg(8), nft(8) or sysctl(8). Secrets are never in it. */
  readonly text: string;
}

/** Plan is everything that differs, in the order in which it would be done. */
export interface Plan {
  readonly steps: readonly Step[];
  /** What cannot be done now, and why. */
  readonly blocked: readonly { readonly key: string; readonly reason: string }[];
}

/** Removable is what a plan is to remove: an entry that nobody wants, or something of ours found in the kernel. */
export type Removable = Pick<Entry, "key" | "handler" | "order" | "object">;

/** makePlan compares all entries; objects on a link that is to be replaced are planned anew, since they go with it. */
export function makePlan(entries: Iterable<Entry>, removals: Iterable<Removable>, view: View): Plan {
  const steps: Step[] = [];
  const blocked: { key: string; reason: string }[] = [];
  for (const { key, object, handler } of backwards(removals)) {
    const removal = handler.remove(object, view);
    if (removal !== undefined) steps.push({ action: "delete", key, object, text: removal.text });
  }
  const future = new Future(view);
  for (const entry of inOrder(entries)) {
    const { key, object, handler } = entry;
    const unmet = entry.needs.find((need) => !exists(need, future.view));
    const verdict: Verdict =
      unmet === undefined
        ? handler.compare(object, future.view)
        : { is: "waits", reason: `waits for ${unmet}` };
    if (verdict.is === "waits" || verdict.is === "refused") blocked.push({ key, reason: verdict.reason });
    if (verdict.is !== "step") continue;
    steps.push({ action: verdict.action, key, object, text: verdict.text });
    future.expect(object, verdict.action);
  }
  return { steps, blocked };
}

/** exists tells whether the object of a key is in the kernel; only kinds that others need are asked for. */
export function exists(key: string, view: View): boolean {
  const [kind, name = ""] = key.split(" ", 2);
  switch (kind) {
    case "link":
      return view.mirror.link(name) !== undefined;
    case "nexthop":
      return view.mirror.tables.nexthop.has(key);
    case "ruleset":
      return view.table(name as "inet") !== undefined;
    default:
      throw new Error(`Nothing can need ${key}`);
  }
}

/** backwards sorts for removal: the reverse of making. */
export function backwards<T extends Pick<Entry, "order">>(removals: Iterable<T>): T[] {
  return [...removals].reverse().sort((a, b) => b.order - a.order);
}

/** inOrder sorts by place in the order of making, and what is needed before what needs it. */
export function inOrder(entries: Iterable<Entry>): Entry[] {
  const list = [...entries];
  const byKey = new Map(list.map((entry) => [entry.key, entry]));
  // A device that somebody else makes may be the other end of a veth that we make.
  const makers = new Map<string, Entry>();
  for (const entry of list)
    if (entry.object.kind === "link" && entry.object.type === "veth" && !entry.object.peer.netns)
      makers.set(linkKey(entry.object.peer.name), entry);
  const depths = new Map<string, number>();
  const depthOf = (entry: Entry): number => {
    const known = depths.get(entry.key);
    if (known !== undefined) return known;
    depths.set(entry.key, 0);
    let depth = 0;
    const external = entry.object.kind === "link" && entry.object.type === "external";
    for (const needed of [...entry.needs.map((need) => byKey.get(need)), external && makers.get(entry.key)]) {
      if (needed && needed.order === entry.order) depth = Math.max(depth, depthOf(needed) + 1);
    }
    depths.set(entry.key, depth);
    return depth;
  };
  const buckets = new Map<number, Entry[]>();
  for (const entry of list) {
    const place =
      entry.order * 1000 +
      (entry.object.kind === "link" || entry.object.kind === "nexthop" ? depthOf(entry) : 0);
    const bucket = buckets.get(place);
    if (bucket === undefined) buckets.set(place, [entry]);
    else bucket.push(entry);
  }
  return [...buckets.keys()].sort((a, b) => a - b).flatMap((place) => buckets.get(place) as Entry[]);
}

/** formatPlan writes a plan as lines: commands, and what is blocked as comments. */
export function formatPlan(plan: Plan): string {
  const lines = plan.steps.map((step) => step.text);
  lines.push(...plan.blocked.map(({ key, reason }) => `# ${key}: ${reason}`));
  return lines.length === 0 ? "" : `${lines.join("\n")}\n`;
}
