/** Forwarding databases of bridges and VXLAN devices. Words of bridge(8). */
import { formatIp, formatMac, type Ip, type Mac, macBytes, macFromBytes } from "../net/mod.ts";
import { AF } from "./family.ts";
import { NEIGH, NTF, NUD, neighbourMessage } from "./neighbour-table.ts";
import { FLAG, message, request, type RouteRequest } from "./request.ts";

/** FdbInfo is an entry as the kernel reports it. */
export interface FdbInfo {
  readonly linkIndex: number;
  readonly mac: Mac;
  /** Remote VTEP. */
  readonly dst?: Ip;
  /** UDP port of the remote VTEP, when it is not the device's. */
  readonly port?: number;
  readonly vni?: number;
  readonly vlanId?: number;
  readonly nexthopId?: number;
  /** Index of the bridge, when it is an entry of the bridge rather than of the device itself. */
  readonly master?: number;
  /** A local address of the bridge, or an entry of a device that does not age. */
  readonly permanent: boolean;
  /** An entry of a bridge that does not age. */
  readonly static: boolean;
  readonly externLearn: boolean;
}

/** FdbChange names an entry to add or to delete. */
export interface FdbChange {
  readonly linkIndex: number;
  readonly mac: Mac;
  readonly dst?: Ip;
  readonly port?: number;
  readonly vni?: number;
  readonly vlanId?: number;
  readonly nexthopId?: number;
  /** Entry of the bridge that the link is a port of, rather than of the device itself. */
  readonly master?: boolean;
  /** Entry of the bridge and of the device; with `externLearn`, or the bridge takes the address for its own. */
  readonly both?: boolean;
  readonly externLearn?: boolean;
  readonly protocol?: number;
}

/**
 * addFdb makes an entry; EEXIST if it is there. `append` adds a further destination to an entry of a VXLAN device (flooding),
 * `replace` overwrites it.
 */
export function addFdb(
  change: FdbChange & { readonly append?: boolean; readonly replace?: boolean },
): RouteRequest {
  const mode = change.append === true ? FLAG.append : change.replace === true ? FLAG.replace : FLAG.exclusive;
  return request(
    () => `add fdb entry ${describe(change)}`,
    message(NEIGH.new, FLAG.create | mode, neighbourMessage, encodeFdb(change)),
  );
}

/** deleteFdb removes an entry, or the one destination of it that is named; ENOENT if there is none. */
export function deleteFdb(change: FdbChange): RouteRequest {
  return request(
    () => `delete fdb entry ${describe(change)}`,
    message(NEIGH.delete, 0, neighbourMessage, encodeFdb(change)),
  );
}

function describe(change: FdbChange): string {
  const dst = change.dst === undefined ? "" : ` dst ${formatIp(change.dst)}`;
  const where = change.both === true ? "self master" : change.master === true ? "master" : "self";
  return `${formatMac(change.mac)}${dst} on link ${change.linkIndex} ${where}`;
}

function encodeFdb(change: FdbChange): Parameters<typeof neighbourMessage.encode>[1] {
  const target =
    change.both === true ? NTF.master | NTF.self : change.master === true ? NTF.master : NTF.self;
  return {
    header: {
      family: AF.bridge,
      index: change.linkIndex,
      // In a bridge's database NUD_NOARP is static, NUD_PERMANENT is local to the bridge, unless it is learned from outside (net/bridge/br_fdb.c).
      state: change.master === true ? NUD.noarp : NUD.noarp | NUD.permanent,
      flags: target | (change.externLearn === true ? NTF.externLearn : 0),
    },
    body: {
      destination: change.dst,
      linkAddress: macBytes(change.mac),
      vlanId: change.vlanId,
      port: change.port,
      vni: change.vni,
      protocol: change.protocol,
      nexthopId: change.nexthopId,
    },
  };
}

/** fdbInfo makes a value of a decoded message of family AF_BRIDGE. */
export function fdbInfo({ header, body }: ReturnType<typeof neighbourMessage.decode>): FdbInfo | undefined {
  if (body.linkAddress?.length !== 6) return undefined;
  const { destination, port, vni, vlanId, nexthopId, master } = body;
  const info: Writable<FdbInfo> = {
    linkIndex: header.index,
    mac: macFromBytes(body.linkAddress),
    permanent: (header.state & NUD.permanent) !== 0,
    static: (header.state & NUD.noarp) !== 0 && (header.state & NUD.permanent) === 0,
    externLearn: (header.flags & NTF.externLearn) !== 0,
  };
  // One by one: thousands are read at once, and spreading what may be absent costs more than all else.
  if (destination !== undefined) info.dst = destination;
  if (port !== undefined) info.port = port;
  if (vni !== undefined) info.vni = vni;
  if (vlanId !== undefined) info.vlanId = vlanId;
  if (nexthopId !== undefined) info.nexthopId = nexthopId;
  if (master !== undefined && (header.flags & NTF.self) === 0) info.master = master;
  return info;
}

type Writable<T> = { -readonly [K in keyof T]: T[K] };
