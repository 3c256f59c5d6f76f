/**
 * A routing table as it would be explained: maps of objects, everything computed anew each time it is asked for. Slow and obvious; what the
 * real one is compared with.
 */
import { isDeepStrictEqual } from "node:util";
import { type Ip, ip } from "../../src/net/mod.ts";
import { type BgpFamily, EVPN, IPV4_UNICAST, type PathAttributes } from "../../src/bgp/wire/mod.ts";

/** ModelPeer is a peer of the model. */
export interface ModelPeer {
  readonly number: number;
  readonly kind: "external" | "client" | "internal" | "local";
  readonly asn: number;
  readonly routerId: number;
  readonly address: number;
  readonly addPath: "all" | number | undefined;
  readonly longLived: boolean;
  nextHopSelf: Ip | undefined;
  isUp: boolean;
  importPolicy: ((attributes: PathAttributes) => PathAttributes | undefined) | undefined;
  exportPolicy: ((attributes: PathAttributes) => PathAttributes | undefined) | undefined;
}

/** ModelPath is one route of a peer. */
export interface ModelPath {
  readonly peer: ModelPeer;
  readonly family: BgpFamily;
  readonly key: Uint8Array;
  readonly extra: Uint8Array;
  readonly pathId: number;
  readonly attributes: PathAttributes;
  isStale: boolean;
  isLongLived: boolean;
}

const LLGR_STALE = 0xffff0006;
const NO_LLGR = 0xffff0007;
const NO_EXPORT = 0xffffff01;
const NO_ADVERTISE = 0xffffff02;

/** TableModel is a router's tables. */
export class TableModel {
  readonly paths = new Map<string, ModelPath>();
  /** Next hops that cannot be reached, as text. */
  readonly unreachable = new Set<string>();
  readonly own: { readonly asn: number; readonly routerId: number; readonly clusterId: number };

  constructor(own: TableModel["own"]) {
    this.own = own;
  }

  put(path: ModelPath): void {
    const before = this.paths.get(this.#name(path));
    this.paths.set(this.#name(path), path);
    const isSaidAgain =
      before !== undefined &&
      !before.isLongLived &&
      isDeepStrictEqual([before.attributes, before.extra], [path.attributes, path.extra]);
    const isUsed = (one: ModelPath | undefined) => one !== undefined && this.accepted(one) !== undefined;
    if (!isSaidAgain && (isUsed(before) || isUsed(path))) this.outdate(path);
  }

  delete(path: Pick<ModelPath, "peer" | "family" | "key" | "pathId">): void {
    this.deleteWhere((one) => this.#name(one) === this.#name(path));
  }

  /** outdate is what news of a path do to stale ones of the same route and origin, which a reflector told. */
  outdate(news: ModelPath): void {
    if (news.attributes.originatorId !== undefined && !news.peer.isUp) return;
    const originOf = ({ attributes, peer }: ModelPath) =>
      attributes.originatorId?.value ?? BigInt(peer.routerId);
    const place = ({ family, key }: ModelPath) => `${family}/${key.join(".")}`;
    for (const [name, path] of this.paths)
      if (
        path !== news &&
        path.isStale &&
        path.attributes.originatorId !== undefined &&
        place(path) === place(news) &&
        originOf(path) === originOf(news)
      )
        this.paths.delete(name);
  }

  #name({ peer, family, key, pathId }: Pick<ModelPath, "peer" | "family" | "key" | "pathId">): string {
    return `${peer.number}/${family}/${key.join(".")}/${pathId}`;
  }

  deleteWhere(matches: (path: ModelPath) => boolean): void {
    const gone = [...this.paths].filter(([, path]) => matches(path));
    for (const [name] of gone) this.paths.delete(name);
    for (const [, path] of gone) if (this.accepted(path) !== undefined) this.outdate(path);
  }

  /** makeLongLived is RFC 9494 for the stale routes of a peer. */
  makeLongLived(peer: ModelPeer, family: BgpFamily): void {
    const isMeant = (path: ModelPath) => path.peer === peer && path.family === family && path.isStale;
    this.deleteWhere((path) => isMeant(path) && path.attributes.communities?.includes(NO_LLGR) === true);
    for (const path of this.paths.values()) if (isMeant(path)) path.isLongLived = true;
  }

  /** accepted is what a path is used with, undefined when it is not. */
  accepted(path: ModelPath): PathAttributes | undefined {
    const { attributes, peer } = path;
    const { own } = this;
    // What this router announces itself may have been through its AS before.
    if (peer.kind !== "local" && attributes.asPath.some(({ asns }) => asns.includes(own.asn)))
      return undefined;
    if (attributes.originatorId?.value === BigInt(own.routerId)) return undefined;
    if (attributes.clusterList?.some(({ value }) => value === BigInt(own.clusterId)) === true)
      return undefined;
    const judged = peer.importPolicy === undefined ? attributes : peer.importPolicy(attributes);
    if (judged === undefined || !path.isLongLived) return judged;
    const communities = judged.communities ?? [];
    return communities.includes(LLGR_STALE)
      ? judged
      : { ...judged, communities: [...communities, LLGR_STALE] };
  }

  destinations(): Map<string, ModelPath[]> {
    const found = new Map<string, ModelPath[]>();
    for (const path of this.paths.values()) {
      const name = `${path.family}/${path.key.join(".")}`;
      const list = found.get(name);
      if (list === undefined) found.set(name, [path]);
      else list.push(path);
    }
    return found;
  }

  /** ranked are the usable paths of a destination, best first. */
  ranked(paths: readonly ModelPath[]): ModelPath[] {
    const rest = paths.filter((path) => {
      const attributes = this.accepted(path);
      if (attributes === undefined) return false;
      return path.family === EVPN || !this.unreachable.has(String(attributes.nextHop?.address.value));
    });
    const order: ModelPath[] = [];
    while (rest.length > 0) {
      const best = this.#best(rest);
      order.push(best);
      rest.splice(rest.indexOf(best), 1);
    }
    return order;
  }

  #best(paths: readonly ModelPath[]): ModelPath {
    let left = [...paths];
    const of = (path: ModelPath) => this.accepted(path) as PathAttributes;
    const lowest = (value: (path: ModelPath) => number | bigint) => {
      const least = left.map(value).reduce((a, b) => (b < a ? b : a));
      left = left.filter((path) => value(path) === least);
    };
    lowest((path) => (of(path).communities?.includes(LLGR_STALE) === true ? 1 : 0));
    if (left[0]?.family === EVPN && left[0].key[0] === 2) {
      const mobility = (path: ModelPath) =>
        of(path).extendedCommunities?.find(({ kind }) => kind === "mac-mobility") as
          { readonly sequence: number; readonly sticky: boolean } | undefined;
      lowest((path) => (mobility(path)?.sticky === true ? 0 : 1));
      lowest((path) => -(mobility(path)?.sequence ?? 0));
      lowest((path) => of(path).nextHop?.address.value ?? 0n);
    }
    lowest((path) => -(of(path).localPreference ?? 100));
    lowest((path) => (path.peer.kind === "local" ? 0 : 1));
    lowest((path) =>
      of(path).asPath.reduce((n, { kind, asns }) => n + (kind === "set" ? 1 : asns.length), 0),
    );
    lowest((path) => ["igp", "egp", "incomplete"].indexOf(of(path).origin));
    const neighbour = (path: ModelPath) => {
      const first = of(path).asPath[0];
      return first?.kind === "sequence" ? first.asns[0] : 0;
    };
    const before = left;
    left = before.filter(
      (m) => !before.some((n) => neighbour(n) === neighbour(m) && (of(n).med ?? 0) < (of(m).med ?? 0)),
    );
    lowest((path) => (path.peer.kind === "external" ? 0 : 1));
    lowest((path) => of(path).originatorId?.value ?? BigInt(path.peer.routerId));
    lowest((path) => of(path).clusterList?.length ?? 0);
    lowest((path) => path.peer.address);
    lowest((path) => path.pathId);
    return left[0] as ModelPath;
  }

  /** sent is what a path is sent to a peer with, undefined when it is not. */
  sent(path: ModelPath, to: ModelPeer): PathAttributes | undefined {
    const from = path.peer;
    const { own } = this;
    let out = this.accepted(path) as PathAttributes;
    if (from === to) return undefined;
    const communities = out.communities ?? [];
    const isExternal = to.kind === "external";
    if (communities.includes(NO_ADVERTISE) || (isExternal && communities.includes(NO_EXPORT)))
      return undefined;
    if (communities.includes(LLGR_STALE) && !to.longLived) return undefined;
    if (to.kind === "internal" && from.kind === "internal") return undefined;
    if (isExternal && from.kind !== "local") {
      const { med: _, ...rest } = out;
      out = rest;
    }
    if (to.exportPolicy !== undefined) {
      const judged = to.exportPolicy(out);
      if (judged === undefined) return undefined;
      out = judged;
    }
    if (isExternal) {
      const { localPreference: _l, originatorId: _o, clusterList: _c, ...rest } = out;
      const [first, ...others] = out.asPath;
      const asPath =
        first?.kind === "sequence" && first.asns.length < 255
          ? [{ kind: "sequence" as const, asns: [own.asn, ...first.asns] }, ...others]
          : [{ kind: "sequence" as const, asns: [own.asn] }, ...out.asPath];
      out = { ...rest, asPath };
    } else {
      out = { ...out, localPreference: out.localPreference ?? 100 };
      if (from.kind === "client" || from.kind === "internal")
        out = {
          ...out,
          originatorId: out.originatorId ?? ip(4, BigInt(from.routerId)),
          clusterList: [ip(4, BigInt(own.clusterId)), ...(out.clusterList ?? [])],
        };
    }
    const fromOutside = from.kind === "external";
    if (
      to.nextHopSelf !== undefined &&
      path.family === IPV4_UNICAST &&
      (from.kind !== "local" || out.nextHop === undefined)
    )
      if (isExternal || fromOutside || from.kind === "local")
        out = { ...out, nextHop: { address: to.nextHopSelf } };
    return out;
  }
}
