/** Applying a configuration to the tables of a device. */
import { PrivateKey, type PublicKey, publicKeyBytes, Secret } from "../../net/mod.ts";
import type { AllowedIps } from "./allowed-ips.ts";
import type { Configuration, PeerConfiguration } from "./configuration.ts";
import type { DeviceEffect } from "./device-event.ts";
import { HOLD_AFTER_MS } from "./limits.ts";
import { macKeys } from "./mac.ts";
import type { OwnIdentities } from "./own-identities.ts";
import { newPeer } from "./peer.ts";
import type { PeerEvent, PeerState } from "./peer-state.ts";
import type { Peers } from "./peers.ts";
import type { Bytes, Primitives } from "../../noise/mod.ts";

/** Tables are what a configuration changes. */
export interface Tables {
  readonly peers: Peers;
  readonly allowed: AllowedIps;
  readonly primitives: Primitives;
  readonly own: OwnIdentities;
  /** How long the device has had it. */
  ownAgeMs(): number;
  setOwnKey(key: PrivateKey | undefined): void;
  setPort(port: number): void;
  setMark(mark: number): void;
  /** Tells the data path what changed. */
  tell(effect: DeviceEffect): void;
  /** Steps a peer; returns its new state. */
  apply(state: PeerState, event: PeerEvent): PeerState;
}

/** configure makes a device what the configuration says. What it has already is not touched: sessions go on. */
export function configure(tables: Tables, configuration: Configuration): void {
  const { privateKey, formerKey, listenPort, fwmark, replacePeers, peers } = configuration;
  const isDemotion =
    privateKey instanceof PrivateKey &&
    formerKey instanceof PrivateKey &&
    privateKey.publicKey !== formerKey.publicKey &&
    tables.own.present?.publicKey === formerKey.publicKey;
  if (isDemotion) demote(tables, privateKey);
  else {
    if (privateKey !== undefined) setKey(tables, privateKey === "none" ? undefined : privateKey);
    if (formerKey !== undefined) setFormer(tables, formerKey === "none" ? undefined : formerKey);
  }
  if (listenPort !== undefined) tables.setPort(listenPort);
  if (fwmark !== undefined) tables.setMark(fwmark);
  if (replacePeers === true) for (const state of [...tables.peers.all()]) remove(tables, state);
  for (const peer of joined(peers ?? [])) configurePeer(tables, peer);
}

/** A peer that is removed and made again by one request is made anew: what it sent before it hears of that still arrives. */
function joined(
  peers: readonly PeerConfiguration[],
): readonly (PeerConfiguration & { readonly anew?: true })[] {
  return peers.flatMap((peer, at) => {
    const pairs = (removal: PeerConfiguration | undefined, addition: PeerConfiguration | undefined) =>
      removal?.publicKey === addition?.publicKey &&
      removal?.remove === true &&
      addition?.remove !== true &&
      addition?.updateOnly !== true;
    if (pairs(peer, peers[at + 1])) return [];
    return [pairs(peers[at - 1], peer) ? { ...peer, anew: true as const } : peer];
  });
}

/**
 * A new identity sends under no session of the old one, and receives under them until they are too old, as in the kernel (wg_set_device,
 * netlink.c); without a key there is silence. The same one again changes nothing. Whoever had the old one for long has peers that know it,
 * and have to move to the new one; a newcomer, who had one for its registration, does not wait for them.
 */
function setKey(tables: Tables, privateKey: PrivateKey | undefined): void {
  if (tables.own.present?.publicKey === privateKey?.publicKey) return;
  const hold = tables.ownAgeMs() >= HOLD_AFTER_MS;
  tables.setOwnKey(privateKey);
  for (const state of [...tables.peers.all()]) {
    // Nobody is his own peer.
    if (state.identity.publicKey === privateKey?.publicKey) remove(tables, state);
    else if (privateKey === undefined) tables.apply(state, { kind: "reset" });
    else {
      tables.apply(state, { ...reset(tables, state.identity.publicBytes), kind: "identity", hold });
      tables.tell({ kind: "retired", peer: state.identity.number });
    }
  }
}

/** The device becomes another one, and stays who it was beside: with all peers it goes on as that. */
function demote(tables: Tables, privateKey: PrivateKey): void {
  tables.own.demote(privateKey);
  for (const state of [...tables.peers.all()]) {
    if (state.identity.publicKey === privateKey.publicKey) remove(tables, state);
    else tables.apply(state, { ...reset(tables, state.identity.publicBytes), kind: "demoted" });
  }
}

/** Whoever was before is heard beside who the device is, or no more. */
function setFormer(tables: Tables, key: PrivateKey | undefined): void {
  const { own } = tables;
  if (own.former?.publicKey === key?.publicKey || (key !== undefined && own.is(key.publicKey))) return;
  const isReplaced = own.former !== undefined;
  own.setFormer(key);
  for (const state of [...tables.peers.all()]) {
    if (state.identity.publicKey === key?.publicKey) remove(tables, state);
    else if (isReplaced) tables.apply(state, { kind: "alone" });
  }
}

function reset(tables: Tables, publicBytes: Bytes): Extract<PeerEvent, { readonly kind: "reset" }> {
  const shared = tables.own.present?.key.agree(publicBytes);
  if (shared === undefined) return { kind: "reset" };
  const staticStatic = new Secret(shared);
  shared.fill(0);
  return { kind: "reset", staticStatic };
}

function configurePeer(tables: Tables, change: PeerConfiguration & { readonly anew?: true }): void {
  const { publicKey } = change;
  if (tables.own.is(publicKey)) return;
  const known = tables.peers.withKey(publicKey);
  if (change.remove === true) {
    if (known !== undefined) remove(tables, known);
    return;
  }
  if (known === undefined && change.updateOnly === true) return;
  const state = known ?? add(tables, publicKey);
  const { number } = state.identity;
  const anew = change.anew === true && known !== undefined;
  if (anew) tables.apply(state, { kind: "anew" });
  if (anew || change.replaceAllowedIps === true) {
    tables.allowed.clear(number);
    tables.peers.changes.touchAllowed(number);
    tables.tell({ kind: "clear", peer: number });
  }
  for (const { prefix, remove: take } of change.allowedIps ?? []) {
    const loser = take === true ? undefined : tables.allowed.owner(prefix);
    if (take === true) tables.allowed.remove(prefix, number);
    else tables.allowed.insert(prefix, number);
    for (const peer of [number, loser]) if (peer !== undefined) tables.peers.changes.touchAllowed(peer);
    tables.tell({ kind: take === true ? "remove" : "insert", prefix, peer: number });
  }
  const { endpoint, keepaliveSeconds, presharedKey } = change;
  const psk =
    presharedKey === undefined || presharedKey === "none" ? presharedKey : new Secret(presharedKey.reveal());
  tables.apply(tables.peers.get(number) ?? state, {
    kind: "set",
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(keepaliveSeconds === undefined ? {} : { persistentMs: keepaliveSeconds * 1000 }),
    ...(psk === undefined ? {} : { psk }),
  });
  const moved = change.move === true ? tables.peers.get(number) : undefined;
  if (moved !== undefined) tables.apply(moved, { kind: "move" });
}

function add(tables: Tables, publicKey: PublicKey): PeerState {
  const number = tables.peers.newNumber(publicKey);
  const publicBytes = publicKeyBytes(publicKey);
  const identity = { number, publicKey, publicBytes, macKeys: macKeys(tables.primitives, publicBytes) };
  tables.tell({ kind: "added", peer: number });
  return tables.apply(newPeer(identity), reset(tables, publicBytes));
}

function remove(tables: Tables, state: PeerState): void {
  tables.apply(state, { kind: "reset" }).psk?.reveal().fill(0);
  tables.allowed.clear(state.identity.number);
  tables.peers.delete(state);
  tables.tell({ kind: "removed", peer: state.identity.number });
}
