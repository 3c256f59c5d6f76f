/** Links: what to compare, what can change in place, and what means a new device. Words of ip-link(8). */
import { formatIp, formatMac } from "../net/mod.ts";
import {
  addLink,
  deleteLink,
  type LinkInfo,
  type LinkKind,
  type LinkSettings,
  type NewLink,
  type RouteRequest,
  setLink,
  type VethKind,
} from "../netlink/mod.ts";
import type { Netns } from "../sys/mod.ts";
import { type KindHandler, linkKey, requests, SAME, step, type View, type Work, words } from "./kind.ts";
import type { Link } from "./object.ts";
import { sameValue } from "./equal.ts";

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** link handles network devices. */
export const link: KindHandler<Link> = {
  order: () => 20,
  key: (object) => linkKey(object.name),
  needs: (object) => {
    const needs = typeof object.master === "string" ? [linkKey(object.master)] : [];
    return "parent" in object ? [...needs, linkKey(object.parent)] : needs;
  },

  compare(object, view) {
    const info = view.mirror.link(object.name);
    if (info === undefined) {
      if (object.type === "external")
        return { is: "waits", reason: `waits for ${object.name}, which its owner has to make` };
      return step("add", addText(object, view), makeWork(object, view));
    }
    const refusal = whyForeign(object, info, view);
    if (refusal !== undefined) return { is: "refused", reason: refusal };
    if (mustReplace(object, info, view)) {
      const text = `ip link del ${object.name}\n${addText(object, view)}`;
      return step("replace", text, makeWork(object, view, info));
    }
    const settings = difference(object, info, view);
    const kind = kindDifference(object, info);
    if (Object.keys(settings).length === 0 && kind === undefined) return SAME;
    const { index } = info;
    const { mtuBytes, ...others } = settings;
    // VXLAN refuses its own settings together with an MTU (drivers/net/vxlan, vxlan_nl2conf).
    const apart = kind?.type === "vxlan" && mtuBytes !== undefined;
    const list = apart
      ? [() => setLink({ index, mtuBytes }), () => setLink({ index, ...others, kind })]
      : [() => setLink({ index, ...settings, ...(kind && { kind }) })];
    const work = { via: "rtnetlink", requests: list, ...silent(object) } as const;
    return step("change", changeText(object, settings, kind), work);
  },

  remove(object, view) {
    const info = view.mirror.link(object.name);
    if (info === undefined || whyForeign(object, info, view) !== undefined) return undefined;
    if (object.type !== "external")
      return { text: `ip link del ${object.name}`, work: requests(() => deleteLink({ index: info.index })) };
    if (info.alias === undefined || info.alias !== aliasOf(object, view)) return undefined;
    const request = () => setLink({ index: info.index, alias: "" });
    const work = { via: "rtnetlink", requests: [request], refresh: { link: object.name } } as const;
    return { text: `ip link set ${object.name} alias ""`, work };
  },

  *ours(view) {
    const { alias } = view.mark;
    if (alias === undefined) return;
    for (const info of view.mirror.links()) {
      if (info.alias === alias) yield { kind: "link", name: info.name, type: "dummy" };
      if (info.alias === externalAlias(alias)) yield { kind: "link", name: info.name, type: "external" };
    }
  },
};

/** isOurs tells whether a link carries our mark, made by us or only configured. */
export function isOurs(info: LinkInfo, view: View): boolean {
  const { alias } = view.mark;
  return alias !== undefined && (info.alias === alias || info.alias === externalAlias(alias));
}

function externalAlias(alias: string): string {
  return `${alias} external`;
}

function aliasOf(object: Link, view: View): string | undefined {
  const { alias } = view.mark;
  return alias === undefined || object.type !== "external" ? alias : externalAlias(alias);
}

function whyForeign(object: Link, info: LinkInfo, view: View): string | undefined {
  if (object.type === "external" || view.mark.alias === undefined) return undefined;
  if (info.alias === view.mark.alias) return undefined;
  // A crash came between making and marking it.
  if (view.mark.alone === true && info.alias === undefined) return undefined;
  return `Cannot add link ${object.name}: the name is taken by a link of kind ${info.kind ?? "device"} that is not ours; rename or remove that one`;
}

function indexOf(name: string, view: View): number | undefined {
  return view.mirror.link(name)?.index;
}

function mustReplace(object: Link, info: LinkInfo, view: View): boolean {
  switch (object.type) {
    case "external":
      return false;
    case "vxlan":
      return (
        info.vxlan === undefined ||
        info.vxlan.vni !== object.vni ||
        info.vxlan.dstPort !== (object.dstPort ?? 4789) ||
        info.vxlan.local?.family !== object.local.family
      );
    case "vlan":
      return (
        info.kind !== "vlan" ||
        info.vlan?.vlanId !== object.vlanId ||
        info.parent !== indexOf(object.parent, view)
      );
    case "macvlan":
      return (
        info.kind !== "macvlan" ||
        info.macvlan?.mode !== object.mode ||
        info.parent !== indexOf(object.parent, view)
      );
    case "veth":
      return info.kind !== "veth" || (object.queues ?? info.txQueues) !== info.txQueues;
    case "vrf":
      return info.vrf?.table !== object.table;
    case "xfrm":
      return info.kind !== "xfrm" || info.xfrm?.ifId !== object.ifId;
    case "tun":
      return (
        info.tun?.type !== "tun" ||
        (object.vnetHeader ?? info.tun.vnetHeader) !== info.tun.vnetHeader ||
        (object.multiQueue ?? info.tun.multiQueue) !== info.tun.multiQueue
      );
    default:
      return info.kind !== object.type;
  }
}

/** difference returns the settings that any link has and that are not as desired. */
function difference(object: Link, info: LinkInfo, view: View): LinkSettings {
  const out: Mutable<LinkSettings> = {};
  const alias = aliasOf(object, view);
  if (alias !== undefined && info.alias !== alias) out.alias = alias;
  if (object.mtuBytes !== undefined && info.mtuBytes !== object.mtuBytes) out.mtuBytes = object.mtuBytes;
  if (object.mac !== undefined && info.mac !== object.mac) out.mac = object.mac;
  if (object.group !== undefined && info.group !== object.group) out.group = object.group;
  if (object.master !== undefined) {
    const master = object.master === null ? 0 : (indexOf(object.master, view) ?? -1);
    if ((info.master ?? 0) !== master) out.master = master;
  }
  if (object.addrGen !== undefined && info.addrGen !== undefined && info.addrGen !== object.addrGen)
    out.addrGen = object.addrGen;
  const port = { ...object.port } as Record<string, unknown>;
  const actual = (out.master === undefined ? info.port : undefined) as Record<string, unknown> | undefined;
  for (const name in port) if (port[name] === undefined || port[name] === actual?.[name]) delete port[name];
  if (Object.keys(port).length > 0) out.port = port;
  if (info.up !== (object.up ?? true)) out.up = object.up ?? true;
  return out;
}

/** kindDifference returns the settings of the link's kind that can change in place. */
function kindDifference(object: Link, info: LinkInfo): LinkKind | undefined {
  let wanted: Record<string, unknown>;
  let actual: Record<string, unknown> | undefined;
  if (object.type === "bridge") {
    wanted = {
      vlanFiltering: object.vlanFiltering,
      stp: object.stp,
      mcastSnooping: object.mcastSnooping,
      defaultPvid: object.defaultPvid,
    };
    actual = info.bridge;
  } else if (object.type === "vxlan") {
    wanted = { local: object.local, learning: object.learning, ttl: object.ttl };
    actual = info.vxlan as Record<string, unknown> | undefined;
  } else return undefined;
  const changed = Object.entries(wanted).filter(
    ([name, value]) => value !== undefined && !sameValue(value, actual?.[name]),
  );
  if (changed.length === 0) return undefined;
  return { type: object.type, ...Object.fromEntries(changed) } as LinkKind;
}

/**
 * What makes a link and marks it. The kernel takes the alias only for a link that exists; both requests go in one system call, so that a
 * crash leaves no link without our mark. The address generation has to be set before the link comes up.
 */
function makeWork(object: Link, view: View, replaced?: LinkInfo): Work {
  const before = replaced === undefined ? [] : [() => deleteLink({ index: replaced.index })];
  const { name } = object;
  const { atOnce, later, up } = split(object, view);
  const marks = Object.keys(later).length === 0 ? [] : [() => setLink({ name, ...later })];
  const raise = up ? [() => setLink({ name, up })] : [];
  if (object.type === "tun") {
    const { vnetHeader = false, multiQueue = false } = object;
    return { via: "tun", name, vnetHeader, multiQueue, before, after: [...marks, ...raise] };
  }
  const add = () => addLink({ name, ...atOnce, ...kindOf(object, view) } as NewLink);
  if (object.type === "vxlan" && object.underlay === true) {
    const { master, ...early } = atOnce;
    // The request is not read in the namespace that has the master.
    const join = master === undefined ? [] : [() => setLink({ name, master })];
    const make = (netns: Netns | undefined) =>
      addLink({ name, ...early, ...kindOf(object, view), ...(netns && { netns }) } as NewLink);
    return { via: "underlay", name, before, make, after: [...join, ...marks, ...raise] };
  }
  if (object.type === "xfrm") {
    // Its policies are those of the namespace in which it is made (xfrmi_newlink of net/xfrm/xfrm_interface_core.c); then it moves.
    const make = (netns: Netns | undefined) =>
      joined(
        addLink({ name, ...atOnce, ...kindOf(object, view) } as NewLink),
        netns && setLink({ name, netns }),
      );
    return { via: "underlay", name, before, make, after: [...marks, ...raise] };
  }
  const undo = { after: before.length, request: () => deleteLink({ name }) };
  return { via: "rtnetlink", requests: [...before, add, ...marks, ...raise], undo, ...silent(object) };
}

/** Two requests as one, which goes on where the first has ended. */
function joined(first: RouteRequest, second: RouteRequest | undefined): RouteRequest {
  if (second === undefined) return first;
  return { action: first.action, messages: [...first.messages, ...second.messages] };
}

/** What a new link can be made with, what has to be set afterwards, and whether it comes up at the end. */
function split(object: Link, view: View) {
  const { alias, addrGen, port, up: _up, mtuBytes, ...rest } = difference(object, BARE, view);
  const early = { ...rest, ...(mtuBytes !== undefined && { mtuBytes }) };
  // A bridge that is made with an MTU forgets it when ports come; one whose MTU is set keeps it (net/bridge/br_if.c,
  // br_mtu_auto_adjust). A TUN device is made bare.
  const bare = object.type === "tun" || object.type === "bridge";
  const later: LinkSettings = {
    ...(object.type === "tun" && rest),
    ...(bare && mtuBytes !== undefined && { mtuBytes }),
    ...(alias !== undefined && { alias }),
    ...(addrGen !== undefined && { addrGen }),
    ...(port !== undefined && { port }),
  };
  const atOnce: LinkSettings = object.type === "tun" ? {} : object.type === "bridge" ? rest : early;
  return { atOnce, later, up: object.up ?? true };
}

/** The kernel tells nobody of an alias that is set on a link that is down (netdev_state_change): it has to be read again. */
function silent(object: Link): { readonly refresh?: { readonly link: string } } {
  return object.up === false || object.type === "external" ? { refresh: { link: object.name } } : {};
}

/** BARE is a link that has nothing set, to compare a new one with. */
export const BARE: LinkInfo = {
  index: 0,
  name: "",
  up: false,
  running: false,
  lowerUp: false,
  loopback: false,
  operState: "down",
  mtuBytes: 0,
  addrGen: "stable_secret",
};

function kindOf(object: Link, view: View): LinkKind | VethKind | undefined {
  switch (object.type) {
    case "bridge":
      return { type: "bridge", ...kindDifference(object, BARE) };
    case "vxlan":
      return {
        ...kindDifference(object, BARE),
        type: "vxlan",
        vni: object.vni,
        dstPort: object.dstPort ?? 4789,
      };
    case "vlan":
      return { type: "vlan", vlanId: object.vlanId, parent: indexOf(object.parent, view) ?? 0 };
    case "macvlan":
      return { type: "macvlan", mode: object.mode, parent: indexOf(object.parent, view) ?? 0 };
    case "veth":
      return {
        ...{ type: "veth", peer: object.peer },
        ...(object.queues !== undefined && { queues: object.queues }),
      };
    case "vrf":
      return { type: "vrf", table: object.table };
    case "xfrm":
      return { type: "xfrm", ifId: object.ifId };
    case "dummy":
    case "ifb":
    case "wireguard":
      return { type: object.type };
    case "tun":
    case "external":
      return undefined;
  }
}

function onOff(value: boolean): "on" | "off" {
  return value ? "on" : "off";
}

function settingsText(object: Link, settings: LinkSettings): string {
  return words(
    settings.mtuBytes !== undefined && `mtu ${settings.mtuBytes}`,
    settings.mac !== undefined && `address ${formatMac(settings.mac)}`,
    settings.master !== undefined && (settings.master === 0 ? "nomaster" : `master ${object.master}`),
    settings.group !== undefined && `group ${settings.group}`,
    settings.alias !== undefined &&
      `alias ${/\s|^$/.test(settings.alias) ? `"${settings.alias}"` : settings.alias}`,
    settings.up !== undefined && (settings.up ? "up" : "down"),
  );
}

/** The lines that set what a link has; the address generation is set before the link comes up. */
function setLines(object: Link, settings: LinkSettings, kind = ""): string[] {
  const text = words(settingsText(object, settings), kind);
  return [
    settings.addrGen === undefined ? "" : `ip link set ${object.name} addrgenmode ${settings.addrGen}`,
    text === "" ? "" : `ip link set ${object.name} ${text}`,
    portText(object, settings),
  ];
}

function portText(object: Link, settings: LinkSettings): string {
  const port = settings.port;
  if (port === undefined) return "";
  const text = words(
    port.learning !== undefined && `learning ${onOff(port.learning)}`,
    port.neighSuppress !== undefined && `neigh_suppress ${onOff(port.neighSuppress)}`,
    port.isolated !== undefined && `isolated ${onOff(port.isolated)}`,
    port.hairpin !== undefined && `hairpin ${onOff(port.hairpin)}`,
  );
  return `bridge link set dev ${object.name} ${text}`;
}

function kindText(object: Link, only?: LinkKind): string {
  const has = (name: string) => only === undefined || name in only;
  switch (object.type) {
    case "bridge":
      return words(
        "type bridge",
        object.vlanFiltering !== undefined &&
          has("vlanFiltering") &&
          `vlan_filtering ${Number(object.vlanFiltering)}`,
        object.stp !== undefined && has("stp") && "stp_state 0",
        object.mcastSnooping !== undefined && has("mcastSnooping") && "mcast_snooping 0",
        object.defaultPvid !== undefined && has("defaultPvid") && "vlan_default_pvid 0",
      );
    case "vxlan":
      return words(
        "type vxlan",
        has("vni") && `id ${object.vni}`,
        has("local") && `local ${formatIp(object.local)}`,
        has("dstPort") && `dstport ${object.dstPort ?? 4789}`,
        object.learning !== undefined && has("learning") && (object.learning ? "learning" : "nolearning"),
        object.ttl !== undefined && has("ttl") && `ttl ${object.ttl === 0 ? "inherit" : object.ttl}`,
      );
    case "vlan":
      return `type vlan id ${object.vlanId}`;
    case "macvlan":
      return `type macvlan mode ${object.mode}`;
    case "veth": {
      const { queues } = object;
      const each = queues !== undefined && `numtxqueues ${queues} numrxqueues ${queues}`;
      return words(
        each,
        "type veth peer name",
        object.peer.name,
        each,
        object.peer.mtuBytes !== undefined && `mtu ${object.peer.mtuBytes}`,
        object.peer.mac !== undefined && `address ${formatMac(object.peer.mac)}`,
        object.peer.netns !== undefined && `netns ${object.peer.netns.path}`,
      );
    }
    case "vrf":
      return `type vrf table ${object.table}`;
    case "xfrm":
      return `type xfrm if_id ${object.ifId}`;
    default:
      return `type ${object.type}`;
  }
}

function addText(object: Link, view: View): string {
  const { atOnce, later, up } = split(object, view);
  const set = setLines(object, { ...later, ...(up && { up }) });
  if (object.type !== "tun") {
    const name = "parent" in object ? `link ${object.parent} name ${object.name}` : object.name;
    return lines(words("ip link add", name, settingsText(object, atOnce), kindText(object)), ...set);
  }
  const flags = words(object.vnetHeader && "vnet_hdr", object.multiQueue && "multi_queue");
  return lines(words("ip tuntap add dev", object.name, "mode tun", flags), ...set);
}

function lines(...list: readonly string[]): string {
  return list.filter((line) => line !== "").join("\n");
}

function changeText(object: Link, settings: LinkSettings, kind: LinkKind | undefined): string {
  return lines(...setLines(object, settings, kind && kindText(object, kind)));
}
