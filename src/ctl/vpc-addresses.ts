/** `causeway vpc addresses` and `release`: who has which addresses of subnets. */
import type { Results } from "../agent/mod.ts";
import { ask } from "./client.ts";
import { type Command, withJson } from "./command.ts";
import { printJson, printText, progress } from "./output.ts";
import { table } from "./table.ts";

/** addressRows returns the lines of the table: blocks of nodes, then what belongs to owners. */
export function addressRows({ blocks, owned }: Results["vpc-addresses"]): string[][] {
  return [
    ...blocks.map(({ subnet, block, node, usable, used }) => [
      subnet,
      block,
      node,
      `${used ?? "?"} of ${usable}`,
    ]),
    ...owned.map(({ subnet, address, owner, node }) => [subnet, address, node ?? "none", `by ${owner}`]),
  ];
}

export const addresses: Command = {
  name: "addresses",
  about: "Show which nodes have which addresses of subnets (at a hub)",
  more: `Nodes claim blocks as their pods need them, and return empty ones. USED is
what each node says of its block, as far as it is connected to this hub; an
address with an owner moves to the node where its owner starts.`,
  positionals: ["[SUBNET]"],
  options: withJson(),
  examples: ["causeway vpc addresses", "causeway vpc addresses team-a.web --json"],
  async run(given) {
    const [subnet] = given.positionals;
    const result = await ask({ op: "vpc-addresses", ...(subnet === undefined ? {} : { subnet }) }, progress);
    if (given.flag("json")) printJson(result);
    else printText(table(["SUBNET", "BLOCK", "NODE", "USED"], addressRows(result)));
    return 0;
  },
};

export const release: Command = {
  name: "release",
  about: "Take an address from its owner, for others to have (at a hub)",
  more: "For a virtual machine that does not come back. One that runs must not lose it.",
  positionals: ["SUBNET", "ADDRESS"],
  options: withJson(),
  examples: ["causeway vpc release team-a.web 10.1.0.200"],
  async run(given) {
    const [subnet, address] = given.positionals as [string, string];
    await ask({ op: "vpc-release", subnet, address }, progress);
    if (given.flag("json")) return printJson({ subnet, address, released: true });
    progress("released");
    return 0;
  },
};
