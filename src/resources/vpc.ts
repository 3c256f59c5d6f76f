/**
 * VPC: a tenant's private network, a routing domain of its own (L3VNI), on whichever nodes its pods run. Its addresses may be those of
 * other VPCs.
 */
import { z } from "zod";
import { formatPrefix, type Prefix } from "../net/mod.ts";
import { routeTargetSchema } from "./bgp-policy.ts";
import { type Json, present, withoutAbsent } from "./canonical.ts";
import { checkHostSession, type HostSession, hostSessionJson, hostSessionSchema } from "./host-session.ts";
import { type NodeSelector, selectorJson, selectorSchema } from "./rules.ts";
import {
  type ExposedPort,
  exposedPortSchema,
  formatExposedPort,
  parseExposedPort,
  prefixSchema,
  vniSchema,
} from "./scalars.ts";
import { checkVpcUnderlay, type VpcUnderlay, vpcUnderlayJson, vpcUnderlaySchema } from "./vpc-underlay.ts";

/** VpcAllow says which pods may use a VPC: all that is named must fit. One of the two is there. */
export interface VpcAllow {
  /** Namespaces of Kubernetes, one of which is the pod's; `*` is any. Absent: any. */
  readonly namespaces?: readonly string[];
  /** Labels that the pod has, all of them. Who makes pods writes them, so they alone keep nobody out. */
  readonly labels?: Readonly<Record<string, string>>;
}

/** ServiceAllowance is what pods whose primary network is a VPC reach through their link to the default network. */
export interface ServiceAllowance {
  /** Empty: Mesh.services. */
  readonly prefixes: readonly Prefix[];
  /** At least one. */
  readonly ports: readonly ExposedPort[];
}

/** MAX_SERVICE_PORTS is how many ports one VPC may allow: a node has a rule for each. */
const MAX_SERVICE_PORTS = 256;

/** Vpc is a routing domain, as the resource of kind VPC says it. */
export interface Vpc {
  readonly name: string;
  /** L3VNI; absent in what people write: the register gives one. Never changes. */
  readonly vni?: number;
  /** Absent: `ASN:VNI` alone. */
  readonly importTargets?: readonly string[];
  readonly exportTargets?: readonly string[];
  /** Targets of these that another VPC may have too, if it lists them as well. */
  readonly sharedTargets: readonly string[];
  /** Absent: no pod. */
  readonly allow?: VpcAllow;
  /** Which nodes may serve it; absent: all. */
  readonly nodes?: NodeSelector;
  readonly services: readonly ServiceAllowance[];
  /** Whether its subnets are routed to each other; without it there are no gateways. */
  readonly routed: boolean;
  /** Terminates it in a fabric instead of the mesh. */
  readonly underlay?: VpcUnderlay;
  /** BGP with the host, on each node of the underlay that it is on. */
  readonly hostSession?: HostSession;
}

/** targetsSchema reads route targets. */
export const targetsSchema = z
  .array(routeTargetSchema)
  .min(1, "names no route target; leave the field out for ASN:VNI")
  .max(100);

const LABEL_KEY = /^([a-z0-9.-]{1,253}\/)?[a-zA-Z0-9]([-a-zA-Z0-9_.]{0,61}[a-zA-Z0-9])?$/;
const LABEL_VALUE = /^([a-zA-Z0-9]([-a-zA-Z0-9_.]{0,61}[a-zA-Z0-9])?)?$/;
const NAMESPACE = /^(\*|[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)$/;

const allowSchema = z
  .strictObject(
    {
      namespaces: z
        .array(z.string().regex(NAMESPACE, "is not the name of a namespace, nor * for any"))
        .min(1, "names no namespace; write [*] for any")
        .max(1024)
        .optional(),
      labels: z
        .record(z.string().regex(LABEL_KEY), z.string().regex(LABEL_VALUE, "is not the value of a label"), {
          error: "is not a set of labels, each of a key and a value as Kubernetes has them",
        })
        .refine((labels) => Object.keys(labels).length <= 32, "has more than 32 labels")
        .optional(),
    },
    { error: "does not say who may use the VPC; write {namespaces: [team-a]} or {labels: {tenant: a}}" },
  )
  .refine(
    ({ namespaces, labels }) => namespaces !== undefined || Object.keys(labels ?? {}).length > 0,
    'names nobody; write {namespaces: [team-a]}, or {namespaces: ["*"]} for all pods',
  )
  .transform((given): VpcAllow => withoutAbsent(given));

/** allowanceSchema reads what of the cluster's services is reached. */
const allowanceSchema = z.strictObject(
  {
    prefixes: z.array(prefixSchema()).max(64).default([]),
    ports: z.array(exposedPortSchema).min(1, "names no port; write them like [udp/53, tcp/443]").max(64),
  },
  { error: "is not a service; write {prefixes: [10.96.0.10/32], ports: [udp/53]}" },
);

const DNS = { prefixes: [], ports: ["udp/53", "tcp/53"].map(parseExposedPort) };

/** The fields of `spec`. */
export const vpcFields = {
  vni: vniSchema.optional(),
  importTargets: targetsSchema.optional(),
  exportTargets: targetsSchema.optional(),
  sharedTargets: z.array(routeTargetSchema).max(64).default([]),
  allow: allowSchema.optional(),
  nodes: selectorSchema.optional(),
  services: z.array(allowanceSchema).max(64).default([DNS]),
  routed: z.boolean({ error: "is not true or false" }).default(true),
  underlay: vpcUnderlaySchema.optional(),
  hostSession: hostSessionSchema.optional(),
} as const;

/** vpcFromSpec joins name and spec, and reports what does not fit together. */
export function vpcFromSpec(
  name: string,
  spec: z.output<z.ZodObject<typeof vpcFields>>,
  report: (field: string, value: string, problem: string) => void,
): Vpc {
  const vpc: Vpc = withoutAbsent({ name, ...spec });
  for (const field of ["importTargets", "exportTargets"] as const)
    if (!vpc.routed && vpc[field] !== undefined)
      report(`spec.${field}`, vpc[field].join(", "), "changes nothing where nothing is routed; remove it");
  const ports = vpc.services.flatMap((service) => service.ports);
  const count = ports.reduce((sum, { first, last }) => sum + last - first + 1, 0);
  if (count > MAX_SERVICE_PORTS)
    report(
      "spec.services",
      `${count} ports`,
      `are more than the ${MAX_SERVICE_PORTS} that a VPC may allow; name fewer`,
    );
  if (vpc.underlay !== undefined) checkVpcUnderlay(vpc, vpc.underlay, report);
  if (vpc.hostSession !== undefined) {
    checkHostSession("spec.hostSession", vpc.hostSession, report, { sameAsn: false });
    if (vpc.underlay === undefined)
      report("spec.hostSession", "", "is for a VPC in a fabric; add underlay: {}, or remove it");
    if (!vpc.routed) report("spec.hostSession", "", "has no routes where nothing is routed; remove it");
  }
  const used = new Set([...(vpc.importTargets ?? []), ...(vpc.exportTargets ?? [])]);
  const stray = vpc.sharedTargets.find((target) => !used.has(target));
  if (stray !== undefined)
    report(
      "spec.sharedTargets",
      stray,
      "is neither imported nor exported; add it to importTargets or exportTargets",
    );
  return vpc;
}

/** vpcSpec returns the fields of `spec` as JSON. */
export function vpcSpec(vpc: Vpc): { readonly [field: string]: Json } {
  return present({
    vni: vpc.vni,
    importTargets: vpc.importTargets && [...vpc.importTargets],
    exportTargets: vpc.exportTargets && [...vpc.exportTargets],
    sharedTargets: vpc.sharedTargets.length === 0 ? undefined : [...vpc.sharedTargets],
    allow:
      vpc.allow &&
      present({
        namespaces: vpc.allow.namespaces && [...vpc.allow.namespaces],
        labels: vpc.allow.labels && { ...vpc.allow.labels },
      }),
    nodes: vpc.nodes && selectorJson(vpc.nodes),
    services: vpc.services.map(({ prefixes, ports }) =>
      present({
        prefixes: prefixes.length === 0 ? undefined : prefixes.map(formatPrefix),
        ports: ports.map(formatExposedPort),
      }),
    ),
    routed: vpc.routed,
    underlay: vpc.underlay && vpcUnderlayJson(vpc.underlay),
    hostSession: vpc.hostSession && hostSessionJson(vpc.hostSession),
  });
}

/** vpcExample is a manifest for the documentation, tested to be valid. */
export const vpcExample = `apiVersion: causeway.network/v1alpha1
kind: VPC
metadata:
  name: team-a
spec:
  vni: 5000                       # default: given by the register, from 4096
  allow:
    namespaces: [team-a, "ci"]    # whose pods may use it; default: nobody's
  nodes: {role: worker}           # which nodes may serve it; default: all
  services:                       # reached by pods whose primary network it is
    - ports: [udp/53, tcp/53]     # default: DNS, at the mesh's service networks
    - {prefixes: [10.96.0.1/32], ports: [tcp/443]}
`;

/** vpcEdgeExample is a VPC in a fabric, tested to be valid. */
export const vpcEdgeExample = `apiVersion: causeway.network/v1alpha1
kind: VPC
metadata:
  name: red
spec:
  vni: 5100
  importTargets: ["64520:100"]          # default: any administrator with the VNI, as FRR has it
  underlay:                             # in the fabric of Underlay rack-a, not in the mesh
    nodes: {labels: [rack=a]}           # default: all
    announce: [10.20.0.0/16]            # more networks (type 5)
    import:
      - {match: {prefix: ["10.0.0.0/8 le 24"]}, action: accept}
    routes:
      - {prefix: 10.66.0.0/16, discard: true}
    leaks:
      - {from: shared, prefixes: [10.9.0.0/16 le 32]}
  hostSession:                          # the same address here on every node: 192.169.10.1
    asn: 64514
    peerAsn: 64515
    prefixes: [192.169.10.0/24, "2001:db8:169:10::/64"]
    bfd: {}
    password: {file: /etc/causeway/red.password}
`;
