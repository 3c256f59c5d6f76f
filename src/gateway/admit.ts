/**
 * Admission of Gateways and Routes into the register: by the rules by which a gateway's process takes them, so that what it would leave out is refused
 * before. Those of a VPC have some of their own: its networks, and the node that is to have it.
 */
import { formatIp, formatPrefix, prefixCovers } from "../net/mod.ts";
import type { Gateway, ManifestProblem, Route, TenantResource, TenantResources } from "../resources/mod.ts";
import { configOfResources } from "./from-resources.ts";
import { instanceOf } from "./instance.ts";

/** The longest name that a gateway's process takes (isGatewayName): it becomes a part of file names, and of its socket's path. */
const MOST_NAME = 63;

/** GatewayChange is a change of resources, before and after it. */
export interface GatewayChange {
  readonly before: TenantResources;
  readonly after: TenantResources;
  readonly set: readonly TenantResource[];
  /** Whether a node may serve a VPC; also of one that is not known. */
  readonly mayServe: (vpc: string, node: string) => boolean;
}

/** gatewayProblems returns what is wrong with a change. Nothing that was there before, and is not touched, is held against it. */
export function gatewayProblems(change: GatewayChange): ManifestProblem[] {
  const { after, set } = change;
  const touched = new Set<string>();
  for (const { kind, value } of set)
    if (kind === "Gateway") touched.add(value.name);
    else if (kind === "Route") touched.add(value.gateway);
  const gateways = [...touched].flatMap((name) => after.Gateway.get(name) ?? []);
  const vpcs = new Set(set.flatMap(({ kind, value }) => (kind === "Subnet" ? [value.vpc] : [])));
  const beside = [...after.Gateway.values()].filter(
    ({ name, vpc }) => vpc !== undefined && vpcs.has(vpc) && !touched.has(name),
  );
  return [
    ...gateways.flatMap((gateway) => [
      ...nameProblems(gateway),
      ...ownProblems(gateway, change),
      ...vpcProblems(gateway, change),
      ...kernelProblems(gateway, after),
    ]),
    ...[...gateways, ...beside].flatMap((gateway) => networkProblems(gateway, after)),
  ];
}

const routesOf = ({ Route: all }: TenantResources, gateway: string): Route[] =>
  [...all.values()].filter((route) => route.gateway === gateway);

function nameProblems({ name }: Gateway): ManifestProblem[] {
  if (name.length <= MOST_NAME) return [];
  const problem = `has ${name.length} characters, and the name of a gateway's process at most ${MOST_NAME}; write a shorter one`;
  return [{ object: `Gateway "${name}"`, field: "metadata.name", value: name, problem }];
}

/** What was there comes first: a clash is told of what is new. */
function ownProblems(gateway: Gateway, { before, after }: GatewayChange): readonly ManifestProblem[] {
  const old = before.Gateway.get(gateway.name);
  const config = old && configOfResources(old, routesOf(before, gateway.name)).config;
  const former = config && { config, isWrong: () => false };
  return configOfResources(gateway, routesOf(after, gateway.name), former).problems;
}

/** A VPC's way out of a node is named after the VPC, and there is one of it. */
function vpcProblems(gateway: Gateway, { after, mayServe }: GatewayChange): ManifestProblem[] {
  const { name, node, vpc } = gateway;
  if (vpc === undefined) return [];
  const problems: ManifestProblem[] = [];
  const report = (field: string, value: string, problem: string) =>
    problems.push({ object: `Gateway "${name}"`, field, value, problem });
  const other = [...after.Gateway.values()].find(
    (one) => one.name !== name && one.vpc === vpc && one.node === node,
  );
  if (other !== undefined)
    report(
      "spec.vpc",
      vpc,
      `has Gateway "${other.name}" on node ${node} already; add Routes to that one, or name another node`,
    );
  if (!mayServe(vpc, node))
    report("spec.node", node, `may not serve VPC "${vpc}" (its spec.nodes); name a node that may`);
  return problems;
}

/** Gateways of one kernel: each has a number there, from its name, and its addresses for itself. */
function kernelProblems(gateway: Gateway, after: TenantResources): ManifestProblem[] {
  const { name, node, backend } = gateway;
  if (backend !== "kernel") return [];
  const beside = [...after.Gateway.values()].filter(
    (one) => one.name !== name && one.node === node && one.backend === "kernel",
  );
  const object = `Gateway "${name}"`;
  const twin = beside.find((one) => instanceOf(one.name) === instanceOf(name));
  const addresses = addressesOf(gateway);
  const taken = beside.flatMap((other) => addressesOf(other).map((ip) => ({ other, ip })));
  const same = taken.find(({ ip }) => addresses.includes(ip));
  return [
    ...(twin === undefined
      ? []
      : [
          {
            ...{ object, field: "metadata.name", value: name },
            problem: `gets the same number in the kernel of node ${node} as Gateway "${twin.name}"; write another name`,
          },
        ]),
    ...(same === undefined
      ? []
      : [
          {
            ...{ object, field: "spec.public", value: same.ip },
            problem: `is the address of Gateway "${same.other.name}" on node ${node} too, and both are the kernel's; write another, or backend: user`,
          },
        ]),
  ];
}

const addressesOf = ({ public: links }: Gateway): string[] =>
  links.flatMap(({ address4, address6 }) =>
    [address4, address6].flatMap((address) => (address === undefined ? [] : [formatIp(address.ip)])),
  );

/** Networks of the other end are not the VPC's own. */
function networkProblems(gateway: Gateway, after: TenantResources): ManifestProblem[] {
  const { vpc } = gateway;
  if (vpc === undefined) return [];
  const subnets = [...after.Subnet.values()].filter((subnet) => subnet.vpc === vpc);
  return routesOf(after, gateway.name).flatMap((route) =>
    route.prefixes.flatMap((prefix, i): ManifestProblem[] => {
      const at = {
        object: `Route "${route.name}"`,
        field: `spec.prefixes[${i}]`,
        value: formatPrefix(prefix),
      };
      if (prefix.length === 0)
        return [{ ...at, problem: "is everything, and a VPC's way there is its NatGateway; write networks" }];
      const own = subnets.find(({ prefixes }) => prefixes.some((one) => prefixCovers(one, prefix)));
      if (own === undefined) return [];
      return [
        {
          ...at,
          problem: `is in Subnet "${own.name}" of VPC "${vpc}"; write networks that are elsewhere only`,
        },
      ];
    }),
  );
}
