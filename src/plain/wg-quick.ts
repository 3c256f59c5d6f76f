/** The file of one machine, as wg-quick(8) reads it; what `wg-quick strip` leaves of it is what wg(8) takes as `setconf`. */
import {
  formatInterfaceAddress,
  formatIp,
  formatPrefix,
  type InterfaceAddress,
  type Ip,
  type PrivateKey,
  type Prefix,
  type PublicKey,
  type Secret,
} from "../net/mod.ts";

/** INTERFACE_NAME is what wg-quick(8) takes as the name of a file, and so of the interface. */
export const INTERFACE_NAME = /^[a-zA-Z0-9_=+.-]{1,15}$/;

/** WgQuickPeer is one section `[Peer]`. */
export interface WgQuickPeer {
  readonly name: string;
  readonly publicKey: PublicKey;
  readonly presharedKey?: Secret;
  readonly allowedIps: readonly Prefix[];
  /** `host:port`; the file holds the first, the others stand in a comment, since WireGuard knows one. */
  readonly endpoints: readonly string[];
  readonly keepaliveSeconds?: number;
}

/** WgQuickFile is all of a file. */
export interface WgQuickFile {
  /** Lines of comment at its head. */
  readonly about: readonly string[];
  readonly publicKey: PublicKey;
  /** Absent where the machine keeps its own. */
  readonly privateKey?: PrivateKey;
  readonly addresses: readonly InterfaceAddress[];
  readonly listenPort?: number;
  readonly mtuBytes?: number;
  readonly dns: readonly Ip[];
  readonly postUp: readonly string[];
  readonly postDown: readonly string[];
  readonly peers: readonly WgQuickPeer[];
}

type Line = readonly [key: string, value: string | number | undefined];

function section(title: string, lines: readonly Line[]): string {
  const set = lines.filter(([, value]) => value !== undefined && value !== "");
  return [title, ...set.map(([key, value]) => `${key} = ${value}`)].join("\n");
}

function peerSection(peer: WgQuickPeer): string {
  const [endpoint, ...others] = peer.endpoints;
  const comment = others.length === 0 ? "" : `\n# Other endpoints: ${others.join(", ")}`;
  return section(`# ${peer.name}${comment}\n[Peer]`, [
    ["PublicKey", peer.publicKey],
    ["PresharedKey", peer.presharedKey?.toFile().trim()],
    ["AllowedIPs", peer.allowedIps.map(formatPrefix).join(", ")],
    ["Endpoint", endpoint],
    ["PersistentKeepalive", peer.keepaliveSeconds],
  ]);
}

/** formatWgQuick returns the text of a file. It holds the private key: it goes into a file of mode 0600, or to whoever asked for it. */
export function formatWgQuick(file: WgQuickFile): string {
  const head = [...file.about, `Public key: ${file.publicKey}`].map((line) => `# ${line}`).join("\n");
  const missing =
    file.privateKey === undefined ? "\n# The private key is on the machine: PrivateKey = …" : "";
  const own = section(`${head}${missing}\n[Interface]`, [
    ["Address", file.addresses.map(formatInterfaceAddress).join(", ")],
    ["PrivateKey", file.privateKey?.toFile().trim()],
    ["ListenPort", file.listenPort],
    ["MTU", file.mtuBytes],
    ["DNS", file.dns.map(formatIp).join(", ")],
    ...file.postUp.map((command): Line => ["PostUp", command]),
    ...file.postDown.map((command): Line => ["PostDown", command]),
  ]);
  return `${[own, ...file.peers.map(peerSection)].join("\n\n")}\n`;
}
