/** Networks behind nodes: a node announces one, a hub's operator approves it. */
import { ask } from "./client.ts";
import { type Command, withJson } from "./command.ts";
import { printJson, progress } from "./output.ts";

/** announce is `causeway node announce`. */
export const announce: Command = {
  name: "announce",
  about: "Ask that a network behind this node is routed to it",
  more: `Nothing is routed until it is approved on a hub: causeway node approve.
This node then masquerades what the mesh sends there: the machines behind it
need no route back, and see this node's address.`,
  positionals: ["PREFIX"],
  options: withJson({ withdraw: { about: "do not ask any more; an approval stays" } }),
  examples: ["causeway node announce 192.168.7.0/24"],
  async run(given) {
    const prefix = given.positionals[0] as string;
    const result = await ask({ op: "node-announce", prefix, withdraw: given.flag("withdraw") }, progress);
    if (given.flag("json")) return printJson(result);
    const approved = result.approved.includes(prefix);
    progress(
      given.flag("withdraw")
        ? `withdrawn${approved ? "; it is still routed here, until a hub takes it back: causeway node revoke" : ""}`
        : approved
          ? "approved already"
          : "announced; on a hub: causeway node approve NAME PREFIX",
    );
    return 0;
  },
};

function decision(name: "approve" | "revoke", about: string): Command {
  const revoke = name === "revoke";
  return {
    name,
    about,
    positionals: ["NAME", "PREFIX"],
    options: withJson(),
    examples: [`causeway node ${name} attic 192.168.7.0/24`],
    async run(given) {
      const [node, prefix] = given.positionals as [string, string];
      const result = await ask({ op: "node-approve", node, prefix, revoke }, progress);
      if (given.flag("json")) return printJson({ name: node, ...result });
      progress(`${node} has ${result.subnets.join(", ") || "no networks behind it"}`);
      return 0;
    },
  };
}

/** approve is `causeway node approve`. */
export const approve = decision("approve", "Route a network that a node announces to it (on a hub)");

/** revoke is `causeway node revoke`. */
export const revoke = decision("revoke", "Take an approved network back from a node (on a hub)");
