/**
 * CHECK: is what ADD made, and what `prevResult` still lists, as it should be (K1 to K5)? What others added is tolerated, and what
 * they took out of `prevResult` is not missed: Multus removes default routes.
 */
import { formatInterfaceAddress, formatIp, formatMac, ipEqual, prefixEqual } from "../net/mod.ts";
import { type LinkInfo, type Nftables, NftablesError, Rtnetlink } from "../netlink/mod.ts";
import {
  BRIDGE,
  gatewaysOf,
  hostLinkOf,
  interiorAddresses,
  type NodeFacts,
  ownAddresses,
} from "../pods/mod.ts";
import type { Netns } from "../sys/mod.ts";
import { CniError } from "./error.ts";
import type { Result } from "./result.ts";
import type { StoredPod } from "./store.ts";

/** CheckInput is everything that a check compares. */
export interface CheckInput {
  readonly pod: StoredPod;
  readonly node: NodeFacts;
  readonly previous: Result;
  readonly netns: Netns;
  /** Sockets in the node's namespace. */
  readonly route: Rtnetlink;
  readonly nftables: Nftables;
}

/** checkAttachment throws a CniError that names the first thing that is missing or wrong. */
export function checkAttachment(input: CheckInput): void {
  const { pod, netns } = input;
  using inside = Rtnetlink.open({ netns });
  const link = inside.link(pod.ifname);
  if (link === undefined) throw damaged(`interface ${pod.ifname} is missing in the container`);
  checkLink(link, input);
  checkAddresses(inside, link, input);
  checkRoutes(inside, link, input);
  checkHost(link, input);
  checkRules(input);
}

function damaged(what: string, details?: string): CniError {
  return new CniError(
    "checkFailed",
    `Cannot confirm the attachment: ${what}`,
    details === undefined ? {} : { details },
  );
}

function same<T>(
  what: string,
  found: T,
  wanted: T,
  format: (value: NonNullable<T>) => string = String,
): void {
  if (found === wanted) return;
  const text = (value: T) => (value === undefined || value === null ? "none" : format(value));
  throw damaged(`${what} is ${text(found)} instead of ${text(wanted)}`);
}

function checkLink(link: LinkInfo, { pod, previous, netns }: CheckInput): void {
  const listed = previous.interfaces.find(
    ({ name, sandbox }) => name === pod.ifname && sandbox === netns.path,
  );
  // Results before 0.3.0, converted, have no interfaces.
  if (listed === undefined && previous.interfaces.length > 0)
    throw damaged(`prevResult does not list ${pod.ifname} in ${netns.path}`);
  same(`the kind of ${pod.ifname}`, link.kind, "veth");
  same(`the Ethernet address of ${pod.ifname}`, link.mac, listed?.mac ?? pod.mac, formatMac);
  same(`the MTU of ${pod.ifname}`, link.mtuBytes, listed?.mtuBytes ?? pod.mtuBytes);
  same(`the state of ${pod.ifname}`, link.up ? "up" : "down", "up");
}

function checkAddresses(inside: Rtnetlink, link: LinkInfo, { pod, node, previous }: CheckInput): void {
  const found = inside.addresses({ linkIndex: link.index });
  for (const wanted of interiorAddresses(pod, node)) {
    if (!previous.addresses.some(({ address }) => ipEqual(address.ip, wanted.ip))) continue;
    if (!found.some(({ address }) => ipEqual(address.ip, wanted.ip) && address.length === wanted.length))
      throw damaged(`address ${formatInterfaceAddress(wanted)} is missing on ${pod.ifname}`);
  }
}

function checkRoutes(inside: Rtnetlink, link: LinkInfo, { pod, node, previous }: CheckInput): void {
  const found = inside.routes({ table: 254 });
  for (const { ip: gateway } of gatewaysOf(node.ranges)) {
    const listed = previous.routes.filter(
      (route) => route.gateway !== undefined && ipEqual(route.gateway, gateway),
    );
    for (const { destination } of listed)
      if (
        !found.some(
          (route) =>
            prefixEqual(route.destination, destination) &&
            route.hops.some(({ via, linkIndex }) => via && ipEqual(via, gateway) && linkIndex === link.index),
        )
      )
        throw damaged(`the route via ${formatIp(gateway)} is missing on ${pod.ifname}`);
  }
}

function checkHost(link: LinkInfo, { pod, node, route }: CheckInput): void {
  const name = hostLinkOf(pod.id);
  const host = route.link(name);
  if (host === undefined) throw damaged(`link ${name} is missing on the node`);
  const bridge = route.link(BRIDGE);
  if (bridge === undefined) throw damaged(`bridge ${BRIDGE} is missing on the node`);
  same(`the other end of ${name}`, host.parent, link.index);
  same(`the bridge of ${name}`, host.master, bridge.index);
  same(`the state of ${name}`, host.up ? "up" : "down", "up");
  same(`the state of ${BRIDGE}`, bridge.up ? "up" : "down", "up");
  const gateways = route.addresses({ linkIndex: bridge.index });
  for (const { ip } of gatewaysOf(node.ranges))
    if (!gateways.some(({ address }) => ipEqual(address.ip, ip)))
      throw damaged(`gateway address ${formatIp(ip)} is missing on ${BRIDGE}`);
}

/** nft 1.0.6 answers `get element` with text even where JSON is asked for; that it succeeds is all that counts. */
function checkRules({ pod, nftables }: CheckInput): void {
  const name = hostLinkOf(pod.id);
  const elements = ownAddresses(name, pod).map(
    ({ family, set, key }) => `get element ${family} causeway ${set} { "${key[0]}" . ${key[1]} }`,
  );
  try {
    nftables.run(["list chain bridge causeway from_pod", ...elements].join("\n"));
  } catch (error) {
    if (!(error instanceof NftablesError)) throw error;
    throw damaged(`the rules that let ${name} send are not complete`, error.detail);
  }
}
