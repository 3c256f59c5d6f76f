/** Errors as the specification has them: a code, a sentence, and details that name the field and its value. */
import { type CniVersion, VERSIONS } from "./protocol.ts";

/** CODES of the specification's section 2, "Error"; 8 is the Go library's, which runtimes know as well. */
export const CODES = {
  incompatibleVersion: 1,
  unsupportedField: 2,
  containerUnknown: 3,
  badEnvironment: 4,
  io: 5,
  decoding: 6,
  badConfiguration: 7,
  badNetns: 8,
  tryAgain: 11,
  notAvailable: 50,
  notAvailableAndLimited: 51,
  /** Ours, from the range that plugins are free to use. */
  interfaceExists: 100,
  alreadyAttached: 101,
  addressRefused: 102,
  checkFailed: 103,
  kernel: 104,
  hostPortTaken: 105,
} as const;

/** CniError is an answer to the runtime that is no success. */
export class CniError extends Error {
  override readonly name = "CniError";
  readonly code: number;
  readonly details: string | undefined;

  constructor(
    code: keyof typeof CODES,
    message: string,
    options: { details?: string; cause?: unknown } = {},
  ) {
    super(message, { cause: options.cause });
    this.code = CODES[code];
    this.details = options.details;
  }
}

/** formatError returns the error object of P4; a version that was not understood is answered with our newest. */
export function formatError(error: CniError, version: CniVersion | undefined): string {
  return JSON.stringify({
    cniVersion: version ?? VERSIONS.at(-1),
    code: error.code,
    msg: error.message,
    ...(error.details !== undefined && { details: error.details }),
  });
}
