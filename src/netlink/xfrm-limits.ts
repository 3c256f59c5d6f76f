/** Limits and counters of associations and policies: bytes, packets and time. */
import { type saStruct, UNLIMITED } from "./xfrm-table.ts";

/** Limit is where something ends; what is left out has no end. Bytes and packets are below 2^64 - 1. */
export interface Limit {
  readonly bytes?: bigint;
  readonly packets?: bigint;
  /** From when it was made. */
  readonly addSeconds?: bigint;
  /** From its first packet. */
  readonly useSeconds?: bigint;
}

/** Limits: at the soft one the kernel says so once, at the hard one it says so and the thing is used no more. */
export interface Limits {
  readonly soft?: Limit;
  readonly hard?: Limit;
}

/** Usage is what came of it so far. */
export interface Usage {
  readonly bytes: bigint;
  readonly packets: bigint;
  /** When it was made, in seconds of the wall clock. */
  readonly addedSeconds: bigint;
  /** When its first packet went through; absent before. */
  readonly usedSeconds?: bigint;
}

type SaPart = ReturnType<typeof saStruct.decode>;
type LimitsPart = SaPart["limits"];

/** limitsPart makes the structure: no limit is the greatest number for bytes and packets, and zero for time. */
export function limitsPart({ soft = {}, hard = {} }: Limits): LimitsPart {
  return {
    softBytes: soft.bytes ?? UNLIMITED,
    hardBytes: hard.bytes ?? UNLIMITED,
    softPackets: soft.packets ?? UNLIMITED,
    hardPackets: hard.packets ?? UNLIMITED,
    softAddSeconds: soft.addSeconds ?? 0n,
    hardAddSeconds: hard.addSeconds ?? 0n,
    softUseSeconds: soft.useSeconds ?? 0n,
    hardUseSeconds: hard.useSeconds ?? 0n,
  };
}

/** limitsOf reads the structure. */
export function limitsOf(part: LimitsPart): Limits {
  const soft = limit(part.softBytes, part.softPackets, part.softAddSeconds, part.softUseSeconds);
  const hard = limit(part.hardBytes, part.hardPackets, part.hardAddSeconds, part.hardUseSeconds);
  return { ...(soft && { soft }), ...(hard && { hard }) };
}

function limit(bytes: bigint, packets: bigint, add: bigint, use: bigint): Limit | undefined {
  const found = {
    ...(bytes !== UNLIMITED && { bytes }),
    ...(packets !== UNLIMITED && { packets }),
    ...(add !== 0n && { addSeconds: add }),
    ...(use !== 0n && { useSeconds: use }),
  };
  return Object.keys(found).length === 0 ? undefined : found;
}

/** usageOf reads the counters. */
export function usageOf({ bytes, packets, addTime, useTime }: SaPart["usage"]): Usage {
  return { bytes, packets, addedSeconds: addTime, ...(useTime !== 0n && { usedSeconds: useTime }) };
}
