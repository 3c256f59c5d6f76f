/**
 * The side that asks of the text that user-space WireGuard speaks on its socket: https://www.wireguard.com/xplatform/.
 *
 * A request is lines `key=value` ended by an empty line; the answer likewise, with `errno=` last.
 */
import {
  type DeviceChange,
  type DeviceState,
  type Endpoint,
  type PeerChange,
  type PeerState,
  PrivateKey,
  type Prefix,
  type PublicKey,
  publicKeyBytes,
  publicKeyFromBytes,
} from "../net/mod.ts";
import {
  type FieldName,
  type FieldValue,
  isFieldName,
  line,
  type Pair,
  pairs,
  parseField,
  tryEndpoint,
} from "./uapi-field.ts";

export { isWhole } from "./uapi-field.ts";

/** GET is the request for a device's state. */
export const GET = "get=1\n\n";

/** UapiError is an answer that says no; `errno` is positive, as the kernel's. */
export class UapiError extends Error {
  override readonly name = "UapiError";
  readonly errno: number;

  constructor(errno: number) {
    super(`the device answers with error ${errno}`);
    this.errno = errno;
  }
}

function peerLines(peer: PeerChange): string[] {
  // public_key begins a peer; what follows belongs to it.
  const key = line("public_key", publicKeyBytes(peer.publicKey));
  const lines = peer.anew === true ? [key, line("remove", true), key] : [key];
  if (peer.remove === true) return [...lines, line("remove", true)];
  if (peer.updateOnly === true) lines.push(line("update_only", true));
  if (peer.move === true) lines.push(line("move", true));
  if (peer.presharedKey !== undefined) lines.push(line("preshared_key", peer.presharedKey.reveal()));
  if (peer.endpoint !== undefined) lines.push(line("endpoint", peer.endpoint));
  if (peer.keepaliveSeconds !== undefined)
    lines.push(line("persistent_keepalive_interval", peer.keepaliveSeconds));
  if (peer.allowedIps !== undefined) {
    lines.push(line("replace_allowed_ips", true));
    for (const prefix of peer.allowedIps) lines.push(line("allowed_ip", prefix));
  }
  return lines;
}

/** encodeSet returns the request that makes a change. It holds secrets: send it, never show it. */
export function encodeSet(change: DeviceChange): string {
  const lines = ["set=1"];
  if (change.privateKey !== undefined) lines.push(line("private_key", change.privateKey.reveal()));
  const { formerKey } = change;
  if (formerKey !== undefined)
    lines.push(line("former_private_key", formerKey === "none" ? new Uint8Array(32) : formerKey.reveal()));
  if (change.listenPort !== undefined) lines.push(line("listen_port", change.listenPort));
  for (const peer of change.peers ?? []) lines.push(...peerLines(peer));
  return `${lines.join("\n")}\n\n`;
}

/** checkSet throws UapiError for an answer to a change that says no. */
export function checkSet(answer: string): void {
  checkErrno(pairs(answer));
}

/** checkErrno throws UapiError for an answer whose last line says no. */
export function checkErrno(all: readonly Pair[]): void {
  const last = all.at(-1);
  if (last?.[0] !== "errno") throw new Error("the answer has no errno");
  const errno = parseField("errno", last[1]);
  // wireguard-go negates as the kernel does; the specification leaves it open.
  if (errno !== 0) throw new UapiError(Math.abs(errno));
}

/** Draft is a peer while its lines are read. */
interface Draft {
  readonly publicKey: PublicKey;
  endpoint?: Endpoint;
  readonly allowedIps: Prefix[];
  keepaliveSeconds?: number;
  presharedKey: boolean;
  handshakeSeconds: number;
  handshakeNanoseconds: number;
  rxBytes: number;
  txBytes: number;
}

/** What each line of a peer says. Lines that are not here are not asked for. */
const peerFields: { readonly [N in FieldName]?: (peer: Draft, value: FieldValue<N>) => void } = {
  preshared_key: (peer, value) => {
    peer.presharedKey = value.some((byte) => byte !== 0);
  },
  last_handshake_time_sec: (peer, value) => {
    peer.handshakeSeconds = value;
  },
  last_handshake_time_nsec: (peer, value) => {
    peer.handshakeNanoseconds = value;
  },
  rx_bytes: (peer, value) => {
    peer.rxBytes = value;
  },
  tx_bytes: (peer, value) => {
    peer.txBytes = value;
  },
  persistent_keepalive_interval: (peer, value) => {
    if (value > 0) peer.keepaliveSeconds = value;
  },
};

/** A device of thousands of peers is read each second, and says the same prefixes each time: they are parsed once. */
const prefixes = new Map<string, Prefix>();
const MOST_PREFIXES = 65_536;

function prefixOf(text: string): Prefix {
  const known = prefixes.get(text);
  if (known !== undefined) return known;
  if (prefixes.size >= MOST_PREFIXES) prefixes.clear();
  const prefix = parseField("allowed_ip", text);
  prefixes.set(text, prefix);
  return prefix;
}

function readPeerField<N extends FieldName>(peer: Draft, name: N, text: string): void {
  const read = peerFields[name] as ((peer: Draft, value: FieldValue<N>) => void) | undefined;
  read?.(peer, parseField(name, text));
}

function peerState(draft: Draft): PeerState {
  const { handshakeSeconds, handshakeNanoseconds, ...state } = draft;
  return handshakeSeconds === 0 && handshakeNanoseconds === 0
    ? state
    : { ...state, lastHandshakeMs: handshakeSeconds * 1000 + Math.floor(handshakeNanoseconds / 1e6) };
}

/** decodeGet reads a device's state; the private key becomes the public one and is forgotten. Unknown keys are skipped. */
export function decodeGet(answer: string): DeviceState {
  const all = pairs(answer);
  checkErrno(all);
  let publicKey: PublicKey | undefined;
  let listenPort = 0;
  const peers: Draft[] = [];
  for (const [name, value] of all) {
    const peer = peers.at(-1);
    if (name === "public_key") {
      peers.push({
        publicKey: publicKeyFromBytes(parseField(name, value)),
        allowedIps: [],
        presharedKey: false,
        handshakeSeconds: 0,
        handshakeNanoseconds: 0,
        rxBytes: 0,
        txBytes: 0,
      });
    } else if (name === "private_key") publicKey = new PrivateKey(parseField(name, value)).publicKey;
    else if (name === "listen_port") listenPort = parseField(name, value);
    else if (peer !== undefined && name === "allowed_ip") peer.allowedIps.push(prefixOf(value));
    else if (peer !== undefined && name === "endpoint") {
      // One that is not known yet may be said in ways of the device's own.
      const endpoint = tryEndpoint(value);
      if (endpoint !== undefined) peer.endpoint = endpoint;
    } else if (peer !== undefined && isFieldName(name)) readPeerField(peer, name, value);
  }
  return { listenPort, peers: peers.map(peerState), ...(publicKey === undefined ? {} : { publicKey }) };
}
