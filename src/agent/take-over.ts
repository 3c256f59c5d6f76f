/** Tells the neighbours on some links that addresses are here now. */
import { takeOverFrame } from "../domain/mod.ts";
import type { Ip } from "../net/mod.ts";
import { Rtnetlink } from "../netlink/mod.ts";
import { isErrno, type Netns, sendFrames } from "../sys/mod.ts";

/** TakeOver is who says what where. */
export interface TakeOver {
  readonly netns: Netns;
  /** Names; those that are not there, or down, are passed over: nobody there knows anything wrong. */
  readonly links: readonly string[];
  readonly addresses: readonly Ip[];
}

/** takeOver says it once; when it is lost, neighbours find out by themselves within a minute. */
export function takeOver({ netns, links, addresses }: TakeOver): void {
  if (addresses.length === 0 || links.length === 0) return;
  using route = Rtnetlink.open({ netns });
  for (const name of links) {
    const link = route.link(name);
    if (link?.mac === undefined || !link.up) continue;
    const { mac, index } = link;
    const frames = addresses.map((address) => takeOverFrame(address, mac));
    try {
      sendFrames(index, frames, { netns });
    } catch (error) {
      if (!isErrno(error, "ENETDOWN", "ENODEV", "ENXIO", "ENOBUFS")) throw error;
    }
  }
}
