/**
 * Opening a TLS 1.3 connection to somebody who is known: by the hash of the public key, or by a name in a certificate that an authority
 * signed. On request through an HTTP proxy (CONNECT, RFC 9110 section 9.3.6).
 */
import { X509Certificate } from "node:crypto";
import type { Socket } from "bun";
import { sha256 } from "./crypto.ts";
import { tlsOptions } from "./tls-listener.ts";
import { type TlsEvents, TlsStream, tuneTcp } from "./tls-stream.ts";

/** An answer of a proxy that is longer is none. */
const MOST_ANSWER_BYTES = 8192;

/** TlsTrust says whom the other side has to be. */
export type TlsTrust =
  /** Whoever has the key with this hash: SHA-256 of the SubjectPublicKeyInfo (as in RFC 7469), base64. */
  | { readonly kind: "key"; readonly sha256: string }
  /** Whoever has a certificate for this name, signed by an authority of the runtime's list, or of the PEM text. */
  | { readonly kind: "name"; readonly name: string; readonly authorities?: string };

/** HttpProxy is a proxy that is asked to connect. */
export interface HttpProxy {
  readonly host: string;
  readonly port: number;
  /** `user:password`. */
  readonly credentials?: string;
}

/** TlsConnectOptions say where to, and who has to be there. */
export interface TlsConnectOptions {
  /** Name or address. */
  readonly host: string;
  readonly port: number;
  readonly trust: TlsTrust;
  readonly proxy?: HttpProxy;
  /** For all of it: name, connection, proxy, handshake. */
  readonly timeoutMs: number;
  readonly events: TlsEvents;
}

/** hashOfKey returns the hash by which a certificate's key is known: SHA-256 of its SubjectPublicKeyInfo, base64. */
export function hashOfKey(certificate: X509Certificate): string {
  return Buffer.from(sha256(certificate.publicKey.export({ format: "der", type: "spki" }))).toString(
    "base64",
  );
}

/** connectTls opens a connection; rejects with the reason when that fails, or the other side is somebody else. Nothing is sent before. */
export async function connectTls(options: TlsConnectOptions): Promise<TlsStream> {
  const attempt = new Attempt(options);
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error(attempt.silence())), options.timeoutMs);
  try {
    return await Promise.race([attempt.run(), late]);
  } catch (error) {
    attempt.abandon();
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

/** What the runtime calls of a socket. */
type Handlers = Bun.SocketHandler<undefined>;

/** A name of a host holds a letter in its last part, and no colon. */
const isAddress = (host: string) => /^[\d.]+$|:/.test(host);

/** Attempt is one way from nothing to a stream. */
class Attempt {
  readonly #options: TlsConnectOptions;
  readonly #opened = Promise.withResolvers<TlsStream>();
  #stream: TlsStream | undefined;
  #socket: Socket<undefined> | undefined;
  #abandoned = false;
  #stage = "connect";

  constructor(options: TlsConnectOptions) {
    this.#options = options;
    this.#opened.promise.catch(() => {});
  }

  run(): Promise<TlsStream> {
    const { host, port, proxy } = this.#options;
    const connecting =
      proxy === undefined
        ? Bun.connect({ hostname: host, port, data: undefined, tls: this.#tls(), socket: this.#handlers() })
        : Bun.connect({
            hostname: proxy.host,
            port: proxy.port,
            data: undefined,
            socket: this.#proxyHandlers(),
          });
    connecting.catch((error: Error) => this.#fail(error.message));
    return this.#opened.promise;
  }

  silence(): string {
    const { timeoutMs, proxy } = this.#options;
    const who =
      this.#stage === "proxy" || (proxy !== undefined && this.#stage === "connect") ? "the proxy" : "the hub";
    return `no answer from ${who} for ${timeoutMs} ms`;
  }

  abandon(): void {
    this.#abandoned = true;
    this.#socket?.terminate();
  }

  #fail(reason: string): void {
    this.#opened.reject(new Error(reason));
    this.#socket?.terminate();
  }

  #tls(): Bun.TLSOptions {
    const { host, trust } = this.#options;
    const name = trust.kind === "name" ? trust.name : host;
    return tlsOptions({
      // Who it is, is judged below, before a byte is sent.
      rejectUnauthorized: false,
      ...(!isAddress(name) ? { serverName: name } : {}),
      ...(trust.kind === "name" && trust.authorities !== undefined ? { ca: trust.authorities } : {}),
    });
  }

  #handlers(): Handlers {
    return {
      binaryType: "buffer",
      open: (socket) => this.#connected(socket),
      // The flag beside is no verdict: true for an untrusted certificate with the right name, false for a good handshake with another name.
      handshake: (socket, _, doubt) => this.#judge(socket, doubt),
      data: (_, bytes) => this.#stream?.received(bytes),
      drain: () => this.#stream?.drained(),
      end: () => this.#gone(),
      error: (_, error) => this.#gone(error.message),
      close: (_, error) => this.#gone(error?.message),
      connectError: (_, error) => this.#fail(error.message),
    };
  }

  #connected(socket: Socket<undefined>): void {
    this.#socket = socket;
    if (this.#abandoned) {
      socket.terminate();
      return;
    }
    this.#stage = "handshake";
    tuneTcp(socket);
  }

  #gone(reason?: string): void {
    if (this.#stream === undefined)
      this.#fail(reason ?? "the connection was closed during the TLS handshake");
    else if (reason === undefined) this.#stream.close();
    else this.#stream.close(reason);
  }

  #judge(socket: Socket<undefined>, doubt: Error | null | undefined): void {
    const certificate = isComplete(socket)
      ? (socket.getPeerX509Certificate() as X509Certificate | undefined)
      : undefined;
    const problem =
      certificate === undefined
        ? `the TLS handshake failed: ${doubt?.message ?? "no certificate was shown"}`
        : distrust(certificate, this.#options.trust, doubt);
    if (problem !== undefined) return this.#fail(problem);
    this.#stream = new TlsStream(socket, this.#options.events);
    this.#opened.resolve(this.#stream);
  }

  #proxyHandlers(): Handlers {
    const { host, port, proxy } = this.#options;
    const target = `${host.includes(":") ? `[${host}]` : host}:${port}`;
    const credentials =
      proxy?.credentials === undefined
        ? ""
        : `Proxy-Authorization: Basic ${Buffer.from(proxy.credentials).toString("base64")}\r\n`;
    let answer = "";
    let upgraded = false;
    return {
      binaryType: "buffer",
      open: (socket) => {
        this.#connected(socket);
        this.#stage = "proxy";
        socket.write(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n${credentials}\r\n`);
      },
      data: (socket, bytes) => {
        // What comes after the upgrade is shown here once more, encrypted.
        if (upgraded) return;
        answer += Buffer.from(bytes).toString("latin1");
        const end = answer.indexOf("\r\n\r\n");
        if (end < 0 && answer.length <= MOST_ANSWER_BYTES) return;
        upgraded = true;
        const problem = refusalOf(answer, end);
        if (problem !== undefined) return this.#fail(problem);
        this.#stage = "handshake";
        const handlers = { ...this.#handlers(), open: () => {} };
        socket.upgradeTLS({ data: undefined, tls: this.#tls(), socket: handlers as never });
      },
      end: () => this.#gone("the proxy closed the connection"),
      error: (_, error) => this.#gone(error.message),
      close: (_, error) => this.#gone(error?.message),
      connectError: (_, error) => this.#fail(`the proxy cannot be reached: ${error.message}`),
    };
  }
}

/**
 * Whether the other side has proved that it has the certificate's key. The runtime shows a certificate before that, and also when the proof
 * was wrong; keys can be exported only afterwards (RFC 8446 section 7.5).
 */
function isComplete(socket: Socket<undefined>): boolean {
  try {
    socket.exportKeyingMaterial(32, "EXPORTER-causeway");
    return true;
  } catch {
    return false;
  }
}

/** Why an answer to CONNECT is not the way through; a server of TLS does not speak first, so nothing may follow the header. */
function refusalOf(answer: string, end: number): string | undefined {
  const status = /^HTTP\/1\.[01] (\d{3})([^\r\n]{0,100})/.exec(answer);
  if (end < 0 || status === null) return "the proxy answers with something that is not HTTP";
  if (status[1] === "407") return "the proxy wants a user and a password (407)";
  if (!status[1]?.startsWith("2")) return `the proxy refuses the connection: ${status[1]}${status[2]}`;
  return end + 4 === answer.length ? undefined : "the proxy sends more than an answer to CONNECT";
}

function distrust(
  certificate: X509Certificate,
  trust: TlsTrust,
  doubt: Error | null | undefined,
): string | undefined {
  if (trust.kind === "key") {
    const found = hashOfKey(certificate);
    if (found === trust.sha256) return undefined;
    const issuer = /CN=([^\n]{1,80})/.exec(certificate.issuer)?.[1] ?? "nobody";
    return `who answers is not the hub: its key has the hash ${found}, not ${trust.sha256} (certificate issued by ${issuer}); something on the way may open TLS`;
  }
  if (doubt !== undefined && doubt !== null) return `the certificate is not trusted: ${doubt.message}`;
  const named = !isAddress(trust.name) ? certificate.checkHost(trust.name) : certificate.checkIP(trust.name);
  return named === undefined ? `the certificate is not for ${trust.name}` : undefined;
}
