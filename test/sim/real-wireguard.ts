/** The real WireGuard core (src/tunnel/wireguard) as a device of the simulation, for worlds of two nodes. */
import { type Endpoint, type Ip, ip, parsePrefix, PrivateKey } from "../../src/net/mod.ts";
import {
  act,
  configurationOf,
  Device,
  type DeviceEvent,
  type Outcome,
  receiveDatagram,
  sendPacket,
} from "../../src/tunnel/wireguard/mod.ts";
import type { Random } from "../support/random.ts";
import { ipv4Packet, seeded } from "../support/wireguard-ends.ts";
import type { Reading, SimTunnel, TunnelHost, WireguardDatagram } from "./tunnel.ts";

const EPOCH_MS = 1_700_000_000_000;

/** Identities are known beforehand: two nodes, by name. */
export class Identities {
  readonly #random: Random;
  readonly #keys = new Map<string, PrivateKey>();

  constructor(random: Random) {
    this.#random = random;
  }

  key(name: string): PrivateKey {
    const key = this.#keys.get(name) ?? new PrivateKey(this.#random.bytes(32));
    this.#keys.set(name, key);
    return key;
  }

  inner(name: string): Ip {
    return ip(4, 0x0a000000n + (name === "n0" ? 1n : 2n));
  }
}

/** RealWireguard owns a device. */
export class RealWireguard implements SimTunnel {
  readonly #host: TunnelHost;
  readonly #who: Identities;
  readonly #device: Device;
  readonly #other: string;
  #generation: number | undefined;

  constructor(host: TunnelHost, options: { readonly identities: Identities; readonly random: Random }) {
    this.#host = host;
    this.#who = options.identities;
    this.#other = host.name === "n0" ? "n1" : "n0";
    this.#device = new Device({ primitives: seeded(options.random) });
    this.#step({ kind: "configure", configuration: { privateKey: this.#who.key(host.name) } });
  }

  #clock() {
    const nowMs = this.#host.nowMs();
    return { nowMs, wallMs: EPOCH_MS + nowMs };
  }

  #step(event: DeviceEvent): void {
    this.#carry(act(this.#device, event, this.#clock()));
  }

  set(name: string, use: Parameters<SimTunnel["set"]>[1]): void {
    const { publicKey } = this.#who.key(name);
    const { generation, endpoint, keepaliveSeconds = 0 } = use;
    const anew = this.#generation !== undefined && this.#generation !== generation;
    this.#generation = generation;
    const allowedIps = [parsePrefix(`10.0.0.${name === "n0" ? 1 : 2}/32`)];
    const peer = { publicKey, allowedIps, keepaliveSeconds, ...(endpoint === undefined ? {} : { endpoint }) };
    const configuration = configurationOf({ peers: anew ? [{ publicKey, remove: true }, peer] : [peer] });
    this.#step({ kind: "configure", configuration });
  }

  send(_name: string, payload: number, bytes: number): void {
    const [source, to] = [this.#who.inner(this.#host.name), this.#who.inner(this.#other)];
    const packet = ipv4Packet(source, { to, number: payload, length: bytes });
    this.#carry(sendPacket(this.#device, packet, this.#clock()));
  }

  receive(datagram: WireguardDatagram, _bytes: number, from: Endpoint): void {
    const bytes = datagram.body as Uint8Array;
    this.#carry(receiveDatagram(this.#device, bytes, { ...this.#clock(), from }));
  }

  due(): void {
    this.#step({ kind: "due" });
  }

  read(name: string): Reading | undefined {
    const { publicKey } = this.#who.key(name);
    const peer = this.#device.read().peers.find((one) => one.publicKey === publicKey);
    if (peer === undefined) return undefined;
    const { rxBytes, txBytes, lastHandshakeMs, endpoint } = peer;
    const age =
      lastHandshakeMs === undefined ? undefined : Math.max(0, this.#clock().wallMs - lastHandshakeMs);
    return {
      rxBytes,
      txBytes,
      ...(age === undefined ? {} : { handshakeAgeMs: age }),
      ...(endpoint === undefined ? {} : { endpoint }),
    };
  }

  #carry({ datagrams, packets }: Outcome): void {
    for (const { to, bytes } of datagrams) this.#host.send(to, this.#described(bytes), bytes.length);
    for (const packet of packets)
      this.#host.deliver(this.#other, new DataView(packet.buffer, packet.byteOffset).getUint32(20));
    const dueMs = this.#device.nextDueMs();
    if (dueMs !== undefined) this.#host.wake(dueMs);
  }

  /** What a relay reads of it; whom an initiation is for it finds out by mac1. */
  #described(bytes: Uint8Array<ArrayBuffer>): WireguardDatagram {
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    const word = (at: number) => view.getUint32(at, true);
    const type = bytes[0] as 1 | 2 | 4;
    const common = { kind: "wireguard", type, body: bytes } as const;
    if (type === 1) return { ...common, sender: word(4), for: this.#other };
    if (type === 2) return { ...common, sender: word(4), receiver: word(8) };
    return { ...common, receiver: word(4) };
  }
}
