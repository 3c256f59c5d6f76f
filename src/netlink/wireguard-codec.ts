/** From WireGuard's messages to DeviceState, and from DeviceChange to messages: pure, so that any machine can test them. */
import {
  type DeviceChange,
  type DeviceState,
  type PeerChange,
  type PeerState,
  type Prefix,
  prefixAddress,
  prefixOf,
  type PublicKey,
  publicKeyBytes,
  publicKeyFromBytes,
} from "../net/mod.ts";
import { DecodeError, Reader, type ValueOf } from "../wire/mod.ts";
import { afOf } from "./family.ts";
import { type device, type deviceRead, peer as peerTable, PEER_FLAG } from "./wireguard-table.ts";

/** DevicePart is the body of one message. */
export type DevicePart = ValueOf<typeof device>;

/** AnswerPart is the body of one message of an answer. */
export type AnswerPart = ValueOf<typeof deviceRead>;

/** PeerMemory is what the bytes of each peer said, the last time that the device was read. Those bytes may hold a pre-shared key. */
export type PeerMemory = ReadonlyMap<string, PeerState>;

type PeerPart = NonNullable<DevicePart["peers"]>[number];
type AllowedIpPart = NonNullable<PeerPart["allowedIps"]>[number];

/** Attributes of one message: well below what a netlink attribute's length can say (65535). */
const MESSAGE_BYTES = 32_000;
/** All attributes of a peer but its allowed IPs, with headers and padding. */
const PEER_BYTES = 136;
/** A nest with family, address and length. */
const ALLOWED_IP_BYTES = { 4: 28, 6: 40 } as const;

/**
 * mergeDevice joins the messages of an answer. A peer with many allowed IPs goes on in the next message: there it has only its
 * key and the further ones (wg_get_device_dump in drivers/net/wireguard/netlink.c). A peer whose bytes are those of the time before is the same value.
 */
export function mergeDevice(
  parts: readonly AnswerPart[],
  before: PeerMemory = new Map(),
): { readonly state: DeviceState; readonly memory: PeerMemory } {
  const memory = new Map<string, PeerState>();
  const remembered = (bytes: string, make: () => PeerState): PeerState => {
    const state = before.get(bytes) ?? make();
    memory.set(bytes, state);
    return state;
  };
  const peers = new Map<PublicKey, { readonly bytes: string; readonly state: PeerState }>();
  for (const part of parts)
    for (const bytes of part.peers ?? []) {
      const state = remembered(bytes, () => peerState(decodePeer(bytes)));
      const first = peers.get(state.publicKey);
      const joined = first === undefined ? undefined : first.bytes + bytes;
      peers.set(
        state.publicKey,
        first === undefined || joined === undefined
          ? { bytes, state }
          : { bytes: joined, state: remembered(joined, () => continued(first.state, state)) },
      );
    }
  const publicKey = parts.find((part) => part.publicKey !== undefined)?.publicKey;
  const state = {
    ...(publicKey !== undefined && { publicKey: publicKeyFromBytes(publicKey) }),
    listenPort: parts.find((part) => part.listenPort !== undefined)?.listenPort ?? 0,
    peers: [...peers.values()].map((peer) => peer.state),
  };
  return { state, memory };
}

function decodePeer(bytes: string): PeerPart {
  return peerTable.decode(new Reader(Buffer.from(bytes, "latin1")));
}

function continued(first: PeerState, more: PeerState): PeerState {
  return { ...first, allowedIps: [...first.allowedIps, ...more.allowedIps] };
}

function peerState(peer: PeerPart): PeerState {
  if (peer.publicKey === undefined) throw new DecodeError("a peer without public key");
  const { endpoint, keepaliveSeconds, lastHandshakeMs } = peer;
  return {
    publicKey: publicKeyFromBytes(peer.publicKey),
    ...(endpoint !== undefined && { endpoint }),
    allowedIps: (peer.allowedIps ?? []).map(allowedPrefix),
    ...(keepaliveSeconds !== undefined && keepaliveSeconds !== 0 && { keepaliveSeconds }),
    // Unset is 32 zeros.
    presharedKey: peer.presharedKey?.some((byte) => byte !== 0) ?? false,
    ...(lastHandshakeMs !== undefined && lastHandshakeMs !== 0 && { lastHandshakeMs }),
    rxBytes: Number(peer.rxBytes ?? 0n),
    txBytes: Number(peer.txBytes ?? 0n),
  };
}

function allowedPrefix({ address, length }: AllowedIpPart): Prefix {
  if (address === undefined || length === undefined || length > (address.family === 4 ? 32 : 128))
    throw new DecodeError("an allowed IP without address, or with a length that its family does not have");
  return prefixOf(address, length);
}

/**
 * splitChange makes the messages of a change. A peer whose allowed IPs do not fit goes on in the next message, without the flag
 * that replaces them. The flag that replaces all peers of a device is never used.
 */
export function splitChange(link: string, change: DeviceChange): DevicePart[] {
  const parts: { -readonly [K in keyof DevicePart]: DevicePart[K] }[] = [];
  let peers: PeerPart[] = [];
  let left = 0;
  const next = (first: DevicePart) => {
    peers = [];
    left = MESSAGE_BYTES;
    parts.push({ name: link, ...first, peers });
  };
  next({ privateKey: change.privateKey?.reveal(), listenPort: change.listenPort });

  for (const peer of change.peers ?? []) {
    if (peer.anew === true) {
      if (left < PEER_BYTES) next({});
      left -= PEER_BYTES;
      peers.push({ publicKey: publicKeyBytes(peer.publicKey), flags: PEER_FLAG.remove });
    }
    let rest = (peer.allowedIps ?? []).map(allowedPart);
    let head = peerHead(peer);
    for (;;) {
      if (left < PEER_BYTES + ALLOWED_IP_BYTES[6]) next({});
      left -= PEER_BYTES;
      const fits = countFitting(rest, left);
      const now = rest.slice(0, fits);
      left -= sizeOf(now);
      peers.push(peer.allowedIps === undefined ? head : { ...head, allowedIps: now });
      rest = rest.slice(fits);
      if (rest.length === 0) break;
      head = { publicKey: publicKeyBytes(peer.publicKey), flags: PEER_FLAG.updateOnly };
    }
  }
  for (const part of parts) if (part.peers?.length === 0) part.peers = undefined;
  return parts;
}

function peerHead(peer: PeerChange): PeerPart {
  const flags =
    (peer.remove === true ? PEER_FLAG.remove : 0) |
    (peer.allowedIps !== undefined && peer.remove !== true ? PEER_FLAG.replaceAllowedIps : 0) |
    (peer.updateOnly === true ? PEER_FLAG.updateOnly : 0);
  return {
    publicKey: publicKeyBytes(peer.publicKey),
    presharedKey: peer.presharedKey?.reveal(),
    flags: flags === 0 ? undefined : flags,
    endpoint: peer.endpoint,
    keepaliveSeconds: peer.keepaliveSeconds,
  };
}

function allowedPart(prefix: Prefix): AllowedIpPart {
  return { family: afOf(prefix.family), address: prefixAddress(prefix), length: prefix.length };
}

function sizeOf(parts: readonly AllowedIpPart[]): number {
  return parts.reduce((sum, part) => sum + ALLOWED_IP_BYTES[part.address?.family ?? 6], 0);
}

function countFitting(parts: readonly AllowedIpPart[], bytes: number): number {
  let left = bytes;
  let count = 0;
  for (const part of parts) {
    left -= ALLOWED_IP_BYTES[part.address?.family ?? 6];
    if (left < 0) break;
    count++;
  }
  return count;
}
