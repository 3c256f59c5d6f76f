/**
 * The side that answers of the text that user-space WireGuard speaks on its socket (https://www.wireguard.com/xplatform/); the table of
 * its keys is ../uapi-field.ts.
 *
 * ```
 *   get=1                                  private_key=… listen_port=… (public_key=… …)* errno=0
 *   set=1 private_key=… (public_key=… …)*  errno=0
 * ```
 *
 * What `get` answers holds the private key and the pre-shared keys, because wg(8) finds the public key only by it. The socket
 * has to be its owner's alone, and the text is for it and nothing else.
 */
import {
  type DeviceState,
  type PeerState,
  PrivateKey,
  publicKeyBytes,
  publicKeyFromBytes,
  Secret,
} from "../../net/mod.ts";
import { isFieldName, line, type Pair, pairs, parseField } from "../uapi-field.ts";
import type { AllowedIpChange, Configuration, PeerConfiguration } from "./configuration.ts";
import type { DeviceSecrets } from "./report.ts";

/** UapiRequest is what a client asks for. */
export type UapiRequest =
  { readonly kind: "get" } | { readonly kind: "set"; readonly configuration: Configuration };

/** EINVAL of errno(3), which is the answer to a request that cannot be read. */
export const EINVAL = 22;

type Changing<T> = { -readonly [K in keyof T]: T[K] };
type PeerDraft = Changing<PeerConfiguration> & { readonly changes: AllowedIpChange[] };

/** decodeRequest reads a request as a whole; its error names the line that cannot be read, without its value. */
export function decodeRequest(text: string): UapiRequest {
  const [operation, ...rest] = pairs(text);
  if (operation?.[1] !== "1") throw new Error("a request begins with get=1 or set=1");
  if (operation[0] === "get" && rest.length === 0) return { kind: "get" };
  if (operation[0] === "set") return { kind: "set", configuration: decodeSet(rest) };
  throw new Error("a request begins with get=1 or set=1");
}

function decodeSet(lines: readonly Pair[]): Configuration {
  const device: Changing<Configuration> = {};
  const peers: PeerDraft[] = [];
  for (const [name, value] of lines) {
    const peer = peers.at(-1);
    if (name === "public_key")
      peers.push({ publicKey: publicKeyFromBytes(parseField(name, value)), changes: [] });
    else if (peer === undefined) readDevice(device, name, value);
    else readPeer(peer, name, value);
  }
  if (peers.length > 0)
    device.peers = peers.map(({ changes, ...peer }) =>
      changes.length === 0 ? peer : { ...peer, allowedIps: changes },
    );
  return device;
}

function readDevice(device: Changing<Configuration>, name: string, value: string): void {
  switch (name) {
    case "private_key": {
      const bytes = parseField(name, value);
      device.privateKey = isZero(bytes) ? "none" : new PrivateKey(bytes);
      bytes.fill(0);
      return;
    }
    case "former_private_key": {
      const bytes = parseField(name, value);
      device.formerKey = isZero(bytes) ? "none" : new PrivateKey(bytes);
      bytes.fill(0);
      return;
    }
    case "listen_port":
      device.listenPort = parseField(name, value);
      return;
    case "fwmark":
      device.fwmark = parseField(name, value);
      return;
    case "replace_peers":
      device.replacePeers = parseField(name, value);
      return;
    default:
      throw new Error(unexpected(name, "a device"));
  }
}

function readPeer(peer: PeerDraft, name: string, value: string): void {
  switch (name) {
    case "remove":
      peer.remove = parseField(name, value);
      return;
    case "update_only":
      peer.updateOnly = parseField(name, value);
      return;
    case "move":
      peer.move = parseField(name, value);
      return;
    case "preshared_key": {
      const bytes = parseField(name, value);
      peer.presharedKey = isZero(bytes) ? "none" : new Secret(bytes);
      bytes.fill(0);
      return;
    }
    case "endpoint":
      peer.endpoint = parseField(name, value);
      return;
    case "persistent_keepalive_interval":
      peer.keepaliveSeconds = parseField(name, value);
      return;
    case "replace_allowed_ips":
      peer.replaceAllowedIps = parseField(name, value);
      return;
    case "allowed_ip": {
      // A minus takes the prefix away.
      const remove = value.startsWith("-");
      const prefix = parseField(name, remove ? value.slice(1) : value);
      peer.changes.push(remove ? { prefix, remove } : { prefix });
      return;
    }
    case "protocol_version":
      parseField(name, value);
      return;
    default:
      throw new Error(unexpected(name, "a peer"));
  }
}

function unexpected(name: string, place: string): string {
  return isFieldName(name)
    ? `${name} is nothing that ${place} can be told`
    : "there is a key that is not known";
}

function isZero(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0);
}

/** encodeState returns the answer to `get`. It holds secrets: send it, never show it. */
export function encodeState(state: DeviceState, secrets: DeviceSecrets): string {
  const lines: string[] = [];
  if (secrets.privateKey !== undefined) lines.push(line("private_key", secrets.privateKey.reveal()));
  if (state.listenPort !== 0) lines.push(line("listen_port", state.listenPort));
  if (secrets.fwmark !== 0) lines.push(line("fwmark", secrets.fwmark));
  for (const peer of state.peers) lines.push(...peerLines(peer, secrets.presharedKeys.get(peer.publicKey)));
  return `${lines.map((text) => `${text}\n`).join("")}${encodeErrno(0)}`;
}

function peerLines(peer: PeerState, presharedKey: Secret | undefined): string[] {
  const { endpoint, lastHandshakeMs = 0 } = peer;
  return [
    line("public_key", publicKeyBytes(peer.publicKey)),
    line("preshared_key", presharedKey?.reveal() ?? new Uint8Array(32)),
    line("protocol_version", 1),
    ...(endpoint === undefined ? [] : [line("endpoint", endpoint)]),
    line("last_handshake_time_sec", Math.floor(lastHandshakeMs / 1000)),
    line("last_handshake_time_nsec", Math.floor((lastHandshakeMs % 1000) * 1e6)),
    line("tx_bytes", peer.txBytes),
    line("rx_bytes", peer.rxBytes),
    line("persistent_keepalive_interval", peer.keepaliveSeconds ?? 0),
    ...peer.allowedIps.map((prefix) => line("allowed_ip", prefix)),
  ];
}

/** encodeErrno returns the answer to `set`, and the end of every answer: 0, or an error number, which is written as negative. */
export function encodeErrno(errno: number): string {
  return `${line("errno", errno === 0 ? 0 : -errno)}\n\n`;
}
