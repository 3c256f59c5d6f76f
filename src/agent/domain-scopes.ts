/** What the services of one domain ask for in its namespace, by scopes. Elements stand in scopes after the one with their sets. */
import {
  bridgeNetfilter,
  combinations,
  type Domain,
  floatingElements,
  type FloatingIp,
  GUARDED_PORTS,
  guardedElements,
  guardedPort,
  legObjects,
  type LocalAttachment,
  memberElements,
  namedGroups,
  type NatGateway,
  type PeeringEnd,
  peeringObjects,
  type SecurityGroup,
  serviceRuleset,
  type DomainTunnels,
  tunnelObjects,
  VXLAN_GROUP,
} from "../domain/mod.ts";
import type { KernelObject } from "../engine/mod.ts";
import { ownAddresses, spoofingRules } from "../pods/mod.ts";
import type { Netns } from "../sys/mod.ts";
import type { Addresses, Members } from "./group-scopes.ts";

/** RULES is the scope of tables and settings. */
export const RULES = "services/rules";

const MEMBERS = "services/members/";

/** groupOfScope returns the group whose members a scope holds. */
export function groupOfScope(scope: string): string | undefined {
  return scope.startsWith(MEMBERS) ? scope.slice(MEMBERS.length) : undefined;
}

/** portScope names the scope of what an attachment adds to the tables. */
export function portScope(id: string): string {
  return `services/port/${id}`;
}

/** Scope is what is wanted under a name; with the same mark it is the same, and need not be made nor set again. */
export interface Scope {
  readonly mark?: string;
  readonly objects: () => readonly KernelObject[];
  /** Of a group: members that are here, who come and go under the same mark. */
  readonly here?: Addresses;
}

/** DomainNeeds is what is known of a domain here. */
export interface DomainNeeds {
  readonly domain: Domain;
  /** Also those that are about to come. */
  readonly attachments: readonly LocalAttachment[];
  readonly groups: ReadonlyMap<string, SecurityGroup>;
  /** Members of a group, here and elsewhere. */
  readonly membersOf: (group: string) => Members;
  /** With domains that are here. */
  readonly peerings: readonly PeeringEnd[];
  /** When this node is one of its nodes. */
  readonly gateway?: NatGateway | undefined;
  readonly floating: readonly FloatingIp[];
  readonly tunnels: DomainTunnels;
}

/** NodeSide is what is the same for all domains of a node. */
export interface NodeSide {
  /** The node's own namespace, and those of domains that are here. */
  readonly home: Netns;
  readonly netnsOf: (vni: number) => Netns | undefined;
  /** What the domains' own VNIs carry. */
  readonly mtuBytes: number;
  /** Whether the kernel has br_netfilter. */
  readonly bridged: boolean;
  /** Name of the node's end of an attachment's link. */
  readonly portOf: (id: string) => string;
}

/** domainScopes returns the scopes in the order in which they are to be set: elements after their sets. */
export function domainScopes(needs: DomainNeeds, side: NodeSide): Map<string, Scope> {
  const { domain, gateway, groups, attachments } = needs;
  const groupLists = combinations(attachments);
  const judged = attachments.filter((one) => isJudged(domain, one));
  const scopes = new Map<string, Scope>([
    [RULES, rules(needs, { groupLists, judged: judged.length > 0, side })],
  ]);
  for (const one of judged)
    scopes.set(portScope(one.id), { mark: one.id, objects: () => portElements(one, side.portOf(one.id)) });
  for (const group of namedGroups(groupLists, groups)) {
    const { mark, here, list } = needs.membersOf(group);
    scopes.set(`${MEMBERS}${group}`, { mark, here, objects: () => memberElements(group, list()) });
  }
  for (const end of needs.peerings)
    scopes.set(`services/peering/${end.other}`, { objects: () => peeringObjects(end, side) });
  if (needs.tunnels.all.length > 0)
    scopes.set("services/tunnels", { objects: () => tunnelObjects(domain, needs.tunnels, side) });
  if (gateway === undefined) return scopes;
  scopes.set("services/gateway", { objects: () => legObjects(gateway, domain, side) });
  scopes.set("services/floating", { objects: () => floatingElements(needs.floating) });
  return scopes;
}

/** Who has an address of a Subnet sends with that only; who has groups hears nothing else either. */
function isJudged({ segments }: Domain, { groups, segment }: LocalAttachment): boolean {
  return groups.length > 0 || segments.some(({ vni, prefixes }) => vni === segment && prefixes.length > 0);
}

function rules(
  { domain, peerings, groups, gateway }: DomainNeeds,
  about: { readonly groupLists: readonly string[][]; readonly judged: boolean; readonly side: NodeSide },
): Scope {
  const { groupLists, judged, side } = about;
  const text = serviceRuleset({ domain, peerings, groupLists, groups, ...(gateway && { gateway }) });
  const tracked = groupLists.length > 0;
  return {
    mark: `${tracked} ${judged} ${text}`,
    objects: () => [
      ...(tracked || side.bridged ? bridgeNetfilter(tracked) : []),
      ...(text === "" ? [] : [{ kind: "ruleset", family: "inet", text } as const]),
      ...(judged ? [{ kind: "ruleset", family: "bridge", text: portRules(tracked) } as const] : []),
    ],
  };
}

/** Hooks that nobody needs yet would cost each packet something. */
function portRules(hasGroups: boolean): string {
  const spoofing = spoofingRules("@judged", { trusted: VXLAN_GROUP });
  return `set judged { type ifname; }\n${spoofing}${hasGroups ? GUARDED_PORTS : ""}`;
}

/** An attachment has the same groups as long as it lives, so that its chains are there whenever its elements are. */
function portElements(attachment: LocalAttachment, port: string): KernelObject[] {
  return [
    { kind: "element", family: "bridge", set: "judged", key: [port] },
    ...ownAddresses(port, attachment),
    ...(attachment.groups.length > 0 ? [guardedPort(port)] : []),
    ...guardedElements(attachment),
  ];
}
