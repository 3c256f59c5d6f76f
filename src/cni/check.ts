/**
 * CHECK: is what ADD made, and what `prevResult` still lists, as it should be (K1 to K5)? What others added is tolerated, and what
 * they took out of `prevResult` is not missed: Multus removes default routes.
 */
import {
  formatInterfaceAddress,
  formatIp,
  formatMac,
  formatPrefix,
  type Ip,
  ipEqual,
  prefixEqual,
} from "../net/mod.ts";
import { type LinkInfo, type Nftables, NftablesError, Rtnetlink } from "../netlink/mod.ts";
import {
  BRIDGE,
  gatewaysOf,
  hostLinkOf,
  interiorAddresses,
  interiorRoutes,
  type NodeFacts,
  ownAddresses,
  policyOf,
  type PodRoute,
  type PodRouteOptions,
} from "../pods/mod.ts";
import type { Netns } from "../sys/mod.ts";
import { checkBandwidth } from "./check-bandwidth.ts";
import { checkHostPorts } from "./check-host-ports.ts";
import { CniError } from "./error.ts";
import type { Result } from "./result.ts";
import type { StoredPod } from "./store.ts";

/** CheckInput is everything that a check compares. */
export interface CheckInput {
  readonly pod: StoredPod;
  readonly node: NodeFacts;
  readonly previous: Result;
  readonly netns: Netns;
  /** What the configuration asks for. */
  readonly wishes: PodRouteOptions;
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
  checkPolicy(inside, pod);
  checkHost(link, input);
  checkRules(input);
  checkHostPorts(pod, input.nftables);
  checkBandwidth(pod, input.route);
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
  // A later plugin that changes it cuts the container off (K5): the node's rules let only ours pass.
  same(`the Ethernet address of ${pod.ifname}`, link.mac, pod.mac, formatMac);
  // A later plugin may make it smaller without saying so (tuning does); larger than the node's end it loses packets.
  const mtuBytes = listed?.mtuBytes ?? pod.mtuBytes;
  if (link.mtuBytes > mtuBytes) same(`the MTU of ${pod.ifname}`, link.mtuBytes, mtuBytes);
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

const MAIN = 254;

/** Of the routes that ADD made, those that prevResult still lists. */
function checkRoutes(inside: Rtnetlink, link: LinkInfo, { pod, node, previous, wishes }: CheckInput): void {
  const found = inside.routes();
  for (const wanted of interiorRoutes(pod, node, wishes)) {
    const { destination, gateway, table = MAIN, priority } = wanted;
    const alike = (via: Ip | undefined) =>
      via === undefined ? gateway === undefined : gateway !== undefined && ipEqual(via, gateway);
    const listed = previous.routes.some(
      (route) =>
        prefixEqual(route.destination, destination) &&
        alike(route.gateway) &&
        (route.table ?? MAIN) === table,
    );
    if (!listed) continue;
    const name = describeRoute(wanted);
    const actual = found.find(
      (route) =>
        prefixEqual(route.destination, destination) &&
        // Where ADD asked for no table, a later plugin may have moved it into one of its own (sbr does).
        (route.table === table || wanted.table === undefined) &&
        (priority === undefined || route.metric === priority) &&
        route.hops.some(({ via, linkIndex }) => alike(via) && linkIndex === link.index),
    );
    if (actual === undefined) throw damaged(`${name} is missing on ${pod.ifname}`);
    same(`the MTU of ${name}`, actual.mtuBytes, wanted.mtuBytes);
    same(`the segment size of ${name}`, actual.advmssBytes, wanted.advmssBytes);
  }
}

/** The rules by which a pod of a private network answers from its address of the default one. */
function checkPolicy(inside: Rtnetlink, pod: StoredPod): void {
  const wanted = policyOf(pod);
  if (wanted.length === 0) return;
  const found = inside.rules();
  for (const { from, table, priority } of wanted)
    if (
      !found.some(
        (rule) =>
          rule.from && prefixEqual(rule.from, from) && rule.table === table && rule.priority === priority,
      )
    )
      throw damaged(`the rule from ${formatPrefix(from)} lookup ${table} is missing in the container`);
}

function describeRoute({ destination, gateway, table }: PodRoute): string {
  const to = destination.length === 0 ? "the default route" : `the route to ${formatPrefix(destination)}`;
  const via = gateway === undefined ? "" : ` via ${formatIp(gateway)}`;
  return `${to}${via}${table === undefined ? "" : ` of table ${table}`}`;
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
  for (const setting of ["isolated", "hairpin"] as const)
    if (pod.bridgePort?.[setting] === true)
      same(`${setting} of ${name}`, host.port?.[setting] ?? false, true);
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
    ({ family, set, key: [port, ...values] }) =>
      `get element ${family} causeway ${set} { "${port}" . ${values.join(" . ")} }`,
  );
  try {
    nftables.run(["list chain bridge causeway from_pod", ...elements].join("\n"));
  } catch (error) {
    if (!(error instanceof NftablesError)) throw error;
    throw damaged(`the rules that let ${name} send are not complete`, error.detail);
  }
}
