/** From a mesh and what is asked to the next mesh: keys and numbers stay, what cannot be is one clear error, and nothing is half done. */
import {
  bitsOf,
  formatIp,
  formatPrefix,
  type Ip,
  NOT_HOSTS,
  type Prefix,
  prefixContains,
  prefixesOverlap,
  prefixEqual,
  PrivateKey,
  Secret,
  tryParseEndpoint,
} from "../net/mod.ts";
import { hostPortSchema, nameProblem } from "../resources/mod.ts";
import type { Machine, PlainMesh, Topology } from "./mesh.ts";
import { INTERFACE_NAME } from "./wg-quick.ts";

/** without are the settings that can be taken back. */
export const without = ["psk", "forward", "mtu", "dns"] as const;

/** Wishes are what the command line was given; what is absent stays as it is. */
export interface Wishes {
  readonly prefixes?: readonly Prefix[];
  readonly topology?: Topology;
  readonly interfaceName?: string;
  readonly listenPort?: number;
  readonly mtuBytes?: number;
  readonly keepaliveSeconds?: number;
  readonly dns?: readonly Ip[];
  readonly forward?: boolean;
  readonly psk?: boolean;
  readonly without?: readonly (typeof without)[number][];
  /** `[HUB=]HOST:PORT`; those of a hub that is named replace what it had. */
  readonly endpoints?: readonly string[];
  /** How many machines there are beside the hubs. */
  readonly peers?: number;
  /** `NAME[@HUB][=HOST:PORT]`. */
  readonly machines?: readonly string[];
  readonly remove?: readonly string[];
  /** Machines that get new keys. */
  readonly rotate?: readonly string[];
}

/** As many machines as the tutorial's /24 has, where nobody says how many. */
const DEFAULT_PEERS = 253;
/** The most machines, and of a full mesh, whose files grow with the square. */
const MOST = { hub: 4096, sites: 4096, full: 512 } as const;
const DEFAULT_HUB = "hub";
const DEFAULT_PORT = 51820;
const DEFAULT_KEEPALIVE_SECONDS = 25;

function refuse(cause: string): Error {
  return new Error(`Cannot generate the mesh: ${cause}`);
}

function checkPrefixes(prefixes: readonly Prefix[]): void {
  if (prefixes.length === 0)
    throw refuse("no network is given; name one, like 10.6.0.0/24, or one of IPv4 and one of IPv6");
  if (prefixes.length > 2 || (prefixes.length === 2 && prefixes[0]?.family === prefixes[1]?.family))
    throw refuse(`${prefixes.map(formatPrefix).join(", ")} are too many; give one network of a family`);
  for (const prefix of prefixes) {
    const reserved = NOT_HOSTS.find((other) => prefixesOverlap(other, prefix));
    if (reserved !== undefined)
      throw refuse(`${formatPrefix(prefix)} overlaps ${formatPrefix(reserved)}, which is reserved`);
    const longest = bitsOf(prefix.family) - 2;
    if (prefix.length > longest)
      throw refuse(
        `${formatPrefix(prefix)} is too small for a hub and one more machine; give a /${longest} or larger`,
      );
  }
}

/** The first address names the network and the last one is IPv4's broadcast; neither is anybody's. */
function capacity(prefixes: readonly Prefix[]): number {
  const bits = Math.min(...prefixes.map((prefix) => bitsOf(prefix.family) - prefix.length), 24);
  return 2 ** bits - 2;
}

function checkEndpoint(text: string, prefixes: readonly Prefix[]): string {
  const parsed = hostPortSchema.safeParse(text);
  if (!parsed.success) throw refuse(`the endpoint "${text}" ${parsed.error.issues[0]?.message}`);
  const literal = tryParseEndpoint(text);
  const inside = literal && prefixes.find((prefix) => prefixContains(prefix, literal.ip));
  if (inside !== undefined)
    throw refuse(
      `the endpoint ${text} is in ${formatPrefix(inside)}, the mesh's own network; give the address outside the tunnel`,
    );
  return text;
}

function checkName(name: string): string {
  const problem = nameProblem(name);
  if (problem !== undefined) throw refuse(`the name "${name}" ${problem}`);
  if (name === "mesh.json" || name.length > 63)
    throw refuse(`the name "${name}" is not possible; take one of at most 63 characters, not mesh.json`);
  return name;
}

/** Splits `NAME=HOST:PORT` at its first `=`. */
function atEquals(text: string): readonly [before: string, after: string | undefined] {
  const at = text.indexOf("=");
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)];
}

/** Roster is the list of machines while it changes. */
class Roster {
  readonly machines: Machine[];
  readonly #prefixes: readonly Prefix[];
  readonly #taken: Set<number>;
  #next = 1;

  constructor(machines: readonly Machine[], prefixes: readonly Prefix[]) {
    this.machines = [...machines];
    this.#prefixes = prefixes;
    this.#taken = new Set(machines.map((machine) => machine.number));
  }

  get hubs(): Machine[] {
    return this.machines.filter((machine) => machine.hub === undefined);
  }

  find(name: string): Machine | undefined {
    return this.machines.find((machine) => machine.name === name);
  }

  must(name: string, verb: string): Machine {
    const found = this.find(name);
    if (found === undefined) throw refuse(`no machine is named ${name}, so it cannot be ${verb}`);
    return found;
  }

  /** The lowest number that nobody has. */
  number(): number {
    while (this.#taken.has(this.#next)) this.#next++;
    if (this.#next > capacity(this.#prefixes))
      throw refuse(
        `${this.#prefixes.map(formatPrefix).join(", ")} has addresses for ${capacity(this.#prefixes)} machines, hubs among them, and all are given; remove one, or generate a larger network in another folder`,
      );
    return this.#next;
  }

  add(machine: Pick<Machine, "name" | "hub" | "endpoints">): void {
    const number = this.number();
    this.#taken.add(number);
    this.machines.push({ ...machine, number, privateKey: PrivateKey.random() });
  }

  change(name: string, fields: Partial<Machine>): void {
    const at = this.machines.findIndex((machine) => machine.name === name);
    this.machines[at] = { ...(this.machines[at] as Machine), ...fields };
  }

  remove(name: string): void {
    const machine = this.must(name, "removed");
    const site = this.machines.filter((other) => other.hub === name);
    if (machine.hub === undefined && (site.length > 0 || this.hubs.length === 1))
      throw refuse(
        `${name} is a hub${site.length > 0 ? `, of ${site.map((other) => other.name).join(", ")}` : ""}; without it the others reach nobody`,
      );
    this.machines.splice(this.machines.indexOf(machine), 1);
    this.#taken.delete(machine.number);
    this.#next = 1;
  }

  /** The hub with the fewest machines takes the next. */
  hubForNext(): string {
    const counts = new Map(this.hubs.map((hub) => [hub.name, 0]));
    for (const { hub } of this.machines) if (hub !== undefined) counts.set(hub, (counts.get(hub) ?? 0) + 1);
    return [...counts].reduce((best, entry) => (entry[1] < best[1] ? entry : best))[0];
  }
}

function applyEndpoints(roster: Roster, texts: readonly string[], prefixes: readonly Prefix[]): void {
  const byHub = new Map<string, string[]>();
  for (const text of texts) {
    const [before, after] = atEquals(text);
    const only = roster.hubs.length === 1 ? roster.hubs[0]?.name : undefined;
    const hub = after === undefined ? (only ?? DEFAULT_HUB) : checkName(before);
    byHub.set(hub, [...(byHub.get(hub) ?? []), checkEndpoint(after ?? before, prefixes)]);
  }
  for (const [name, endpoints] of byHub) {
    const found = roster.find(name);
    if (found === undefined) roster.add({ name, endpoints });
    else if (found.hub === undefined) roster.change(name, { endpoints });
    else throw refuse(`${name} is no hub; give its endpoint as --peer ${name}=HOST:PORT`);
  }
  if (roster.hubs.length === 0)
    throw refuse("no endpoint is given; say where machines reach the hub: --endpoint HOST:PORT");
}

function applyMachines(roster: Roster, texts: readonly string[], prefixes: readonly Prefix[]): void {
  const seen = new Set<string>();
  for (const text of texts) {
    const [who, endpoint] = atEquals(text);
    const [name, hub, ...more] = who.split("@") as [string, string | undefined, ...string[]];
    checkName(name);
    if (more.length > 0) throw refuse(`"${text}" is not NAME[@HUB][=HOST:PORT]`);
    if (seen.has(name)) throw refuse(`the name ${name} is given twice; every machine has a name of its own`);
    seen.add(name);
    if (hub !== undefined && roster.find(hub)?.hub !== undefined)
      throw refuse(`${hub}, to which ${name} shall belong, is no hub`);
    if (hub !== undefined && roster.find(hub) === undefined)
      throw refuse(`there is no hub ${hub}; name it with --endpoint ${hub}=HOST:PORT`);
    const endpoints = endpoint === undefined ? undefined : [checkEndpoint(endpoint, prefixes)];
    const found = roster.find(name);
    if (found === undefined)
      roster.add({ name, hub: hub ?? roster.hubForNext(), endpoints: endpoints ?? [] });
    else if (found.hub === undefined) throw refuse(`${name} is a hub; every machine has a name of its own`);
    else roster.change(name, { ...(hub === undefined ? {} : { hub }), ...(endpoints && { endpoints }) });
  }
}

function fillUp(roster: Roster, wanted: number): void {
  const has = roster.machines.length - roster.hubs.length;
  if (wanted < has)
    throw refuse(
      `there are ${has} machines beside the hubs, more than ${wanted}; name who goes: --remove NAME`,
    );
  for (let left = wanted - has; left > 0; left--) {
    const name = `peer-${roster.number()}`;
    if (roster.find(name) !== undefined)
      throw refuse(`${name} is the name of another machine already; name the new ones with --peer NAME`);
    roster.add({ name, hub: roster.hubForNext(), endpoints: [] });
  }
}

function checkWhole(mesh: PlainMesh): void {
  const hubs = mesh.machines.filter((machine) => machine.hub === undefined);
  if (hubs.length > 1 && mesh.topology !== "sites")
    throw refuse(
      `${hubs.map((hub) => hub.name).join(", ")} are several hubs, and the topology is ${mesh.topology}; use --topology sites`,
    );
  if (mesh.machines.length > MOST[mesh.topology])
    throw refuse(
      `${mesh.machines.length} machines are more than the ${MOST[mesh.topology]} that fit topology ${mesh.topology}; make several meshes, or nodes with causeway join`,
    );
  const owners = new Map<string, string>();
  for (const machine of mesh.machines)
    for (const endpoint of machine.endpoints) {
      const owner = owners.get(endpoint);
      if (owner !== undefined)
        throw refuse(
          `the endpoint ${endpoint} is given ${owner === machine.name ? `twice for ${owner}` : `to ${owner} and to ${machine.name}`}`,
        );
      owners.set(endpoint, machine.name);
    }
  for (const address of mesh.dns)
    if (!mesh.prefixes.some((prefix) => prefix.family === address.family))
      throw refuse(`the name server ${formatIp(address)} is of a family that the mesh has not`);
}

function settings(
  old: PlainMesh | undefined,
  wishes: Wishes,
): Omit<PlainMesh, "machines" | "prefixes" | "topology"> {
  const taken = new Set(wishes.without ?? []);
  const interfaceName = wishes.interfaceName ?? old?.interfaceName ?? "wg0";
  if (!INTERFACE_NAME.test(interfaceName) || interfaceName.startsWith("."))
    throw refuse(`"${interfaceName}" is no name of an interface; take 1 to 15 letters, digits or _=+.-`);
  const within = (what: string, value: number, first: number, last: number) => {
    if (value < first || value > last) throw refuse(`${what} is ${value}; give ${first} to ${last}`);
    return value;
  };
  const mtuBytes = taken.has("mtu") ? undefined : (wishes.mtuBytes ?? old?.mtuBytes);
  const wantsPsk = !taken.has("psk") && (wishes.psk === true || old?.pairSeed !== undefined);
  return {
    interfaceName,
    listenPort: within("the port", wishes.listenPort ?? old?.listenPort ?? DEFAULT_PORT, 1, 65535),
    ...(mtuBytes === undefined ? {} : { mtuBytes: within("the MTU", mtuBytes, 1280, 65535) }),
    keepaliveSeconds: within(
      "the keepalive",
      wishes.keepaliveSeconds ?? old?.keepaliveSeconds ?? DEFAULT_KEEPALIVE_SECONDS,
      0,
      65535,
    ),
    dns: taken.has("dns") ? [] : (wishes.dns ?? old?.dns ?? []),
    forward: !taken.has("forward") && (wishes.forward === true || old?.forward === true),
    ...(wantsPsk ? { pairSeed: old?.pairSeed ?? Secret.random() } : {}),
  };
}

/** updated returns the next mesh; without an old one, a new mesh. Throws one error that says what cannot be. */
export function updated(old: PlainMesh | undefined, wishes: Wishes): PlainMesh {
  const prefixes = wishes.prefixes ?? old?.prefixes ?? [];
  checkPrefixes(prefixes);
  const same = (a: readonly Prefix[], b: readonly Prefix[]) =>
    a.length === b.length && a.every((prefix) => b.some((other) => prefixEqual(prefix, other)));
  if (old !== undefined && !same(old.prefixes, prefixes))
    throw refuse(
      `the folder holds a mesh of ${old.prefixes.map(formatPrefix).join(", ")}, and nothing is renumbered; use another folder for ${prefixes.map(formatPrefix).join(", ")}`,
    );
  const own = old?.prefixes ?? prefixes;
  const roster = new Roster(old?.machines ?? [], own);
  for (const name of wishes.remove ?? []) roster.remove(name);
  applyEndpoints(roster, wishes.endpoints ?? [], own);
  applyMachines(roster, wishes.machines ?? [], own);
  const all = Math.min(capacity(own) - roster.hubs.length, DEFAULT_PEERS);
  const named = (wishes.machines ?? []).length > 0;
  const wanted = wishes.peers ?? (old === undefined && !named ? all : undefined);
  if (wanted !== undefined) fillUp(roster, wanted);
  for (const name of wishes.rotate ?? []) {
    roster.must(name, "given new keys");
    roster.change(name, { privateKey: PrivateKey.random() });
  }
  const mesh: PlainMesh = {
    ...settings(old, wishes),
    prefixes: own,
    topology: wishes.topology ?? old?.topology ?? "hub",
    machines: roster.machines.sort((a, b) => a.number - b.number),
  };
  const hubs = roster.hubs.length;
  // Several hubs can only mean sites, unless something else was said.
  const inferred: PlainMesh =
    hubs > 1 && wishes.topology === undefined && mesh.topology === "hub"
      ? { ...mesh, topology: "sites" }
      : mesh;
  checkWhole(inferred);
  return inferred;
}
