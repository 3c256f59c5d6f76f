/** Networks: inside a domain an address has one place, whether it is a Subnet's or reached through a Peering. */
import { formatPrefix, type Prefix, prefixesOverlap } from "../net/mod.ts";
import { peeredPrefixes, type Peering, type TenantResources } from "../resources/mod.ts";
import type { Judged, TenantName } from "./admit.ts";

interface Network {
  readonly prefix: Prefix;
  /** Whose it is, for people. */
  readonly of: string;
  /** To whom the problem is told if it is the change's: object and field; the later ones come first. */
  readonly by: readonly (TenantName & { readonly field: string })[];
}

/** networkProblems reports networks that overlap inside a domain, and Peerings that are there twice. */
export function networkProblems({ after, change, report }: Judged): void {
  const changed = new Set(change.set.map(({ kind, value }) => `${kind}/${value.name}`));
  const isChanged = ({ kind, name }: TenantName) => changed.has(`${kind}/${name}`);
  const told = new Set<string>();
  for (const vpc of touched(after, change.set)) {
    const networks = networksIn(after, vpc);
    networks.forEach((one, i) => {
      for (const other of networks.slice(i + 1)) {
        if (!prefixesOverlap(one.prefix, other.prefix)) continue;
        const [by, rest] = pick(one, other, isChanged);
        if (by === undefined) continue;
        const key = `${by.kind}/${by.name} ${by.field} ${rest.of}`;
        if (told.has(key)) continue;
        told.add(key);
        const own = rest === one ? other : one;
        report(by, {
          field: by.field,
          value: formatPrefix(own.prefix),
          problem: `overlaps ${formatPrefix(rest.prefix)} of ${rest.of} in VPC "${vpc}"; choose networks that share no address`,
        });
      }
    });
  }
  samePair({ after, change, report });
}

type By = TenantName & { readonly field: string };

/** The object of the change that is to blame, and what it overlaps. */
function pick(
  one: Network,
  other: Network,
  isChanged: (name: TenantName) => boolean,
): readonly [By | undefined, Network] {
  const late = other.by.find(isChanged);
  if (late !== undefined) return [late, one];
  return [one.by.find(isChanged), other];
}

/** VPCs whose networks a change touches. */
function touched(after: TenantResources, set: Judged["change"]["set"]): ReadonlySet<string> {
  const vpcs = new Set<string>();
  for (const { kind, value } of set)
    if (kind === "Subnet") vpcs.add(value.vpc);
    else if (kind === "Peering") for (const vpc of value.vpcs) vpcs.add(vpc);
  for (const { vpcs: pair } of after.Peering.values())
    if (pair.some((vpc) => vpcs.has(vpc))) for (const vpc of pair) vpcs.add(vpc);
  return vpcs;
}

function networksIn(tenants: TenantResources, vpc: string): Network[] {
  const own = networksOf(tenants, vpc);
  const peered = [...tenants.Peering.values()].flatMap((peering): Network[] => {
    const [a, b] = peering.vpcs;
    if (a !== vpc && b !== vpc) return [];
    return reached(tenants, peering, a === vpc ? b : a);
  });
  return [...own, ...peered];
}

function networksOf(tenants: TenantResources, vpc: string): Network[] {
  return [...tenants.Subnet.values()]
    .filter((subnet) => subnet.vpc === vpc)
    .flatMap(({ name, prefixes }) =>
      prefixes.map((prefix, i) => ({
        prefix,
        of: `Subnet "${name}"`,
        by: [{ kind: "Subnet" as const, name, field: `spec.prefixes[${i}]` }],
      })),
    );
}

function reached(tenants: TenantResources, peering: Peering, other: string): Network[] {
  const { name } = peering;
  const given = peeredPrefixes(peering, other);
  if (given !== undefined)
    return given.map((prefix, i) => ({
      prefix,
      of: `Peering "${name}"`,
      by: [{ kind: "Peering", name, field: `spec.prefixes.${other}[${i}]` }],
    }));
  return networksOf(tenants, other).map(({ prefix, of, by }) => ({
    prefix,
    of: `${of}, reached through Peering "${name}",`,
    by: [...by, { kind: "Peering", name, field: "spec.vpcs" }],
  }));
}

function samePair({ after, change, report }: Pick<Judged, "after" | "change" | "report">): void {
  const pair = ({ vpcs }: Peering) => [...vpcs].sort().join(" ");
  for (const { kind, value } of change.set) {
    if (kind !== "Peering") continue;
    const other = [...after.Peering.values()].find(
      (one) => one.name !== value.name && pair(one) === pair(value),
    );
    if (other !== undefined)
      report(
        { kind, name: value.name },
        {
          field: "spec.vpcs",
          value: value.vpcs.join(", "),
          problem: `are peered by Peering "${other.name}" already; change that one`,
        },
      );
  }
}
