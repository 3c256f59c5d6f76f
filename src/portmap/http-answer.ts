/** The HTTP/1.1 (RFC 9112) that is needed to ask a home router something: one request for each connection, one answer of some kilobytes. */

/** MOST_HTTP_BYTES is the longest answer that is read. */
export const MOST_HTTP_BYTES = 65_536;

/** HttpAnswer is a whole answer. */
export interface HttpAnswer {
  readonly status: number;
  readonly body: string;
}

/** HttpQuestion is what is asked; `host` and `port` are of the connection too. */
export interface HttpQuestion {
  /** A literal IPv4 address. */
  readonly host: string;
  readonly port: number;
  readonly path: string;
  /** With it, it is a POST. */
  readonly body?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** encodeHttp returns the request. */
export function encodeHttp({ host, port, path, body, headers = {} }: HttpQuestion): Uint8Array<ArrayBuffer> {
  const bytes = Buffer.from(body ?? "");
  const lines = [
    `${body === undefined ? "GET" : "POST"} ${path} HTTP/1.1`,
    `Host: ${host}:${port}`,
    "Connection: close",
    ...(body === undefined ? [] : [`Content-Length: ${bytes.length}`]),
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
  ];
  return new Uint8Array(Buffer.concat([Buffer.from(`${lines.join("\r\n")}\r\n\r\n`), bytes]));
}

/** decodeHttp returns the answer; undefined while it is not whole, or for what is none. `ended`: the stream is at its end. */
export function decodeHttp(bytes: Uint8Array, ended: boolean): HttpAnswer | undefined {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const head = text.indexOf("\r\n\r\n");
  if (head < 0) return undefined;
  const [first = "", ...fields] = text.toString("latin1", 0, head).split("\r\n");
  const status = /^HTTP\/1\.[01] (\d{3})(?: |$)/.exec(first)?.[1];
  if (status === undefined) return undefined;
  const field = (name: string) =>
    fields
      .find((line) => line.toLowerCase().startsWith(`${name}:`))
      ?.slice(name.length + 1)
      .trim();
  const rest = text.subarray(head + 4);
  const body =
    field("transfer-encoding")?.toLowerCase() === "chunked"
      ? dechunk(rest)
      : sized(rest, field("content-length"), ended);
  return body === undefined ? undefined : { status: Number(status), body: body.toString("utf8") };
}

function sized(rest: Buffer, length: string | undefined, ended: boolean): Buffer | undefined {
  if (length === undefined) return ended ? rest : undefined;
  if (!/^\d{1,6}$/.test(length)) return undefined;
  return rest.length >= Number(length) ? rest.subarray(0, Number(length)) : undefined;
}

function dechunk(rest: Buffer): Buffer | undefined {
  const chunks: Buffer[] = [];
  for (let at = 0; ;) {
    const line = rest.indexOf("\r\n", at);
    if (line < 0) return undefined;
    const size = /^([0-9a-fA-F]{1,5})(?:;.*)?$/.exec(rest.toString("latin1", at, line))?.[1];
    if (size === undefined) return undefined;
    const length = Number.parseInt(size, 16);
    if (length === 0) return Buffer.concat(chunks);
    const end = line + 2 + length;
    if (rest.length < end + 2) return undefined;
    chunks.push(rest.subarray(line + 2, end));
    at = end + 2;
  }
}
