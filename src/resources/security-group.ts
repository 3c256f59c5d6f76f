/**
 * SecurityGroup: what the pods that are in it may send and get. Rules allow; what no rule of a pod's groups allows is dropped, in both
 * directions. Answers to what was allowed are allowed.
 */
import { z } from "zod";
import { formatPrefix, type Prefix } from "../net/mod.ts";
import { type Json, present } from "./canonical.ts";
import { prefixSchema } from "./scalars.ts";

/** PortRange is ports from first to last; equal for a single one. */
export interface PortRange {
  readonly first: number;
  readonly last: number;
}

/** securityProtocols are what rules can name; `icmp` is ICMP and ICMPv6. */
export const securityProtocols = ["any", "tcp", "udp", "sctp", "icmp"] as const;

/** SecurityRule allows flows between the pod and others. */
export interface SecurityRule {
  /** `ingress`: the other one begins. */
  readonly direction: "ingress" | "egress";
  readonly protocol: (typeof securityProtocols)[number];
  /** Of the side that is called; empty: all. */
  readonly ports: readonly PortRange[];
  /** Who the other one is: in one of these networks, or in one of these groups. Both empty: anybody. */
  readonly prefixes: readonly Prefix[];
  readonly groups: readonly string[];
}

/** SecurityGroup is a set of rules, as the resource of that kind says it. */
export interface SecurityGroup {
  readonly name: string;
  readonly vpc: string;
  readonly rules: readonly SecurityRule[];
}

const NOT_PORTS = "is not a port nor a range of ports; write it like 443 or 8000-8080";

function parsePorts(given: string | number): PortRange {
  const match = /^([1-9]\d{0,4})(?:-([1-9]\d{0,4}))?$/.exec(String(given));
  const [first, last] = [Number(match?.[1]), Number(match?.[2] ?? match?.[1])];
  if (match === null || first > last || last > 65535) throw new Error(NOT_PORTS);
  return { first, last };
}

const portsSchema = z.union([z.string(), z.number()], { error: NOT_PORTS }).transform((given, context) => {
  try {
    return parsePorts(given);
  } catch (error) {
    context.addIssue({ code: "custom", message: (error as Error).message });
    return z.NEVER;
  }
});

const ruleSchema = z.strictObject(
  {
    direction: z.enum(["ingress", "egress"], { error: "is none of ingress, egress" }),
    protocol: z
      .enum(securityProtocols, { error: `is none of ${securityProtocols.join(", ")}` })
      .default("any"),
    ports: z.array(portsSchema).max(64).default([]),
    prefixes: z.array(prefixSchema()).max(256).default([]),
    groups: z.array(z.string().min(1).max(253)).max(64).default([]),
  },
  { error: "is not a rule; write {direction: ingress, protocol: tcp, ports: [443], prefixes: […]}" },
);

/** The fields of `spec`. */
export const securityGroupFields = {
  vpc: z.string().min(1).max(253),
  rules: z.array(ruleSchema).max(256).default([]),
} as const;

/** securityGroupFromSpec joins name and spec, and reports what does not fit together. */
export function securityGroupFromSpec(
  name: string,
  spec: z.output<z.ZodObject<typeof securityGroupFields>>,
  report: (field: string, value: string, problem: string) => void,
): SecurityGroup {
  spec.rules.forEach(({ protocol, ports }, i) => {
    if (ports.length > 0 && (protocol === "any" || protocol === "icmp"))
      report(
        `spec.rules[${i}].ports`,
        ports.map(formatPorts).join(", "),
        "has no protocol with ports; add tcp, udp or sctp",
      );
  });
  return { name, ...spec };
}

const formatPorts = ({ first, last }: PortRange): string =>
  first === last ? `${first}` : `${first}-${last}`;

/** securityGroupSpec returns the fields of `spec` as JSON. */
export function securityGroupSpec({ vpc, rules }: SecurityGroup): { readonly [field: string]: Json } {
  const some = (list: readonly Json[]) => (list.length === 0 ? undefined : list);
  return {
    vpc,
    rules: rules.map(({ direction, protocol, ports, prefixes, groups }) =>
      present({
        direction,
        protocol,
        ports: some(ports.map((range) => (range.first === range.last ? range.first : formatPorts(range)))),
        prefixes: some(prefixes.map(formatPrefix)),
        groups: some(groups),
      }),
    ),
  };
}

/** securityGroupExample is a manifest for the documentation, tested to be valid. */
export const securityGroupExample = `apiVersion: causeway.network/v1alpha1
kind: SecurityGroup
metadata:
  name: team-a.web
spec:
  vpc: team-a
  rules:
    - {direction: ingress, protocol: tcp, ports: [80, 443, 8000-8080], prefixes: [10.1.0.0/16]}
    - {direction: ingress, groups: [team-a.web]}   # each other
    - {direction: ingress, protocol: icmp}         # from anybody
    - {direction: egress}                          # everything
`;
