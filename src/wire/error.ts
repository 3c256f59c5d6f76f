/** DecodeError: bytes that do not have the layout they should. It is the only error that decoders throw, whatever the input. */
export class DecodeError extends Error {
  override readonly name = "DecodeError";
  /** What went wrong, without the place. */
  readonly reason: string;
  /** Names of the fields from the outside in: `["linkinfo", "data", "vxlan", "id"]`. */
  readonly path: readonly string[];

  constructor(reason: string, path: readonly string[] = []) {
    super(path.length === 0 ? reason : `${path.join(".")}: ${reason}`);
    this.reason = reason;
    this.path = path;
  }
}

/** EncodeError: a value that the wire cannot carry. */
export class EncodeError extends Error {
  override readonly name = "EncodeError";
  readonly reason: string;
  readonly path: readonly string[];

  constructor(reason: string, path: readonly string[] = []) {
    super(path.length === 0 ? reason : `${path.join(".")}: ${reason}`);
    this.reason = reason;
    this.path = path;
  }
}

/** within runs work on a named field; an error that comes out of it names the field. */
export function within<T>(field: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw inField(field, error);
  }
}

/** inField returns an error that came out of a named field as one that names it. */
export function inField(field: string, error: unknown): unknown {
  if (error instanceof DecodeError) return new DecodeError(error.reason, [field, ...error.path]);
  if (error instanceof EncodeError) return new EncodeError(error.reason, [field, ...error.path]);
  return error;
}
