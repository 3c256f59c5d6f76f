/** The links of a router: moved into its namespace, made there, and given back or removed when the plan has them no more. */
import type { EdgeLink, EdgeRouter } from "../edge/mod.ts";
import { addLink, deleteLink, type LinkInfo, type NewLink, setLink } from "../netlink/mod.ts";
import type { Bearing } from "./bearing.ts";
import { type EdgeChains, sizeLink } from "./edge-chains.ts";
import type { LinkPlace } from "./edge-link-state.ts";
import type { EdgeLinks } from "./edge-links.ts";

/** Kinds that are made here. */
const MADE: readonly (string | undefined)[] = ["vlan", "macvlan", "ipvlan", "bond"];

/** How often a bond looks after its members; 0, the kernel's default, is never. */
const MIIMON_MS = 100;

/** RouterLinksOptions say whose links, and where. */
export interface RouterLinksOptions {
  readonly links: EdgeLinks;
  readonly chains: EdgeChains;
  /** The host's namespace. */
  readonly home: LinkPlace;
  /** The router's. */
  readonly here: LinkPlace;
  readonly bearing: Bearing;
}

/** applyLinks makes the links of a router so. */
export function applyLinks(router: EdgeRouter, options: RouterLinksOptions): void {
  const { links, chains, home, here, bearing } = options;
  const moving = movedNames(router);
  const wanted = new Set([...router.links.map(({ name }) => name), ...moving]);
  const unwanted = links.moved(router.name).filter((name) => !wanted.has(name));
  // A bond lets go of its members before they go back.
  endMade(router.name, wanted, { ...options, only: "bond" });
  if (unwanted.length > 0) bearing.problems.push(...links.giveBack(unwanted, here));
  endMade(router.name, wanted, options);
  bearing.bear(() => chains.want(router.name, router.links));
  tellOf(router.name, options);
  bearing.bear(() => links.describe(moving, router.name));
  for (const link of router.links) {
    const { name, made } = link;
    if (made.type === "move") bearing.bear(() => links.take(name, router.name, here));
    else if (made.type === "bond") {
      // Without it its members stay the host's.
      if (!bearing.bear(() => make(link, home, here))) continue;
      for (const member of made.members)
        bearing.bear(() => {
          links.take(member, router.name, here);
          join(member, name, here);
        });
    } else if (made.type === "cni")
      // Plugins have said how large packets may be, unless the Underlay says it.
      bearing.bear(() => sizeLink(here.route, link));
    else bearing.bear(() => make(link, home, here));
  }
}

/** endLinks gives all links of a router back, and has plugins remove theirs; returns those that are not gone yet. */
export function endLinks(router: string, options: Omit<RouterLinksOptions, "home">): string[] {
  const { links, chains, here, bearing } = options;
  // So that their members are as they were before they go back.
  endMade(router, new Set(), { ...options, only: "bond" });
  bearing.bear(() => chains.want(router, []));
  tellOf(router, options);
  bearing.problems.push(...links.giveBack(links.moved(router), here));
  const inside = links.moved(router).filter((name) => here.route.link(name) !== undefined);
  return [...inside, ...chains.left(router)];
}

function tellOf(router: string, { chains, bearing }: Pick<RouterLinksOptions, "chains" | "bearing">): void {
  const { problems, waiting } = chains.state(router);
  bearing.problems.push(...problems);
  bearing.waiting.push(...waiting);
}

/** Links of the host that a router has, alone or in a bond. */
function movedNames({ links }: EdgeRouter): string[] {
  return links.flatMap(({ name, made }) =>
    made.type === "move" ? [name] : made.type === "bond" ? made.members : [],
  );
}

function endMade(
  router: string,
  wanted: ReadonlySet<string>,
  { links, chains, here, bearing, only }: Omit<RouterLinksOptions, "home"> & { readonly only?: string },
): void {
  // One that cannot be given back yet is the host's, whatever its kind; what plugins have made, plugins remove.
  const moved = new Set([...links.moved(router), ...chains.left(router)]);
  for (const { name, kind } of here.route.links())
    if ((only === undefined ? MADE.includes(kind) : kind === only) && !wanted.has(name) && !moved.has(name))
      bearing.bear(() => here.route.request(deleteLink({ name })));
}

function make({ name, made }: EdgeLink, home: LinkPlace, here: LinkPlace): void {
  if (made.type === "move" || made.type === "cni") return;
  const there = here.route.link(name);
  const other = there && otherwise(there, made);
  if (other !== undefined)
    throw new Error(
      `link ${name} is there already, as ${other}, and does not change; give the new one another name`,
    );
  if (there !== undefined) return;
  if (made.type === "bond")
    return here.route.request(addLink({ name, type: "bond", ...bondOptions(made.mode) }));
  home.route.request(addLink({ name, netns: here.netns, ...above(name, made, home) }));
}

/** What a link is that is not as it is wanted. A register refuses to change it (edge/admit-unchanged.ts), a file cannot. */
function otherwise({ kind, vlan, macvlan }: LinkInfo, made: EdgeLink["made"]): string | undefined {
  if (kind !== made.type) return kind ?? "a device";
  if (made.type === "vlan" && vlan?.vlanId !== made.id) return `VLAN ${vlan?.vlanId}`;
  if (made.type === "macvlan" && macvlan?.mode !== made.mode) return `macvlan in mode ${macvlan?.mode}`;
  return undefined;
}

/** By Ethernet address alone all would go to one member: a fabric's router is one address. */
function bondOptions(mode: Extract<NewLink, { type: "bond" }>["mode"]) {
  const chooses = mode === "802.3ad" || mode === "balance-xor" || mode === "balance-tlb";
  return { mode, miimonMs: MIIMON_MS, ...(chooses ? { hashPolicy: "layer2+3" as const } : {}) };
}

/** What is made above a link of the host's, which stays there. */
function above(name: string, made: Extract<EdgeLink["made"], { parent: string }>, home: LinkPlace) {
  const parent = home.route.link(made.parent)?.index;
  if (parent === undefined)
    throw new Error(`link ${name} has no parent: there is no link ${made.parent} on this node`);
  if (made.type === "vlan") return { type: "vlan", parent, vlanId: made.id } as const;
  if (made.type === "macvlan") return { type: "macvlan", parent, mode: made.mode } as const;
  return { type: "ipvlan", parent, mode: made.mode } as const;
}

/** A bond takes only links that are down (drivers/net/bonding/bond_main.c, bond_enslave), and brings them up. */
function join(member: string, bond: string, { route }: LinkPlace): void {
  const master = route.link(bond)?.index;
  const link = route.link(member);
  if (master === undefined || link === undefined || link.master === master) return;
  route.request(setLink({ index: link.index, up: false }));
  route.request(setLink({ index: link.index, master }));
}
