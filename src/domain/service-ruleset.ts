/**
 * The services' part of the tables of a domain's namespace: what peerings, the gateway and security groups have to say about a packet.
 *
 * ```
 *   in by a leg ─▶ outside-in: DNAT ─▶ forward: peerings, then the gateway, then groups ─▶ outside-out: SNAT
 * ```
 * All of it is text that stands beside the domain's own chains: names of chains and sets are not used elsewhere.
 */
import type { Domain, NatGateway, SecurityGroup } from "./model.ts";
import { gatewayTable } from "./nat-gateway.ts";
import { type PeeringEnd, peeringTable } from "./peering-objects.ts";
import { securityTable } from "./security-group.ts";

/** DomainServices is what rules a domain needs here. */
export interface DomainServices {
  readonly domain: Domain;
  readonly peerings: readonly PeeringEnd[];
  /** Its gateway, when this node has a leg of it. */
  readonly gateway?: NatGateway;
  /** Lists of groups that attachments here have: `combinations`. */
  readonly groupLists: readonly (readonly string[])[];
  readonly groups: ReadonlyMap<string, SecurityGroup>;
}

/** serviceRuleset returns the text for the domain's table of family inet; empty when the domain needs no rules here. */
export function serviceRuleset(services: DomainServices): string {
  const { domain, gateway } = services;
  const parts = [
    peeringTable(services.peerings),
    ...(gateway === undefined ? [] : [gatewayTable(gateway, domain)]),
    { input: [], ...securityTable(services.groupLists, services.groups) },
  ];
  const hooked = (["forward", "input"] as const).flatMap((hook) => {
    const rules = parts.flatMap((part) => part[hook]);
    if (rules.length === 0) return [];
    const lines = [`type filter hook ${hook} priority filter; policy accept;`, ...rules];
    return [`chain services_${hook} {`, ...lines.map((line) => `\t${line}`), "}"];
  });
  const lines = [...parts.flatMap((part) => part.definitions), ...hooked];
  return lines.map((line) => `${line}\n`).join("");
}
