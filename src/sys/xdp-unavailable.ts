/** Whether AF_XDP cannot be had at all, so that another way to an interface's frames is to be taken. */
import { isErrno } from "./errno.ts";

/**
 * XdpUnavailable says why AF_XDP cannot be used: no right to load programs, a kernel or an interface without it. What somebody else has, what the
 * interface has not, and an interface that is gone are other errors: packet sockets would not help there.
 */
export class XdpUnavailable extends Error {
  override readonly name = "XdpUnavailable";
}

/** Another has it, there is no such queue, or no such interface. */
const OTHERS = ["EBUSY", "EEXIST", "ENODEV", "ENXIO"] as const;

/** xdpFailure returns what an error of opening means: an XdpUnavailable, or the error as it is. */
export function xdpFailure(error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof XdpUnavailable) return error;
  const code = error.cause ?? error;
  if (error instanceof RangeError || isErrno(code, ...OTHERS)) return error;
  return new XdpUnavailable(error.message, { cause: error });
}
