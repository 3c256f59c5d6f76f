/**
 * Many WireGuard peers in this process behind one UDP socket: handshakes, rekeys and data for each, by the protocol core and one packet at a
 * time. For tests in which one real data plane meets a crowd.
 */
import {
  type Endpoint,
  ip,
  type Ip,
  ipBytes,
  parsePrefix,
  PrivateKey,
  type PublicKey,
} from "../../src/net/mod.ts";
import { boottimeMs, type Netns, openUdp, type UdpSocket, wallMs } from "../../src/sys/mod.ts";
import {
  act,
  type DeviceEvent,
  Device,
  type DeviceOptions,
  MESSAGE,
  messageType,
  type Outcome,
  receiveDatagram,
  sendPacket,
  type Session,
} from "../../src/tunnel/wireguard/mod.ts";
import { formatIp } from "../../src/net/mod.ts";

/** Member is one of them. */
export interface Member {
  readonly device: Device;
  readonly key: PrivateKey;
  readonly inside: Ip;
  /** UDP payloads of packets that came for it. */
  readonly heard: string[];
}

/** CrowdOptions say where the crowd is and whom it speaks to. */
export interface CrowdOptions {
  readonly netns: Netns;
  readonly host: string;
  readonly to: Endpoint;
  readonly toKey: PublicKey;
  readonly count: number;
  readonly device?: DeviceOptions;
  /** Address of the first one inside. */
  readonly first?: Ip;
}

/** udpPacket returns an IPv4 packet with UDP and a text. */
export function udpPacket(from: Ip, to: Ip, text: string): Uint8Array<ArrayBuffer> {
  const payload = new TextEncoder().encode(text);
  const packet = new Uint8Array(28 + payload.length);
  const view = new DataView(packet.buffer);
  packet[0] = 0x45;
  view.setUint16(2, packet.length);
  packet[8] = 64;
  packet[9] = 17;
  packet.set(ipBytes(from), 12);
  packet.set(ipBytes(to), 16);
  let sum = 0;
  for (let i = 0; i < 20; i += 2) sum += view.getUint16(i);
  sum = (sum & 0xffff) + (sum >>> 16);
  view.setUint16(10, ~(sum + (sum >>> 16)) & 0xffff);
  view.setUint16(20, 7000);
  view.setUint16(22, 7000);
  view.setUint16(24, 8 + payload.length);
  packet.set(payload, 28);
  return packet;
}

/** Crowd owns the socket and the devices. */
export class Crowd implements Disposable {
  readonly members: readonly Member[];
  readonly #options: CrowdOptions;
  readonly #owners = new Map<number, Member>();
  #socket: UdpSocket | undefined;

  private constructor(options: CrowdOptions) {
    this.#options = options;
    const first = options.first ?? ip(4, 0x0a140000n);
    this.members = Array.from({ length: options.count }, (_, i) => ({
      device: new Device(options.device),
      key: PrivateKey.random(),
      inside: ip(first.family, first.value + BigInt(i)),
      heard: [],
    }));
  }

  static async open(options: CrowdOptions): Promise<Crowd> {
    const crowd = new Crowd(options);
    const { netns, host, to, toKey } = options;
    crowd.#socket = await openUdp({
      netns,
      host,
      port: 0,
      onDatagram: ({ data }) => crowd.#hear(new Uint8Array(data)),
    });
    const peers = [{ publicKey: toKey, endpoint: to, allowedIps: [{ prefix: parsePrefix("0.0.0.0/0") }] }];
    for (const member of crowd.members)
      crowd.step(member, { kind: "configure", configuration: { privateKey: member.key, peers } });
    return crowd;
  }

  /** The peer entries by which the data plane knows them. */
  get peers() {
    return this.members.map(({ key, inside }) => ({
      publicKey: key.publicKey,
      allowedIps: [parsePrefix(`${formatIp(inside)}/32`)],
    }));
  }

  clock() {
    return { nowMs: boottimeMs(), wallMs: wallMs() };
  }

  #hear(data: Uint8Array<ArrayBuffer>): void {
    const view = new DataView(data.buffer);
    const receiver = view.getUint32(messageType(data) === MESSAGE.response ? 8 : 4, true);
    const owner = this.#owners.get(receiver);
    if (owner !== undefined)
      this.carry(owner, receiveDatagram(owner.device, data, { ...this.clock(), from: this.#options.to }));
  }

  step(member: Member, event: DeviceEvent): void {
    this.carry(member, act(member.device, event, this.clock()));
  }

  /** send sends a packet with a text through the tunnel. */
  send(member: Member, to: Ip, text: string): void {
    this.carry(member, sendPacket(member.device, udpPacket(member.inside, to, text), this.clock()));
  }

  /** session returns the one that a member sends under; undefined without. */
  session(member: Member): Session | undefined {
    return member.device.sendable(1, boottimeMs());
  }

  /** due lets all timers run that are due. */
  due(): void {
    const nowMs = boottimeMs();
    for (const member of this.members)
      if ((member.device.nextDueMs() ?? Number.POSITIVE_INFINITY) <= nowMs)
        this.step(member, { kind: "due" });
  }

  carry(member: Member, { datagrams, packets }: Outcome): void {
    for (const { bytes } of datagrams) {
      if (messageType(bytes) === MESSAGE.initiation)
        this.#owners.set(new DataView(bytes.buffer, bytes.byteOffset).getUint32(4, true), member);
      this.raw(bytes);
    }
    for (const packet of packets) member.heard.push(Buffer.from(packet.subarray(28)).toString());
  }

  /** raw sends any bytes. */
  raw(bytes: Uint8Array<ArrayBuffer>): void {
    const { host, to } = { host: formatIp(this.#options.to.ip), to: this.#options.to };
    this.#socket?.send(bytes, host, to.port);
  }

  [Symbol.dispose](): void {
    this.#socket?.close();
    for (const { device } of this.members) device[Symbol.dispose]();
  }
}
