/** Datagrams: a namespace that sends UDP from any of its addresses, and tells what came in from where. */
import { formatIp, ipBytes, parseIp } from "../../src/net/mod.ts";
import { libc, type Netns } from "../../src/sys/mod.ts";

const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;

/** sockaddr_in or sockaddr_in6 of an address and a port. */
function socketAddress(address: string, port: number): Uint8Array<ArrayBuffer> {
  const ip = parseIp(address);
  const bytes = new Uint8Array(new ArrayBuffer(ip.family === 4 ? 16 : 28));
  const view = new DataView(bytes.buffer);
  view.setUint16(0, ip.family === 4 ? 2 : 10, true);
  view.setUint16(2, port);
  bytes.set(ipBytes(ip), ip.family === 4 ? 4 : 8);
  return bytes;
}

/** sendDatagram sends one datagram; false when the kernel has no way for it. */
export function sendDatagram(
  netns: Netns,
  options: { from?: string; fromPort?: number; to: string; port: number; text: string },
): boolean {
  return netns.run((): boolean => {
    const fd = libc.socket(options.to.includes(":") ? 10 : 2, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    try {
      if (options.from !== undefined) libc.bind(fd, socketAddress(options.from, options.fromPort ?? 0));
      libc.connect(fd, socketAddress(options.to, options.port));
      libc.send(fd, new TextEncoder().encode(options.text));
      return true;
    } catch {
      return false;
    } finally {
      libc.close(fd);
    }
  });
}

/** Inbox collects what arrives at some ports of a namespace, as `text from address`. */
export class Inbox implements Disposable {
  readonly heard: string[] = [];
  readonly #sockets: { close(): void }[] = [];
  readonly #waiting = new Set<() => void>();

  static async open(
    netns: Netns,
    places: readonly (readonly [address: string, port: number])[],
  ): Promise<Inbox> {
    const inbox = new Inbox();
    for (const [hostname, port] of places) {
      const made = netns.run(() => {
        // The socket is made at once; only the promise comes later, and a window may not return one.
        const promise = Bun.udpSocket({
          hostname,
          port,
          // ICMP errors about what was sent are not minded: what is heard counts.
          socket: { data: (_, data, __, from) => inbox.#take(data.toString(), from), error() {} },
        });
        return { promise };
      });
      inbox.#sockets.push(await made.promise);
    }
    return inbox;
  }

  #take(text: string, from: string): void {
    this.heard.push(
      `${text} from ${formatIp(parseIp(from.replace(/^::ffff:(?=\d+\.)/, "").replace(/%.*/, "")))}`,
    );
    for (const check of [...this.#waiting]) check();
  }

  /** until waits for a datagram with this text; what was sent before on the same way has arrived then, or never will. */
  async until(text: string): Promise<void> {
    const there = () => this.heard.some((one) => one.startsWith(`${text} `));
    if (there()) return;
    await new Promise<void>((resolve) => {
      const check = () => {
        if (!there()) return;
        this.#waiting.delete(check);
        resolve();
      };
      this.#waiting.add(check);
    });
  }

  [Symbol.dispose](): void {
    for (const socket of this.#sockets) socket.close();
  }
}
