/** Weather: what the kernel, the network or another program can cause. It is borne and tried again; a bug is not. */

/** isBug tells whether an error can only come from a mistake in this program. */
export function isBug(error: unknown): boolean {
  return (
    !(error instanceof Error) ||
    error instanceof TypeError ||
    error instanceof RangeError ||
    error instanceof ReferenceError ||
    error.name === "AssertionError"
  );
}

/** weather returns an error that is to be borne, and throws a bug on. */
export function weather(error: unknown): Error {
  if (isBug(error)) throw error;
  return error as Error;
}
