/**
 * Layout of XFRM messages (include/uapi/linux/xfrm.h): associations, policies, and what the kernel tells of them.
 *
 * Attributes that no table names are not kept: those of other people's associations may be keys.
 */
import {
  attributes,
  be16,
  be32,
  block,
  type Codec,
  type Fields,
  headed,
  i32,
  type Struct,
  type StructCodec,
  struct,
  u16,
  u32,
  u64,
  u8,
} from "../wire/mod.ts";
import { aead, otherAlgorithm } from "./xfrm-key.ts";
import { replayEsn } from "./xfrm-replay.ts";

/** XFRM_MSG_… */
export const XFRM = {
  newSa: 16,
  deleteSa: 17,
  getSa: 18,
  newPolicy: 19,
  deletePolicy: 20,
  getPolicy: 21,
  allocateSpi: 22,
  acquire: 23,
  expire: 24,
  updatePolicy: 25,
  updateSa: 26,
  policyExpire: 27,
  flushSas: 28,
  flushPolicies: 29,
  mapping: 38,
} as const;

/** IPPROTO_ESP */
export const ESP = 50;
/** UDP_ENCAP_ESPINUDP (RFC 3948) */
export const ESP_IN_UDP = 2;
/** XFRM_INF: no limit of bytes or packets. */
export const UNLIMITED = 0xffff_ffff_ffff_ffffn;

/** XFRM_STATE_…, in words of ip-xfrm(8). */
export const SA_FLAG = {
  noecn: 1,
  "decap-dscp": 2,
  nopmtudisc: 4,
  wildrecv: 8,
  icmp: 16,
  "af-unspec": 32,
  align4: 64,
  esn: 128,
} as const;

/** XFRM_SA_XFLAG_… */
export const SA_EXTRA_FLAG = { "dont-encap-dscp": 1, "oseq-may-wrap": 2 } as const;

/** XFRM_POLICY_LOCALOK, …_ICMP, …_CPU_ACQUIRE (Linux 6.13). */
export const POLICY_FLAG = { localok: 1, icmp: 2, "cpu-acquire": 4 } as const;

/** xfrm_address_t: four bytes or sixteen, by a family that stands elsewhere. */
const address = block(16);
const pad3 = { pad1: u8, pad2: u8, pad3: u8 } as const;
const pad7 = { pad1: u8, pad2: u16, pad3: u32 } as const;

/** struct xfrm_id */
const id = struct({ daddr: address, spi: be32, protocol: u8, ...pad3 });

/** struct xfrm_selector */
export const selector = struct({
  daddr: address,
  saddr: address,
  dport: be16,
  dportMask: be16,
  sport: be16,
  sportMask: be16,
  family: u16,
  dlength: u8,
  slength: u8,
  protocol: u8,
  ...pad3,
  linkIndex: i32,
  user: u32,
});

/** struct xfrm_lifetime_cfg */
const limits = struct({
  softBytes: u64,
  hardBytes: u64,
  softPackets: u64,
  hardPackets: u64,
  softAddSeconds: u64,
  hardAddSeconds: u64,
  softUseSeconds: u64,
  hardUseSeconds: u64,
});

/** struct xfrm_lifetime_cur */
const usage = struct({ bytes: u64, packets: u64, addTime: u64, useTime: u64 });

/** struct xfrm_usersa_info */
export const saStruct = struct({
  selector,
  id,
  saddr: address,
  limits,
  usage,
  replayWindowMisses: u32,
  replays: u32,
  integrityFailures: u32,
  sequence: u32,
  reqid: u32,
  family: u16,
  mode: u8,
  replayWindow: u8,
  flags: u8,
  ...pad7,
});

/** struct xfrm_usersa_id */
const saId = struct({ daddr: address, spi: be32, family: u16, protocol: u8, pad: u8 });

/** struct xfrm_userpolicy_info */
export const policyStruct = struct({
  selector,
  limits,
  usage,
  priority: u32,
  index: u32,
  direction: u8,
  action: u8,
  flags: u8,
  share: u8,
  pad: u32,
});

/** struct xfrm_userpolicy_id */
const policyId = struct({ selector, index: u32, direction: u8, ...pad3 });

/** struct xfrm_user_tmpl */
export const template = struct({
  id,
  family: u16,
  pad1: u16,
  saddr: address,
  reqid: u32,
  mode: u8,
  share: u8,
  optional: u8,
  pad2: u8,
  aalgos: u32,
  ealgos: u32,
  calgos: u32,
});

/** TemplatePart is one structure of XFRMA_TMPL. */
export type TemplatePart = ReturnType<typeof template.decode>;

/** XFRMA_TMPL: one structure after another. */
const templates: Codec<readonly TemplatePart[]> = {
  decode(reader) {
    const found: TemplatePart[] = [];
    while (reader.remaining > 0) found.push(template.decode(reader));
    return found;
  },
  encode(writer, values) {
    for (const value of values) template.encode(writer, value);
  },
};

const mark = struct({ value: u32, mask: u32 });

/** struct xfrm_encap_tmpl */
const encapsulation = struct({
  type: u16,
  sourcePort: be16,
  destinationPort: be16,
  pad: u16,
  original: address,
});

/** A structure as an attribute, of which nothing may be left out. */
function whole<F extends Fields>(codec: StructCodec<F>): Codec<Struct<F>> {
  return codec;
}

const body = attributes(
  {
    auth: [1, otherAlgorithm],
    crypt: [2, otherAlgorithm],
    compression: [3, otherAlgorithm],
    encapsulation: [4, whole(encapsulation)],
    templates: [5, templates],
    // Of an association or policy that is gone: what was in the header before.
    sa: [6, whole(saStruct)],
    policy: [7, whole(policyStruct)],
    lastUsed: [15, u64],
    aead: [18, aead],
    authTruncated: [20, otherAlgorithm],
    mark: [21, whole(mark)],
    tfcBytes: [22, u32],
    replay: [23, replayEsn],
    extraFlags: [24, u32],
    protocol: [25, u8],
    outputMark: [29, u32],
    outputMarkMask: [30, u32],
    ifId: [31, u32],
    // Linux 6.10, 6.13.
    direction: [33, u8],
    cpu: [35, u32],
  },
  { keepUnknown: false },
);

/** XfrmBody is the attributes of any message. */
export type XfrmBody = ReturnType<typeof body.decode>;

/** XFRM_MSG_NEWSA, UPDSA. */
export const saMessage = headed(saStruct, body);
/** XFRM_MSG_DELSA, GETSA. */
export const saIdMessage = headed(saId, body);
/** XFRM_MSG_NEWPOLICY, UPDPOLICY. */
export const policyMessage = headed(policyStruct, body);
/** XFRM_MSG_DELPOLICY, GETPOLICY. */
export const policyIdMessage = headed(policyId, body);
/** A dump's filter, which has no header (xfrm_dump_sa of net/xfrm/xfrm_user.c). */
export const filterMessage = body;
/** XFRM_MSG_ALLOCSPI: struct xfrm_userspi_info. */
export const spiMessage = headed(struct({ sa: saStruct, least: u32, most: u32 }), body);
/** XFRM_MSG_EXPIRE: struct xfrm_user_expire. */
export const expireMessage = headed(struct({ sa: saStruct, hard: u8, ...pad7 }), body);
/** XFRM_MSG_POLEXPIRE: struct xfrm_user_polexpire. */
export const policyExpireMessage = headed(struct({ policy: policyStruct, hard: u8, ...pad7 }), body);
/** XFRM_MSG_ACQUIRE: struct xfrm_user_acquire. */
export const acquireMessage = headed(
  struct({
    id,
    saddr: address,
    selector,
    policy: policyStruct,
    aalgos: u32,
    ealgos: u32,
    calgos: u32,
    sequence: u32,
  }),
  body,
);
/** XFRM_MSG_MAPPING: struct xfrm_user_mapping. */
export const mappingMessage = headed(
  struct({
    id: saId,
    reqid: u32,
    oldSaddr: address,
    newSaddr: address,
    oldPort: be16,
    newPort: be16,
  }),
  body,
);
