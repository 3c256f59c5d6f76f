/**
 * What a check of a path attribute's value gets and gives back. Checks look at bytes in place, without allocation, and return RFC 7606's
 * reaction. Flags, repeats and what is missing are update.ts's affair.
 */
import { UPDATE_ERROR } from "./notification.ts";
import type { Reaction } from "./reaction.ts";
import type { UpdateSession } from "./update-session.ts";

/** CheckContext is what a check knows of the session, and where it leaves its reason. Reused. */
export interface CheckContext {
  session: UpdateSession;
  /** Why the last check did not accept. */
  reason: string;
  /** UPDATE_ERROR that a NOTIFICATION would carry. */
  subcode: number;
  /** Rows of the attribute table, for attributes within an attribute. */
  readonly rowOf: (code: number) => { readonly flags: number; readonly check: AttributeCheck } | undefined;
}

/** AttributeCheck looks at the value `bytes[at..at + length)`. */
export type AttributeCheck = (
  bytes: Uint8Array,
  at: number,
  length: number,
  context: CheckContext,
) => Reaction;

/** refuse notes a reason and returns the reaction. */
export function refuse(
  context: CheckContext,
  reaction: Reaction,
  reason: string,
  subcode: number = UPDATE_ERROR.attributeLength,
): Reaction {
  context.reason = reason;
  context.subcode = subcode;
  return reaction;
}
