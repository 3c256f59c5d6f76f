/**
 * Policies of XFRM: which packets must go through which associations. Words of ip-xfrm(8).
 *
 * `out` is for what leaves, `in` for what ends here, `fwd` for what goes on. A packet that was decrypted passes only by an `in` or `fwd`
 * policy for its addresses with a template that its association fits (`xfrm_policy_check`): so each route has both, with its prefixes.
 */
import { formatIp, formatPrefix, type Ip } from "../net/mod.ts";
import { DecodeError, type Reader } from "../wire/mod.ts";
import { afOf } from "./family.ts";
import { FLAG, message } from "./request.ts";
import { flagBits, flagWords } from "./xfrm-flags.ts";
import { type Limits, limitsOf, limitsPart, type Usage, usageOf } from "./xfrm-limits.ts";
import { modeNumber, modeOf, type SaMode, type XfrmMark, type XfrmRequest } from "./xfrm-sa.ts";
import {
  addressBlock,
  addressOf,
  knownFamily,
  type Selector,
  selectorOf,
  selectorPart,
} from "./xfrm-selector.ts";
import {
  ESP,
  POLICY_FLAG,
  policyIdMessage,
  policyMessage,
  type policyStruct,
  type TemplatePart,
  XFRM,
  type XfrmBody,
} from "./xfrm-table.ts";

/** XFRM_POLICY_… */
const DIRECTIONS = { in: 0, out: 1, fwd: 2 } as const;
const BLOCK = 1;
const ANY_ALGORITHM = 0xffff_ffff;

/** PolicyDirection is where a policy is looked at. */
export type PolicyDirection = keyof typeof DIRECTIONS;
/** PolicyFlag is rarely needed; `cpu-acquire` asks for an association of each CPU (Linux 6.13). */
export type PolicyFlag = keyof typeof POLICY_FLAG;

/** PolicyId is what a policy is found by. */
export interface PolicyId {
  readonly direction: PolicyDirection;
  readonly selector: Selector;
  readonly mark?: XfrmMark;
  readonly ifId?: number;
}

/** XfrmTemplate says which association: one with these outer addresses and this `reqid`. */
export interface XfrmTemplate {
  readonly source: Ip;
  readonly destination: Ip;
  readonly reqid: number;
  readonly mode: SaMode;
  /** 0 is any. */
  readonly spi: number;
  /** IP protocol: 50 is ESP. */
  readonly protocol: number;
  /** Whether packets may pass without. */
  readonly optional: boolean;
}

/** PolicyInfo is a policy as the kernel reports it. */
export interface PolicyInfo extends Omit<PolicyId, "selector"> {
  /** Absent: all packets. */
  readonly selector?: Selector;
  readonly action: "allow" | "block";
  /** The lowest is looked at first. */
  readonly priority: number;
  /** Given by the kernel; its lowest three bits are the direction. */
  readonly index: number;
  readonly templates: readonly XfrmTemplate[];
  readonly limits: Limits;
  readonly usage: Usage;
  readonly flags: readonly PolicyFlag[];
}

/** PolicyChange asks for a policy; without templates packets pass as they are. */
export interface PolicyChange extends PolicyId {
  /** Default allow. */
  readonly action?: "allow" | "block";
  readonly priority: number;
  /** Of ESP; at most 6 (XFRM_MAX_DEPTH), one after another from the inside out. */
  readonly templates?: readonly (Pick<XfrmTemplate, "source" | "destination" | "reqid"> & {
    /** Default tunnel. */
    readonly mode?: Exclude<SaMode, "other">;
    readonly spi?: number;
    readonly optional?: boolean;
  })[];
  readonly limits?: Limits;
  readonly flags?: readonly PolicyFlag[];
}

/** addPolicy makes a policy; EEXIST if there is one with the same selector, direction, mark and `ifId`. */
export function addPolicy(change: PolicyChange): XfrmRequest {
  return {
    action: () => `add policy ${describe(change)}`,
    message: message(XFRM.newPolicy, FLAG.create | FLAG.exclusive, policyMessage, policyParts(change)),
  };
}

/** updatePolicy makes a policy or replaces the one that is there, in one step: no packet sees neither. */
export function updatePolicy(change: PolicyChange): XfrmRequest {
  return {
    action: () => `update policy ${describe(change)}`,
    message: message(XFRM.updatePolicy, FLAG.replace, policyMessage, policyParts(change)),
  };
}

/** deletePolicy removes a policy; ENOENT if there is none. */
export function deletePolicy(id: PolicyId): XfrmRequest {
  return {
    action: () => `delete policy ${describe(id)}`,
    message: message(XFRM.deletePolicy, 0, policyIdMessage, policyIdParts(id)),
  };
}

/** policyIdParts makes the body of a message that names a policy. */
export function policyIdParts({ direction, selector, mark, ifId }: PolicyId) {
  return {
    header: { selector: selectorPart(selector), direction: DIRECTIONS[direction] },
    body: { mark, ifId },
  };
}

function describe({ direction, selector }: PolicyId): string {
  return `${direction} ${formatPrefix(selector.source)} to ${formatPrefix(selector.destination)}`;
}

function policyParts(change: PolicyChange) {
  const { selector, direction, priority, templates = [], limits = {}, flags = [], mark, ifId } = change;
  return {
    header: {
      selector: selectorPart(selector),
      limits: limitsPart(limits),
      priority,
      direction: DIRECTIONS[direction],
      action: change.action === "block" ? BLOCK : 0,
      flags: flagBits(POLICY_FLAG, flags),
    },
    body: {
      templates: templates.length === 0 ? undefined : templates.map(templatePart),
      mark,
      ifId,
    } satisfies XfrmBody,
  };
}

function templatePart(given: NonNullable<PolicyChange["templates"]>[number]): TemplatePart {
  const { source, destination, reqid, mode = "tunnel", spi = 0, optional = false } = given;
  if (source.family !== destination.family)
    throw new RangeError(
      `A template has one family: ${formatIp(source)} and ${formatIp(destination)} have two`,
    );
  return {
    id: { daddr: addressBlock(destination), spi, protocol: ESP, pad1: 0, pad2: 0, pad3: 0 },
    family: afOf(source.family),
    pad1: 0,
    saddr: addressBlock(source),
    reqid,
    mode: modeNumber(mode),
    share: 0,
    optional: optional ? 1 : 0,
    pad2: 0,
    // Combined algorithms have no bit of their own.
    aalgos: ANY_ALGORITHM,
    ealgos: ANY_ALGORITHM,
    calgos: ANY_ALGORITHM,
  };
}

/** decodePolicy reads XFRM_MSG_NEWPOLICY; undefined for policies of a socket, which have directions of their own. */
export function decodePolicy(reader: Reader): PolicyInfo | undefined {
  const { header, body } = policyMessage.decode(reader);
  return policyInfo(header, body);
}

/** policyInfo makes a value of a decoded policy. */
export function policyInfo(
  part: ReturnType<typeof policyStruct.decode>,
  body: XfrmBody,
): PolicyInfo | undefined {
  const direction = directionOf(part.direction);
  if (direction === undefined) return undefined;
  const selector = selectorOf(part.selector);
  return {
    direction,
    ...(selector && { selector }),
    action: part.action === BLOCK ? "block" : "allow",
    priority: part.priority,
    index: part.index,
    templates: (body.templates ?? []).map(templateOf),
    limits: limitsOf(part.limits),
    usage: usageOf(part.usage),
    flags: flagWords(POLICY_FLAG, part.flags),
    ...(body.mark && { mark: body.mark }),
    ...(body.ifId !== undefined && { ifId: body.ifId }),
  };
}

function directionOf(number: number): PolicyDirection | undefined {
  const found = Object.entries(DIRECTIONS).find(([, value]) => value === number);
  return found?.[0] as PolicyDirection | undefined;
}

function templateOf(part: TemplatePart): XfrmTemplate {
  if (part.optional > 1) throw new DecodeError(`a template that is optional ${part.optional}`);
  const family = knownFamily(part.family);
  return {
    source: addressOf(part.saddr, family),
    destination: addressOf(part.id.daddr, family),
    reqid: part.reqid,
    mode: modeOf(part.mode),
    spi: part.id.spi,
    protocol: part.id.protocol,
    optional: part.optional === 1,
  };
}
