/** Layout of route messages (include/uapi/linux/rtnetlink.h). */
import type { Ip } from "../net/mod.ts";
import {
  attributes,
  type Attributes,
  type Codec,
  DecodeError,
  headed,
  i32,
  ignored,
  ip,
  struct,
  u32,
  u8,
  within,
} from "../wire/mod.ts";
import { afOf } from "./family.ts";

/** RTM_… of routes. */
export const ROUTE = { new: 24, delete: 25, get: 26 } as const;

/** RTNH_F_… of a hop. */
export const HOP = { dead: 1, onlink: 4, linkDown: 16 } as const;

/** An entry of IPv6's cache of exceptions (RTM_F_CLONED), not a route that anybody made. */
export const CLONED = 0x200;

/** RTA_VIA: a gateway of another family than the route's, with its family before it. */
const via: Codec<Ip> = {
  decode(reader) {
    reader.skip(2);
    return ip.decode(reader);
  },
  encode(writer, value) {
    writer.u16(afOf(value.family));
    ip.encode(writer, value);
  },
};

const hopTable = {
  gateway: [5, ip],
  via: [18, via],
} as const;

const hopAttributes = attributes(hopTable);

/** RouteHopEntry is one struct rtnexthop of RTA_MULTIPATH. */
export interface RouteHopEntry {
  readonly flags: number;
  /** Weight less one. */
  readonly hops: number;
  readonly index: number;
  readonly attributes: Attributes<typeof hopTable>;
}

/** RTA_MULTIPATH: structures of length (2), flags, hops, index (4), each followed by attributes. */
export const multipath: Codec<readonly RouteHopEntry[]> = {
  decode(reader) {
    const entries: RouteHopEntry[] = [];
    while (reader.remaining > 0) {
      const length = reader.u16();
      if (length < 8 || length - 2 > reader.remaining)
        throw new DecodeError(
          `hop ${entries.length} has length ${length}, ${reader.remaining + 2} bytes left`,
        );
      const body = reader.sub(length - 2);
      const [flags, hops, index] = [body.u8(), body.u8(), body.i32()];
      const values = within(String(entries.length), () => hopAttributes.decode(body));
      entries.push({ flags, hops, index, attributes: values });
      reader.skipPadding((4 - (length % 4)) % 4);
    }
    return entries;
  },
  encode(writer, entries) {
    for (const entry of entries) {
      const start = writer.length;
      writer.u16(0).u8(entry.flags).u8(entry.hops).i32(entry.index);
      hopAttributes.encode(writer, entry.attributes);
      writer.setU16(start, writer.length - start);
    }
  },
};

/** struct rtmsg and enum rtattr_type_t. */
export const routeMessage = headed(
  struct({
    family: u8,
    destinationLength: u8,
    fromLength: u8,
    tos: u8,
    table: u8,
    protocol: u8,
    scope: u8,
    type: u8,
    flags: u32,
  }),
  attributes({
    destination: [1, ip],
    from: [2, ip],
    output: [4, i32],
    ...hopTable,
    priority: [6, u32],
    source: [7, ip],
    metrics: [8, attributes({ lock: [1, u32], mtuBytes: [2, u32], advmssBytes: [8, u32] })],
    multipath: [9, multipath],
    cacheInfo: [12, ignored],
    table: [15, u32],
    preference: [20, u8],
    nexthopId: [30, u32],
  }),
);
