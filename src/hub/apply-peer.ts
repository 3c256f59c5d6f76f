/** Commands on what lies outside the mesh's nodes and is routed into it: external peers, and networks behind nodes. */
import {
  formatPrefix,
  NOT_HOSTS,
  type Prefix,
  prefixContains,
  prefixEqual,
  prefixesOverlap,
  tryParseEndpoint,
} from "../net/mod.ts";
import type { ExternalPeer, Mesh } from "../resources/mod.ts";
import type { Handlers, Of } from "./apply.ts";
import { checkName } from "./apply-node.ts";
import { highestNumber, peerAddresses } from "./peer-store.ts";
import { Refusal } from "./refusal.ts";
import type { Tables } from "./tables.ts";

/** apply holds the commands on external peers and on networks behind nodes. */
export const apply = {
  "add-peer"(tables, wanted): ExternalPeer {
    const mesh = tables.mesh() as Mesh;
    mustBeNew(tables, wanted);
    const number = wanted.number ?? tables.peers.free(highestNumber(mesh));
    if (number === undefined || number > highestNumber(mesh) || tables.peers.isTaken(number))
      throw new Refusal(
        "mesh-full",
        number === undefined
          ? `Cannot add peer ${wanted.name}: all addresses of ${formatPrefix(mesh.overlay4)} and ${formatPrefix(mesh.overlay6)} are given; remove a peer or a node that is gone`
          : `Cannot add peer ${wanted.name}: number ${number} of the overlay is given, or outside of it`,
      );
    const seen: Prefix[] = [];
    for (const prefix of wanted.allowed) {
      mustBeFree(tables, prefix, `Cannot route ${formatPrefix(prefix)} to peer ${wanted.name}`);
      if (seen.some((other) => prefixesOverlap(other, prefix)))
        throw new Refusal(
          "bad-request",
          `Cannot route ${formatPrefix(prefix)} to peer ${wanted.name}: it overlaps another network that is given; name each address once`,
        );
      seen.push(prefix);
    }
    const { name, publicKey, hub, allowed, presharedKey, endpoint, role, site } = wanted;
    const peer: ExternalPeer = {
      name,
      publicKey,
      hub,
      ...peerAddresses(mesh, number, wanted.families),
      allowed,
      presharedKey,
      ...(endpoint === undefined ? {} : { endpoint }),
      ...(role === undefined ? {} : { role }),
      ...(site === undefined ? {} : { site }),
    };
    tables.peers.add({ number, peer });
    tables.publishPeer(name);
    return peer;
  },

  "remove-peer"(tables, { name }) {
    if (tables.peers.byName(name) === undefined)
      throw new Error(`Cannot remove peer ${name}: there is none with this name; see causeway peer list`);
    tables.peers.remove(name);
    tables.ledger.withdraw(`peer/${name}`);
  },

  "approve-subnet"(tables, { node: name, prefix }) {
    const what = `Cannot route ${formatPrefix(prefix)} to node ${name}`;
    const node = tables.nodes.byName(name);
    if (node === undefined) throw new Error(`${what}: there is none with this name; see causeway node list`);
    const subnets = node.subnets ?? [];
    if (subnets.some((own) => prefixEqual(own, prefix))) return;
    if (subnets.length >= MOST_SUBNETS)
      throw new Error(`${what}: it has ${MOST_SUBNETS} networks already; approve one larger network instead`);
    mustBeFree(tables, prefix, what);
    tables.nodes.setSubnets(name, [...subnets, prefix]);
    tables.publishNode(name);
  },

  "revoke-subnet"(tables, { node: name, prefix }) {
    const subnets = tables.nodes.byName(name)?.subnets ?? [];
    if (!subnets.some((own) => prefixEqual(own, prefix)))
      throw new Error(
        `Cannot take ${formatPrefix(prefix)} back from node ${name}: it is not approved; see causeway node list`,
      );
    tables.nodes.setSubnets(
      name,
      subnets.filter((own) => !prefixEqual(own, prefix)),
    );
    tables.publishNode(name);
  },
} as const satisfies Handlers<"add-peer" | "remove-peer" | "approve-subnet" | "revoke-subnet">;

/** The limit of Node.spec.subnets. */
const MOST_SUBNETS = 64;

function mustBeNew(tables: Tables, { name, publicKey, hub }: Of<"add-peer">): void {
  const refuse = (cause: string) => new Refusal("bad-request", `Cannot add peer ${name}: ${cause}`);
  checkName(name);
  if (tables.nodes.byName(name) !== undefined || tables.peers.byName(name) !== undefined)
    throw new Refusal(
      "name-taken",
      `Cannot add peer ${name}: another ${tables.nodes.byName(name) === undefined ? "peer" : "node"} has this name; take another one, or remove that first`,
    );
  if (tables.nodes.byName(hub)?.hub !== true) throw refuse(`${hub}, which shall carry it, is no hub`);
  if (tables.isRevoked(publicKey)) throw refuse("its key was revoked; make a new one on the machine");
  const same =
    tables.nodes.byKey(publicKey) ?? tables.nodes.byFormerKey(publicKey) ?? tables.peers.byKey(publicKey);
  if (same !== undefined || tables.tokens.isUseKey(publicKey))
    throw refuse(`its key belongs to ${same?.name ?? "a token"} already; every machine has a key of its own`);
}

/** Whose a network is already; addresses that the tunnel itself is sent to must not lead into it. */
function mustBeFree(tables: Tables, prefix: Prefix, what: string): void {
  const refuse = (cause: string, fix: string) => new Refusal("bad-request", `${what}: it ${cause}; ${fix}`);
  const reserved = NOT_HOSTS.find((other) => prefixesOverlap(other, prefix));
  if (reserved !== undefined)
    throw refuse(`overlaps ${formatPrefix(reserved)}, which is reserved`, "give a network of machines");
  const mesh = tables.mesh() as Mesh;
  const own = [
    ...(["overlay4", "overlay6", "enrol6", "pods4", "pods6"] as const).map(
      (field) => [field, mesh[field]] as const,
    ),
    ...mesh.services.map((service) => ["services", service] as const),
  ];
  for (const [field, other] of own)
    if (other !== undefined && prefixesOverlap(other, prefix))
      throw refuse(
        `overlaps the mesh's ${field} ${formatPrefix(other)}`,
        "give a network that shares no address",
      );
  const others = [
    ...tables.nodes.all().map((node) => [`node ${node.name}`, node.subnets ?? []] as const),
    ...tables.peers.all().map((peer) => [`peer ${peer.name}`, peer.allowed] as const),
  ];
  for (const [owner, networks] of others)
    for (const other of networks)
      if (prefixesOverlap(other, prefix))
        throw refuse(
          `overlaps ${formatPrefix(other)} of ${owner}`,
          "one network has one way; take the other back first",
        );
  const endpoints = [...mesh.endpoints, ...tables.nodes.all().flatMap((node) => [...node.endpoints])].flatMap(
    (text) => tryParseEndpoint(text) ?? [],
  );
  for (const { ip } of [...endpoints, ...tables.peers.all().flatMap((peer) => peer.endpoint ?? [])])
    if (prefixContains(prefix, ip))
      throw refuse(
        "holds an endpoint of the mesh, whose packets would go round in the tunnel for ever",
        "give the part of it that lies behind the machine",
      );
}
