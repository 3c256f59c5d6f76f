/** The command line's side of a gateway's socket: asks once, or stays and passes on what it says. */
import {
  type GatewayAnswer,
  type GatewayRequest,
  isGatewayName,
  type ListenLine,
  socketOf,
} from "../gatewayd/mod.ts";
import { connectUnix, type Fd, isErrno, libc, sendAll, stable } from "../sys/mod.ts";
import { type Given, type Option, UsageError } from "./command.ts";

/** folderOption is what all commands that ask a gateway take. */
export const folderOption: Option = {
  about: "where sockets of gateways are; default /run/causeway/gateway",
  value: "DIR",
};

/** GatewayClient is one connection. */
export class GatewayClient implements Disposable {
  readonly #socket: Fd;
  readonly #chunk = stable(65536);
  #waiting = Buffer.alloc(0);

  private constructor(socket: Fd) {
    this.#socket = socket;
  }

  /** open connects to the gateway that the command names first; throws with what to do where that fails. */
  static open(given: Given, command: string): GatewayClient {
    const name = given.positionals[0] as string;
    if (!isGatewayName(name))
      throw new UsageError(command, `"${name}" is no name of a gateway; names have letters, digits, _ . -`);
    const path = socketOf(name, given.value("folder"));
    try {
      return new GatewayClient(connectUnix(path));
    } catch (error) {
      if (isErrno(error, "ENOENT", "ECONNREFUSED"))
        throw new Error(`No gateway answers at ${path}; start it: causeway gateway run --name ${name}`);
      if (isErrno(error, "EACCES"))
        throw new Error(
          `You may not ask the gateway ${name}; become root, or a member of the group causeway`,
        );
      throw error;
    }
  }

  send(line: GatewayRequest | ListenLine): void {
    sendAll(this.#socket, new TextEncoder().encode(`${JSON.stringify(line)}\n`));
  }

  /** descriptor is readable when `answers` has more. */
  get descriptor(): number {
    return this.#socket.number;
  }

  /** receive waits for more and returns the answers that are whole; undefined when the gateway has closed. A refusal is thrown. */
  receive(): Exclude<GatewayAnswer, { readonly error: string }>[] | undefined {
    const count = libc.recv(this.#socket.number, this.#chunk);
    if (count <= 0) return undefined;
    this.#waiting = Buffer.concat([this.#waiting, this.#chunk.subarray(0, count)]);
    const answers: Exclude<GatewayAnswer, { readonly error: string }>[] = [];
    for (let end = this.#waiting.indexOf(10); end >= 0; end = this.#waiting.indexOf(10)) {
      const answer = JSON.parse(this.#waiting.subarray(0, end).toString("utf8")) as GatewayAnswer;
      this.#waiting = this.#waiting.subarray(end + 1);
      if ("error" in answer) throw new Error(answer.error);
      answers.push(answer);
    }
    return answers;
  }

  /** ask sends one request and returns its answer. */
  ask(request: GatewayRequest): Exclude<GatewayAnswer, { readonly error: string }> {
    this.send(request);
    for (let answers = this.receive(); answers !== undefined; answers = this.receive())
      if (answers[0] !== undefined) return answers[0];
    throw new Error("The gateway ended before it answered; look at its log");
  }

  [Symbol.dispose](): void {
    this.#socket.close();
  }
}
