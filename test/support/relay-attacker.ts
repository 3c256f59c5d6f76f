/** Datagrams with any source, from any namespace: what somebody sends who can write what he likes on the wire. */
import { ipBytes, parseEndpoint } from "../../src/net/mod.ts";
import { libc, type Netns, RawSocket, socketAddress } from "../../src/sys/mod.ts";
import { probePacket } from "../../src/tunnel/probe-packet.ts";

/** The header comes with the packet (raw(7)). */
const IPPROTO_RAW = 255;
const FLAGS = 0x40; // MSG_DONTWAIT

/** Attacker sends as somebody to somewhere. */
export class Attacker implements Disposable {
  readonly #socket: RawSocket;
  readonly #from: string;
  readonly #to: string;
  sent = 0;

  constructor(netns: Netns, { from, to }: { readonly from: string; readonly to: string }) {
    this.#from = from;
    this.#to = to;
    this.#socket = RawSocket.open(4, { protocol: IPPROTO_RAW, netns });
    libc.connect(this.#socket.fd.number, socketAddress(ipBytes(parseEndpoint(to).ip), 0));
  }

  /** send sends a datagram; what the system does not take is lost. */
  send(datagram: Uint8Array): void {
    const [source, target] = [parseEndpoint(this.#from), parseEndpoint(this.#to)];
    const packet = probePacket(
      {
        source: ipBytes(source.ip),
        target: ipBytes(target.ip),
        sourcePort: source.port,
        targetPort: target.port,
        hopLimit: 64,
      },
      [datagram],
      datagram.length,
    );
    try {
      libc.send(this.#socket.fd.number, packet, FLAGS);
      this.sent++;
    } catch {
      // It is too much.
    }
  }

  [Symbol.dispose](): void {
    this.#socket.close();
  }
}
