/** Redistribution announces routes of the kernel, and takes them back when they go. */
import { formatPrefix, NOT_HOSTS, type Prefix, prefixCovers } from "../../net/mod.ts";
import type { RouteInfo } from "../../netlink/mod.ts";
import type { BgpRouter, RedistributeKind } from "../../resources/mod.ts";
import type { PathAttributes } from "../wire/mod.ts";
import type { KernelWatch } from "./kernel-watch.ts";
import type { Speaker } from "./speaker.ts";

/** RFC 4271 section 5.1.1: learned by some other means than a routing protocol of this AS. */
const INCOMPLETE: PathAttributes = { origin: "incomplete", asPath: [] };

/** RTPROT_… (include/uapi/linux/rtnetlink.h). */
const KERNEL = 2;
const STATIC = 4;

/** Redistribution knows what it has announced. */
export class Redistribution {
  readonly #speaker: Speaker;
  readonly #announced = new Map<string, Prefix>();

  constructor(speaker: Speaker) {
    this.#speaker = speaker;
  }

  /** refresh announces what the kernel has now of the kinds that the router names, and withdraws the rest. */
  refresh(router: BgpRouter, watch: KernelWatch | undefined): void {
    const kinds = new Set<RedistributeKind | undefined>(router.redistribute);
    const named = new Set(router.networks.map(formatPrefix));
    const wanted = new Map<string, Prefix>();
    if (watch !== undefined && kinds.size > 0)
      for (const route of watch.routes())
        if (kinds.has(kindOf(route))) wanted.set(formatPrefix(route.destination), route.destination);
    for (const [text, prefix] of this.#announced) {
      if (wanted.has(text) && !named.has(text)) continue;
      this.#announced.delete(text);
      if (!named.has(text)) this.#speaker.withdraw({ kind: "prefix", prefix });
    }
    for (const [text, prefix] of wanted) {
      if (this.#announced.has(text) || named.has(text)) continue;
      this.#announced.set(text, prefix);
      this.#speaker.announce({ kind: "prefix", prefix }, INCOMPLETE);
    }
  }
}

/** kindOf returns which kind of route this is; undefined for those that are never announced: default routes, and what only this host can use. */
export function kindOf({ destination, protocol, type, hops }: RouteInfo): RedistributeKind | undefined {
  if (type !== "unicast" && type !== "blackhole") return undefined;
  if (destination.length === 0 || NOT_HOSTS.some((own) => prefixCovers(own, destination))) return undefined;
  if (protocol === STATIC) return "static";
  if (protocol !== KERNEL) return "kernel";
  return hops.every(({ via }) => via === undefined) ? "connected" : undefined;
}
