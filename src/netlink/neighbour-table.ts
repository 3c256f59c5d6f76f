/** Layout of neighbour messages, which carry forwarding database entries too (include/uapi/linux/neighbour.h). */
import { attributes, be16, headed, i32, ignored, ip, raw, struct, u16, u32, u8 } from "../wire/mod.ts";

/** RTM_… of neighbours. */
export const NEIGH = { new: 28, delete: 29, get: 30 } as const;

/** NUD_… states. */
export const NUD = { noarp: 0x40, permanent: 0x80 } as const;

/** NTF_… flags. */
export const NTF = {
  use: 0x01,
  self: 0x02,
  master: 0x04,
  proxy: 0x08,
  externLearn: 0x10,
  router: 0x80,
} as const;

/** struct ndmsg and enum NDA_… */
export const neighbourMessage = headed(
  struct({ family: u8, pad1: u8, pad2: u16, index: i32, state: u16, flags: u8, type: u8 }),
  attributes(
    {
      destination: [1, ip],
      linkAddress: [2, raw],
      cacheInfo: [3, ignored],
      probes: [4, ignored],
      vlanId: [5, u16],
      port: [6, be16],
      vni: [7, u32],
      linkIndex: [8, u32],
      master: [9, u32],
      protocol: [12, u8],
      nexthopId: [13, u32],
      flagsExt: [15, u32],
    },
    { keepUnknown: false },
  ),
);
