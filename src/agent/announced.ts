/** Networks behind this node that it asks to have routed to it. Kept here and told to hubs; a hub's operator approves them. */
import { formatPrefix, parsePrefix, type Prefix, prefixEqual } from "../net/mod.ts";
import { readText, writeAtomic } from "../sys/mod.ts";
import { STATE } from "./paths.ts";

const ANNOUNCED = `${STATE}/announced.json`;
/** The limit of Node.status.announced. */
const MOST = 64;

/** announcedNetworks returns what this node asks for. */
export function announcedNetworks(): Prefix[] {
  return (JSON.parse(readText(ANNOUNCED) ?? "[]") as string[]).map(parsePrefix);
}

/** announcedFact returns the same as a part of this node's facts: absent when there is none. */
export function announcedFact(): { readonly announced?: Prefix[] } {
  const announced = announcedNetworks();
  return announced.length === 0 ? {} : { announced };
}

/** announce adds a network, or takes one back; it is stored when it returns. */
export function announce(prefix: Prefix, options: { readonly withdraw: boolean }): Prefix[] {
  const before = announcedNetworks();
  const others = before.filter((other) => !prefixEqual(other, prefix));
  if (options.withdraw && others.length === before.length)
    throw new Error(
      `Cannot withdraw ${formatPrefix(prefix)}: this node does not announce it; it announces ${before.map(formatPrefix).join(", ") || "none"}`,
    );
  if (!options.withdraw && others.length >= MOST)
    throw new Error(`Cannot announce ${formatPrefix(prefix)}: ${MOST} networks are; withdraw one first`);
  const after = options.withdraw ? others : [...others, prefix];
  writeAtomic(ANNOUNCED, `${JSON.stringify(after.map(formatPrefix))}\n`, 0o600);
  return after;
}
