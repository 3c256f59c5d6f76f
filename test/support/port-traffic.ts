/** Traffic to ports, over TCP and UDP, between namespaces: who answers, and whose address it sees. */
import { formatIp, parseIp } from "../../src/net/mod.ts";
import type { Netns } from "../../src/sys/mod.ts";

function plain(address: string): string {
  return formatIp(parseIp(address.replace(/^::ffff:(?=\d+\.)/, "").replace(/%.*/, "")));
}

const anyOf = (address: string) => (address.includes(":") ? "::" : "0.0.0.0");

/** Question is where somebody asks from, and what. */
export interface Question {
  readonly from: Netns;
  readonly to: string;
  readonly port: number;
}

/** Who says nothing for so long has not heard the question; only a test that fails waits for it. */
const PATIENCE_MS = 5_000;

function patiently(answer: Promise<string>): Promise<string> {
  return Promise.race([answer, Bun.sleep(PATIENCE_MS).then(() => "silence")]);
}

/** Answerer answers whoever comes to some ports of a namespace with `NAME sees ADDRESS`. */
export class Answerer implements Disposable {
  readonly #stop: (() => void)[] = [];

  static async open(netns: Netns, name: string, ports: readonly number[]): Promise<Answerer> {
    const answerer = new Answerer();
    for (const port of ports) {
      const tcp = netns.run(() =>
        Bun.listen({
          hostname: "::",
          port,
          socket: {
            open: (socket) => void socket.end(`${name} sees ${plain(socket.remoteAddress)}`),
            data() {},
          },
        }),
      );
      answerer.#stop.push(() => tcp.stop(true));
      // A window may not return a promise; the socket is made at once.
      const made = netns.run(() => ({
        promise: Bun.udpSocket({
          hostname: "::",
          port,
          socket: {
            data: (socket, _data, fromPort, from) =>
              void socket.send(`${name} sees ${plain(from)}`, fromPort, from),
            error() {}, // who asked may have gone
          },
        }),
      }));
      const udp = await made.promise;
      answerer.#stop.push(() => udp.close());
    }
    return answerer;
  }

  [Symbol.dispose](): void {
    for (const stop of this.#stop) stop();
  }
}

/** askTcp connects and returns what the other side says, `refused`, or `silence`. */
export function askTcp(question: Question): Promise<string> {
  return patiently(talk(question));
}

async function talk({ from, to, port }: Question): Promise<string> {
  let said = "";
  const { promise: closed, resolve, reject } = Promise.withResolvers<void>();
  const made = from.run(() => ({
    promise: Bun.connect({
      hostname: to,
      port,
      socket: {
        data: (_socket, data) => void (said += data.toString()),
        close: () => resolve(),
        error: (_socket, error) => reject(error),
      },
    }),
  }));
  try {
    await made.promise;
  } catch (error) {
    if ((error as { code?: string }).code === "ECONNREFUSED") return "refused";
    throw error;
  }
  await closed;
  return said;
}

/** UdpFlow sends from one port of its own, so that all it sends is one flow. */
export class UdpFlow implements Disposable {
  #socket: Bun.udp.ConnectedSocket<"buffer"> | undefined;
  #heard: (answer: string) => void = () => {};

  private constructor() {}

  static async open(question: Question): Promise<UdpFlow> {
    const flow = new UdpFlow();
    const made = question.from.run(() => ({
      promise: Bun.udpSocket({
        hostname: anyOf(question.to),
        connect: { hostname: question.to, port: question.port },
        socket: {
          data: (_socket, data) => flow.#heard(data.toString()),
          error: () => flow.#heard("refused"),
        },
      }),
    }));
    flow.#socket = await made.promise;
    return flow;
  }

  /** ask sends datagrams until one is answered, as one may be lost, and returns the answer, `refused`, or `silence`. */
  async ask(): Promise<string> {
    const { promise, resolve } = Promise.withResolvers<string>();
    this.#heard = resolve;
    const send = () => void this.#socket?.send("?");
    send();
    const again = setInterval(send, 250);
    try {
      return await patiently(promise);
    } finally {
      clearInterval(again);
    }
  }

  [Symbol.dispose](): void {
    this.#socket?.close();
  }
}

/** askUdp sends a datagram from a new port and returns what UdpFlow.ask does. */
export async function askUdp(question: Question): Promise<string> {
  using flow = await UdpFlow.open(question);
  return await flow.ask();
}
