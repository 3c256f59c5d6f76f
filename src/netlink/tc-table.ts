/**
 * Layout of traffic control messages (include/uapi/linux/rtnetlink.h, pkt_sched.h, pkt_cls.h): queueing disciplines and filters have one
 * form, whose options are laid out by their kind.
 */
import {
  attributes,
  choice,
  headed,
  i32,
  ignored,
  raw,
  struct,
  text,
  u16,
  u32,
  u64,
  u8,
} from "../wire/mod.ts";

/** RTM_… of queueing disciplines. */
export const QDISC = { new: 36, delete: 37, get: 38 } as const;

/** RTM_… of filters. */
export const FILTER = { new: 44, delete: 45, get: 46 } as const;

/** TC_H_…: the places that things hang on. `ingress` holds the qdiscs `ingress` and `clsact`, `incoming` their filters on what comes in. */
export const PARENT = { root: 0xffff_ffff, ingress: 0xffff_fff1, incoming: 0xffff_fff2 } as const;

/** struct tcmsg; `info` of a filter is its priority (upper half) and protocol (lower half, in network order). */
const header = struct({ family: u8, pad1: u8, pad2: u16, index: i32, handle: u32, parent: u32, info: u32 });

/** struct tc_tbf_qopt: two struct tc_ratespec and three numbers; `buffer` is in ticks of 64 ns. */
const tbfParameters = struct({
  cellLog: u8,
  linkLayer: u8,
  overhead: u16,
  cellAlign: u16,
  mpu: u16,
  rate: u32,
  peakCellLog: u8,
  peakLinkLayer: u8,
  peakOverhead: u16,
  peakCellAlign: u16,
  peakMpu: u16,
  peakRate: u32,
  limit: u32,
  buffer: u32,
  mtu: u32,
});

const tbf = attributes({
  parameters: [1, tbfParameters],
  rate64: [4, u64],
  peakRate64: [5, u64],
  burst: [6, u32],
});

/** struct tc_u32_sel, and one struct tc_u32_key of 16 bytes for each of `keys`. */
export const u32Selector = headed(
  struct({
    flags: u8,
    offsetShift: u8,
    keys: u8,
    pad: u8,
    offsetMask: u16,
    offset: u16,
    offsetOffset: u16,
    hashOffset: u16,
    hashMask: u32,
  }),
  raw,
);

/** struct tc_mirred, which begins with the fields of every action (tc_gen). */
const mirred = attributes({
  times: [1, ignored],
  parameters: [
    2,
    struct({
      index: u32,
      capability: u32,
      action: i32,
      references: i32,
      bindings: i32,
      direction: u32,
      link: u32,
    }),
  ],
});

const action = attributes({
  kind: [1, text],
  options: [2, choice("kind", { mirred })],
  index: [3, ignored],
  stats: [4, ignored],
});

/** The type of an action's attribute is its place in the list; more than one is kept as unknown. */
const u32Filter = attributes({
  divisor: [4, u32],
  selector: [5, u32Selector],
  actions: [7, attributes({ first: [1, action] })],
});

const common = { kind: [1, text], stats: [3, ignored], xstats: [4, ignored], stats2: [7, ignored] } as const;

/** A qdisc message: struct tcmsg and enum TCA_… */
export const qdiscMessage = headed(header, attributes({ ...common, options: [2, choice("kind", { tbf })] }));

/** A filter message. */
export const filterMessage = headed(
  header,
  attributes({ ...common, options: [2, choice("kind", { u32: u32Filter })], chain: [11, u32] }),
);
