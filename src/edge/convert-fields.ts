/** Parts that several kinds of OpenPERouter have, as ours. */
import { type Family, formatPrefix, networkOf, tryParseInterfaceAddress } from "../net/mod.ts";
import type { Json } from "../resources/mod.ts";
import type { Wanted } from "./convert-schema.ts";

/** Spec is a manifest's `spec` as JSON; what is undefined is not written. */
export type Spec = { readonly [field: string]: Json | undefined };

/** written drops what is undefined, and nothing else. */
export function written(spec: Spec): { readonly [field: string]: Json } {
  return Object.fromEntries(Object.entries(spec).filter(([, value]) => value !== undefined)) as {
    readonly [field: string]: Json;
  };
}

type Selector = Wanted<"L3VNI">["nodeselector"];

/** nodesOf returns a selection of nodes by labels; undefined for all. */
export function nodesOf(selector: Selector): Json | undefined {
  const equal = Object.entries(selector?.matchlabels ?? {}).map(([key, value]) => `${key}=${value}`);
  const others = (selector?.matchexpressions ?? []).map(({ key, operator, values }) => {
    const list = (values ?? []).join(", ");
    switch (operator) {
      case "In":
        return `${key} in (${list})`;
      case "NotIn":
        return `${key} notin (${list})`;
      case "Exists":
        return key;
      case "DoesNotExist":
        return `!${key}`;
    }
  });
  const all = [...equal, ...others];
  return all.length === 0 ? undefined : { labels: all };
}

/** Refuse reports a field by its path in lower case. */
export type Refuse = (path: readonly PropertyKey[], problem: string) => void;

/** poolOf returns a pool as its network: OpenPERouter takes no notice of the bits after its length. What is no network stays, and is refused later. */
export function poolOf(text: string): string {
  const address = tryParseInterfaceAddress(text);
  return address === undefined ? text : formatPrefix(networkOf(address));
}

type HostSession = Wanted<"L3Passthrough">["hostsession"];

/** sessionOf returns a host session; `link` is what OpenPERouter calls it on the host. */
export function sessionOf(session: HostSession, link: string, refuse: Refuse): Spec {
  const { asn, hostasn, hosttype, localcidr } = session;
  const at = (field: string) => ["hostSession", field];
  if (hostasn === undefined && hosttype === undefined)
    refuse(at("hostASN"), "is missing, and hostType too; write one of them");
  if (hostasn !== undefined && hosttype !== undefined)
    refuse(at("hostType"), "stands beside hostASN; keep one of them");
  const pools = ([4, 6] as const).flatMap((family) => {
    const pool = localcidr[`ipv${family}`];
    if (pool === undefined) return [];
    const other: Family = family === 4 ? 6 : 4;
    if (tryParseInterfaceAddress(pool)?.ip.family === other)
      refuse([...at("localCIDR"), `ipv${family}`], `${pool} is of IPv${other}; write it as ipv${other}`);
    return [poolOf(pool)];
  });
  if (pools.length === 0) refuse(at("localCIDR"), "names no network; write ipv4, ipv6 or both");
  return { asn, peerAsn: hostasn ?? hosttype, prefixes: pools, link };
}

/** familyOf returns the family of a tunnel endpoint. */
export function familyOf(word: "IPv4" | "IPv6" | undefined): 4 | 6 | undefined {
  return word === undefined ? undefined : word === "IPv4" ? 4 : 6;
}
