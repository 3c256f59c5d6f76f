/** Applying a configuration to the tables of a device. */
import { type PrivateKey, type PublicKey, publicKeyBytes, Secret } from "../../net/mod.ts";
import type { AllowedIps } from "./allowed-ips.ts";
import type { Configuration, PeerConfiguration } from "./configuration.ts";
import type { DeviceEffect } from "./device-event.ts";
import { macKeys } from "./mac.ts";
import { newPeer } from "./peer.ts";
import type { PeerEvent, PeerState } from "./peer-state.ts";
import type { Peers } from "./peers.ts";
import type { Bytes, DhKey, Primitives } from "./primitives.ts";

/** Tables are what a configuration changes. */
export interface Tables {
  readonly peers: Peers;
  readonly allowed: AllowedIps;
  readonly primitives: Primitives;
  ownKey(): { readonly key: DhKey; readonly publicKey: PublicKey } | undefined;
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
  const { privateKey, listenPort, fwmark, replacePeers, peers } = configuration;
  if (privateKey !== undefined) setKey(tables, privateKey === "none" ? undefined : privateKey);
  if (listenPort !== undefined) tables.setPort(listenPort);
  if (fwmark !== undefined) tables.setMark(fwmark);
  if (replacePeers === true) for (const state of [...tables.peers.all()]) remove(tables, state);
  for (const peer of peers ?? []) configurePeer(tables, peer);
}

/**
 * A new identity sends under no session of the old one, and receives under them until they are too old, as in the kernel (wg_set_device,
 * netlink.c); without a key there is silence. The same one again changes nothing.
 */
function setKey(tables: Tables, privateKey: PrivateKey | undefined): void {
  if (tables.ownKey()?.publicKey === privateKey?.publicKey) return;
  tables.setOwnKey(privateKey);
  for (const state of [...tables.peers.all()]) {
    // Nobody is his own peer.
    if (state.identity.publicKey === privateKey?.publicKey) remove(tables, state);
    else if (privateKey === undefined) tables.apply(state, { kind: "reset" });
    else {
      tables.apply(state, { ...reset(tables, state.identity.publicBytes), kind: "identity" });
      tables.tell({ kind: "retired", peer: state.identity.number });
    }
  }
}

function reset(tables: Tables, publicBytes: Bytes): Extract<PeerEvent, { readonly kind: "reset" }> {
  const shared = tables.ownKey()?.key.agree(publicBytes);
  if (shared === undefined) return { kind: "reset" };
  const staticStatic = new Secret(shared);
  shared.fill(0);
  return { kind: "reset", staticStatic };
}

function configurePeer(tables: Tables, change: PeerConfiguration): void {
  const { publicKey } = change;
  if (publicKey === tables.ownKey()?.publicKey) return;
  const known = tables.peers.withKey(publicKey);
  if (change.remove === true) {
    if (known !== undefined) remove(tables, known);
    return;
  }
  if (known === undefined && change.updateOnly === true) return;
  const state = known ?? add(tables, publicKey);
  const { number } = state.identity;
  if (change.replaceAllowedIps === true) {
    tables.allowed.clear(number);
    tables.tell({ kind: "clear", peer: number });
  }
  for (const { prefix, remove: take } of change.allowedIps ?? []) {
    if (take === true) tables.allowed.remove(prefix, number);
    else tables.allowed.insert(prefix, number);
    tables.tell({ kind: take === true ? "remove" : "insert", prefix, peer: number });
  }
  const { endpoint, keepaliveSeconds, presharedKey } = change;
  const psk =
    presharedKey === undefined || presharedKey === "none" ? presharedKey : new Secret(presharedKey.reveal());
  tables.apply(state, {
    kind: "set",
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(keepaliveSeconds === undefined ? {} : { persistentMs: keepaliveSeconds * 1000 }),
    ...(psk === undefined ? {} : { psk }),
  });
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
