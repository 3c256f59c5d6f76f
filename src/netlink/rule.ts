/** Routing policy rules. Words of ip-rule(8). */
import { type Family, formatPrefix, type Prefix, prefixAddress } from "../net/mod.ts";
import { attributes, headed, ip, type Reader, struct, text, u32, u8 } from "../wire/mod.ts";
import { afOf, familyOf } from "./family.ts";
import { FLAG, message, request, type RouteRequest } from "./request.ts";
import { prefixFrom } from "./route.ts";

/** RTM_… of rules. */
export const RULE = { new: 32, delete: 33, get: 34 } as const;

const FIB_RULE_INVERT = 2;

/** FR_ACT_… by name. */
const actions = { lookup: 1, goto: 2, nop: 3, blackhole: 6, unreachable: 7, prohibit: 8 } as const;

/** struct fib_rule_hdr and enum FRA_… (include/uapi/linux/fib_rules.h). */
export const ruleMessage = headed(
  struct({
    family: u8,
    toLength: u8,
    fromLength: u8,
    tos: u8,
    table: u8,
    reserved1: u8,
    reserved2: u8,
    action: u8,
    flags: u32,
  }),
  attributes({
    to: [1, ip],
    from: [2, ip],
    iif: [3, text],
    goto: [4, u32],
    priority: [6, u32],
    fwmark: [10, u32],
    suppressPrefixLength: [14, u32],
    table: [15, u32],
    fwmask: [16, u32],
    oif: [17, text],
    l3mdev: [19, u8],
    protocol: [21, u8],
  }),
);

/** RuleAction is what a rule does; `other` is one that this file does not know. */
export type RuleAction = keyof typeof actions | "other";

/** RuleInfo is a rule as the kernel reports it. */
export interface RuleInfo {
  readonly family: Family;
  readonly priority: number;
  readonly from?: Prefix;
  readonly to?: Prefix;
  readonly iif?: string;
  readonly oif?: string;
  readonly fwmark?: number;
  readonly fwmask?: number;
  readonly table: number;
  readonly action: RuleAction;
  readonly invert: boolean;
  readonly protocol?: number;
}

/** RuleChange names a rule to add or to delete. */
export interface RuleChange {
  readonly family: Family;
  readonly priority: number;
  readonly from?: Prefix;
  readonly to?: Prefix;
  readonly iif?: string;
  readonly oif?: string;
  readonly fwmark?: number;
  readonly fwmask?: number;
  /** Default 254 (main). */
  readonly table?: number;
  /** Default `lookup`. */
  readonly action?: Exclude<RuleAction, "goto" | "other">;
  readonly invert?: boolean;
  readonly protocol?: number;
}

/** addRule makes a rule; EEXIST if an equal one is there. */
export function addRule(change: RuleChange): RouteRequest {
  return request(
    () => `add rule ${describe(change)}`,
    message(RULE.new, FLAG.create | FLAG.exclusive, ruleMessage, encodeRule(change)),
  );
}

/** deleteRule removes the first rule that all given fields fit; ENOENT if there is none. */
export function deleteRule(change: RuleChange): RouteRequest {
  return request(
    () => `delete rule ${describe(change)}`,
    message(RULE.delete, 0, ruleMessage, encodeRule(change)),
  );
}

function describe(change: RuleChange): string {
  const words = [`IPv${change.family} priority ${change.priority}`];
  if (change.from !== undefined) words.push(`from ${formatPrefix(change.from)}`);
  if (change.to !== undefined) words.push(`to ${formatPrefix(change.to)}`);
  if (change.fwmark !== undefined) words.push(`fwmark 0x${change.fwmark.toString(16)}`);
  if (change.iif !== undefined) words.push(`iif ${change.iif}`);
  if (change.oif !== undefined) words.push(`oif ${change.oif}`);
  return `${words.join(" ")} ${change.action ?? "lookup"} ${change.table ?? 254}`;
}

function encodeRule(change: RuleChange): Parameters<typeof ruleMessage.encode>[1] {
  const { from, to, action = "lookup" } = change;
  const table = action === "lookup" ? (change.table ?? 254) : 0;
  return {
    header: {
      family: afOf(change.family),
      toLength: to?.length ?? 0,
      fromLength: from?.length ?? 0,
      table: table < 256 ? table : 0,
      action: actions[action],
      flags: change.invert === true ? FIB_RULE_INVERT : 0,
    },
    body: {
      to: to === undefined || to.length === 0 ? undefined : prefixAddress(to),
      from: from === undefined || from.length === 0 ? undefined : prefixAddress(from),
      iif: change.iif,
      oif: change.oif,
      priority: change.priority,
      fwmark: change.fwmark,
      fwmask: change.fwmask,
      table: table < 256 ? undefined : table,
      protocol: change.protocol,
    },
  };
}

/** decodeRule reads RTM_NEWRULE and RTM_DELRULE; undefined for other families. */
export function decodeRule(reader: Reader): RuleInfo | undefined {
  const { header, body } = ruleMessage.decode(reader);
  const family = familyOf(header.family);
  if (family === undefined) return undefined;
  const { from, to, iif, oif, fwmark, fwmask, protocol } = body;
  return {
    family,
    priority: body.priority ?? 0,
    ...(from !== undefined && { from: prefixFrom(family, from, header.fromLength) }),
    ...(to !== undefined && { to: prefixFrom(family, to, header.toLength) }),
    ...(iif !== undefined && { iif }),
    ...(oif !== undefined && { oif }),
    ...(fwmark !== undefined && { fwmark }),
    ...(fwmask !== undefined && { fwmask }),
    table: body.table ?? header.table,
    action: actionName(header.action),
    invert: (header.flags & FIB_RULE_INVERT) !== 0,
    ...(protocol !== undefined && protocol !== 0 && { protocol }),
  };
}

function actionName(action: number): RuleAction {
  for (const [name, value] of Object.entries(actions)) if (value === action) return name as RuleAction;
  return "other";
}
