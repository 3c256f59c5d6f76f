/** Layout of connection tracking messages (include/uapi/linux/netfilter/nfnetlink_conntrack.h). Numbers are big-endian here. */
import {
  attributes,
  be16,
  be32,
  be64,
  headed,
  ignored,
  ip,
  struct,
  u8,
  u32,
  type ValueOf,
} from "../wire/mod.ts";

/** Message types: NFNL_SUBSYS_CTNETLINK in the high byte. */
export const CT = { new: 0x100, get: 0x101, delete: 0x102, statistics: 0x105 } as const;

const tuple = attributes({
  ip: [1, attributes({ source4: [1, ip], destination4: [2, ip], source6: [3, ip], destination6: [4, ip] })],
  proto: [
    2,
    attributes({
      protocol: [1, u8],
      sourcePort: [2, be16],
      destinationPort: [3, be16],
      icmpId: [4, be16],
      icmpType: [5, u8],
      icmpCode: [6, u8],
      icmp6Id: [7, be16],
      icmp6Type: [8, u8],
      icmp6Code: [9, u8],
    }),
  ],
  zone: [3, be16],
});

const counters = attributes({ packets: [1, be64], bytes: [2, be64] });

const body = attributes({
  original: [1, tuple],
  reply: [2, tuple],
  status: [3, be32],
  protoInfo: [4, attributes({ tcp: [1, attributes({ state: [1, u8] })] })],
  timeoutSeconds: [7, be32],
  mark: [8, be32],
  countersOriginal: [9, counters],
  countersReply: [10, counters],
  use: [11, ignored],
  id: [12, be32],
  zone: [18, be16],
  markMask: [21, be32],
  // In the machine's order of bytes, as the only ones.
  filter: [25, attributes({ original: [1, u32], reply: [2, u32] })],
});

/** ConntrackBody is what a message says of a flow, or asks by. */
export type ConntrackBody = ValueOf<typeof body>;

const header = struct({ family: u8, version: u8, resource: be16 });

/** struct nfgenmsg and enum ctattr_type. */
export const conntrackMessage = headed(header, body);

/** Statistics of a namespace (enum ctattr_stats_global). */
export const conntrackStatistics = headed(header, attributes({ entries: [1, be32], mostEntries: [2, be32] }));
