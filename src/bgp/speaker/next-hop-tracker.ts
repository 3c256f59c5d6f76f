/** NextHopTracker tells the RIB which next hops the kernel can reach, and how far they are, and knows the ways to them. */
import { formatIp, type Ip, ipEqual, ipFromBytes } from "../../net/mod.ts";
import type { Rib } from "../rib/mod.ts";
import type { Found, KernelWatch, Way } from "./kernel-watch.ts";

/** NextHopTrackerOptions say who is told, and who is asked. */
export interface NextHopTrackerOptions {
  readonly rib: Rib;
  readonly watch: KernelWatch;
  /** The links on which neighbors have this link-local address. */
  readonly linksOf: (address: Ip) => readonly string[];
}

interface Known {
  readonly bytes: Uint8Array;
  found: Found | undefined;
  text: string;
}

/** NextHopTracker keeps what was found for each next hop that routes have. */
export class NextHopTracker implements Disposable {
  readonly #options: NextHopTrackerOptions;
  readonly #known = new Map<string, Known>();
  /** Next hops that came or went since they were looked at last. */
  readonly #noted = new Map<string, { readonly bytes: Uint8Array; readonly isUsed: boolean }>();

  constructor(options: NextHopTrackerOptions) {
    this.#options = options;
    for (const bytes of options.rib.nextHops.all()) this.note(bytes, true);
  }

  /** note takes a next hop that has its first route, or has lost its last one. */
  note(bytes: Uint8Array, isUsed: boolean): void {
    this.#noted.set(keyOf(bytes), { bytes, isUsed });
  }

  /** settle looks at what was noted; before the RIB works, so that nothing is chosen by a next hop that nobody has looked at. */
  settle(): void {
    for (const [key, { bytes, isUsed }] of this.#noted)
      if (isUsed) this.#look({ bytes, found: undefined, text: "" });
      else if (this.#known.delete(key)) this.#options.rib.setNextHop(bytes, undefined);
    this.#noted.clear();
  }

  /** recheck looks at all next hops again; true when the way to one of them is another. */
  recheck(): boolean {
    let differs = false;
    for (const known of this.#known.values()) if (this.#look(known)) differs = true;
    return differs;
  }

  /** waysTo returns the ways to a next hop, said by a neighbor that is on a link, if it is unnumbered, and else has this address. */
  waysTo(bytes: Uint8Array, dev: string | undefined, neighbor: Uint8Array): readonly Way[] {
    const linkLocal = linkLocalOf(bytes);
    const on = dev ?? (linkLocalOf(bytes.subarray(0, 16)) && this.#linkTo(neighbor));
    if (linkLocal !== undefined && on !== undefined) return [{ via: linkLocal, dev: on }];
    return this.#known.get(keyOf(bytes))?.found?.ways ?? [];
  }

  /** The link of a neighbor that is on one of ours. */
  #linkTo(neighbor: Uint8Array): string | undefined {
    const address = ipFromBytes(neighbor);
    return this.#options.watch.find(address)?.ways.find(({ via }) => via && ipEqual(via, address))?.dev;
  }

  #look(known: Known): boolean {
    const { bytes, text: before } = known;
    const found = this.#find(bytes);
    const text = textOf(found);
    this.#known.set(keyOf(bytes), { bytes, found, text });
    if (text === before) return false;
    this.#options.rib.setNextHop(bytes, { valid: found !== undefined, metric: found?.metric ?? 0 });
    return true;
  }

  #find(bytes: Uint8Array): Found | undefined {
    const { watch, linksOf } = this.#options;
    const linkLocal = linkLocalOf(bytes);
    if (linkLocal !== undefined) {
      const links = linksOf(linkLocal);
      if (links.length > 0) return links.some((dev) => watch.isUp(dev)) ? { metric: 0, ways: [] } : undefined;
      // Of another router on the link than an unnumbered neighbor nothing can be found out: its routes are not withdrawn while the session is
      // up. One that has a global address too, as a neighbor that is called by that, is looked up by it.
      return (bytes.length === 32 ? this.#findGlobal(bytes) : undefined) ?? { metric: 0, ways: [] };
    }
    return this.#findGlobal(bytes);
  }

  #findGlobal(bytes: Uint8Array): Found | undefined {
    const address = addressOf(bytes);
    return address === undefined ? undefined : this.#options.watch.find(address);
  }

  /** The RIB takes all next hops for reachable again. */
  [Symbol.dispose](): void {
    for (const { bytes } of this.#known.values()) this.#options.rib.setNextHop(bytes, undefined);
    this.#known.clear();
  }
}

/** RFC 2545 section 3: a link-local address alone, or behind the global one, where both routers are on one link. */
function linkLocalOf(bytes: Uint8Array): Ip | undefined {
  const last = bytes.length === 32 ? bytes.subarray(16) : bytes;
  if (last.length !== 16 || last[0] !== 0xfe || ((last[1] as number) & 0xc0) !== 0x80) return undefined;
  return ipFromBytes(last);
}

/** An IPv4 address in the form of an IPv6 one leads nowhere: the kernel has no IPv6 routes by IPv4 gateways. */
function addressOf(bytes: Uint8Array): Ip | undefined {
  if (bytes.length !== 4 && bytes.length !== 16 && bytes.length !== 32) return undefined;
  const address = ipFromBytes(bytes.subarray(0, bytes.length === 4 ? 4 : 16));
  return address.family === 6 && address.value >> 32n === 0xffffn ? undefined : address;
}

function keyOf(bytes: Uint8Array): string {
  return bytes.toHex();
}

function textOf(found: Found | undefined): string {
  if (found === undefined) return "unreachable";
  return [found.metric, ...found.ways.map(({ via, dev }) => `${via && formatIp(via)}%${dev}`)].join(" ");
}
