/**
 * WireGuard devices and their peers, whichever back-end runs them. Peers are changed one by one and only where they differ, so that the
 * sessions of others are never disturbed. Words of wg(8); keys that are secret never appear in text.
 */
import {
  endpointEqual,
  formatEndpoint,
  formatPrefix,
  type PeerChange,
  type PeerState,
  type PublicKey,
  Secret,
} from "../net/mod.ts";
import { sameValue } from "./equal.ts";
import { type KindHandler, linkKey, type PeerMemory, SAME, step, type View, words } from "./kind.ts";
import type { Peer, WireguardConfig } from "./object.ts";
import type { DeviceView } from "./wireguard-view.ts";

/** SILENT_MS is how long a peer must have been silent before its configured endpoint is set again. */
export const SILENT_MS = 180_000;

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** peerKey identifies a peer by device and public key. */
export function peerKey(link: string, publicKey: PublicKey): string {
  return `peer ${link} ${publicKey}`;
}

function missing(linkName: string) {
  return { is: "waits", reason: `waits for the WireGuard device ${linkName}` } as const;
}

/** wireguard handles key and port of a device. Removing it leaves the device as it is: its link's owner removes that. */
export const wireguard: KindHandler<WireguardConfig> = {
  order: () => 40,
  key: (object) => `wireguard ${object.link}`,
  needs: (object) => [linkKey(object.link)],

  compare(object, view) {
    const device = view.wireguard(object.link);
    if (device === undefined) return missing(object.link);
    const { privateKey, formerKey, listenPort, link } = object;
    const key = device.publicKey !== privateKey.publicKey;
    // 0 takes whatever the system chose, also while it has chosen nothing.
    const port = listenPort !== 0 && device.listenPort !== listenPort;
    const former = device.formerPublicKey !== formerKey?.publicKey;
    if (!key && !port && !former) return SAME;
    const text = words(
      `wg set ${link}`,
      port && `listen-port ${listenPort}`,
      key && "private-key (hidden)",
      former && (formerKey === undefined ? "without the former key" : "former-key (hidden)"),
    );
    const change = {
      ...(key && { privateKey }),
      ...(former && { formerKey: formerKey ?? ("none" as const) }),
      ...(port && { listenPort }),
    };
    return step("change", text, { via: "wireguard", link, device: change });
  },

  remove: () => undefined,
  *ours() {},
};

/** peer handles peers. All of a peer is ours: what is absent (keepalive, pre-shared key) is off. */
export const peer: KindHandler<Peer> = {
  order: () => 45,
  key: (object) => peerKey(object.link, object.publicKey),
  needs: (object) => [linkKey(object.link)],

  compare(object, view) {
    const device = view.wireguard(object.link);
    if (device === undefined) return missing(object.link);
    const found = device.peers.get(object.publicKey);
    const lost = claimedByLater(object, device, view);
    const change =
      found === undefined
        ? newPeer(object)
        : isAnew(object, view)
          ? { ...newPeer(object), anew: true }
          : difference(object, found, lost, view);
    if (change !== undefined)
      return step(found === undefined ? "add" : "change", text(object.link, change), {
        via: "wireguard",
        link: object.link,
        peer: change,
      });
    if (lost.size === 0) return SAME;
    const [[prefix, owner]] = [...lost] as [[string, PublicKey]];
    return { is: "waits", reason: `${prefix} belongs to peer ${owner}, which claimed it later` };
  },

  remove(object, view) {
    const { link, publicKey } = object;
    if (!view.wireguard(link)?.peers.has(publicKey)) return undefined;
    const change: PeerChange = { publicKey, remove: true };
    return { text: text(link, change), work: { via: "wireguard", link, peer: change } };
  },

  /** All peers of a device that is configured by us are ours. */
  *ours(view) {
    for (const link of view.wireguardLinks())
      for (const found of view.wireguard(link)?.peers.values() ?? [])
        yield { kind: "peer", link, publicKey: found.publicKey, allowedIps: found.allowedIps };
  },

  settled(object, view) {
    const { endpoint, presharedKey, generation, endpointSerial } = object;
    const rxBytes = view.wireguard(object.link)?.peers.get(object.publicKey)?.rxBytes ?? 0;
    const before = view.memory.peers.get(peer.key(object))?.heard;
    view.memory.peers.set(peer.key(object), {
      ...(endpoint !== undefined && { endpoint }),
      ...(presharedKey !== undefined && { presharedKey }),
      ...(generation !== undefined && { generation }),
      ...(endpointSerial !== undefined && { endpointSerial }),
      heard: before?.rxBytes === rxBytes ? before : { rxBytes, sinceMs: view.nowMs },
    });
  },
};

function newPeer(object: Peer): PeerChange {
  const { publicKey, allowedIps, endpoint, keepaliveSeconds, presharedKey } = object;
  return {
    publicKey,
    allowedIps,
    ...(endpoint !== undefined && { endpoint }),
    ...(keepaliveSeconds !== undefined && keepaliveSeconds > 0 && { keepaliveSeconds }),
    ...(presharedKey !== undefined && { presharedKey }),
  };
}

function isAnew(object: Peer, view: View): boolean {
  const applied = view.memory.peers.get(peer.key(object))?.generation;
  return applied !== undefined && object.generation !== undefined && applied !== object.generation;
}

function difference(
  object: Peer,
  found: PeerState,
  lost: ReadonlyMap<string, PublicKey>,
  view: View,
): PeerChange | undefined {
  const change: Mutable<PeerChange> = { publicKey: object.publicKey, updateOnly: true };
  const applied = view.memory.peers.get(peer.key(object));
  const wanted = object.allowedIps.filter((prefix) => !lost.has(formatPrefix(prefix)));
  const has = new Set(found.allowedIps.map(formatPrefix));
  if (
    new Set(wanted.map(formatPrefix)).size !== has.size ||
    wanted.some((prefix) => !has.has(formatPrefix(prefix)))
  )
    change.allowedIps = wanted;
  if ((object.keepaliveSeconds ?? 0) !== (found.keepaliveSeconds ?? 0))
    change.keepaliveSeconds = object.keepaliveSeconds ?? 0;
  if (object.endpoint !== undefined && mustSetEndpoint(object, applied, found, view))
    change.endpoint = object.endpoint;
  const psk = object.presharedKey;
  // The key itself is never read back: it is compared with what was applied last, and believed after a restart.
  const known = applied === undefined || sameValue(applied.presharedKey, psk);
  if ((psk !== undefined) !== found.presharedKey || !known)
    change.presharedKey = psk ?? new Secret(new Uint8Array(32));
  return Object.keys(change).length > 2 ? change : undefined;
}

/** A peer that is heard knows better where it is: only a changed wish or long silence sets the endpoint again. */
function mustSetEndpoint(
  { endpoint: wanted, endpointSerial }: Peer,
  applied: PeerMemory | undefined,
  found: PeerState,
  view: View,
): boolean {
  if (wanted === undefined) return false;
  if (found.endpoint === undefined) return true;
  if (endpointEqual(wanted, found.endpoint)) return false;
  if (applied?.endpoint !== undefined && !endpointEqual(wanted, applied.endpoint)) return true;
  if (applied?.endpointSerial !== undefined && applied.endpointSerial !== endpointSerial) return true;
  return isSilent(applied?.heard, found, view);
}

/**
 * Handshakes are stamped with wall time: a jump of the clock would make every peer look silent. So what counts is how long, in
 * monotonic time, no byte came; the stamp is believed only where there is nothing else, at the first look after a start.
 */
function isSilent(heard: PeerMemory["heard"], found: PeerState, view: View): boolean {
  if (found.lastHandshakeMs === undefined) return true;
  if (heard === undefined) return view.wallMs - found.lastHandshakeMs > SILENT_MS;
  return found.rxBytes === heard.rxBytes && view.nowMs - heard.sinceMs > SILENT_MS;
}

/** Of two desired peers that claim the same prefix, the one asked for later has it; otherwise they would take it from each other for ever. */
function claimedByLater(object: Peer, device: DeviceView, view: View): ReadonlyMap<string, PublicKey> {
  const lost = new Map<string, PublicKey>();
  const serial = view.wanted(peer.key(object))?.serial ?? 0;
  for (const prefix of object.allowedIps) {
    const text = formatPrefix(prefix);
    const owner = device.owners.get(text);
    if (owner === undefined || owner === object.publicKey) continue;
    const other = view.wanted(peerKey(object.link, owner));
    if (other === undefined || other.serial < serial || other.object.kind !== "peer") continue;
    if (other.object.allowedIps.some((claimed) => formatPrefix(claimed) === text)) lost.set(text, owner);
  }
  return lost;
}

function text(link: string, change: PeerChange): string {
  const { publicKey, endpoint, allowedIps, keepaliveSeconds, presharedKey } = change;
  const cleared = presharedKey?.reveal().every((byte) => byte === 0);
  return words(
    `wg set ${link} peer ${publicKey}`,
    change.remove && "remove",
    change.anew && "(anew)",
    presharedKey !== undefined && `preshared-key ${cleared ? "/dev/null" : "(hidden)"}`,
    endpoint !== undefined && `endpoint ${formatEndpoint(endpoint)}`,
    keepaliveSeconds !== undefined &&
      `persistent-keepalive ${keepaliveSeconds === 0 ? "off" : keepaliveSeconds}`,
    allowedIps !== undefined && `allowed-ips ${allowedIps.map(formatPrefix).join(",") || '""'}`,
  );
}
