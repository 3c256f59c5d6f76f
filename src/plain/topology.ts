/**
 * From a mesh to each machine's file: who is whose peer, with which allowed IPs.
 *
 * ```
 *            a machine has                          a hub has
 *  hub       its hub: the whole prefixes            every machine: its own addresses
 *  full      the same, and every machine that       the same
 *            one of the two can call: its own
 *  sites     its hub: the whole prefixes            its site's machines: their own; every other hub: that
 *                                                   one's addresses and those of its site
 * ```
 * The longest prefix wins: in `full` two machines without an endpoint reach each other through the hub, all others directly.
 */
import {
  hostPrefix,
  type InterfaceAddress,
  type Prefix,
  publicKeyBytes,
  type PublicKey,
  Secret,
} from "../net/mod.ts";
import { hmacSha256 } from "../sys/mod.ts";
import { addressesOf, type Machine, type PlainMesh } from "./mesh.ts";
import type { WgQuickFile, WgQuickPeer } from "./wg-quick.ts";

const SHAPES = { hub: "hub and spokes", full: "full mesh", sites: "sites" } as const;

/** pairSecret returns the pre-shared key of two machines: another one for each pair, and a new one when either has a new key. */
export function pairSecret(seed: Secret, one: PublicKey, other: PublicKey): Secret {
  const pair = [one, other].sort().map(publicKeyBytes);
  return new Secret(hmacSha256(seed.reveal(), "causeway plain mesh pair", ...pair));
}

function hosts(addresses: readonly InterfaceAddress[]): Prefix[] {
  return addresses.map(({ ip }) => hostPrefix(ip));
}

/** What a machine sends to another directly, or absent when it does not. */
function allowedIps(mesh: PlainMesh, self: Machine, other: Machine): readonly Prefix[] | undefined {
  const own = () => hosts(addressesOf(mesh, other));
  if (self.hub === other.name) return mesh.prefixes;
  if (self.hub === undefined && other.hub === self.name) return own();
  if (self.hub === undefined && other.hub === undefined) {
    const site = mesh.machines.filter((machine) => machine.hub === other.name);
    return [...own(), ...site.flatMap((machine) => hosts(addressesOf(mesh, machine)))];
  }
  const callable = self.endpoints.length > 0 || other.endpoints.length > 0;
  return mesh.topology === "full" && callable ? own() : undefined;
}

function peerOf(mesh: PlainMesh, self: Machine, other: Machine): WgQuickPeer | undefined {
  const allowed = allowedIps(mesh, self, other);
  if (allowed === undefined) return undefined;
  const { publicKey } = other.privateKey;
  // Only who cannot be called has to keep its NAT's mapping, towards those who can.
  const keeps = self.endpoints.length === 0 && other.endpoints.length > 0 && mesh.keepaliveSeconds > 0;
  return {
    name: other.name,
    publicKey,
    ...(mesh.pairSeed === undefined
      ? {}
      : { presharedKey: pairSecret(mesh.pairSeed, self.privateKey.publicKey, publicKey) }),
    allowedIps: allowed,
    endpoints: other.endpoints,
    ...(keeps ? { keepaliveSeconds: mesh.keepaliveSeconds } : {}),
  };
}

/** Forwarding stays on when the interface goes: others on the machine may have come to need it. */
function forwarding(mesh: PlainMesh): Pick<WgQuickFile, "postUp" | "postDown"> {
  const families = mesh.prefixes.map(({ family }) => family);
  const rule = (verb: "I" | "D") =>
    families.map(
      (family) => `${family === 4 ? "iptables" : "ip6tables"} -w -${verb} FORWARD -i %i -o %i -j ACCEPT`,
    );
  const settings = families.map((family) =>
    family === 4 ? "sysctl -q -w net.ipv4.ip_forward=1" : "sysctl -q -w net.ipv6.conf.all.forwarding=1",
  );
  return { postUp: [...settings, ...rule("I")], postDown: rule("D") };
}

function aboutHub(mesh: PlainMesh): string[] {
  if (mesh.forward) return [];
  const settings = mesh.prefixes.map(({ family }) =>
    family === 4 ? "net.ipv4.ip_forward=1" : "net.ipv6.conf.all.forwarding=1",
  );
  return [`This hub must forward between its peers: sysctl ${settings.join(" ")}`];
}

function fileOf(mesh: PlainMesh, machine: Machine): WgQuickFile {
  const isHub = machine.hub === undefined;
  return {
    about: [
      `${machine.name}, ${isHub ? "hub" : "machine"} of a generated mesh (${SHAPES[mesh.topology]})`,
      ...(isHub ? aboutHub(mesh) : []),
    ],
    publicKey: machine.privateKey.publicKey,
    privateKey: machine.privateKey,
    addresses: addressesOf(mesh, machine),
    ...(machine.endpoints.length > 0 ? { listenPort: mesh.listenPort } : {}),
    ...(mesh.mtuBytes === undefined ? {} : { mtuBytes: mesh.mtuBytes }),
    dns: isHub ? [] : mesh.dns,
    ...(isHub && mesh.forward ? forwarding(mesh) : { postUp: [], postDown: [] }),
    peers: mesh.machines
      .filter((other) => other !== machine)
      .map((other) => peerOf(mesh, machine, other))
      .filter((peer) => peer !== undefined),
  };
}

/** filesOf returns the file of each machine, by name, hubs and others in order of their numbers. */
export function filesOf(mesh: PlainMesh): ReadonlyMap<string, WgQuickFile> {
  return new Map(mesh.machines.map((machine) => [machine.name, fileOf(mesh, machine)]));
}
