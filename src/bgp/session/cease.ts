/** Which end of a session lets both sides keep routes, and which does not: RFC 4724 section 4, with RFC 8538's NOTIFICATIONs and hard resets. */
import { type BgpError, bgpError, CEASE, ERROR } from "../wire/mod.ts";
import type { Ended } from "./fsm-event.ts";
import type { Negotiated } from "./negotiated.ts";

/** Those that RFC 8538 section 3.1 answers with "Yes": what ended is not meant to come back as it was. */
const hardCeases: ReadonlySet<number> = new Set([
  CEASE.maximumPrefixes,
  CEASE.administrativeShutdown,
  CEASE.peerDeconfigured,
  CEASE.otherConfigurationChange,
  CEASE.hardReset,
]);

/** ceaseFor returns the error as it is sent to a peer: wrapped as a hard reset where both sides would keep routes else (RFC 8538 section 3). */
export function ceaseFor(
  error: BgpError,
  { negotiated, hard }: { readonly negotiated: Negotiated | undefined; readonly hard?: boolean | undefined },
): BgpError {
  if (negotiated?.restart?.notification !== true || isHardReset(error)) return error;
  if (!(hard ?? (error.code === ERROR.cease && hardCeases.has(error.subcode)))) return error;
  const data = Uint8Array.of(error.code, error.subcode, ...error.data);
  return bgpError(ERROR.cease, CEASE.hardReset, { data, text: error.text });
}

/** isHardReset tells whether an error is a cease of subcode 9. */
export function isHardReset(error: BgpError): boolean {
  return error.code === ERROR.cease && error.subcode === CEASE.hardReset;
}

/** keepsRoutes tells whether the routes of a session that ended so are kept as stale. */
export function keepsRoutes(negotiated: Negotiated, ended: Ended): boolean {
  const { restart } = negotiated;
  if (restart === undefined || restart.families.size === 0) return longLivedOnly(negotiated, ended);
  if (ended.by === "lost" || ended.by === "replaced") return true;
  // RFC 4724 section 4.2 keeps nothing over a NOTIFICATION; RFC 8538 section 2 does, if both sides said so and it is no hard reset.
  return restart.notification && ended.error !== undefined && !isHardReset(ended.error);
}

/** RFC 9494 section 4.1: the capability is of use only with that of RFC 4724, whose list of families may be empty. */
function longLivedOnly(negotiated: Negotiated, ended: Ended): boolean {
  return (
    negotiated.restart !== undefined &&
    negotiated.longLived.size > 0 &&
    (ended.by === "lost" || ended.by === "replaced" || negotiated.restart.notification) &&
    (ended.error === undefined || !isHardReset(ended.error))
  );
}
