/**
 * A generated mesh: who is in it, with which keys and addresses. It is kept as `mesh.json` beside the files that are made of it, and is
 * as secret as they are: it holds all private keys, so that a second run changes none.
 */
import { z } from "zod";
import {
  formatIp,
  formatPrefix,
  type InterfaceAddress,
  type Ip,
  ipPlus,
  parseIp,
  parsePrefix,
  type Prefix,
  prefixAddress,
  PrivateKey,
  Secret,
} from "../net/mod.ts";
import { hostPortSchema, type Json, nameProblem, present } from "../resources/mod.ts";
import { INTERFACE_NAME } from "./wg-quick.ts";

/** topologies are the shapes that a mesh can have. */
export const topologies = ["hub", "full", "sites"] as const;

/** Topology says who is whose peer: all the hub's; everybody everybody's; each site the one hub's, and hubs each other's. */
export type Topology = (typeof topologies)[number];

/** Machine is one member of a generated mesh. */
export interface Machine {
  readonly name: string;
  /** Which address of the prefixes it has, from 1. */
  readonly number: number;
  /** The hub that it belongs to; absent: it is one. */
  readonly hub?: string;
  /** Where others reach it, `host:port`, best first; a hub has one at least. */
  readonly endpoints: readonly string[];
  readonly privateKey: PrivateKey;
}

/** PlainMesh is a generated mesh. */
export interface PlainMesh {
  /** One network, or one of each family. */
  readonly prefixes: readonly Prefix[];
  readonly topology: Topology;
  /** Name of the files and so of the interfaces, the same on all machines. */
  readonly interfaceName: string;
  /** UDP port that machines with an endpoint listen on; what is forwarded to it may have another number. */
  readonly listenPort: number;
  /** Absent: wg-quick finds it out. */
  readonly mtuBytes?: number;
  /** How often a machine without an endpoint is heard; 0: never. */
  readonly keepaliveSeconds: number;
  /** For machines that are no hub. */
  readonly dns: readonly Ip[];
  /** Hubs switch forwarding on, and let it through their firewall. */
  readonly forward: boolean;
  /** Of which the pre-shared key of each pair is made; absent: there are none. */
  readonly pairSeed?: Secret;
  /** Hubs and others, in order of their numbers. */
  readonly machines: readonly Machine[];
}

/** addressesOf returns a machine's addresses, each with the length of the mesh's network. */
export function addressesOf(mesh: PlainMesh, machine: Machine): InterfaceAddress[] {
  return mesh.prefixes.map((prefix) => ({
    ip: ipPlus(prefixAddress(prefix), BigInt(machine.number)),
    length: prefix.length,
  }));
}

/** filePath returns where a machine's file is in the folder. */
export function filePath(mesh: PlainMesh, name: string): string {
  return `${name}/${mesh.interfaceName}.conf`;
}

/** VERSION of the form of mesh.json. */
const VERSION = 1;

/** formatMesh returns the text of mesh.json. */
export function formatMesh(mesh: PlainMesh): string {
  const key = (secret: Secret) => secret.toFile().trim();
  const json = present({
    about:
      "Made by causeway mesh generate. Holds the private keys of all machines: keep it as secret as them.",
    version: VERSION,
    prefixes: mesh.prefixes.map(formatPrefix),
    topology: mesh.topology,
    interfaceName: mesh.interfaceName,
    listenPort: mesh.listenPort,
    mtuBytes: mesh.mtuBytes,
    keepaliveSeconds: mesh.keepaliveSeconds,
    dns: mesh.dns.map(formatIp),
    forward: mesh.forward,
    pairSeed: mesh.pairSeed && key(mesh.pairSeed),
    machines: mesh.machines.map((machine): Json =>
      present({
        name: machine.name,
        number: machine.number,
        hub: machine.hub,
        endpoints: [...machine.endpoints],
        privateKey: key(machine.privateKey),
      }),
    ),
  });
  return `${JSON.stringify(json, null, 2)}\n`;
}

const name = z.string().refine((text) => nameProblem(text) === undefined);
const meshFile = z.object({
  version: z.literal(VERSION),
  prefixes: z.array(z.string()).min(1).max(2),
  topology: z.enum(topologies),
  interfaceName: z.string().regex(INTERFACE_NAME),
  listenPort: z.number().int().min(1).max(65535),
  mtuBytes: z.number().int().min(1280).max(65535).optional(),
  keepaliveSeconds: z.number().int().min(0).max(65535),
  dns: z.array(z.string()),
  forward: z.boolean(),
  pairSeed: z.string().optional(),
  machines: z
    .array(
      z.object({
        name,
        number: z.number().int().min(1),
        hub: name.optional(),
        endpoints: z.array(hostPortSchema),
        privateKey: z.string(),
      }),
    )
    .min(1),
});

/** parseMesh reads the text of mesh.json; `path` is for the error, which never holds a key. */
export function parseMesh(text: string, path: string): PlainMesh {
  const refuse = (cause: string) =>
    new Error(`Cannot read ${path}: ${cause}; restore it from a copy, or use another folder`);
  let data: unknown;
  try {
    data = JSON.parse(text);
  } catch {
    throw refuse("it is not JSON");
  }
  const found = (data as { readonly version?: unknown } | null)?.version;
  if (typeof found === "number" && found > VERSION)
    throw new Error(`Cannot read ${path}: a newer version of causeway wrote it; install that one`);
  const parsed = meshFile.safeParse(data);
  if (!parsed.success) throw refuse(`${parsed.error.issues[0]?.path.join(".") || "its content"} is damaged`);
  const { mtuBytes, pairSeed, ...rest } = parsed.data;
  try {
    const mesh: PlainMesh = {
      ...rest,
      ...(mtuBytes === undefined ? {} : { mtuBytes }),
      ...(pairSeed === undefined ? {} : { pairSeed: Secret.fromBase64(pairSeed) }),
      prefixes: rest.prefixes.map(parsePrefix),
      dns: rest.dns.map(parseIp),
      machines: rest.machines.map(({ hub, privateKey, ...machine }) => ({
        ...machine,
        ...(hub === undefined ? {} : { hub }),
        privateKey: PrivateKey.fromBase64(privateKey),
      })),
    };
    const hubs = new Set(mesh.machines.filter((machine) => machine.hub === undefined).map((m) => m.name));
    for (const machine of mesh.machines)
      if (machine.hub !== undefined && !hubs.has(machine.hub))
        throw new Error(`machine ${machine.name} belongs to ${machine.hub}, which is no hub`);
    for (const what of ["name", "number"] as const)
      if (new Set(mesh.machines.map((machine) => machine[what])).size !== mesh.machines.length)
        throw new Error(`two machines have the same ${what}`);
    return mesh;
  } catch (error) {
    throw refuse((error as Error).message);
  }
}
