/** A node for whom this process speaks WireGuard, one message at a time: it makes the handshakes; data is sent by others from its port. */
import { type Endpoint, formatIp, parsePrefix, PrivateKey, type PublicKey } from "../../src/net/mod.ts";
import { boottimeMs, type Netns, openUdp, type UdpSocket, wallMs } from "../../src/sys/mod.ts";
import {
  act,
  Device,
  type DeviceEvent,
  type Outcome,
  receiveDatagram,
  type Session,
} from "../../src/tunnel/wireguard/mod.ts";

/** HandNode owns a device, and while it is open a socket. */
export class HandNode implements Disposable {
  readonly key = PrivateKey.random();
  readonly device = new Device();
  readonly port: number;
  readonly #netns: Netns;
  readonly #to: Endpoint;
  #socket: UdpSocket | undefined;

  /** All its peers are at one endpoint: the hub's. */
  constructor(netns: Netns, { port, to }: { readonly port: number; readonly to: Endpoint }) {
    this.#netns = netns;
    this.port = port;
    this.#to = to;
  }

  /** open listens, and makes the node know peers; the handshakes begin. */
  async open(peers: readonly PublicKey[]): Promise<void> {
    this.#socket = await openUdp({
      netns: this.#netns,
      host: "0.0.0.0",
      port: this.port,
      onDatagram: ({ data }) =>
        this.#carry(receiveDatagram(this.device, new Uint8Array(data), { ...clock(), from: this.#to })),
    });
    this.step({
      kind: "configure",
      configuration: {
        privateKey: this.key,
        replacePeers: true,
        peers: peers.map((publicKey, i) => ({
          publicKey,
          endpoint: this.#to,
          allowedIps: [{ prefix: parsePrefix(`10.9.0.${i + 1}/32`) }],
          keepaliveSeconds: 25,
        })),
      },
    });
  }

  step(event: DeviceEvent): void {
    this.#carry(act(this.device, event, clock()));
  }

  #carry({ datagrams }: Outcome): void {
    for (const { bytes } of datagrams) this.#socket?.send(bytes, formatIp(this.#to.ip), this.#to.port);
  }

  /** session returns the one that the node sends to a peer under. */
  session(peer: PublicKey): Session | undefined {
    const number = this.device.numberOf(peer);
    return number === undefined ? undefined : this.device.sendable(number, boottimeMs());
  }

  /** close frees the port. */
  close(): void {
    this.#socket?.close();
    this.#socket = undefined;
  }

  [Symbol.dispose](): void {
    this.close();
    this.device[Symbol.dispose]();
  }
}

const clock = () => ({ nowMs: boottimeMs(), wallMs: wallMs() });
