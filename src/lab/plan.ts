/**
 * From a manifest to a topology: names are resolved, what contradicts is refused, and addresses that were not given are
 * assigned, the same ones every time.
 */
import {
  bitsOf,
  formatEndpoint,
  formatIp,
  formatPrefix,
  type Ip,
  type InterfaceAddress,
  ipEqual,
  ipPlus,
  type Prefix,
  prefixAddress,
  prefixContains,
  prefixesOverlap,
  prefixLast,
} from "../net/mod.ts";
import { LabError, type LabManifest, type ManifestAttachment, parseManifest } from "./manifest.ts";
import { portMappingProblem } from "./port-mapping.ts";
import { realms } from "./realm.ts";
import type { Attachment, Box, NodeBox, Topology } from "./topology.ts";

/** A box of the manifest before it has addresses; `links` are the names of its interfaces. */
interface Draft {
  readonly name: string;
  readonly field: string;
  readonly networks: readonly ManifestAttachment[];
  readonly links: readonly string[];
  /** NAT boxes have no IPv6. */
  readonly ipv4Only?: boolean;
  readonly build: (attachments: readonly Attachment[]) => Box;
}

/** parseLab reads a manifest and plans it; LabError holds all that is wrong. */
export function parseLab(text: string): Topology {
  return planLab(parseManifest(text));
}

/** planLab makes the topology of a manifest. */
export function planLab(manifest: LabManifest): Topology {
  const lab = manifest.metadata.name;
  const mistakes: string[] = [];
  const wrong = (mistake: string) => mistakes.push(`Lab ${lab}: ${mistake}`);
  const stop = () => {
    if (mistakes.length > 0) throw new LabError(mistakes);
  };
  const drafts = draftsOf(manifest);
  checkNames(manifest, drafts, wrong);
  checkRoles(manifest, wrong);
  stop();
  checkRealms(manifest, wrong);
  const addresses = assign(manifest, drafts, wrong);
  stop();
  checkPortMapping(manifest, addresses, wrong);
  stop();
  return {
    name: lab,
    networks: manifest.spec.networks.map(({ name, prefix4, prefix6, loss, delay, mtu }) => ({
      name,
      prefix4,
      mtuBytes: mtu,
      ...(prefix6 === undefined ? {} : { prefix6 }),
      ...(loss === undefined ? {} : { lossBasisPoints: loss }),
      ...(delay === undefined ? {} : { delayMs: delay }),
    })),
    boxes: drafts.map((draft) => draft.build(addresses.get(draft.name) ?? [])),
    mesh: meshOf(manifest),
  };
}

function meshOf({ spec: { mesh } }: LabManifest): Topology["mesh"] {
  const { mtu, overlay4, overlay6, pods4, pods6, nodeBits, tunnel, port, expose } = mesh;
  return {
    port,
    expose,
    ...(overlay4 === undefined ? {} : { overlay4 }),
    ...(overlay6 === undefined ? {} : { overlay6 }),
    ...(pods4 === undefined ? {} : { pods4 }),
    ...(pods6 === undefined ? {} : { pods6 }),
    ...(nodeBits === undefined ? {} : { nodeBits }),
    ...(mtu === undefined ? {} : { mtuBytes: mtu }),
    ...(tunnel === undefined ? {} : { tunnel }),
  };
}

/** Gateways come first, so that they get the first addresses of their networks. */
function draftsOf({ spec }: LabManifest): Draft[] {
  const numbered = (networks: readonly ManifestAttachment[]) => networks.map((_, index) => `eth${index}`);
  const routers = spec.routers.map((router): Draft => {
    const { name } = router;
    const field = `spec.routers[${name}]`;
    if (router.kind === "router") {
      const { networks } = router;
      const links = networks.map((network) => network.name);
      return {
        name,
        field,
        networks,
        links,
        build: (attachments) => ({ kind: "router", name, attachments, ...without(router) }),
      };
    }
    return {
      name,
      field,
      networks: [router.inside, router.outside],
      links: ["inside", "outside"],
      ipv4Only: true,
      build: (attachments) => ({
        kind: router.kind,
        name,
        attachments: attachments as [Attachment, Attachment],
        portMapping: router.portMapping,
        ...without(router),
      }),
    };
  });
  const nodes = spec.nodes.map(({ name, networks, role, pods, site, endpoint, agentOptions }): Draft => ({
    name,
    field: `spec.nodes[${name}]`,
    networks,
    links: numbered(networks),
    build: (attachments): NodeBox => {
      const own = formatEndpoint({ ip: (attachments[0] as Attachment).address4.ip, port: spec.mesh.port });
      const reached = endpoint ?? (role === "hub" ? "auto" : undefined);
      return {
        kind: "node",
        name,
        attachments,
        role,
        pods,
        ...(site === undefined ? {} : { site }),
        ...(reached === undefined ? {} : { endpoint: reached === "auto" ? own : reached }),
        ...(agentOptions.length === 0 ? {} : { agentOptions }),
      };
    },
  }));
  const hosts = spec.hosts.map(({ name, networks }): Draft => ({
    name,
    field: `spec.hosts[${name}]`,
    networks,
    links: numbered(networks),
    build: (attachments) => ({ kind: "host", name, attachments }),
  }));
  const speakers = spec.speakers.map((speaker): Draft => {
    const { name, kind, networks, loopback, config, root } = speaker;
    const rest = { daemon: kind, loopback, config, ...(root === undefined ? {} : { root }) };
    return {
      name,
      field: `spec.speakers[${name}]`,
      networks,
      links: numbered(networks),
      build: (attachments) => ({ kind: "speaker", name, attachments, ...rest }),
    };
  });
  return [...routers, ...speakers, ...nodes, ...hosts];
}

const without = ({ blockUdp }: { readonly blockUdp: boolean }) => (blockUdp ? { blockUdp } : {});

function checkNames({ spec }: LabManifest, drafts: readonly Draft[], wrong: (mistake: string) => void): void {
  const users = new Map<string, string>();
  const take = (name: string, field: string) => {
    const user = users.get(name);
    if (user !== undefined) wrong(`${field}: the name "${name}" is taken by ${user}; choose another`);
    users.set(name, user ?? field);
  };
  for (const network of spec.networks) take(network.name, `spec.networks[${network.name}]`);
  for (const draft of drafts) take(draft.name, draft.field);
  for (const { name, pods } of spec.nodes)
    for (let pod = 1; pod <= pods; pod++) take(`${name}-p${pod}`, `a pod of spec.nodes[${name}]`);
  for (const reserved of ["lo", "switch"])
    if (users.has(reserved))
      wrong(`${users.get(reserved)}: the name "${reserved}" is reserved; choose another`);
  const networks = new Set(spec.networks.map((network) => network.name));
  for (const { field, networks: attached } of drafts) {
    const names = attached.map((attachment) => attachment.name);
    for (const name of names)
      if (!networks.has(name))
        wrong(`${field}: there is no network "${name}"; the networks are ${[...networks].join(", ")}`);
    if (new Set(names).size < names.length)
      wrong(`${field}: is attached twice to the same network; name each network once`);
  }
}

function checkRoles({ spec }: LabManifest, wrong: (mistake: string) => void): void {
  const hubs = spec.nodes.filter((node) => node.role === "hub");
  const members = spec.nodes.filter((node) => node.role === "member");
  if (hubs.length > 1)
    wrong(`spec.nodes: ${hubs.map((hub) => hub.name).join(" and ")} are both hubs; leave one`);
  if (hubs.length === 0 && members.length > 0)
    wrong(`spec.nodes: there are members and no hub; give one node "role: hub", or the others "role: none"`);
  for (const { name, role, pods, endpoint } of spec.nodes) {
    if (role !== "none") continue;
    if (pods > 0) wrong(`spec.nodes[${name}].pods "${pods}": pods need an agent; remove it or "role: none"`);
    if (endpoint !== undefined)
      wrong(`spec.nodes[${name}].endpoint: is for an agent; remove it or "role: none"`);
  }
}

function checkPortMapping(
  { spec }: LabManifest,
  addresses: ReadonlyMap<string, readonly Attachment[]>,
  wrong: (mistake: string) => void,
): void {
  for (const router of spec.routers) {
    const outside = addresses.get(router.name)?.[1];
    if (router.kind === "router" || !router.portMapping || outside === undefined) continue;
    const problem = portMappingProblem(outside.address4.ip);
    if (problem !== undefined) wrong(`spec.routers[${router.name}].${problem}`);
  }
}

function checkRealms({ spec }: LabManifest, wrong: (mistake: string) => void): void {
  const realm = realms(
    spec.networks.map((network) => network.name),
    spec.routers.flatMap((router) =>
      router.kind === "router" ? [router.networks.map((network) => network.name)] : [],
    ),
  );
  for (const router of spec.routers)
    if (router.kind !== "router" && realm.get(router.inside.name) === realm.get(router.outside.name))
      wrong(
        `spec.routers[${router.name}]: a router leads around it from ${router.inside.name} to ${router.outside.name}; take one away`,
      );
  for (const [index, a] of spec.networks.entries()) {
    for (const b of spec.networks.slice(index + 1)) {
      if (realm.get(a.name) !== realm.get(b.name)) continue;
      for (const [x, y] of [
        [a.prefix4, b.prefix4],
        [a.prefix6, b.prefix6],
      ])
        if (x !== undefined && y !== undefined && prefixesOverlap(x, y))
          wrong(
            `spec.networks[${b.name}]: ${formatPrefix(y)} overlaps ${formatPrefix(x)} of ${a.name}, and routers join the two; change one`,
          );
    }
  }
}

/** The addresses of one network: what was asked for is taken first, then the lowest free host number, from 1. */
class Pool {
  readonly #taken = new Map<bigint, string>();
  #next = 1n;

  take(prefix: Prefix, address: Ip, field: string, wrong: (mistake: string) => void): void {
    const host = address.value - prefix.value;
    const user = this.#taken.get(host);
    const text = formatIp(address);
    if (!prefixContains(prefix, address))
      wrong(`${field} "${text}": is not in ${formatPrefix(prefix)}; choose one that is`);
    else if (
      ipEqual(address, prefixAddress(prefix)) ||
      (address.family === 4 && ipEqual(address, prefixLast(prefix)))
    )
      wrong(`${field} "${text}": is not the address of a machine; choose another of ${formatPrefix(prefix)}`);
    else if (user !== undefined && user !== field)
      wrong(`${field} "${text}": ${user} has it; choose another`);
    else this.#taken.set(host, field);
  }

  allocate(prefix: Prefix): Ip | undefined {
    while (this.#taken.has(this.#next)) this.#next++;
    if (this.#next >= (1n << BigInt(bitsOf(prefix.family) - prefix.length)) - 1n) return undefined;
    return ipPlus(prefixAddress(prefix), this.#next++);
  }
}

function assign(
  { spec }: LabManifest,
  drafts: readonly Draft[],
  wrong: (mistake: string) => void,
): Map<string, Attachment[]> {
  const pools = new Map<string, Pool>();
  const pool = (network: string, family: 4 | 6) => {
    const key = `${network} ${family}`;
    const found = pools.get(key) ?? new Pool();
    pools.set(key, found);
    return found;
  };
  const prefixes = new Map(spec.networks.map((network) => [network.name, network]));
  const prefixOf = (network: string, family: 4 | 6) =>
    family === 4 ? prefixes.get(network)?.prefix4 : prefixes.get(network)?.prefix6;
  for (const { field, networks } of drafts) {
    for (const { name, address4, address6 } of networks) {
      for (const address of [address4, address6]) {
        if (address === undefined) continue;
        const where = `${field}.address${address.family}`;
        const prefix = prefixOf(name, address.family);
        if (prefix === undefined)
          wrong(`${where}: network ${name} has no prefix6; give it one or remove the address`);
        else pool(name, address.family).take(prefix, address, where, wrong);
      }
    }
  }
  const choose = (network: string, family: 4 | 6, asked: Ip | undefined): InterfaceAddress | undefined => {
    const prefix = prefixOf(network, family);
    if (prefix === undefined) return undefined;
    const ip = asked ?? pool(network, family).allocate(prefix);
    if (ip === undefined)
      wrong(`spec.networks[${network}]: ${formatPrefix(prefix)} has no address left; make it larger`);
    return ip === undefined ? undefined : { ip, length: prefix.length };
  };
  return new Map(
    drafts.map(({ name, networks, links, ipv4Only }) => [
      name,
      networks.flatMap((asked, index): Attachment[] => {
        const address4 = choose(asked.name, 4, asked.address4);
        const address6 = ipv4Only === true ? undefined : choose(asked.name, 6, asked.address6);
        const place = { network: asked.name, link: links[index] as string };
        if (address4 === undefined) return [];
        return [{ ...place, address4, ...(address6 === undefined ? {} : { address6 }) }];
      }),
    ]),
  );
}
