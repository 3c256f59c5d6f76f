/**
 * A generated mesh as the beginning of a mesh of Causeway: the hub becomes a node that keeps key, name and addresses, all others
 * become its external peers, whose files go on working as they are.
 */
import { type Ip, type Prefix, type PrivateKey, type PublicKey, type Secret } from "../net/mod.ts";
import { MAX_NODE_BITS } from "../resources/mod.ts";
import { addressesOf, type Machine, type PlainMesh } from "./mesh.ts";
import { pairSecret } from "./topology.ts";

/** ImportedPeer is a machine that becomes an external peer of the hub. */
export interface ImportedPeer {
  readonly name: string;
  readonly number: number;
  readonly publicKey: PublicKey;
  readonly overlay4?: Ip;
  readonly overlay6?: Ip;
  readonly presharedKey?: Secret;
}

/** ImportedMesh is what `init` is given instead of choosing it. */
export interface ImportedMesh {
  readonly overlay4?: Prefix;
  readonly overlay6?: Prefix;
  readonly endpoints: readonly string[];
  readonly listenPort: number;
  readonly mtuBytes?: number;
  /** Enough for every machine to become a node with the number that it has. */
  readonly nodeBits: number;
  readonly hub: { readonly name: string; readonly number: number; readonly privateKey: PrivateKey };
  readonly peers: readonly ImportedPeer[];
}

const DEFAULT_NODE_BITS = 8;

function ofFamily<T extends { readonly family: 4 | 6 }>(values: readonly T[], family: 4 | 6): T | undefined {
  return values.find((value) => value.family === family);
}

function peer(mesh: PlainMesh, hub: Machine, machine: Machine): ImportedPeer {
  const addresses = addressesOf(mesh, machine).map(({ ip }) => ip);
  const [overlay4, overlay6] = [ofFamily(addresses, 4), ofFamily(addresses, 6)];
  const { publicKey } = machine.privateKey;
  return {
    name: machine.name,
    number: machine.number,
    publicKey,
    ...(overlay4 === undefined ? {} : { overlay4 }),
    ...(overlay6 === undefined ? {} : { overlay6 }),
    ...(mesh.pairSeed === undefined
      ? {}
      : { presharedKey: pairSecret(mesh.pairSeed, hub.privateKey.publicKey, publicKey) }),
  };
}

/** importOf returns a generated mesh as `init` needs it; throws when it has several hubs. */
export function importOf(mesh: PlainMesh): ImportedMesh {
  const hubs = mesh.machines.filter((machine) => machine.hub === undefined);
  const [hub] = hubs;
  if (hub === undefined || hubs.length > 1)
    throw new Error(
      `Cannot take over a generated mesh with ${hubs.length} hubs (${hubs.map(({ name }) => name).join(", ")}): a mesh begins with one hub; generate it with one, or make a new mesh and let the machines join`,
    );
  const most = Math.max(...mesh.machines.map((machine) => machine.number));
  const overlay4 = ofFamily(mesh.prefixes, 4);
  const overlay6 = ofFamily(mesh.prefixes, 6);
  // Whole numbers below 2^bits are pod ranges 0 and up; a node's range is its number less one.
  const bits = Math.max(DEFAULT_NODE_BITS, Math.ceil(Math.log2(most)));
  return {
    ...(overlay4 === undefined ? {} : { overlay4 }),
    ...(overlay6 === undefined ? {} : { overlay6 }),
    endpoints: hub.endpoints,
    listenPort: mesh.listenPort,
    ...(mesh.mtuBytes === undefined ? {} : { mtuBytes: mesh.mtuBytes }),
    nodeBits: Math.min(bits, MAX_NODE_BITS),
    hub: { name: hub.name, number: hub.number, privateKey: hub.privateKey },
    peers: mesh.machines.filter((machine) => machine !== hub).map((machine) => peer(mesh, hub, machine)),
  };
}
