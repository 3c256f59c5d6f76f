/**
 * The log of a gateway: one JSON object a line on standard error, field names from one list, nothing secret. What attackers can cause is
 * limited, and so is what somebody who does not read it, or a full disk, would make wait: how much was left out is told.
 */
import { LossyWriter, monotonicMs, STANDARD_ERROR, wallMs } from "../sys/mod.ts";

/** Fields that a line may carry beside time and event. */
export interface LogFields {
  readonly gateway?: string;
  readonly route?: string;
  readonly queue?: number;
  readonly to?: string;
  readonly spi?: number;
  readonly path?: string;
  readonly reason?: string;
  readonly by?: string;
  readonly count?: number;
}

/** Log writes one line. */
export type Log = (event: string, fields?: LogFields) => void;

/** Lines in a second, as in Vita. */
const MOST_LINES = 32;

/** openLog returns the log of a gateway; it never waits and never throws. */
export function openLog(gateway: string, fd: number = STANDARD_ERROR): Log {
  const writer = new LossyWriter(fd);
  let second = 0;
  let lines = 0;
  let left = 0;
  const write = (event: string, fields: LogFields) =>
    writer.line(`${JSON.stringify({ time: new Date(wallMs()).toISOString(), event, gateway, ...fields })}\n`);
  return (event, fields = {}) => {
    const now = Math.floor(monotonicMs() / 1000);
    if (now !== second) {
      if (left > 0 && write("lines were left out", { count: left })) left = 0;
      [second, lines] = [now, 0];
    }
    if (++lines > MOST_LINES || !write(event, fields)) left++;
  };
}
