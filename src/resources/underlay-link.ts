/**
 * Links of an Underlay: what of a node faces the fabric. A link that is there is moved into the router's namespace; others are made, beside or
 * above one that stays with the host, by us or by a chain of CNI plugins.
 */
import { z } from "zod";
import { formatInterfaceAddress, type InterfaceAddress, parseInterfaceAddress } from "../net/mod.ts";
import { canonicalJson, type Json, present, withoutAbsent } from "./canonical.ts";
import { linkSchema, textValue, wholeNumber } from "./scalars.ts";

/** LinkMaker says how a link comes to be there; exactly one of its forms. */
export type LinkMaker =
  /** It is there, of whatever kind, and is moved. */
  | { readonly type: "move" }
  | { readonly type: "vlan"; readonly parent: string; readonly id: number }
  | { readonly type: "macvlan"; readonly parent: string; readonly mode: MacvlanMode }
  | { readonly type: "ipvlan"; readonly parent: string; readonly mode: IpvlanMode }
  | { readonly type: "bond"; readonly members: readonly string[]; readonly mode: BondMode }
  /** A network configuration list (CNI 1.0.0 and later), and what plugins with capabilities are told. */
  | {
      readonly type: "cni";
      readonly config: { readonly [key: string]: Json };
      readonly runtime: { readonly [capability: string]: Json };
    };

/** Modes, by the kernel's names (ip-link(8)). */
export const macvlanModes = ["bridge", "private", "vepa", "passthru"] as const;
export const ipvlanModes = ["l2", "l3", "l3s"] as const;
export const bondModes = [
  "802.3ad",
  "active-backup",
  "balance-rr",
  "balance-xor",
  "broadcast",
  "balance-tlb",
  "balance-alb",
] as const;

/** MacvlanMode, IpvlanMode and BondMode are one of each. */
export type MacvlanMode = (typeof macvlanModes)[number];
export type IpvlanMode = (typeof ipvlanModes)[number];
export type BondMode = (typeof bondModes)[number];

/** UnderlayLink is one link. Identity: name, inside the router. */
export interface UnderlayLink {
  readonly name: string;
  readonly made: LinkMaker;
  /** Set beside those that the link has; a moved link keeps its own. */
  readonly addresses: readonly InterfaceAddress[];
  /** Those of the node with index 0; others have theirs so many addresses further. */
  readonly addressesFrom: readonly InterfaceAddress[];
  readonly mtuBytes?: number;
}

const mode = <const M extends readonly [string, ...string[]]>(modes: M) =>
  z.enum(modes, { error: `is none of ${modes.join(", ")}` }).default(modes[0]);

const makers = {
  vlan: z
    .strictObject(
      { parent: linkSchema, id: wholeNumber(1, 4094) },
      { error: "is not a VLAN; write {parent: eth0, id: 100}" },
    )
    .optional(),
  macvlan: z
    .strictObject(
      { parent: linkSchema, mode: mode(macvlanModes) },
      { error: "is not a macvlan; write {parent: eth0, mode: bridge}" },
    )
    .optional(),
  ipvlan: z
    .strictObject(
      { parent: linkSchema, mode: mode(ipvlanModes) },
      { error: "is not an ipvlan; write {parent: eth0, mode: l2}" },
    )
    .optional(),
  bond: z
    .strictObject(
      {
        members: z.array(linkSchema).min(1, "names no link").max(16),
        mode: mode(bondModes),
      },
      { error: "is not a bond; write {members: [eth1, eth2], mode: 802.3ad}" },
    )
    .optional(),
  cni: z
    .strictObject(
      {
        config: z.record(z.string(), z.json(), { error: "is not a network configuration list" }),
        runtime: z.record(z.string(), z.json()).default({}),
      },
      { error: "is not a chain of CNI plugins; write {config: {cniVersion: 1.0.0, name: …, plugins: […]}}" },
    )
    .optional(),
} as const;

const address = textValue<InterfaceAddress>("an address such as 192.0.2.1/24", (text) => {
  try {
    return parseInterfaceAddress(text);
  } catch {
    throw new Error("is not an address with the length of its network; write it like 192.0.2.1/24");
  }
});

/** underlayLinkSchema reads one link. */
export const underlayLinkSchema = z
  .strictObject(
    {
      name: linkSchema,
      ...makers,
      addresses: z.array(address).max(64).default([]),
      addressesFrom: z.array(address).max(2).default([]),
      mtuBytes: wholeNumber(576, 65535).optional(),
    },
    { error: "is not a link; write {name: eth1}, or {name: fabric0, vlan: {parent: eth0, id: 100}}" },
  )
  .transform((given, context): UnderlayLink => {
    const { name, addresses, addressesFrom, mtuBytes } = given;
    const said = (Object.keys(makers) as (keyof typeof makers)[]).filter((key) => given[key] !== undefined);
    const [type, second] = said;
    if (second !== undefined) {
      context.addIssue({
        code: "custom",
        path: [second],
        message: `stands beside ${type}, and a link is made in one way; keep one of them`,
      });
      return z.NEVER;
    }
    const made = (type === undefined ? { type: "move" } : { type, ...given[type] }) as LinkMaker;
    return withoutAbsent({ name, made, addresses, addressesFrom, mtuBytes });
  });

type Report = (field: string, value: string, problem: string) => void;

/** checkLinks reports links that cannot be together. */
export function checkLinks(links: readonly UnderlayLink[], report: Report): void {
  const owners = new Map<string, string>();
  links.forEach((link, i) => {
    const field = `spec.links[${i}]`;
    const take = (name: string, at: string) => {
      const other = owners.get(name);
      if (other !== undefined) report(at, name, `is ${other} too; name each link once`);
      else owners.set(name, at);
    };
    take(link.name, `${field}.name`);
    const { made } = link;
    if (made.type === "bond")
      made.members.forEach((member, j) => take(member, `${field}.bond.members[${j}]`));
    if ("parent" in made && made.parent === link.name)
      report(`${field}.${made.type}.parent`, made.parent, "is the link itself; name the one that it is on");
    if (made.type === "cni") checkCni(`${field}.cni.config`, made.config, report);
  });
  links.forEach(({ made }, i) => {
    if (!("parent" in made)) return;
    const taken = links.find((other) => other.name === made.parent && other.made.type === "move");
    if (taken !== undefined)
      report(
        `spec.links[${i}].${made.type}.parent`,
        made.parent,
        "is moved into the router, and has to stay with the host; remove it from spec.links",
      );
  });
}

function checkCni(field: string, config: { readonly [key: string]: Json }, report: Report): void {
  const { cniVersion, name, plugins } = config;
  const major = typeof cniVersion === "string" ? /^(\d+)\.\d+\.\d+$/.exec(cniVersion)?.[1] : undefined;
  if (major === undefined || Number(major) < 1)
    report(`${field}.cniVersion`, JSON.stringify(cniVersion) ?? "", "is not supported; write 1.0.0 or later");
  if (typeof name !== "string" || name === "") report(`${field}.name`, "", "is missing; add it");
  const fit =
    Array.isArray(plugins) &&
    plugins.length > 0 &&
    plugins.every((plugin) => typeof (plugin as { readonly type?: unknown } | null)?.type === "string");
  if (!fit) report(`${field}.plugins`, "", "is not a list of plugins, each with its type; write one");
}

/** changedLink returns the field of a link that is another than before though the name is the same, and what it was; such a link is removed first. */
export function changedLink(
  before: UnderlayLink,
  now: UnderlayLink,
): { readonly field: string; readonly value: string; readonly was: string } | undefined {
  const [a, b] = [before.made, now.made];
  if (a.type !== b.type) return { field: b.type === "move" ? "name" : b.type, value: b.type, was: a.type };
  if (a.type !== "cni" || b.type !== "cni") return undefined;
  for (const key of ["config", "runtime"] as const)
    // Order and spaces of JSON mean nothing.
    if (canonicalJson(a[key]) !== canonicalJson(b[key]))
      return { field: `cni.${key}`, value: "", was: "another one" };
  return undefined;
}

/** underlayLinkJson undoes underlayLinkSchema. */
export function underlayLinkJson(link: UnderlayLink): { readonly [field: string]: Json } {
  const { type, ...rest } = link.made;
  const list = (addresses: readonly InterfaceAddress[]) =>
    addresses.length === 0 ? undefined : addresses.map(formatInterfaceAddress);
  return present({
    name: link.name,
    ...(type === "move" ? {} : { [type]: rest as never as Json }),
    addresses: list(link.addresses),
    addressesFrom: list(link.addressesFrom),
    mtuBytes: link.mtuBytes,
  });
}
