/** The links of a router: moved into its namespace, made there, and given back or removed when the plan has them no more. */
import type { EdgeLink, EdgeRouter } from "../edge/mod.ts";
import { addLink, deleteLink } from "../netlink/mod.ts";
import type { Bearing } from "./bearing.ts";
import type { EdgeLinks, LinkPlace } from "./edge-links.ts";

/** RouterLinksOptions say whose links, and where. */
export interface RouterLinksOptions {
  readonly links: EdgeLinks;
  /** The host's namespace. */
  readonly home: LinkPlace;
  /** The router's. */
  readonly here: LinkPlace;
  readonly bearing: Bearing;
}

/** applyLinks makes the links of a router so. */
export function applyLinks(router: EdgeRouter, { links, home, here, bearing }: RouterLinksOptions): void {
  const wanted = new Set(router.links.map(({ name }) => name));
  const unwanted = links.moved(router.name).filter((name) => !wanted.has(name));
  if (unwanted.length > 0) bearing.problems.push(...links.giveBack(unwanted, here));
  // One that cannot be given back yet is the host's, whatever its kind.
  const moved = new Set(links.moved(router.name));
  for (const { name, kind } of here.route.links())
    if ((kind === "vlan" || kind === "macvlan") && !wanted.has(name) && !moved.has(name))
      bearing.bear(() => here.route.request(deleteLink({ name })));
  const moving = router.links.filter(({ made }) => made.type === "move").map(({ name }) => name);
  bearing.bear(() => links.describe(moving, router.name));
  for (const link of router.links)
    bearing.bear(() => {
      if (link.made.type === "move") links.take(link.name, router.name, here);
      else make(link, home, here);
    });
}

function make({ name, made }: EdgeLink, home: LinkPlace, here: LinkPlace): void {
  if (here.route.link(name) !== undefined) return;
  if (made.type !== "vlan" && made.type !== "macvlan")
    throw new Error(`link ${name} cannot be made by ${made.type} yet; move a link, or use vlan or macvlan`);
  const parent = home.route.link(made.parent)?.index;
  if (parent === undefined)
    throw new Error(`link ${name} has no parent: there is no link ${made.parent} on this node`);
  const kind =
    made.type === "vlan"
      ? ({ type: "vlan", parent, vlanId: made.id } as const)
      : ({ type: "macvlan", parent, mode: made.mode } as const);
  home.route.request(addLink({ name, netns: here.netns, ...kind }));
}
