/** What of a node's edge never changes while its resource is there: those on the other side of a host leg have it in their own configuration. */
import { formatPrefix, type Prefix, prefixEqual } from "../net/mod.ts";
import { changedLink, type HostSession, type Underlay, type Vpc } from "../resources/mod.ts";

/** Say reports a field, its value, what it was, and how to change it nevertheless. */
export type Say = (field: string, value: string, was: string, fix: string) => void;

const AGAIN = "delete it and apply it anew";

/** A network of another family may be added. */
function samePools(
  field: string,
  before: Pick<HostSession, "prefixes">,
  now: Pick<HostSession, "prefixes">,
  say: Say,
): void {
  const text = (prefixes: readonly Prefix[]) => prefixes.map(formatPrefix).join(", ");
  for (const old of before.prefixes)
    if (!now.prefixes.some((prefix) => prefixEqual(prefix, old)))
      say(
        `${field}.prefixes`,
        text(now.prefixes),
        formatPrefix(old),
        "remove the host session, and add it anew",
      );
}

/** vpcUnchanged reports what a VPC may not change. */
export function vpcUnchanged(before: Vpc, now: Vpc, say: Say): void {
  const word = (vpc: Vpc) => (vpc.underlay === undefined ? "absent" : `of router ${vpc.underlay.router}`);
  if (word(before) !== word(now)) say("spec.underlay", word(now), word(before), AGAIN);
  if (before.hostSession !== undefined && now.hostSession !== undefined)
    samePools("spec.hostSession", before.hostSession, now.hostSession, say);
}

/** underlayUnchanged reports what an Underlay may not change. */
export function underlayUnchanged(before: Underlay, now: Underlay, say: Say): void {
  if (before.router !== now.router) say("spec.router", now.router, before.router, AGAIN);
  now.links.forEach((link, i) => {
    const old = before.links.find(({ name }) => name === link.name);
    const changed = old && changedLink(old, link);
    if (changed !== undefined)
      say(
        `spec.links[${i}].${changed.field}`,
        changed.value,
        changed.was,
        `give it another name than ${link.name}, or ${AGAIN}`,
      );
  });
  now.hostSessions.forEach((session, i) => {
    const old = before.hostSessions.find(({ name }) => name === session.name);
    if (old !== undefined) samePools(`spec.hostSessions[${i}]`, old, session, say);
  });
}
