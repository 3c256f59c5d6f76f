/**
 * HTTPS requests with JSON bodies, and a client certificate (mutual TLS) where one is given, with the limits that keep a bad or silent server from
 * harming this process: time, and bytes of an answer. Redirects are errors; certificates are always checked.
 */

/** HttpsTrust is what the server proves itself with; PEM text. */
export interface HttpsTrust {
  /** Certificates of those whose signature on the server's certificate is believed. */
  readonly ca: string;
}

/** TlsIdentity is what both sides prove themselves with; PEM texts. */
export interface TlsIdentity extends HttpsTrust {
  readonly certificate: string;
  readonly key: string;
}

/** HttpsRequest is one request. */
export interface HttpsRequest {
  readonly url: string;
  /** Default POST, or GET where there is no body. */
  readonly method?: "POST" | "PUT" | "PATCH" | "DELETE";
  readonly body?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Absent: without TLS, for `http:`. */
  readonly tls?: TlsIdentity | HttpsTrust | undefined;
  /** Until the whole answer is there; of a stream, until it begins. */
  readonly timeoutMs: number;
  /** Of an answer, or of one line of a stream. */
  readonly maxBytes: number;
}

/** HttpsError says in words why there is no answer. */
export class HttpsError extends Error {
  override readonly name = "HttpsError";
  /** `ended`: a stream, without an error; `untrusted`: one side does not accept the other's certificate, which waiting does not change. */
  readonly kind: "unreachable" | "silent" | "untrusted" | "ended";
  /** Of a stream that was refused. */
  readonly status: number | undefined;

  constructor(kind: HttpsError["kind"], message: string, cause?: unknown, status?: number) {
    super(message, { cause });
    this.kind = kind;
    this.status = status;
  }
}

function options(request: HttpsRequest, signal: AbortSignal): BunFetchRequestInit {
  const { tls } = request;
  return {
    method: request.method ?? (request.body === undefined ? "GET" : "POST"),
    ...(request.body === undefined ? {} : { body: request.body }),
    headers: { "content-type": "application/json", ...request.headers },
    redirect: "error",
    // Whatever the environment says of proxies; only `false` makes the runtime pass them over.
    proxy: false as never,
    signal,
    ...(tls === undefined ? {} : { tls: { ca: tls.ca, ...ownOf(tls), rejectUnauthorized: true } }),
  };
}

function ownOf(tls: TlsIdentity | HttpsTrust): { cert?: string; key?: string } {
  return "certificate" in tls ? { cert: tls.certificate, key: tls.key } : {};
}

/** Codes of the runtime, which are OpenSSL's for certificates. */
const UNTRUSTED: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: "its certificate has expired",
  CERT_NOT_YET_VALID: "its certificate is not valid yet; check both clocks",
  CERT_UNTRUSTED: "its certificate is not signed by the given CA",
  DEPTH_ZERO_SELF_SIGNED_CERT: "its certificate is signed by itself, not by the given CA",
  ERR_TLS_CERT_ALTNAME_INVALID: "its certificate is for other names and addresses than this one",
  SELF_SIGNED_CERT_IN_CHAIN: "its certificate is not signed by the given CA",
  UNABLE_TO_GET_ISSUER_CERT: "its certificate is not signed by the given CA",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "its certificate is not signed by the given CA",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "its certificate is not signed by the given CA",
};

function inWords(error: unknown, request: HttpsRequest, timedOut: boolean): HttpsError {
  if (error instanceof HttpsError) return error;
  if (timedOut) return new HttpsError("silent", `no answer for ${request.timeoutMs} ms`, error);
  const { code = "", message } = error as Error & { code?: string };
  const untrusted = UNTRUSTED[code];
  if (untrusted !== undefined) return new HttpsError("untrusted", untrusted, error);
  if (/^ERR_(?:SSL|TLS|BORINGSSL)|^SSL/.test(code))
    return new HttpsError("untrusted", `the TLS handshake fails (${code})`, error);
  // The runtime's words for a server that ends the handshake: of our certificate, or because it speaks no TLS.
  if (code === "EPROTO")
    return new HttpsError(
      "untrusted",
      "it ends the TLS handshake: it does not accept our certificate, or speaks no TLS on this port",
      error,
    );
  if (code === "ConnectionRefused" || code === "ECONNREFUSED")
    return new HttpsError("unreachable", "the connection is refused", error);
  // The runtime's advice to programmers.
  const said = message.replace(/\.? For more information, pass `verbose: true`.*$/, "");
  return new HttpsError("unreachable", said || code || "the connection broke", error);
}

/** HttpsAnswer is a whole answer. */
export interface HttpsAnswer {
  readonly status: number;
  readonly text: string;
}

/** httpsGet asks and returns status and text of the answer; throws HttpsError when there is none. */
export function httpsGet(request: Omit<HttpsRequest, "body">): Promise<HttpsAnswer> {
  return exchange(request);
}

/** httpsSend sends a request of any method, its body's type among `headers`, and returns status and text of the answer; throws HttpsError when there is none. */
export function httpsSend(request: HttpsRequest): Promise<HttpsAnswer> {
  return exchange(request);
}

/** httpsPost sends a request and returns status and text of the answer; throws HttpsError when there is none. */
export function httpsPost(request: HttpsRequest & { readonly body: string }): Promise<HttpsAnswer> {
  return exchange(request);
}

async function exchange(request: HttpsRequest): Promise<HttpsAnswer> {
  const abort = new AbortController();
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    abort.abort();
  }, request.timeoutMs);
  try {
    const answer = await fetch(request.url, options(request, abort.signal));
    const parts: Uint8Array[] = [];
    let bytes = 0;
    for await (const part of answer.body ?? []) {
      bytes += part.length;
      if (bytes > request.maxBytes) {
        abort.abort();
        throw new HttpsError("unreachable", `its answer is longer than ${request.maxBytes} bytes`);
      }
      parts.push(part);
    }
    return { status: answer.status, text: Buffer.concat(parts).toString("utf8") };
  } catch (error) {
    throw inWords(error, request, late);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * httpsStream sends a request whose answer is lines without end. `opened` is called when the answer begins, `ended` once, with the reason, unless
 * the stream was disposed before. Lines come until then.
 */
export function httpsStream(
  request: HttpsRequest,
  events: {
    readonly opened?: () => void;
    readonly line: (text: string) => void;
    readonly ended: (error: HttpsError) => void;
  },
): Disposable {
  const abort = new AbortController();
  let disposed = false;
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    abort.abort();
  }, request.timeoutMs);
  const read = async () => {
    const answer = await fetch(request.url, options(request, abort.signal));
    clearTimeout(timer);
    if (answer.status !== 200 || answer.body === null)
      throw new HttpsError(
        "unreachable",
        `it answers with status ${answer.status}`,
        undefined,
        answer.status,
      );
    if (!disposed) events.opened?.();
    let rest = Buffer.alloc(0);
    for await (const part of answer.body) {
      rest = Buffer.concat([rest, part]);
      for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10)) {
        const line = rest.subarray(0, end).toString("utf8");
        rest = rest.subarray(end + 1);
        if (!disposed) events.line(line);
      }
      if (rest.length > request.maxBytes)
        throw new HttpsError("unreachable", `a line is longer than ${request.maxBytes} bytes`);
    }
    throw new HttpsError("ended", "the stream ended");
  };
  read().catch((error: unknown) => {
    clearTimeout(timer);
    abort.abort();
    if (!disposed) events.ended(inWords(error, request, late));
  });
  return {
    [Symbol.dispose]() {
      disposed = true;
      clearTimeout(timer);
      abort.abort();
    },
  };
}
