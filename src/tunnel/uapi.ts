/**
 * The text that user-space WireGuard speaks on its socket: https://www.wireguard.com/xplatform/.
 *
 * A request is lines `key=value` ended by an empty line; the answer likewise, with `errno=` last. Keys are hexadecimal.
 */
import {
  type DeviceChange,
  type DeviceState,
  type Endpoint,
  formatEndpoint,
  formatPrefix,
  type PeerChange,
  type PeerState,
  parsePrefix,
  PrivateKey,
  type Prefix,
  type PublicKey,
  publicKeyBytes,
  publicKeyFromBytes,
  tryParseEndpoint,
} from "../net/mod.ts";

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

/** isWhole tells whether an answer is complete. */
export function isWhole(answer: string): boolean {
  return answer.endsWith("\n\n");
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

function peerLines(peer: PeerChange): string[] {
  // public_key begins a peer; what follows belongs to it.
  const lines = [`public_key=${hex(publicKeyBytes(peer.publicKey))}`];
  if (peer.remove === true) return [...lines, "remove=true"];
  if (peer.updateOnly === true) lines.push("update_only=true");
  if (peer.presharedKey !== undefined) lines.push(`preshared_key=${hex(peer.presharedKey.reveal())}`);
  if (peer.endpoint !== undefined) lines.push(`endpoint=${formatEndpoint(peer.endpoint)}`);
  if (peer.keepaliveSeconds !== undefined)
    lines.push(`persistent_keepalive_interval=${peer.keepaliveSeconds}`);
  if (peer.allowedIps !== undefined) {
    lines.push("replace_allowed_ips=true");
    for (const prefix of peer.allowedIps) lines.push(`allowed_ip=${formatPrefix(prefix)}`);
  }
  return lines;
}

/** encodeSet returns the request that makes a change. It holds secrets: send it, never show it. */
export function encodeSet(change: DeviceChange): string {
  const lines = ["set=1"];
  if (change.privateKey !== undefined) lines.push(`private_key=${hex(change.privateKey.reveal())}`);
  if (change.listenPort !== undefined) lines.push(`listen_port=${change.listenPort}`);
  for (const peer of change.peers ?? []) lines.push(...peerLines(peer));
  return `${lines.join("\n")}\n\n`;
}

/** checkSet throws UapiError for an answer to a change that says no. */
export function checkSet(answer: string): void {
  checkErrno(pairs(answer));
}

type Pair = readonly [key: string, value: string];

// Errors below name the key, never the value: it may be a secret.
function pairs(answer: string): Pair[] {
  if (!isWhole(answer)) throw new Error("the answer ends in the middle");
  const lines = answer.slice(0, -2).split("\n");
  return lines.map((line) => {
    const equals = line.indexOf("=");
    if (equals < 1) throw new Error("the answer has a line that is not key=value");
    return [line.slice(0, equals), line.slice(equals + 1)];
  });
}

function checkErrno(all: readonly Pair[]): void {
  const last = all.at(-1);
  if (last?.[0] !== "errno") throw new Error("the answer has no errno");
  const errno = integer("errno", last[1]);
  // wireguard-go negates as the kernel does; the specification leaves it open.
  if (errno !== 0) throw new UapiError(Math.abs(errno));
}

function integer(key: string, value: string): number {
  if (!/^-?\d{1,15}$/.test(value)) throw new Error(`${key} is not a number`);
  return Number(value);
}

function key32(key: string, value: string): Uint8Array {
  if (!/^[0-9a-f]{64}$/.test(value)) throw new Error(`${key} is not a key of 64 hexadecimal digits`);
  return Buffer.from(value, "hex");
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

const peerFields: Readonly<Record<string, (peer: Draft, value: string) => void>> = {
  preshared_key: (peer, value) => {
    peer.presharedKey = key32("preshared_key", value).some((byte) => byte !== 0);
  },
  endpoint: (peer, value) => {
    // A link-local address comes with its zone, which is the business of the device.
    const endpoint = tryParseEndpoint(value.replace(/%[^\]]*\]/, "]"));
    if (endpoint !== undefined) peer.endpoint = endpoint;
  },
  last_handshake_time_sec: (peer, value) => {
    peer.handshakeSeconds = integer("last_handshake_time_sec", value);
  },
  last_handshake_time_nsec: (peer, value) => {
    peer.handshakeNanoseconds = integer("last_handshake_time_nsec", value);
  },
  rx_bytes: (peer, value) => {
    peer.rxBytes = integer("rx_bytes", value);
  },
  tx_bytes: (peer, value) => {
    peer.txBytes = integer("tx_bytes", value);
  },
  persistent_keepalive_interval: (peer, value) => {
    const seconds = integer("persistent_keepalive_interval", value);
    if (seconds > 0) peer.keepaliveSeconds = seconds;
  },
  allowed_ip: (peer, value) => {
    peer.allowedIps.push(parsePrefix(value));
  },
};

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
  for (const [key, value] of all) {
    const peer = peers.at(-1);
    if (key === "public_key") {
      peers.push({
        publicKey: publicKeyFromBytes(key32(key, value)),
        allowedIps: [],
        presharedKey: false,
        handshakeSeconds: 0,
        handshakeNanoseconds: 0,
        rxBytes: 0,
        txBytes: 0,
      });
    } else if (key === "private_key") publicKey = new PrivateKey(key32(key, value)).publicKey;
    else if (key === "listen_port") listenPort = integer(key, value);
    else if (peer !== undefined && Object.hasOwn(peerFields, key)) peerFields[key]?.(peer, value);
  }
  return { listenPort, peers: peers.map(peerState), ...(publicKey === undefined ? {} : { publicKey }) };
}
