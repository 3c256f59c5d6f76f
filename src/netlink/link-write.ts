/** Requests that make, change and remove links. */
import { macBytes } from "../net/mod.ts";
import { AF } from "./family.ts";
import type { LinkChange, LinkKind, LinkSettings, NewLink, VethKind } from "./link.ts";
import { addrGens, bondModes, hashPolicies, ipvlanModes, macvlanModes } from "./link-read.ts";
import { IFF, LINK, linkMessage } from "./link-table.ts";
import { FLAG, type Message, message, type RouteRequest } from "./request.ts";

type Body = Parameters<typeof linkMessage.encode>[1]["body"];
type Target = { readonly index?: number | undefined; readonly name?: string | undefined };

/** addLink makes a link; EEXIST if the name is taken. Nothing stays when a later step is refused. */
export function addLink(link: NewLink): RouteRequest {
  const { up, addrGen, alias, port, ...atCreation } = link;
  // The kernel reads alias, address generation and port settings only from messages about a link that exists; the address
  // generation has to be set before the link comes up (net/core/rtnetlink.c: rtnl_newlink, do_setlink).
  const upLater = up === true && addrGen !== undefined;
  const messages: [Message, ...Message[]] = [
    linkUpdate(
      FLAG.create | FLAG.exclusive,
      { name: link.name },
      { ...atCreation, ...(!upLater && up !== undefined && { up }) },
      {
        ...ofKind(link),
        ...(link.netns !== undefined && { netnsFd: link.netns.fd.number }),
        linkInfo: kindBody(asNew(link)),
      },
    ),
  ];
  if (alias !== undefined || addrGen !== undefined || port !== undefined)
    messages.push(
      linkUpdate(0, link, {
        ...(alias !== undefined && { alias }),
        ...(addrGen !== undefined && { addrGen }),
        ...(port !== undefined && { port }),
      }),
    );
  if (upLater) messages.push(linkUpdate(0, link, { up: true }));
  return {
    action: () => `add ${link.type} link ${link.name}`,
    messages,
    undo: message(LINK.delete, 0, linkMessage, { header: {}, body: { name: link.name } }),
  };
}

/** setLink changes a link that exists. */
export function setLink(change: LinkChange): RouteRequest {
  const { up, port, ...rest } = change;
  const kind = change.kind === undefined ? {} : { linkInfo: kindBody(change.kind) };
  const identity = {
    ...(change.newName !== undefined && { name: change.newName }),
    ...(change.netns !== undefined && { netnsFd: change.netns.fd.number }),
  };
  // In one message port settings come before the master, and up comes before the address generation.
  const split =
    (port !== undefined && change.master !== undefined) || (up === true && change.addrGen !== undefined);
  const last = { ...(up !== undefined && { up }), ...(port !== undefined && { port }) };
  const action = () => `change link ${change.name ?? change.index}`;
  if (!split)
    return { action, messages: [linkUpdate(0, change, { ...rest, ...last }, { ...identity, ...kind })] };
  return {
    action,
    messages: [linkUpdate(0, change, rest, { ...identity, ...kind }), linkUpdate(0, change, last)],
  };
}

/** deleteLink removes a link, and its other end if it is a veth. */
export function deleteLink(link: { readonly index: number } | { readonly name: string }): RouteRequest {
  const target: Target = link;
  return {
    action: () => `delete link ${target.name ?? target.index}`,
    messages: [message(LINK.delete, 0, linkMessage, addressed(target, {}, {}))],
  };
}

function addressed(target: Target, flags: { flags?: number; change?: number }, body: Body) {
  const header = { ...flags, ...(target.index !== undefined && { index: target.index }) };
  // The name finds the link only without an index; with one it is the new name.
  return { header, body: target.index === undefined ? { name: target.name, ...body } : body };
}

function linkUpdate(flags: number, target: Target, settings: LinkSettings, more: Body = {}): Message {
  const { up, port, addrGen } = settings;
  const linkInfo =
    port === undefined
      ? more.linkInfo
      : { ...more.linkInfo, slaveKind: "bridge", slaveData: { bridge: port } };
  const body: Body = {
    ...more,
    linkInfo,
    address: settings.mac === undefined ? undefined : macBytes(settings.mac),
    mtuBytes: settings.mtuBytes,
    master: settings.master,
    alias: settings.alias,
    group: settings.group,
    afSpec: addrGen === undefined ? undefined : { inet6: { addrGen: addrGens.indexOf(addrGen) } },
  };
  const upFlags = up === undefined ? {} : { flags: up ? IFF.up : 0, change: IFF.up };
  return message(LINK.new, flags, linkMessage, addressed(target, upFlags, body));
}

/** What is beside the data of its kind. */
function ofKind(link: NewLink): Body {
  if (link.type === "veth") return { txQueues: link.queues, rxQueues: link.queues };
  return link.type === "vlan" || link.type === "macvlan" || link.type === "ipvlan"
    ? { link: link.parent }
    : {};
}

/** Leaves out what a new link has anyway and some kernels refuse: false, without CONFIG_BRIDGE_VLAN_FILTERING. */
function asNew(link: NewLink): LinkKind | VethKind {
  if (link.type !== "bridge" || link.vlanFiltering !== false) return link;
  const { vlanFiltering: _anyway, ...rest } = link;
  return rest;
}

function kindBody(kind: LinkKind | VethKind): NonNullable<Body["linkInfo"]> {
  switch (kind.type) {
    case "bridge": {
      const { vlanFiltering, mcastSnooping, defaultPvid } = kind;
      const stp = kind.stp === undefined ? undefined : Number(kind.stp);
      return { kind: "bridge", data: { bridge: { stp, vlanFiltering, mcastSnooping, defaultPvid } } };
    }
    case "vxlan": {
      const { vni, local, remote, learning, ttl } = kind;
      const dstPort = kind.dstPort ?? (vni === undefined ? undefined : 4789);
      const data = {
        vni,
        ...(remote !== undefined && (remote.family === 4 ? { remote } : { remote6: remote })),
        ...(local !== undefined && (local.family === 4 ? { local } : { local6: local })),
        link: kind.parent,
        ttl,
        learning,
        dstPort,
      };
      return { kind: "vxlan", data: { vxlan: data } };
    }
    case "vlan":
      return { kind: "vlan", data: { vlan: { vlanId: kind.vlanId } } };
    case "macvlan":
      return { kind: "macvlan", data: { macvlan: { mode: macvlanModes[kind.mode] } } };
    case "ipvlan":
      return { kind: "ipvlan", data: { ipvlan: { mode: ipvlanModes.indexOf(kind.mode) } } };
    case "bond":
      return { kind: "bond", data: { bond: bondBody(kind) } };
    case "vrf":
      return { kind: "vrf", data: { vrf: { table: kind.table } } };
    case "xfrm":
      return { kind: "xfrm", data: { xfrm: { ifId: kind.ifId } } };
    case "dummy":
    case "ifb":
    case "wireguard":
      return { kind: kind.type };
    case "veth":
      return { kind: "veth", data: { veth: { peer: vethPeer(kind) } } };
  }
}

function bondBody({ mode, miimonMs, hashPolicy }: Extract<LinkKind, { type: "bond" }>) {
  return {
    mode: bondModes.indexOf(mode),
    miimonMs,
    hashPolicy: hashPolicy === undefined ? undefined : hashPolicies.indexOf(hashPolicy),
  };
}

function vethPeer({ peer, queues }: VethKind) {
  return {
    header: { family: AF.unspec, reserved: 0, deviceType: 0, index: 0, flags: 0, change: 0 },
    body: {
      ...{ mac: peer.mac, name: peer.name, mtuBytes: peer.mtuBytes, netnsFd: peer.netns?.fd.number },
      ...{ txQueues: queues, rxQueues: queues },
    },
  };
}
