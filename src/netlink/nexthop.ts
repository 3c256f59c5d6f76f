/** Next-hop objects. Words of ip-nexthop(8). */
import { formatIp, type Family, type Ip } from "../net/mod.ts";
import { attributes, type Codec, flag, headed, ip, type Reader, struct, u16, u32, u8 } from "../wire/mod.ts";
import { AF, afOf, familyOf } from "./family.ts";
import { FLAG, message, request, type RouteRequest } from "./request.ts";
import { HOP } from "./route-table.ts";

/** RTM_… of next hops. */
export const NEXTHOP = { new: 104, delete: 105, get: 106 } as const;

interface GroupEntry {
  readonly id: number;
  /** 1 to 65536; above 256 since Linux 6.12. */
  readonly weight: number;
}

/** NHA_GROUP: structures of id (4), low byte of weight less one, high byte of it, reserved (2). */
const group: Codec<readonly GroupEntry[]> = {
  decode(reader) {
    const entries: GroupEntry[] = [];
    while (reader.remaining > 0) {
      const id = reader.u32();
      entries.push({ id, weight: reader.u8() + (reader.u8() << 8) + 1 });
      reader.skip(2);
    }
    return entries;
  },
  encode(writer, entries) {
    for (const { id, weight } of entries)
      writer
        .u32(id)
        .u16(weight - 1)
        .u16(0);
  },
};

/** struct nhmsg and enum NHA_… (include/uapi/linux/nexthop.h). */
export const nexthopMessage = headed(
  struct({ family: u8, scope: u8, protocol: u8, reserved: u8, flags: u32 }),
  attributes({
    id: [1, u32],
    group: [2, group],
    groupType: [3, u16],
    blackhole: [4, flag],
    output: [5, u32],
    gateway: [6, ip],
    fdb: [11, flag],
  }),
);

/** NexthopInfo is a next hop as the kernel reports it. */
export interface NexthopInfo {
  readonly id: number;
  /** Absent for a group. */
  readonly family?: Family;
  readonly via?: Ip;
  readonly linkIndex?: number;
  readonly onlink: boolean;
  readonly blackhole: boolean;
  readonly protocol: number;
  readonly scope: number;
  /** For forwarding databases (VXLAN) rather than routes. */
  readonly fdb: boolean;
  readonly group?: readonly GroupEntry[];
}

/** NexthopChange asks for a next hop or a group. */
export interface NexthopChange {
  readonly id: number;
  /** Of a next hop without `via`; default 4. */
  readonly family?: Family;
  readonly via?: Ip;
  readonly linkIndex?: number;
  readonly onlink?: boolean;
  readonly blackhole?: boolean;
  readonly protocol?: number;
  readonly fdb?: boolean;
  /** Weights from 1, default 1. */
  readonly group?: readonly { readonly id: number; readonly weight?: number }[];
}

/** addNexthop makes a next hop; EEXIST if the id is taken, unless `replace`, which keeps the routes that use it. */
export function addNexthop(change: NexthopChange & { readonly replace?: boolean }): RouteRequest {
  const flags = change.replace === true ? FLAG.create | FLAG.replace : FLAG.create | FLAG.exclusive;
  const family = change.via?.family ?? change.family ?? 4;
  const noFamily = change.group !== undefined || (change.fdb === true && change.via === undefined);
  return request(
    () => `add nexthop ${describe(change)}`,
    message(NEXTHOP.new, flags, nexthopMessage, {
      header: {
        family: noFamily ? AF.unspec : afOf(family),
        protocol: change.protocol ?? 0,
        flags: change.onlink === true ? HOP.onlink : 0,
      },
      body: {
        id: change.id,
        group: change.group?.map(({ id, weight = 1 }) => ({ id, weight })),
        blackhole: change.blackhole === true ? true : undefined,
        output: change.linkIndex,
        gateway: change.via,
        fdb: change.fdb === true ? true : undefined,
      },
    }),
  );
}

/** deleteNexthop removes a next hop and the routes that use it. */
export function deleteNexthop(change: { readonly id: number }): RouteRequest {
  return request(
    () => `delete nexthop ${change.id}`,
    message(NEXTHOP.delete, 0, nexthopMessage, { header: {}, body: { id: change.id } }),
  );
}

function describe(change: NexthopChange): string {
  const words = [`${change.id}`];
  if (change.via !== undefined) words.push(`via ${formatIp(change.via)}`);
  if (change.linkIndex !== undefined) words.push(`dev ${change.linkIndex}`);
  if (change.group !== undefined) words.push(`group ${change.group.map(({ id }) => id).join("/")}`);
  if (change.blackhole === true) words.push("blackhole");
  return words.join(" ");
}

/** decodeNexthop reads RTM_NEWNEXTHOP and RTM_DELNEXTHOP. */
export function decodeNexthop(reader: Reader): NexthopInfo | undefined {
  const { header, body } = nexthopMessage.decode(reader);
  if (body.id === undefined) return undefined;
  const family = familyOf(header.family);
  return {
    id: body.id,
    ...(family !== undefined && body.group === undefined && { family }),
    ...(body.gateway !== undefined && { via: body.gateway }),
    ...(body.output !== undefined && { linkIndex: body.output }),
    onlink: (header.flags & HOP.onlink) !== 0,
    blackhole: body.blackhole === true,
    protocol: header.protocol,
    scope: header.scope,
    fdb: body.fdb === true,
    ...(body.group !== undefined && { group: body.group }),
  };
}
