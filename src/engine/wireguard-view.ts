/** A WireGuard device as the engine keeps it between reads: peers by key, changes applied as the device applies them. */
import {
  type DeviceChange,
  type DeviceState,
  formatPrefix,
  type PeerChange,
  type PeerState,
  type Prefix,
  type PublicKey,
} from "../net/mod.ts";

/** DeviceView is the last known state of a device. */
export interface DeviceView {
  publicKey: PublicKey | undefined;
  /** Of the key before, while it is answered to. */
  formerPublicKey: PublicKey | undefined;
  listenPort: number;
  readonly peers: Map<PublicKey, PeerState>;
  /** Allowed prefix → the peer that has it. */
  readonly owners: Map<string, PublicKey>;
}

/** emptyView is that of a device without peers. */
export function emptyView(): DeviceView {
  return {
    publicKey: undefined,
    formerPublicKey: undefined,
    listenPort: 0,
    peers: new Map(),
    owners: new Map(),
  };
}

/** renewView brings a view to what a device reported, and returns the keys of peers of which anything is new. */
export function renewView(view: DeviceView, state: DeviceState): Set<PublicKey> {
  const { peers } = view;
  view.publicKey = state.publicKey;
  view.formerPublicKey = state.formerPublicKey;
  view.listenPort = state.listenPort;
  const changed = state.peers.filter((peer) => peers.get(peer.publicKey) !== peer);
  const keys = new Set(changed.map((peer) => peer.publicKey));
  for (const peer of changed) {
    const before = peers.get(peer.publicKey);
    if (before?.allowedIps === peer.allowedIps) continue;
    for (const prefix of before?.allowedIps ?? []) disown(view, prefix, peer.publicKey);
  }
  for (const peer of changed) {
    const before = peers.get(peer.publicKey);
    peers.set(peer.publicKey, peer);
    if (before?.allowedIps === peer.allowedIps) continue;
    for (const prefix of peer.allowedIps) view.owners.set(formatPrefix(prefix), peer.publicKey);
  }
  if (peers.size === state.peers.length) return keys;
  const here = new Set(state.peers.map((peer) => peer.publicKey));
  for (const [key, { allowedIps }] of peers) {
    if (here.has(key)) continue;
    for (const prefix of allowedIps) disown(view, prefix, key);
    peers.delete(key);
    keys.add(key);
  }
  return keys;
}

/** noteChange brings the view to where a successful change brought the device. */
export function noteChange(view: DeviceView, change: DeviceChange): void {
  if (change.privateKey !== undefined) view.publicKey = change.privateKey.publicKey;
  if (change.formerKey !== undefined)
    view.formerPublicKey = change.formerKey === "none" ? undefined : change.formerKey.publicKey;
  if (change.listenPort !== undefined) view.listenPort = change.listenPort;
  for (const peer of change.peers ?? []) notePeer(view, peer);
}

function notePeer(view: DeviceView, change: PeerChange): void {
  if (change.anew === true) notePeer(view, { publicKey: change.publicKey, remove: true });
  const { publicKey, endpoint, allowedIps, keepaliveSeconds } = change;
  const before = view.peers.get(publicKey);
  if (change.remove) {
    for (const prefix of before?.allowedIps ?? []) disown(view, prefix, publicKey);
    view.peers.delete(publicKey);
    return;
  }
  if (before === undefined && change.updateOnly) return;
  const { keepaliveSeconds: keptAlive, ...rest } = before ?? {
    publicKey,
    allowedIps: [],
    presharedKey: false,
    rxBytes: 0,
    txBytes: 0,
  };
  const interval = keepaliveSeconds ?? keptAlive ?? 0;
  const presharedKey = change.presharedKey?.reveal().some((byte) => byte !== 0) ?? rest.presharedKey;
  if (allowedIps !== undefined) claim(view, publicKey, before?.allowedIps ?? [], allowedIps);
  view.peers.set(publicKey, {
    ...rest,
    presharedKey,
    allowedIps: allowedIps ?? rest.allowedIps,
    ...(interval > 0 && { keepaliveSeconds: interval }),
    ...(endpoint !== undefined && { endpoint }),
  });
}

/** The last peer that claims a prefix has it, and the one before loses it. */
function claim(view: DeviceView, peer: PublicKey, before: readonly Prefix[], after: readonly Prefix[]): void {
  for (const prefix of before) disown(view, prefix, peer);
  for (const prefix of after) {
    const text = formatPrefix(prefix);
    const owner = view.owners.get(text);
    const loser = owner === undefined || owner === peer ? undefined : view.peers.get(owner);
    if (loser !== undefined)
      view.peers.set(loser.publicKey, {
        ...loser,
        allowedIps: loser.allowedIps.filter((other) => formatPrefix(other) !== text),
      });
    view.owners.set(text, peer);
  }
}

function disown(view: DeviceView, prefix: Prefix, peer: PublicKey): void {
  const text = formatPrefix(prefix);
  if (view.owners.get(text) === peer) view.owners.delete(text);
}
