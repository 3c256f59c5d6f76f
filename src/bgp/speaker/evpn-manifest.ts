/** What a BgpRouter's `evpn` says, set and taken back like what the features have. */
import type { EvpnWish } from "../../resources/mod.ts";
import { formatPrefix } from "../../net/mod.ts";
import type { LocalHost } from "../evpn/mod.ts";
import type { EvpnOrigin } from "./evpn-origin.ts";

const NOTHING: EvpnWish = { segments: [], routed: [] };

/** EvpnManifest owns what the manifest said last. */
export class EvpnManifest {
  readonly #origin: EvpnOrigin;
  #before: EvpnWish = NOTHING;

  constructor(origin: EvpnOrigin) {
    this.#origin = origin;
  }

  /** set announces what it says now, and takes the rest back. */
  set(next: EvpnWish = NOTHING): void {
    const before = this.#before;
    this.#before = next;
    for (const { vni } of gone(before.segments, next.segments, ({ vni }) => vni))
      this.#origin.removeSegment(vni);
    for (const { vni } of gone(before.routed, next.routed, ({ vni }) => vni)) this.#origin.removeRouting(vni);
    for (const { prefixes, ...routing } of next.routed) {
      const former = before.routed.find(({ vni }) => vni === routing.vni)?.prefixes ?? [];
      this.#origin.setRouting(routing);
      for (const prefix of gone(former, prefixes, formatPrefix))
        this.#origin.removePrefix(routing.vni, prefix);
      for (const prefix of prefixes) this.#origin.setPrefix(routing.vni, { prefix });
    }
    for (const { macs, ...segment } of next.segments) {
      const former = before.segments.find(({ vni }) => vni === segment.vni)?.macs ?? [];
      this.#origin.setSegment(segment);
      for (const host of gone(former, macs, nameOf)) this.#origin.removeHost(segment.vni, host);
      for (const host of macs) this.#origin.setHost(segment.vni, { ...host, claim: "always" });
    }
  }
}

const nameOf = ({ mac, ip }: LocalHost) => `${mac} ${ip === undefined ? "" : ip.value}`;

function gone<T>(before: readonly T[], next: readonly T[], name: (one: T) => string | number): readonly T[] {
  const kept = new Set(next.map(name));
  return before.filter((one) => !kept.has(name(one)));
}
