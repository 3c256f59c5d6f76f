/** `causeway vpc list`, `show` and `attachments`: what of tenants' networks is on this node. */
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

export const attachments: Command = {
  name: "attachments",
  about: "List pods' interfaces in the VPCs of this node",
  more: `Nobody writes an attachment: it comes with a pod and goes with it. STATE is
adding until the pod may run, then ready; moved, where another node has
announced its MAC address later: a machine that has moved, or one address that
two pods have; waiting, where the kernel refuses the VPC (causeway vpc show).`,
  options: withJson(),
  examples: ["causeway vpc attachments", "causeway vpc attachments --json"],
  async run(given) {
    const { vpcs } = await ask({ op: "vpc-status" }, progress);
    if (given.flag("json")) {
      const all = vpcs.flatMap((vpc) => vpc.attachments.map((one) => ({ vpc: vpc.name, ...one })));
      return printJson(all);
    }
    printText(attachmentsText(vpcs));
    return 0;
  },
};

const COLUMNS = ["POD", "CONTAINER", "INTERFACE", "SUBNET", "ADDRESSES", "MAC", "LINK", "GROUPS", "STATE"];

function attachmentRows({ segments, attachments: all }: Pick<Shown, "segments" | "attachments">): string[][] {
  const names = new Map(segments.map((segment) => [segment.vni, segment.name]));
  return all.map((one) => [
    one.pod ?? "-",
    one.container.slice(0, 13),
    one.ifname,
    names.get(one.segment) ?? `${one.segment}`,
    one.addresses.join(",") || "-",
    one.mac,
    one.link,
    one.groups.join(",") || "-",
    one.state,
  ]);
}

/** attachmentsText returns what people read of pods' interfaces, by VPC. */
export function attachmentsText(vpcs: readonly Pick<Shown, "name" | "segments" | "attachments">[]): string {
  return table(
    ["VPC", ...COLUMNS],
    vpcs.flatMap((vpc) => attachmentRows(vpc).map((row) => [vpc.name, ...row])),
  );
}

/** vpcText returns what people read of a VPC on this node. Pods first: nobody knows containers by heart. */
export function vpcText({ remote, problems, ...vpc }: Shown): string {
  return [
    `VPC ${vpc.name}, VNI ${vpc.vni}, namespace ${vpc.namespace}, ${vpc.routed ? "routed" : "not routed"}`,
    `elsewhere: ${remote.hosts} hosts, ${remote.prefixes} prefixes, ${remote.floods} nodes of its subnets`,
    "",
    table(
      ["SUBNET", "VNI", "MTU", "PODS"],
      vpc.segments.map((one) => [one.name, `${one.vni}`, `${one.mtuBytes}`, `${one.attachments}`]),
    ),
    table(COLUMNS, attachmentRows(vpc)),
    ...problems.map((problem) => `problem: ${problem}\n`),
  ].join("\n");
}
