/**
 * The agent's log: one JSON object a line on standard error, field names from one list, nothing secret (secrets print as `(hidden)`).
 * Only the agent logs; folders below return or throw.
 */
import { wallMs, writeStandardError } from "../sys/mod.ts";

/** Fields that a line may carry beside time, level and message. */
export interface Fields {
  readonly node?: string;
  readonly peer?: string;
  readonly pod?: string;
  readonly scope?: string;
  readonly object?: string;
  readonly path?: string;
  readonly reason?: string;
  readonly error?: unknown;
  readonly revision?: number;
  readonly count?: number;
}

function write(level: string, message: string, fields: Fields): void {
  const { error, ...rest } = fields;
  const cause = error === undefined ? {} : { error: error instanceof Error ? error.message : String(error) };
  writeStandardError(
    `${JSON.stringify({ time: new Date(wallMs()).toISOString(), level, message, ...rest, ...cause })}\n`,
  );
}

/** info says what happened. */
export function info(message: string, fields: Fields = {}): void {
  write("info", message, fields);
}

/** warn says what is not as it should be, and is being dealt with. */
export function warn(message: string, fields: Fields = {}): void {
  write("warn", message, fields);
}
