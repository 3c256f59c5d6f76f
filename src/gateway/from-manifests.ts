/**
 * Which Gateway of some manifests a process runs, with which Routes, and what is wrong with them. A folder holds resources of others, too: other
 * gateways of this node and of other nodes, and the agent's.
 *
 * What is wrong changes nothing: a Route stays as it was, and so does all of it where the Gateway is wrong or missing, or what a file says
 * cannot be told.
 */
import type { Gateway, ManifestProblem, ReadManifests, Resource, Route } from "../resources/mod.ts";
import { configOfResources, type GatewayResources } from "./from-resources.ts";
import type { GatewayConfig } from "./schema.ts";

/** ManifestFile is a file of manifests, or why it cannot be read. */
export type ManifestFile = { readonly path: string } & (ReadManifests | { readonly error: string });

/** ManifestWish says which Gateway is meant. */
export interface ManifestWish {
  /** Where the manifests are, for what is said of them. */
  readonly path: string;
  readonly name: string;
  /** This node's name. */
  readonly node: string;
  /** Whether the agent has made the side of a VPC here; else a Gateway of one is refused. */
  readonly hasVpc?: boolean;
}

type ReadFile = Exclude<ManifestFile, { readonly error: string }>;

const readable = (files: readonly ManifestFile[]) =>
  files.filter((file): file is ReadFile => !("error" in file));
const resourcesOf = (files: readonly ManifestFile[]): Resource[] =>
  readable(files).flatMap(({ resources }) => resources);
const gatewaysIn = (files: readonly ManifestFile[]): Gateway[] =>
  resourcesOf(files).flatMap((one) => (one.kind === "Gateway" ? [one.value] : []));
const routesIn = (files: readonly ManifestFile[]): Route[] =>
  resourcesOf(files).flatMap((one) => (one.kind === "Route" ? [one.value] : []));

/** gatewaysOfNode returns the names of Gateways that a node is to run. */
export function gatewaysOfNode(files: readonly ManifestFile[], node: string): readonly string[] {
  return [...new Set(gatewaysIn(files).flatMap((one) => (one.node === node ? [one.name] : [])))];
}

/** routesOf returns the names of a Gateway's Routes, as far as they can be read. */
export function routesOf(files: readonly ManifestFile[], gateway: string): readonly string[] {
  return routesIn(files)
    .filter((one) => one.gateway === gateway)
    .map(({ name }) => name);
}

const OBJECT = /^(\w+) "(.*)"$/;

/** Whose a refused Route is: the Gateway's that it names, as far as it names one. */
const namesGateway = (spec: unknown, name: string): boolean | undefined => {
  const gateway = (spec as { readonly gateway?: unknown } | null | undefined)?.gateway;
  return typeof gateway === "string" ? gateway === name : undefined;
};

/** Problems of a file that are this gateway's affair. What has no name is everybody's, and is told with its file. */
function ownProblems(file: ManifestFile, wish: ManifestWish, before: GatewayConfig): ManifestProblem[] {
  if ("error" in file) return [{ object: file.path, problem: `cannot be read: ${file.error}` }];
  return file.problems.flatMap((problem) => {
    const [, kind, name = ""] = OBJECT.exec(problem.object) ?? [];
    if (kind === undefined) return [{ ...problem, object: `${file.path}, ${problem.object}` }];
    if (kind === "Gateway") return name === wish.name ? [problem] : [];
    const written = file.refused.find((one) => one.kind === kind && one.name === name);
    const isNamed = namesGateway(written?.spec, wish.name);
    const isOwn =
      isNamed ??
      (kind === "Route" &&
        (written !== undefined ||
          before.route.has(name) ||
          routesIn([file]).some((route) => route.name === name && route.gateway === wish.name)));
    return isOwn ? [problem] : [];
  });
}

/** Routes that no Gateway of the manifests has. */
function strays(files: readonly ManifestFile[], { path }: ManifestWish): ManifestProblem[] {
  const names = new Set(gatewaysIn(files).map(({ name }) => name));
  for (const { refused } of readable(files))
    for (const { kind, name } of refused) if (kind === "Gateway") names.add(name);
  return routesIn(files)
    .filter(({ gateway }) => !names.has(gateway))
    .map(({ name, gateway }) => ({
      object: `Route "${name}"`,
      field: "spec.gateway",
      value: gateway,
      problem: `is no Gateway in ${path}; write the name of one${names.size === 0 ? "" : ` (${[...names].join(", ")})`}, or add it`,
    }));
}

/** Routes of one name in several files: which one is meant cannot be told. */
function twice(routes: readonly Route[]): ManifestProblem[] {
  const seen = new Set<string>();
  const names = new Set<string>();
  for (const { name } of routes) (seen.has(name) ? names : seen).add(name);
  return [...names].map((name) => ({
    object: `Route "${name}"`,
    problem: "is there twice, in two files; keep one",
  }));
}

/** The Gateway that is meant, or what is wrong about that; nothing where it was said already. */
function chosen(
  files: readonly ManifestFile[],
  { path, name, node, hasVpc = false }: ManifestWish,
  said: readonly ManifestProblem[],
): Gateway | ManifestProblem | undefined {
  const object = `Gateway "${name}"`;
  const named = gatewaysIn(files).filter((one) => one.name === name);
  // One of them was refused, or the first of two in one file was read, and either may be the one that is meant.
  if (named.length > 0 && said.some((problem) => problem.object === object)) return undefined;
  const [gateway, other] = named.filter((one) => one.node === node);
  if (other !== undefined) return { object, problem: "is there twice, in two files; keep one" };
  if (gateway?.vpc !== undefined && !hasVpc)
    return {
      object,
      field: "spec.vpc",
      value: gateway.vpc,
      problem:
        "is made by the agent of its node, which then runs this Gateway itself; put it into the register (causeway apply), or give private in its place",
    };
  if (gateway !== undefined) return gateway;
  const [elsewhere] = named;
  if (elsewhere !== undefined)
    return {
      object,
      field: "spec.node",
      value: elsewhere.node,
      problem: `is not this node, whose name is ${node}; write that, or start the gateway with --node ${elsewhere.node}`,
    };
  if (said.some((problem) => problem.object === object || !OBJECT.test(problem.object))) return undefined;
  return { object, problem: `is not in ${path}; add it there, with spec.node ${node}` };
}

/**
 * configOfManifests returns the configuration that manifests mean for one gateway. `before` is what it has: of that stays what is wrong now.
 * Without a configuration all of it does.
 */
export function configOfManifests(
  files: readonly ManifestFile[],
  wish: ManifestWish,
  before: GatewayConfig,
): GatewayResources {
  const own = routesIn(files).filter(({ gateway }) => gateway === wish.name);
  const problems = [
    ...files.flatMap((file) => ownProblems(file, wish, before)),
    ...strays(files, wish),
    ...twice(own),
  ];
  const gateway = chosen(files, wish, problems);
  if (gateway === undefined) return { problems, warnings: [] };
  if ("problem" in gateway) return { problems: [gateway, ...problems], warnings: [] };
  const objects = new Set(problems.map(({ object }) => object));
  const names = new Set(problems.map(({ object }) => OBJECT.exec(object)?.[2]));
  // What has no name may be about any; what has one, and a kind that nobody knows, is likely a Route.
  const isWrong = (route: string) => names.has(undefined) || names.has(route);
  const found = configOfResources(
    gateway,
    // Of two in one file the first is read, and either may be the one that is meant.
    own.filter(({ name }) => !objects.has(`Route "${name}"`)),
    { config: before, isWrong },
  );
  return { ...found, problems: [...problems, ...found.problems] };
}
