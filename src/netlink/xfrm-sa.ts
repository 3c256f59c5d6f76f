/**
 * Security associations of ESP. Words of ip-xfrm(8).
 *
 * An association goes one way. What comes in is found by destination and SPI; what goes out by a policy's template, whose `reqid` it has, and
 * of several the newest: so a new one is made first on the side that receives, then on the side that sends, and the old one removed last.
 */
import { formatIp, type Ip, type KeyMaterial } from "../net/mod.ts";
import { EncodeError, type Reader } from "../wire/mod.ts";
import { afOf } from "./family.ts";
import { FLAG, type Message, message } from "./request.ts";
import { flagBits, flagWords } from "./xfrm-flags.ts";
import { aeadOf, algorithmOf, type XfrmAlgorithm } from "./xfrm-key.ts";
import { type Limits, limitsOf, limitsPart, type Usage, usageOf } from "./xfrm-limits.ts";
import { newReplayState, type ReplayState } from "./xfrm-replay.ts";
import { addressBlock, addressOf, knownFamily, type Selector, selectorOf } from "./xfrm-selector.ts";
import {
  ESP,
  ESP_IN_UDP,
  SA_EXTRA_FLAG,
  SA_FLAG,
  saIdMessage,
  saMessage,
  type saStruct,
  XFRM,
  type XfrmBody,
} from "./xfrm-table.ts";

/** XfrmMark chooses by a packet's mark: those that are `value` in the bits of `mask`. */
export interface XfrmMark {
  readonly value: number;
  readonly mask: number;
}

/** XfrmRequest asks for one change. Its message may hold a key, and is wiped once it was sent. */
export interface XfrmRequest {
  /** What the request does, for errors; never a key. */
  readonly action: () => string;
  readonly message: Message;
}

/** SaMode is how packets are carried; others than these are `other`. */
export type SaMode = "transport" | "tunnel" | "beet" | "other";

/** SaFlag changes how packets are made or taken; `af-unspec` lets both families ride inside. */
export type SaFlag = Exclude<keyof typeof SA_FLAG, "esn"> | keyof typeof SA_EXTRA_FLAG;

/** SaId is what an association of ESP is found by. */
export interface SaId {
  /** Outer address of the receiver. */
  readonly destination: Ip;
  /** 256 to 2^32 - 1, chosen by the receiver (RFC 4303, section 2.1). */
  readonly spi: number;
  readonly mark?: XfrmMark;
}

/** UdpEncapsulation is ESP in UDP (RFC 3948). Inbound, the namespace needs a socket with UDP_ENCAP on the destination port. */
export interface UdpEncapsulation {
  readonly sourcePort: number;
  readonly destinationPort: number;
}

/** SaInfo is an association as the kernel reports it. It has no key. */
export interface SaInfo extends SaId {
  /** Outer address of the sender. */
  readonly source: Ip;
  /** IP protocol: 50 is ESP. */
  readonly protocol: number;
  readonly mode: SaMode;
  readonly reqid: number;
  /** The number of the question that it answers (XfrmAcquire.sequence), or 0. */
  readonly sequence: number;
  /** Absent where it is none of ours, or not decided yet: `algorithmName` says what it is. */
  readonly algorithm?: XfrmAlgorithm;
  readonly algorithmName?: string;
  /** Sequence numbers of 64 bits. */
  readonly extended: boolean;
  readonly replay?: ReplayState;
  readonly limits: Limits;
  readonly usage: Usage;
  /** When a packet last went through, in seconds of the wall clock. */
  readonly lastUsedSeconds?: bigint;
  /** Packets that were refused. */
  readonly late: number;
  readonly replayed: number;
  readonly forged: number;
  readonly flags: readonly SaFlag[];
  /** The packets that it is for; absent when its policies alone decide. */
  readonly selector?: Selector;
  readonly encapsulation?: UdpEncapsulation;
  readonly tfcBytes?: number;
  readonly ifId?: number;
  /** What outer packets are marked with. */
  readonly outputMark?: XfrmMark;
  readonly direction?: "in" | "out";
  readonly cpu?: number;
}

/** SaChange asks for an association of ESP in tunnel mode. */
export interface SaChange extends SaId {
  readonly source: Ip;
  readonly algorithm: XfrmAlgorithm;
  readonly material: KeyMaterial;
  readonly extended: boolean;
  readonly direction: "in" | "out";
  /** Ties it to the templates of policies; not 0. */
  readonly reqid: number;
  readonly sequence?: number;
  /** Packets that may come late, 0 to 4096, with extended numbers at least 1; default DEFAULT_WINDOW. Nothing to what goes out. */
  readonly window?: number;
  /** The last sequence number that is used up already, of what goes out: the next packet has the one after it. Default 0. */
  readonly sent?: bigint;
  /** What of an association that comes in was seen before, as `SaInfo.replay` told it; instead of `window`. Default nothing. */
  readonly seen?: Pick<ReplayState, "received" | "window" | "bitmap">;
  readonly limits?: Limits;
  readonly encapsulation?: UdpEncapsulation;
  /** Packets are padded up to this size inside (RFC 4303, section 2.7). */
  readonly tfcBytes?: number;
  /** The XFRM link, or policies, that it belongs to. */
  readonly ifId?: number;
  readonly outputMark?: XfrmMark;
  /** Default: both families ride inside. */
  readonly flags?: readonly SaFlag[];
  /** The CPU whose packets it is for (Linux 6.13, `probePerCpu`); one without is needed beside it for packets of the others. */
  readonly cpu?: number;
}

/** DEFAULT_WINDOW is what our own ESP has, in packets: queues and CPUs overtake one another. */
export const DEFAULT_WINDOW = 1024;
/** Before Linux 6.10, extended numbers need a window even where nothing comes in. */
const OUTBOUND_WINDOW = 32;
const MODES = { transport: 0, tunnel: 1, beet: 4 } as const;
/** XFRM_SA_DIR_… */
const DIRECTION = { in: 1, out: 2 } as const;

/** addSa makes an association; EEXIST if its destination and SPI are taken. */
export function addSa(change: SaChange): XfrmRequest {
  return {
    action: () => `add association ${describeSa(change)}`,
    message: message(XFRM.newSa, FLAG.create | FLAG.exclusive, saMessage, saParts(change)),
  };
}

/**
 * updateSa completes the association of an SPI that was allocated. Of one that is there already it changes (xfrm_state_update of
 * net/xfrm/xfrm_state.c):
 *
 * - its limits, all of them; the soft one is told anew, even where it was told before;
 * - the ports of its encapsulation, if it has one: to begin or to end encapsulation is EINVAL, and nothing has changed;
 * - `outputMark` and `ifId`, where they are given and not 0.
 *
 * All else of the change (source, algorithm and key, sequence numbers and window, flags, `reqid`, TFC) is taken without an error and without
 * any effect. ESRCH if there is none; EINVAL when a hard limit has just ended it.
 */
export function updateSa(change: SaChange): XfrmRequest {
  return {
    action: () => `update association ${describeSa(change)}`,
    message: message(XFRM.updateSa, FLAG.replace, saMessage, saParts(change)),
  };
}

/** deleteSa removes an association; ESRCH if there is none. */
export function deleteSa(id: SaId): XfrmRequest {
  return {
    action: () => `delete association ${describeSa(id)}`,
    message: message(XFRM.deleteSa, 0, saIdMessage, saIdParts(id)),
  };
}

/** saIdParts makes the body of a message that names an association. */
export function saIdParts({ destination, spi, mark }: SaId) {
  const header = {
    daddr: addressBlock(destination),
    spi,
    family: afOf(destination.family),
    protocol: ESP,
  };
  return { header, body: { mark } };
}

/** describeSa names an association in errors and logs. */
export function describeSa({ destination, spi }: SaId): string {
  return `${formatIp(destination)} spi 0x${spi.toString(16).padStart(8, "0")}`;
}

/** saParts makes the body of XFRM_MSG_NEWSA and UPDSA. */
export function saParts(change: SaChange) {
  const { source, destination, spi, algorithm, material, reqid, direction, cpu, encapsulation } = change;
  if (source.family !== destination.family) throw new EncodeError("the outer addresses are of two families");
  const { mark, ifId, outputMark, tfcBytes, limits = {}, flags = ["af-unspec"] } = change;
  const extraFlags = flagBits(SA_EXTRA_FLAG, flags.filter(isExtra));
  return {
    header: {
      id: { daddr: addressBlock(destination), spi, protocol: ESP },
      saddr: addressBlock(source),
      limits: limitsPart(limits),
      sequence: change.sequence,
      reqid,
      family: afOf(source.family),
      mode: MODES.tunnel,
      flags:
        flagBits(
          SA_FLAG,
          flags.filter((flag) => !isExtra(flag)),
        ) | (change.extended ? SA_FLAG.esn : 0),
    },
    body: {
      aead: aeadOf(algorithm, material),
      replay: replayOf(change),
      encapsulation: encapsulation && { type: ESP_IN_UDP, pad: 0, original: NOWHERE, ...encapsulation },
      mark,
      tfcBytes,
      extraFlags: extraFlags === 0 ? undefined : extraFlags,
      outputMark: outputMark?.value,
      outputMarkMask: outputMark?.mask,
      ifId,
      // The kernel wants to know it only with a CPU, and older ones do not know it.
      direction: cpu === undefined ? undefined : DIRECTION[direction],
      cpu,
    } satisfies XfrmBody,
  };
}

const NOWHERE = new Uint8Array(16);

function isExtra(flag: SaFlag): flag is keyof typeof SA_EXTRA_FLAG {
  return flag in SA_EXTRA_FLAG;
}

function replayOf({ direction, cpu, window = DEFAULT_WINDOW, sent = 0n, seen }: SaChange): ReplayState {
  if (direction === "in")
    return seen === undefined
      ? newReplayState(window)
      : { ...newReplayState(seen.window), ...seen, sent: 0n };
  // Whoever says the direction may not say a window (verify_newsa_info of net/xfrm/xfrm_user.c).
  return { ...newReplayState(cpu === undefined ? OUTBOUND_WINDOW : 0), sent };
}

/** decodeSa reads XFRM_MSG_NEWSA. */
export function decodeSa(reader: Reader): SaInfo {
  const { header, body } = saMessage.decode(reader);
  return saInfo(header, body);
}

/** saInfo makes a value of a decoded association. */
export function saInfo(part: ReturnType<typeof saStruct.decode>, body: XfrmBody): SaInfo {
  const family = knownFamily(part.family);
  const { aead } = body;
  const algorithm = aead && algorithmOf(aead);
  const algorithmName = aead?.name ?? body.crypt ?? body.authTruncated ?? body.auth ?? body.compression;
  const chosen = selectorOf(part.selector);
  return {
    source: addressOf(part.saddr, family),
    destination: addressOf(part.id.daddr, family),
    spi: part.id.spi,
    protocol: part.id.protocol,
    mode: modeOf(part.mode),
    reqid: part.reqid,
    sequence: part.sequence,
    ...(algorithm && { algorithm }),
    ...(algorithmName !== undefined && { algorithmName }),
    extended: (part.flags & SA_FLAG.esn) !== 0,
    ...(body.replay && { replay: body.replay }),
    limits: limitsOf(part.limits),
    usage: usageOf(part.usage),
    late: part.replayWindowMisses,
    replayed: part.replays,
    forged: part.integrityFailures,
    flags: [
      ...flagWords(SA_FLAG, part.flags).filter((flag) => flag !== "esn"),
      ...flagWords(SA_EXTRA_FLAG, body.extraFlags ?? 0),
    ],
    ...(chosen && { selector: chosen }),
    ...saExtras(body),
  };
}

function saExtras(body: XfrmBody): Partial<SaInfo> {
  const { encapsulation, mark, lastUsed, tfcBytes, ifId, outputMark, outputMarkMask, cpu } = body;
  return {
    ...(lastUsed !== undefined && { lastUsedSeconds: lastUsed }),
    ...(encapsulation && {
      encapsulation: {
        sourcePort: encapsulation.sourcePort,
        destinationPort: encapsulation.destinationPort,
      },
    }),
    ...(tfcBytes !== undefined && { tfcBytes }),
    ...(ifId !== undefined && { ifId }),
    ...(mark && { mark }),
    ...(outputMark !== undefined && {
      outputMark: { value: outputMark, mask: outputMarkMask ?? 0xffff_ffff },
    }),
    ...(body.direction === DIRECTION.in && { direction: "in" }),
    ...(body.direction === DIRECTION.out && { direction: "out" }),
    ...(cpu !== undefined && { cpu }),
  };
}

/** modeOf names a mode. */
export function modeOf(number: number): SaMode {
  const found = Object.entries(MODES).find(([, value]) => value === number);
  return (found?.[0] as SaMode | undefined) ?? "other";
}

/** modeNumber is its reverse; `other` cannot be asked for. */
export function modeNumber(mode: Exclude<SaMode, "other">): number {
  return MODES[mode];
}
