/**
 * Where a peer has proved to be: it has the keys of a session, and so it had our message of the handshake, where that went. Whoever only forges a source
 * address does not see what goes there; where packets seem to come from says nothing.
 */
import { type Endpoint, endpointEqual } from "../../net/mod.ts";
import type { Session } from "../wireguard/mod.ts";

/** provenMs returns when the peer of a session proved to be at an endpoint: when the session was made; undefined if it did not. */
export function provenMs(session: Session | undefined, endpoint: Endpoint | undefined): number | undefined {
  if (session?.spokeTo === undefined || endpoint === undefined) return undefined;
  // A response alone proves nothing: only what comes under its session.
  const isConfirmed = session.initiator || session.heard;
  return isConfirmed && endpointEqual(session.spokeTo, endpoint) ? session.bornMs : undefined;
}
