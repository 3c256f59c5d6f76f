/** `causeway vpc list` and `show`: what of tenants' networks is on this node. */
import type { Results } from "../agent/mod.ts";
import { ask } from "./client.ts";
import { type Command, withJson } from "./command.ts";
import { printJson, printText, progress } from "./output.ts";
import { table } from "./table.ts";

type Shown = Results["vpc-status"]["vpcs"][number];

function listRow({ name, vni, namespace, segments, attachments, remote, problems }: Shown): string[] {
  const elsewhere = `${remote.hosts} hosts, ${remote.prefixes} prefixes`;
  const subnets = segments.map((segment) => segment.name).join(",") || "-";
  return [name, `${vni}`, namespace, subnets, `${attachments.length}`, elsewhere, `${problems.length}`];
}

export const list: Command = {
  name: "list",
  about: "List the VPCs that are on this node",
  more: `A VPC is on a node while pods of it are, or of one that is peered with it, or
while the node is its gateway. causeway get vpc shows all that there are.`,
  options: withJson(),
  examples: ["causeway vpc list", "causeway vpc list --json"],
  async run(given) {
    const result = await ask({ op: "vpc-status" }, progress);
    if (given.flag("json")) return printJson(result.vpcs);
    const head = ["VPC", "VNI", "NAMESPACE", "SUBNETS", "PODS", "ELSEWHERE", "PROBLEMS"];
    printText(table(head, result.vpcs.map(listRow)));
    return 0;
  },
};

export const show: Command = {
  name: "show",
  about: "Show one VPC on this node: subnets, attached pods, problems",
  positionals: ["VPC"],
  options: withJson(),
  examples: ["causeway vpc show team-a", "causeway vpc show team-a --json"],
  async run(given) {
    const [name] = given.positionals as [string];
    const { vpcs } = await ask({ op: "vpc-status", name }, progress);
    const [vpc] = vpcs;
    if (vpc === undefined || given.flag("json")) return printJson(vpc ?? {});
    printText(vpcText(vpc));
    return 0;
  },
};

/** vpcText returns what people read of a VPC on this node. Pods first: nobody knows containers by heart. */
export function vpcText({ remote, segments, attachments, problems, ...vpc }: Shown): string {
  const names = new Map(segments.map((segment) => [segment.vni, segment.name]));
  return [
    `VPC ${vpc.name}, VNI ${vpc.vni}, namespace ${vpc.namespace}, ${vpc.routed ? "routed" : "not routed"}`,
    `elsewhere: ${remote.hosts} hosts, ${remote.prefixes} prefixes, ${remote.floods} nodes of its subnets`,
    "",
    table(
      ["SUBNET", "VNI", "MTU", "PODS"],
      segments.map((one) => [one.name, `${one.vni}`, `${one.mtuBytes}`, `${one.attachments}`]),
    ),
    table(
      ["POD", "CONTAINER", "INTERFACE", "SUBNET", "ADDRESSES", "MAC", "LINK", "GROUPS", "STATE"],
      attachments.map((one) => [
        one.pod ?? "-",
        one.container.slice(0, 13),
        one.ifname,
        names.get(one.segment) ?? `${one.segment}`,
        one.addresses.join(",") || "-",
        one.mac,
        one.link,
        one.groups.join(",") || "-",
        one.state,
      ]),
    ),
    ...problems.map((problem) => `problem: ${problem}\n`),
  ].join("\n");
}
