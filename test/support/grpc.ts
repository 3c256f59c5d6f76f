/**
 * One gRPC call over a unix socket: a request, an answer, a status. HTTP/2 comes from the runtime; of gRPC's own protocol
 * (grpc.io, "gRPC over HTTP2") only the frame of five bytes and the two trailers are needed.
 */
import { type ClientHttp2Session, connect } from "node:http2";
import { connect as connectSocket } from "node:net";

/** GrpcError is an answer with a status that is not 0. */
export class GrpcError extends Error {
  override readonly name = "GrpcError";
  readonly code: number;

  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

/** GrpcClient is a connection to one server. */
export class GrpcClient implements Disposable {
  readonly #session: ClientHttp2Session;
  #failure: Error | undefined;

  constructor(socketPath: string) {
    this.#session = connect("http://localhost", { createConnection: () => connectSocket(socketPath) });
    this.#session.on("error", (error: Error) => (this.#failure = error));
  }

  /** call sends one message and returns the answer; `method` is `/package.Service/Method`. */
  async call(method: string, message: Buffer): Promise<Buffer> {
    if (this.#failure !== undefined) throw this.#failure;
    const stream = this.#session.request({
      ":method": "POST",
      ":path": method,
      "content-type": "application/grpc",
      te: "trailers",
    });
    const said: Record<string, unknown> = {};
    const chunks: Buffer[] = [];
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    // A call that fails at once has its status among the headers.
    stream.on("response", (headers) => void Object.assign(said, headers));
    stream.on("trailers", (trailers) => void Object.assign(said, trailers));
    stream.on("data", (chunk: Buffer) => void chunks.push(chunk));
    stream.on("error", reject);
    stream.on("close", resolve);
    const frame = Buffer.alloc(5 + message.length);
    frame.writeUInt32BE(message.length, 1);
    frame.set(message, 5);
    stream.end(frame);
    await promise;
    const code = Number(said["grpc-status"] ?? 2);
    if (code !== 0)
      throw new GrpcError(code, decodeURIComponent(String(said["grpc-message"] ?? "no status came")));
    return Buffer.concat(chunks).subarray(5);
  }

  [Symbol.dispose](): void {
    this.#session.destroy();
  }
}
