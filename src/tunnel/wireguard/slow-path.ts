/**
 * The loop around a device, for one packet at a time and without sockets: object in, bytes out. Tests run on it, and it says what the
 * fast path has to do.
 */
import type { Endpoint } from "../../net/mod.ts";
import type { Device } from "./device.ts";
import type { Clock, DeviceEffect, DeviceEvent } from "./device-event.ts";
import { dataReceiver, openPacket, sealPacket } from "./transport.ts";

/** Outcome is what leaves after a step. */
export interface Outcome {
  readonly datagrams: readonly { readonly to: Endpoint; readonly bytes: Uint8Array<ArrayBuffer> }[];
  /** IP packets for the link. */
  readonly packets: readonly Uint8Array<ArrayBuffer>[];
  /** What neither is: sessions that began and ended, ports. */
  readonly others: readonly DeviceEffect[];
}

const NOTHING: Outcome = { datagrams: [], packets: [], others: [] };

/** act steps a device and seals what it lets go. */
export function act(device: Device, event: DeviceEvent, clock: Clock): Outcome {
  const datagrams: { to: Endpoint; bytes: Uint8Array<ArrayBuffer> }[] = [];
  const others: DeviceEffect[] = [];
  for (const effect of device.step(event, clock)) {
    if (effect.kind === "send") datagrams.push({ to: effect.to, bytes: effect.datagram });
    else if (effect.kind === "transmit") {
      for (const packet of effect.packets) {
        const bytes = sealPacket(effect.session, packet, device);
        if (bytes !== undefined) datagrams.push({ to: effect.to, bytes });
      }
    } else others.push(effect);
  }
  return { datagrams, others, packets: [] };
}

/** sendPacket takes an IP packet from the link. */
export function sendPacket(device: Device, packet: Uint8Array, clock: Clock): Outcome {
  const peer = device.destination(packet);
  const to = peer === undefined ? undefined : device.peer(peer)?.endpoint;
  if (peer === undefined || to === undefined) return NOTHING;
  const session = device.sendable(peer, clock.nowMs);
  const bytes = session === undefined ? undefined : sealPacket(session, packet, device);
  if (session === undefined || bytes === undefined)
    return act(device, { kind: "packets", peer, packets: [packet] }, clock);
  const after = act(device, { kind: "sent", session, data: true, bytes: bytes.length }, clock);
  return { ...after, datagrams: [{ to, bytes }, ...after.datagrams] };
}

/** receiveDatagram takes a datagram from the socket; `backlog` more may wait. */
export function receiveDatagram(
  device: Device,
  datagram: Uint8Array,
  arrival: Clock & { readonly from: Endpoint; readonly backlog?: number },
): Outcome {
  const { from, backlog = 0, ...clock } = arrival;
  const receiver = dataReceiver(datagram);
  if (receiver === undefined) return act(device, { kind: "message", datagram, from, backlog }, clock);
  const session = device.session(receiver);
  if (session === undefined) return NOTHING;
  const { primitives, timing } = device;
  const padded = openPacket(session, datagram, { primitives, timing, nowMs: clock.nowMs });
  if (padded === undefined) return NOTHING;
  const data = padded.length > 0;
  const after = act(device, { kind: "received", session, data, bytes: datagram.length, from }, clock);
  const packet = unpadded(padded);
  return packet !== undefined && device.source(packet) === session.peer
    ? { ...after, packets: [packet] }
    : after;
}

/** unpadded returns the IP packet without what follows it; undefined if it is none, or says that it is longer. */
export function unpadded(padded: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> | undefined {
  const word = (at: number) => ((padded[at] as number) << 8) | (padded[at + 1] as number);
  const version = (padded[0] ?? 0) >> 4;
  const header = version === 4 ? 20 : version === 6 ? 40 : Number.POSITIVE_INFINITY;
  if (padded.length < header) return undefined;
  const length = version === 4 ? word(2) : 40 + word(4);
  return length < header || length > padded.length ? undefined : padded.subarray(0, length);
}
