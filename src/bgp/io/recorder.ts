/** A tap that writes down what a session is told, in a form that `replay` runs again. */
import type { BgpSession, SessionTap } from "./bgp-session.ts";
import { configLine, eventLine } from "./recording.ts";

/** record writes a session's events as lines, each without its line feed. Give it to BgpIo as `tap`. */
export function record(
  session: BgpSession,
  options: {
    readonly write: (line: string) => void;
    /** UPDATEs and ROUTE-REFRESHs too. Default true. */
    readonly updates?: boolean;
  },
): SessionTap {
  const { write, updates = true } = options;
  write(configLine(session.config));
  return {
    event: (event) => write(eventLine(event)),
    update: (nowMs, connection, message) => {
      if (updates) write(eventLine({ kind: "recorded-update", nowMs, connection, message }));
    },
  };
}
