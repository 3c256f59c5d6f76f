/**
 * Converts OpenPERouter's manifests to ours: the same nodes get the same addresses, links, sessions and VNIs. What Causeway has not is refused by
 * name, and so is what OpenPERouter refuses. All or nothing.
 *
 * | OpenPERouter | Causeway |
 * |---|---|
 * | Underlay, L3Passthrough | Underlay; a passthrough is one of its host sessions |
 * | L3VNI | VPC with `underlay` and `hostSession` |
 * | L2VNI | Subnet; one without routing domain in a VPC of its own that is not routed |
 * | NodeConfig | `index` of the Underlays |
 */
import {
  API_VERSION,
  formatProblem,
  isTenantKind,
  type Json,
  type ManifestProblem,
  noTenants,
  parseObject,
  type TenantKind,
  type TenantResource,
  withTenants,
} from "../resources/mod.ts";
import { edgeProblems } from "./admit.ts";
import { nodesOf, type Refuse, sessionOf, type Spec, written } from "./convert-fields.ts";
import { fieldOf, readSpec, type schemas, type Wanted } from "./convert-schema.ts";
import { readSources, type Source, type SourceText } from "./convert-source.ts";
import { underlaySpec } from "./convert-underlay.ts";
import { flatVpcSpec, gatewaysOf, subnetSpec, vpcSpec } from "./convert-vni.ts";

/** Converted is what became of manifests. */
export interface Converted {
  /** Empty when there are problems. */
  readonly resources: readonly TenantResource[];
  readonly problems: readonly ManifestProblem[];
  /** What somebody should know, as sentences. */
  readonly notes: readonly string[];
}

interface Read<K extends keyof typeof schemas> {
  readonly source: Source;
  readonly spec: Wanted<K>;
}

type RoutingDomain = NonNullable<Wanted<"L2VNI">["routingdomain"]>;

const FLAT = 4096;
/** FRR's in OpenPERouter. */
const LISTEN_LIMIT = 65_535;

/** convert converts all manifests of some files together. */
export function convert(texts: readonly SourceText[]): Converted {
  const { sources, problems, notes } = readSources(texts);
  const work = new Conversion(sources, [...problems], [...notes]);
  const resources = work.run();
  return { resources: work.problems.length > 0 ? [] : resources, problems: work.problems, notes: work.notes };
}

class Conversion {
  readonly problems: ManifestProblem[];
  readonly notes: string[];
  readonly #sources: readonly Source[];
  readonly #resources: TenantResource[] = [];
  readonly #read = new Map<keyof typeof schemas, unknown>();

  constructor(sources: readonly Source[], problems: ManifestProblem[], notes: string[]) {
    this.#sources = sources;
    this.problems = problems;
    this.notes = notes;
  }

  run(): TenantResource[] {
    this.#names();
    this.#absent();
    const l3 = this.#all("L3VNI");
    this.#underlays();
    this.#vpcs(l3);
    this.#subnets(l3);
    if (this.problems.length === 0) this.#together();
    return this.#resources;
  }

  /** Names are unique over namespaces, as those of VPCs are. */
  #names(): void {
    const seen = new Map<string, Source>();
    for (const source of this.#sources) {
      const { kind, name, namespace, where } = source;
      const other = seen.get(`${kind}/${name}`);
      if (other !== undefined)
        this.problems.push({
          object: `${kind} "${name}"`,
          problem: `of namespace ${namespace} (${where}) is there twice, also in namespace ${other.namespace} (${other.where}); keep one, or rename it`,
        });
      seen.set(`${kind}/${name}`, source);
    }
  }

  /** Each kind is read once, so that what is wrong is told once. */
  #all<K extends keyof typeof schemas>(kind: K): readonly Read<K>[] {
    const read = (this.#read.get(kind) as readonly Read<K>[] | undefined) ?? this.#readAll(kind);
    this.#read.set(kind, read);
    return read;
  }

  #readAll<K extends keyof typeof schemas>(kind: K): readonly Read<K>[] {
    return this.#sources
      .filter((source) => source.kind === kind)
      .flatMap((source) => {
        const spec = readSpec(kind, source, this.problems);
        return spec === undefined ? [] : [{ source, spec }];
      });
  }

  /** What Causeway has not. */
  #absent(): void {
    const absent = {
      L3VPN: "is SRv6, which Causeway has not; use an L3VNI, with EVPN",
      RawFRRConfig:
        "is FRR's own configuration, and Causeway has no FRR; say what it does by fields of Underlay and VPC (import, export, routes, announce, leaks)",
    } as const;
    for (const { kind, name } of this.#sources)
      if (kind === "L3VPN" || kind === "RawFRRConfig")
        this.problems.push({ object: `${kind} "${name}"`, problem: absent[kind] });
      else if (kind === "RouterNodeConfigurationStatus")
        this.notes.push(`${kind} "${name}" says what is, not what is wanted, and is left out`);
    for (const { source, spec } of this.#all("OpenPERouter"))
      if (spec.datapath?.toLowerCase() === "grout")
        this.#refuser(source)(["datapath"], "grout is a data path that Causeway has not; use kernel");
      else
        this.notes.push(
          `OpenPERouter "${source.name}" says how OpenPERouter is installed; of it the limit of listening is kept`,
        );
  }

  #refuser({ kind, name, spec }: Source): Refuse {
    return (path, problem) =>
      this.problems.push({ object: `${kind} "${name}"`, field: fieldOf(spec, path), problem });
  }

  /** Adds a resource, judged as one that people write; what is wrong is told of both. */
  #add(source: Source, kind: TenantKind, name: string, spec: Spec): void {
    const problems: ManifestProblem[] = [];
    const data = { apiVersion: API_VERSION, kind, metadata: { name }, spec: written(spec) };
    const resource = parseObject(data, { problems });
    for (const { object, ...problem } of problems)
      this.problems.push({ object: `${source.kind} "${source.name}", as ${object}`, ...problem });
    if (resource !== undefined && isTenantKind(resource.kind))
      this.#resources.push(resource as TenantResource);
  }

  #hostSessions(): Json[] {
    return this.#all("L3Passthrough").map(({ source, spec }): Json => {
      const session = sessionOf(spec.hostsession, "pt-host", this.#refuser(source));
      return written({ name: source.name, nodes: nodesOf(spec.nodeselector), ...session });
    });
  }

  #index(): Json | undefined {
    const [config] = this.#all("NodeConfig");
    const { nodeindex, nodeindexinterfacename } = config?.spec ?? {};
    if (nodeindexinterfacename) return { link: nodeindexinterfacename };
    if (nodeindex === undefined) return undefined;
    if (typeof nodeindex === "number") return { number: nodeindex };
    const { index, interfacename, cidr } = nodeindex;
    return interfacename === undefined
      ? { number: index ?? 0 }
      : written({ link: interfacename, prefix: cidr });
  }

  #underlays(): void {
    const underlays = this.#all("Underlay");
    const hostSessions = this.#hostSessions();
    const index = this.#index();
    const limit = this.#all("OpenPERouter")[0]?.spec.bgplistenlimit ?? LISTEN_LIMIT;
    for (const { source, spec } of underlays) {
      const beside = { namespace: source.namespace, index, listenLimit: limit, hostSessions };
      this.#add(source, "Underlay", source.name, underlaySpec(spec, beside, this.#refuser(source)));
      if (spec.gracefulrestart === undefined || spec.gracefulrestart === null)
        this.notes.push(
          `Underlay "${source.name}" has no gracefulRestart, and so restartTime: 0; leave that out, and neighbors keep routes while the agent restarts`,
        );
    }
    if (underlays.length > 0 || this.#sources.some(({ kind }) => kind === "Underlay")) return;
    for (const { kind, name } of this.#sources)
      if (kind === "L3Passthrough")
        this.problems.push({
          object: `${kind} "${name}"`,
          problem: "is a part of an Underlay here, and none is among the files; give that too",
        });
  }

  #vpcs(l3: readonly Read<"L3VNI">[]): void {
    const counts = new Map<string, number>();
    for (const { spec } of l3)
      for (const target of new Set([...(spec.importrts ?? []), ...(spec.exportrts ?? [])]))
        counts.set(target, (counts.get(target) ?? 0) + 1);
    const shared = new Set([...counts].flatMap(([target, count]) => (count > 1 ? [target] : [])));
    const vrfs = new Map<string, Source>();
    for (const { source, spec } of l3) {
      const vrf = spec.vrf ?? source.name;
      const other = vrfs.get(vrf);
      if (other !== undefined)
        this.#refuser(source)(
          ["vrf"],
          `${vrf} is that of L3VNI "${other.name}" too, and a VRF has one; choose another`,
        );
      vrfs.set(vrf, source);
      this.#add(source, "VPC", source.name, vpcSpec(spec, shared, this.#refuser(source)));
      if (spec.vni < FLAT) this.#low(source, spec.vni);
    }
    if (l3.length > 0)
      this.notes.push("VPCs let no pod in until spec.allow says whose; host sessions need none");
  }

  #low({ kind, name }: Source, vni: number): void {
    this.notes.push(
      `${kind} "${name}" has VNI ${vni}, and a register lets everybody use those below ${FLAT} unless the mesh says openVnis: false`,
    );
  }

  #subnets(l3: readonly Read<"L3VNI">[]): void {
    const names = new Set(l3.map(({ source }) => source.name));
    for (const { source, spec } of this.#all("L2VNI")) {
      const refuse = this.#refuser(source);
      const vpc = this.#domainOf({ source, spec }, l3);
      if (vpc === undefined && gatewaysOf(spec).length > 0 && spec.vrf === undefined)
        refuse(["gatewayIPs"], "has no meaning without a routing domain; add routingDomain, or remove it");
      let flat = source.name;
      while (names.has(flat)) flat += ".l2";
      if (vpc === undefined) this.#add(source, "VPC", flat, flatVpcSpec(spec));
      this.#add(source, "Subnet", source.name, subnetSpec(spec, vpc ?? flat, refuse));
      if (spec.vni < FLAT) this.#low(source, spec.vni);
    }
  }

  /** Name of the VPC that an L2VNI belongs to; undefined for none. */
  #domainOf({ source, spec }: Read<"L2VNI">, l3: readonly Read<"L3VNI">[]): string | undefined {
    const { routingdomain: domain, vrf } = spec;
    if (domain !== undefined && domain !== null) {
      if (domain.type === "L3VPN")
        this.#refuser(source)(
          ["routingdomain", "type"],
          "L3VPN is SRv6, which Causeway has not; use an L3VNI",
        );
      const name = this.#nameOfDomain(source, domain);
      if (name !== undefined && !l3.some((one) => one.source.name === name))
        this.notes.push(
          `L2VNI "${source.name}" is in L3VNI "${name}", which is not among the files; convert that too`,
        );
      return name;
    }
    if (vrf === undefined) return undefined;
    const found = l3.find((one) => (one.spec.vrf ?? one.source.name) === vrf)?.source.name;
    if (found === undefined)
      this.#refuser(source)(
        ["vrf"],
        `${vrf} is that of no L3VNI among the files, which gives its routing a VNI; give that too, or remove it`,
      );
    return found;
  }

  /** Of a union one member is there, that of its type. */
  #nameOfDomain(source: Source, domain: RoutingDomain): string | undefined {
    const refuse = this.#refuser(source);
    const [own, other] =
      domain.type === "L3VPN" ? (["l3vpn", "l3vni"] as const) : (["l3vni", "l3vpn"] as const);
    if (domain[other] !== undefined)
      refuse(["routingdomain", other], `stands beside type ${domain.type}; keep the one that is meant`);
    if (domain[own] === undefined)
      refuse(["routingdomain", own], `is missing, and type is ${domain.type}; write {name: …}`);
    return domain[own]?.name;
  }

  /** Judged on a node that has all that is for every node. */
  #together(): void {
    const set = this.#resources;
    const after = withTenants(noTenants, { set });
    const told = new Set<string>();
    for (const problem of edgeProblems({ before: noTenants, after, set, nodes: [] })) {
      const text = formatProblem(problem);
      if (!told.has(text)) this.problems.push(problem);
      told.add(text);
    }
  }
}
