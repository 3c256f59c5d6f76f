/**
 * Pods that asked for an address before anybody here knew where it is have asked nobody, and ask again only after a second (net/core/neighbour.c):
 * when news of it comes, they are told. A pod that did not ask forgets it at once (arp_accept, RFC 4861 section 7.2.5).
 */
import { bridgeOf, type RemoteHost, takeOverFrame } from "../domain/mod.ts";
import type { Rtnetlink } from "../netlink/mod.ts";
import { isErrno, monotonicMs, type Netns, sendFrames } from "../sys/mod.ts";

/** So many addresses are told of in a second, of one domain; more at once is what one learns when one begins, and nobody waits for it. */
const MOST_TOLD = 64;
const SECOND_MS = 1_000;

/** Arrivals tells pods of one domain of hosts elsewhere. */
export class Arrivals {
  readonly #netns: Netns;
  readonly #route: Rtnetlink;
  #sinceMs = Number.NEGATIVE_INFINITY;
  #told = 0;

  constructor(place: { readonly netns: Netns; readonly route: Rtnetlink }) {
    this.#netns = place.netns;
    this.#route = place.route;
  }

  /** tell sends each host's address to the pods of its segment; the bridge sends none of it to other nodes (neigh_suppress). */
  tell(hosts: readonly RemoteHost[]): void {
    const nowMs = monotonicMs();
    if (nowMs - this.#sinceMs >= SECOND_MS) {
      this.#sinceMs = nowMs;
      this.#told = 0;
    }
    this.#told += hosts.length;
    if (this.#told > MOST_TOLD) return;
    for (const [vni, some] of Map.groupBy(hosts, (host) => host.vni)) this.#send(vni, some);
  }

  #send(vni: number, hosts: readonly RemoteHost[]): void {
    const index = this.#route.link(bridgeOf(vni))?.index;
    if (index === undefined) return;
    const frames = hosts.flatMap(({ ip, mac }) => (ip === undefined ? [] : [takeOverFrame(ip, mac)]));
    try {
      sendFrames(index, frames, { netns: this.#netns });
    } catch (error) {
      // Those who ask find out by themselves.
      if (!isErrno(error, "ENETDOWN", "ENODEV", "ENXIO", "ENOBUFS")) throw error;
    }
  }
}
