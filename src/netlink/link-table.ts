/** Layout of link messages (include/uapi/linux/if_link.h, if_tun.h). */
import {
  attributes,
  be16,
  bool,
  choice,
  headed,
  i32,
  ignored,
  ip,
  list,
  mac,
  raw,
  struct,
  text,
  u16,
  u32,
  u8,
} from "../wire/mod.ts";

/** RTM_… of links. */
export const LINK = { new: 16, delete: 17, get: 18 } as const;

export const IFF = { up: 0x1, loopback: 0x8, running: 0x40, lowerUp: 0x10000 } as const;

/** Leaves statistics out of answers (RTEXT_FILTER_SKIP_STATS). */
export const SKIP_STATS = 8;

/** struct ifinfomsg */
export const linkHeader = struct({
  family: u8,
  reserved: u8,
  deviceType: u16,
  index: i32,
  flags: u32,
  change: u32,
});

/** A link message has about a hundred attributes, and a veth's making causes a dozen such messages. */
const fewOfMany = { keepUnknown: false } as const;

const bridge = attributes(
  { stp: [5, u32], vlanFiltering: [7, bool], mcastSnooping: [23, bool], defaultPvid: [39, u16] },
  fewOfMany,
);

/** Attributes of a bridge port, as INFO_SLAVE_DATA and as IFLA_PROTINFO of family AF_BRIDGE. */
export const bridgePort = attributes(
  {
    state: [1, u8],
    hairpin: [4, bool],
    learning: [8, bool],
    flood: [9, bool],
    neighSuppress: [32, bool],
    isolated: [33, bool],
  },
  fewOfMany,
);

const vxlan = attributes({
  vni: [1, u32],
  remote: [2, ip],
  link: [3, u32],
  local: [4, ip],
  ttl: [5, u8],
  learning: [7, bool],
  dstPort: [15, be16],
  remote6: [16, ip],
  local6: [17, ip],
});

const vlan = attributes({ vlanId: [1, u16] });
const macvlan = attributes({ mode: [1, u32] });
const ipvlan = attributes({ mode: [1, u16] });
const bond = attributes({ mode: [1, u8], miimonMs: [3, u32], hashPolicy: [14, u8] }, fewOfMany);
const vrf = attributes({ table: [1, u32] });
const xfrm = attributes({ link: [1, u32], ifId: [2, u32] }, fewOfMany);
const tun = attributes({
  type: [3, u8],
  vnetHeader: [5, bool],
  persistent: [6, bool],
  multiQueue: [7, bool],
});

/** VETH_INFO_PEER holds a whole link message without the netlink header. */
const veth = attributes({
  peer: [
    1,
    headed(
      linkHeader,
      attributes({
        mac: [1, mac],
        name: [3, text],
        mtuBytes: [4, u32],
        netnsFd: [28, u32],
        txQueues: [31, u32],
        rxQueues: [32, u32],
      }),
    ),
  ],
});

/** Kinds of links whose data is understood; others keep their bytes. */
const linkInfo = attributes({
  kind: [1, text],
  data: [2, choice("kind", { bond, bridge, ipvlan, macvlan, tun, veth, vlan, vrf, vxlan, xfrm })],
  xstats: [3, ignored],
  slaveKind: [4, text],
  slaveData: [5, choice("slaveKind", { bridge: bridgePort })],
});

/** Attributes of a link (enum IFLA_…). */
export const linkTable = attributes(
  {
    address: [1, raw],
    broadcast: [2, ignored],
    name: [3, text],
    mtuBytes: [4, u32],
    link: [5, u32],
    qdisc: [6, ignored],
    stats: [7, ignored],
    master: [10, u32],
    /** Laid out by the family of the message. */
    protinfo: [12, raw],
    map: [14, ignored],
    operState: [16, u8],
    linkInfo: [18, linkInfo],
    alias: [20, text],
    stats64: [23, ignored],
    afSpec: [
      26,
      attributes(
        { inet: [2, ignored], inet6: [10, attributes({ conf: [2, ignored], addrGen: [8, u8] }, fewOfMany)] },
        fewOfMany,
      ),
    ],
    group: [27, u32],
    netnsFd: [28, u32],
    extMask: [29, u32],
    txQueues: [31, u32],
    rxQueues: [32, u32],
    linkNetnsId: [37, i32],
    altNames: [52, list(text)],
  },
  fewOfMany,
);

/** A link message: header and attributes. */
export const linkMessage = headed(linkHeader, linkTable);
