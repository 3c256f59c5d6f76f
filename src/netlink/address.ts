/** Addresses of links. Words of ip-address(8). */
import { formatInterfaceAddress, type InterfaceAddress, type Ip, ipEqual } from "../net/mod.ts";
import { attributes, headed, i32, ip, type Reader, struct, text, u32, u8 } from "../wire/mod.ts";
import { afOf, familyOf } from "./family.ts";
import { FLAG, message, request, type RouteRequest } from "./request.ts";

/** RTM_… of addresses. */
export const ADDRESS = { new: 20, delete: 21, get: 22 } as const;

const IFA_F = {
  nodad: 0x02,
  dadFailed: 0x08,
  deprecated: 0x20,
  tentative: 0x40,
  permanent: 0x80,
  noprefixroute: 0x200,
} as const;

/** struct ifa_cacheinfo: seconds, then when it was made and changed. */
const cacheInfo = struct({ preferred: u32, valid: u32, created: u32, updated: u32 });

const FOREVER = 0xffff_ffff;

/** struct ifaddrmsg and enum IFA_… (include/uapi/linux/if_addr.h). */
export const addressMessage = headed(
  struct({ family: u8, length: u8, flags: u8, scope: u8, index: i32 }),
  attributes({
    address: [1, ip],
    local: [2, ip],
    label: [3, text],
    broadcast: [4, ip],
    cacheInfo: [6, cacheInfo],
    flags: [8, u32],
    metric: [9, u32],
    protocol: [11, u8],
  }),
);

/** AddressInfo is an address as the kernel reports it. */
export interface AddressInfo {
  readonly linkIndex: number;
  /** The link's own address, with the length of the network (or of the peer's). */
  readonly address: InterfaceAddress;
  /** The other end of a point-to-point address. */
  readonly peer?: Ip;
  readonly broadcast?: Ip;
  /** 0 global, 253 link, 254 host. */
  readonly scope: number;
  /** Of the on-link route that the kernel makes for it; absent: the usual one (IFA_RT_PRIORITY). */
  readonly metric?: number;
  /** Who made it (IFA_PROTO, Linux 5.18). */
  readonly protocol?: number;
  readonly permanent: boolean;
  readonly nodad: boolean;
  readonly noprefixroute: boolean;
  readonly deprecated: boolean;
  readonly tentative: boolean;
  readonly dadFailed: boolean;
}

/** AddressChange names an address to add or to delete. */
export interface AddressChange {
  readonly linkIndex: number;
  readonly address: InterfaceAddress;
  readonly peer?: Ip;
  readonly broadcast?: Ip;
  /** Default 0, global; 253 link, 254 host. */
  readonly scope?: number;
  /** Skip duplicate address detection (IPv6). */
  readonly nodad?: boolean;
  /** Do not make the on-link route. */
  readonly noprefixroute?: boolean;
  /** Of the on-link route. */
  readonly metric?: number;
  /** No source of what has another one to choose (IPv6; `preferred_lft 0`). */
  readonly deprecated?: boolean;
  readonly protocol?: number;
}

/** addAddress puts an address on a link; EEXIST if it is there, unless `replace`. */
export function addAddress(change: AddressChange & { readonly replace?: boolean }): RouteRequest {
  const flags = change.replace === true ? FLAG.create | FLAG.replace : FLAG.create | FLAG.exclusive;
  const addressFlags =
    (change.nodad === true ? IFA_F.nodad : 0) | (change.noprefixroute === true ? IFA_F.noprefixroute : 0);
  return request(
    () => `add address ${describe(change)}`,
    message(ADDRESS.new, flags, addressMessage, {
      header: headerOf(change),
      body: {
        ...addressesOf(change),
        broadcast: change.broadcast,
        flags: addressFlags === 0 ? undefined : addressFlags,
        metric: change.metric,
        ...(change.deprecated === true && { cacheInfo: { valid: FOREVER } }),
        protocol: change.protocol,
      },
    }),
  );
}

/** deleteAddress takes an address from a link; EADDRNOTAVAIL if it is not there. */
export function deleteAddress(change: AddressChange): RouteRequest {
  return request(
    () => `delete address ${describe(change)}`,
    message(ADDRESS.delete, 0, addressMessage, { header: headerOf(change), body: addressesOf(change) }),
  );
}

function describe(change: AddressChange): string {
  return `${formatInterfaceAddress(change.address)} on link ${change.linkIndex}`;
}

function headerOf(change: AddressChange) {
  const { ip: address, length } = change.address;
  return { family: afOf(address.family), length, scope: change.scope, index: change.linkIndex };
}

function addressesOf(change: AddressChange) {
  return { address: change.peer ?? change.address.ip, local: change.address.ip };
}

/** decodeAddress reads RTM_NEWADDR and RTM_DELADDR; undefined for other families. */
export function decodeAddress(reader: Reader): AddressInfo | undefined {
  const { header, body } = addressMessage.decode(reader);
  const own = body.local ?? body.address;
  if (familyOf(header.family) === undefined || own === undefined) return undefined;
  const flags = body.flags ?? header.flags;
  const peer = body.address !== undefined && !ipEqual(body.address, own) ? body.address : undefined;
  return {
    linkIndex: header.index,
    address: { ip: own, length: header.length },
    ...(peer !== undefined && { peer }),
    ...(body.broadcast !== undefined && { broadcast: body.broadcast }),
    scope: header.scope,
    ...(body.metric !== undefined && { metric: body.metric }),
    ...(body.protocol !== undefined && body.protocol !== 0 && { protocol: body.protocol }),
    permanent: (flags & IFA_F.permanent) !== 0,
    nodad: (flags & IFA_F.nodad) !== 0,
    noprefixroute: (flags & IFA_F.noprefixroute) !== 0,
    deprecated: (flags & IFA_F.deprecated) !== 0,
    tentative: (flags & IFA_F.tentative) !== 0,
    dadFailed: (flags & IFA_F.dadFailed) !== 0,
  };
}
