/** A pod's link into a domain: the pair of devices, and the pod's own side of it. */
import { CniError, makeInterior, missingOf } from "../cni/mod.ts";
import { bridgeOf, type Domain, type LocalAttachment, portMac, portOf, type Segment } from "../domain/mod.ts";
import { ALIAS } from "../engine/mod.ts";
import { type InterfaceAddress, type Ip, ip, networkOf, prefixEqual, prefixOf } from "../net/mod.ts";
import { addLink, NetlinkError, Rtnetlink } from "../netlink/mod.ts";
import type { PodRoute } from "../pods/mod.ts";
import { monotonicMs, type Netns, pause, sleep } from "../sys/mod.ts";
import type { DomainPlace } from "./domain-place.ts";

/** Connected is an attachment's outcome for the pod. */
export interface Connected {
  /** At most one of a family. */
  readonly gateways: readonly Ip[];
  readonly routes: readonly PodRoute[];
}

/** How far apart a new link is looked at until it works, and for how long: the kernel takes up to a second where many links come and go (link_watch.c). */
const LOOK_MS = 1;
/** Mostly it takes a moment only, less than a turn of the event loop: so often it is looked at before others have their turn, at such a distance. */
const FIRST_LOOKS = 4;
const FIRST_LOOK_MS = 0.25;
const UP_MS = 5_000;

/** makePair makes the link; what a dead agent left under its name is removed. */
export function makePair(attachment: LocalAttachment, netns: Netns, place: DomainPlace): void {
  const { id, ifname, mac, mtuBytes, segment } = attachment;
  const name = portOf(id);
  const master = place.route.link(bridgeOf(segment))?.index;
  const link = addLink({
    type: "veth",
    name,
    mtuBytes,
    mac: portMac(id),
    addrGen: "none",
    alias: `${ALIAS} external`,
    up: true,
    // As portObjects wants it, so that the engine has nothing left to change.
    ...(master !== undefined && { master }),
    port: { learning: false },
    peer: { name: ifname, netns, mac, mtuBytes },
  });
  const [refused] = place.route.execute([link]);
  if (refused === undefined) return;
  if (!(refused instanceof NetlinkError) || refused.code !== "EEXIST" || place.route.link(name) === undefined)
    throw refused;
  place.removeLink(name);
  place.route.request(link);
}

/** gatewaysOf returns the addresses of a segment's router, of the families that an attachment has. */
export function gatewaysOf(segment: Segment, attachment: LocalAttachment): Ip[] {
  const families = new Set(attachment.addresses.map(({ family }) => family));
  return segment.gateways.map((gateway) => gateway.ip).filter(({ family }) => families.has(family));
}

/** podRoutes returns what leads to the domain's router: everything, or what else the domain and its peerings have. */
export function podRoutes(domain: Domain, segment: Segment, attachment: LocalAttachment): PodRoute[] {
  const others = [
    ...domain.segments.filter(({ vni }) => vni !== segment.vni).flatMap(({ prefixes }) => prefixes),
    ...domain.peerings.flatMap(({ prefixes }) => prefixes),
  ];
  return gatewaysOf(segment, attachment).flatMap((gateway): PodRoute[] => {
    const { family } = gateway;
    if (attachment.defaultRoute) return [{ destination: prefixOf(ip(family, 0n), 0), gateway }];
    return others
      .filter((prefix, index) => others.findIndex((other) => prefixEqual(other, prefix)) === index)
      .filter((destination) => destination.family === family)
      .map((destination) => ({ destination, gateway }));
  });
}

/** InteriorWish is the pod's side. */
export interface InteriorWish {
  readonly domain: Domain;
  readonly segment: Segment;
  readonly netns: Netns;
  /** With lengths; default: the segment's. */
  readonly addresses: readonly InterfaceAddress[] | undefined;
}

/** makeInside gives the pod its addresses and routes, and returns the routes that it got. */
export function makeInside(attachment: LocalAttachment, wish: InteriorWish): PodRoute[] {
  const { domain, segment, netns, addresses } = wish;
  const { mtuBytes } = attachment;
  const ranges = addresses?.map(networkOf) ?? segment.prefixes;
  return makeInterior(attachment, {
    netns,
    node: { ranges, mtuBytes },
    defaultRoute: false,
    routes: podRoutes(domain, segment, attachment),
  });
}

/** missing returns the names of what does not work yet of an attachment: when there are none, the kernel forwards. */
export function missing(
  attachment: LocalAttachment,
  { netns, place }: { readonly netns: Netns; readonly place: DomainPlace },
): string[] {
  const { id, segment, addresses } = attachment;
  const { route } = place;
  const links = [portOf(id), bridgeOf(segment), ...place.routerLinks];
  const gateways = gatewaysOf(place.segment(segment), attachment);
  using inside = Rtnetlink.open({ netns });
  return [
    ...missingOf({ route, links, addresses: gateways }),
    ...missingOf({ route: inside, links: [], addresses }),
  ];
}

/** awaitUp waits until nothing is missing; throws "try again" when that takes too long. */
export async function awaitUp(
  { ifname, segment }: LocalAttachment,
  look: () => string[],
  { patienceMs = UP_MS }: { readonly patienceMs?: number } = {},
): Promise<void> {
  const endMs = monotonicMs() + patienceMs;
  for (let left = look(), looks = 1; left.length > 0; left = look(), looks++) {
    if (monotonicMs() >= endMs)
      throw new CniError(
        "tryAgain",
        `Cannot attach ${ifname} to VNI ${segment}: the kernel does not forward yet; try again later`,
        { details: `not up after ${patienceMs} ms: ${left.join(", ")}` },
      );
    if (looks < FIRST_LOOKS) pause(FIRST_LOOK_MS);
    else await sleep(LOOK_MS);
  }
}
