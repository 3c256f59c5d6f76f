/**
 * Who may be relayed, and to whom. Nodes have classes, and pairs of classes may talk; so the policy of 5,000 nodes is a number for each and a few
 * pairs.
 */
import type { PublicKey } from "../../net/mod.ts";
import { MOST_ALLOWED, MOST_CLASS, MOST_NODES } from "./limits.ts";

/** ClassPair are two classes whose nodes may talk; the order means nothing. */
export type ClassPair = readonly [number, number];

/** RelayConfig is what a hub relays. */
export interface RelayConfig {
  readonly enabled: boolean;
  /** The class of each node that is relayed, 0 to MOST_CLASS; nodes that are not here are not. A node need not be a peer yet. */
  readonly classes: ReadonlyMap<PublicKey, number>;
  /** Nodes that change their key: by the next key the present one. What was learnt of a node goes over to its next key. */
  readonly successors?: ReadonlyMap<PublicKey, PublicKey>;
  /** Default: each class with itself, and with no other. */
  readonly allow?: readonly ClassPair[];
  /** What each pair may use, both directions together; absent: as much as there is. */
  readonly bytesPerSecond?: number;
  /** Interfaces of the underlay at which the kernel itself may send data on (xdp-program.ts). What it does not, the process does. */
  readonly xdpLinks?: readonly string[];
}

/** RelayChange says what of it changes; what is absent stays. It is applied in the order of its fields. */
export interface RelayChange {
  readonly enabled?: boolean;
  readonly allow?: readonly ClassPair[] | "same";
  readonly bytesPerSecond?: number | "unlimited";
  readonly xdpLinks?: readonly string[];
  /** Nodes that are not named are relayed no more, and none changes its key. */
  readonly replaceClasses?: boolean;
  /** Replaced as a whole. */
  readonly successors?: ReadonlyMap<PublicKey, PublicKey>;
  readonly classes?: ReadonlyMap<PublicKey, number | "none">;
}

/** NO_RELAY is where a data plane begins. */
export const NO_RELAY: RelayConfig = { enabled: false, classes: new Map() };

/** changedConfig returns the configuration after a change; throws, with nothing changed, for one that cannot be. */
export function changedConfig(before: RelayConfig, change: RelayChange): RelayConfig {
  const { enabled = before.enabled, allow = before.allow, bytesPerSecond = before.bytesPerSecond } = change;
  const { xdpLinks = before.xdpLinks ?? [] } = change;
  const kept = change.replaceClasses === true ? undefined : before.successors;
  const { successors = kept } = change;
  const classes = new Map(change.replaceClasses === true ? [] : before.classes);
  for (const [key, value] of change.classes ?? [])
    if (value === "none") classes.delete(key);
    else classes.set(key, value);
  const config: RelayConfig = {
    enabled,
    classes,
    ...(successors === undefined || successors.size === 0 ? {} : { successors }),
    ...(allow === undefined || allow === "same" ? {} : { allow }),
    ...(bytesPerSecond === undefined || bytesPerSecond === "unlimited" ? {} : { bytesPerSecond }),
    ...(xdpLinks.length === 0 ? {} : { xdpLinks }),
  };
  checkConfig(config);
  return config;
}

/** changeTo returns the change that leads from one configuration to another. */
export function changeTo(after: RelayConfig, before: RelayConfig | undefined): RelayChange {
  const classes = new Map<PublicKey, number | "none">();
  for (const [key, value] of after.classes) if (before?.classes.get(key) !== value) classes.set(key, value);
  for (const key of before?.classes.keys() ?? []) if (!after.classes.has(key)) classes.set(key, "none");
  return {
    enabled: after.enabled,
    allow: after.allow ?? "same",
    bytesPerSecond: after.bytesPerSecond ?? "unlimited",
    xdpLinks: after.xdpLinks ?? [],
    ...(before === undefined ? { replaceClasses: true } : {}),
    ...successorsTo(after, before),
    classes,
  };
}

/** A process of an older build does not know the word: it is said where there is something to say. */
function successorsTo(
  { successors = new Map() }: RelayConfig,
  before: RelayConfig | undefined,
): Pick<RelayChange, "successors"> {
  return successors.size > 0 || (before?.successors?.size ?? 0) > 0 ? { successors } : {};
}

/** checkConfig throws for a configuration that cannot be. */
export function checkConfig(config: RelayConfig): void {
  const { classes, successors, allow = [], bytesPerSecond, xdpLinks = [] } = config;
  if (classes.size >= MOST_NODES || (successors?.size ?? 0) >= MOST_NODES)
    throw new RangeError(`Cannot relay ${classes.size} nodes; there can be ${MOST_NODES - 1}`);
  if (allow.length > MOST_ALLOWED)
    throw new RangeError(`Cannot allow ${allow.length} pairs of classes; there can be ${MOST_ALLOWED}`);
  for (const value of [...classes.values(), ...allow.flat()])
    if (!Number.isInteger(value) || value < 0 || value > MOST_CLASS)
      throw new RangeError(`${value} is no class of nodes; they are 0 to ${MOST_CLASS}`);
  for (const link of xdpLinks)
    // dev_valid_name of net/core/dev.c.
    if (!/^[^\s/:]{1,15}$/.test(link)) throw new RangeError(`"${link}" is not a name of an interface`);
  if (bytesPerSecond !== undefined && !(bytesPerSecond >= 1 && bytesPerSecond <= Number.MAX_SAFE_INTEGER))
    throw new RangeError(`Cannot relay ${bytesPerSecond} bytes a second; at least 1, or no limit at all`);
}

/** Permissions answers which classes may talk. */
export class Permissions {
  readonly #allowed: ReadonlySet<number> | undefined;

  constructor(allow: readonly ClassPair[] | undefined) {
    this.#allowed = allow === undefined ? undefined : new Set(allow.map(([a, b]) => together(a, b)));
  }

  /** allow tells whether nodes of two classes may talk. */
  allow(a: number, b: number): boolean {
    return this.#allowed === undefined ? a === b : this.#allowed.has(together(a, b));
  }
}

const together = (a: number, b: number) => Math.min(a, b) * (MOST_CLASS + 1) + Math.max(a, b);
