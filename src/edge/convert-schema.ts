/** OpenPERouter's API as tables, of `network.openperouter.io` and before. Names are in lower case; what people wrote is told as they wrote it. */
import { z } from "zod";
import type { Json, ManifestProblem } from "../resources/mod.ts";
import type { Source } from "./convert-source.ts";

const text = z.string();
const number = z.number();
const labels = z.record(z.string(), z.string());

const selector = z
  .strictObject({
    matchlabels: labels.nullish(),
    matchexpressions: z
      .array(
        z
          .strictObject({
            key: text,
            operator: z.enum(["In", "NotIn", "Exists", "DoesNotExist"]),
            values: z.array(text).nullish(),
          })
          .refine(
            ({ operator, values }) => ["In", "NotIn"].includes(operator) === (values ?? []).length > 0,
            "In and NotIn need values, Exists and DoesNotExist have none",
          ),
      )
      .nullish(),
  })
  .nullish();

const side = z
  .string()
  .transform((word) => word.toLowerCase())
  .pipe(z.enum(["external", "internal"], { error: "is neither External nor Internal" }));

const family = z.strictObject({
  type: z.enum(["ipv4unicast", "ipv6unicast", "evpn", "ipv4vpn", "ipv6vpn"]),
  properties: z.array(z.strictObject({ type: z.literal("routeReflectorClient") })).default([]),
});

const neighbor = z.strictObject({
  asn: number.optional(),
  type: side.optional(),
  address: text.optional(),
  interface: text.optional(),
  listenrange: text.optional(),
  port: number.optional(),
  password: z.unknown().optional(),
  passwordsecret: z
    .union([text, z.strictObject({ name: text, key: text.optional() })])
    .transform((given) => (typeof given === "string" ? { name: given } : given))
    .optional(),
  holdtimeseconds: number.optional(),
  keepalivetimeseconds: number.optional(),
  connecttimeseconds: number.optional(),
  ebgpmultihop: z.boolean().optional(),
  properties: z
    .array(
      z.strictObject({
        type: z.literal("ebgpMultiHop"),
        ebgpmultihop: z.strictObject({ ttl: number.optional() }).optional(),
      }),
    )
    .default([]),
  bfd: z
    .strictObject({
      receiveinterval: number.optional(),
      transmitinterval: number.optional(),
      detectmultiplier: number.optional(),
      sessionmode: z.enum(["Active", "Passive"]).optional(),
      minimumttl: number.optional(),
    })
    .nullish(),
  addressfamilies: z.array(family).default([]),
});

const device = z.discriminatedUnion("type", [
  z.strictObject({
    type: z.literal("NetworkDevice"),
    networkdevice: z.strictObject({ interfacename: text }),
  }),
  z.strictObject({
    type: z.literal("CNIDevice"),
    cnidevice: z.strictObject({
      type: z.literal("RawConfig"),
      rawconfig: z.record(z.string(), z.json()),
      interfacename: text.default("net1"),
      runtimeconfig: z.record(z.string(), z.json()).optional(),
    }),
  }),
]);

const underlay = z.strictObject({
  nodeselector: selector,
  asn: number,
  routeridcidr: text.optional(),
  neighbors: z.array(neighbor).default([]),
  interfaces: z.array(device).default([]),
  /** Before there were interfaces. */
  nics: z.array(text).default([]),
  tunnelendpoint: z
    .strictObject({ cidrs: z.array(text).default([]), interfacename: text.optional() })
    .optional(),
  /** Before there were tunnel endpoints. */
  evpn: z.strictObject({ vtepcidr: text.optional(), vtepinterface: text.optional() }).optional(),
  /** Before there was evpn. */
  vtepcidr: text.optional(),
  gracefulrestart: z
    .strictObject({
      restarttimeseconds: number.default(120),
      stalepathtimeseconds: number.default(360),
    })
    .nullish(),
  isis: z.unknown().optional(),
  srv6: z.unknown().optional(),
  routereflector: z.strictObject({ clusterid: text.optional() }).nullish(),
  /** Multus, before there were interfaces; refused by name. */
  networkattachmentdefinition: z.unknown().optional(),
});

const pool = z.strictObject({ ipv4: text.optional(), ipv6: text.optional() });

const session = z.strictObject({
  asn: number,
  hostasn: number.optional(),
  hosttype: side.optional(),
  localcidr: pool.default({}),
});

const endpointFamily = z.enum(["IPv4", "IPv6"]).optional();

const l3vni = z.strictObject({
  nodeselector: selector,
  vrf: text.optional(),
  vni: number,
  vxlanport: number.optional(),
  underlayaddressfamily: endpointFamily,
  hostsession: session.nullish(),
  exportrts: z.array(text).optional(),
  importrts: z.array(text).optional(),
});

const bridge = z.strictObject({
  lifecycle: z.enum(["Managed", "External"]).optional(),
  name: text.optional(),
  autocreate: z.boolean().optional(),
});

const l2vni = z.strictObject({
  nodeselector: selector,
  routingdomain: z
    .strictObject({
      type: z.enum(["L3VNI", "L3VPN"]),
      l3vni: z.strictObject({ name: text }).optional(),
      l3vpn: z.strictObject({ name: text }).optional(),
    })
    .nullish(),
  /** Before there were routing domains. */
  vrf: text.optional(),
  vni: number,
  vxlanport: number.optional(),
  underlayaddressfamily: endpointFamily,
  hostmaster: z
    .strictObject({
      type: z.enum(["LinuxBridge", "OVSBridge", "linux-bridge", "ovs-bridge", "bridge"]),
      linuxbridge: bridge.optional(),
      ovsbridge: bridge.optional(),
      name: text.optional(),
      autocreate: z.boolean().optional(),
    })
    .nullish(),
  gatewayips: z.array(text).default([]),
  l2gatewayips: z.array(text).default([]),
  l2gatewayip: text.optional(),
  exportrts: z.array(text).optional(),
  importrts: z.array(text).optional(),
});

const l3passthrough = z.strictObject({ nodeselector: selector, hostsession: session });

const nodeConfig = z.object({
  nodeindex: z
    .union([
      number,
      z.strictObject({
        index: number.optional(),
        interfacename: text.optional(),
        cidr: text.optional(),
      }),
    ])
    .optional(),
  nodeindexinterfacename: text.optional(),
});

const openPERouter = z.object({
  datapath: text.optional(),
  bgplistenlimit: number.optional(),
});

/** schemas are those of kinds that can be converted. */
export const schemas = {
  Underlay: underlay,
  L3VNI: l3vni,
  L2VNI: l2vni,
  L3Passthrough: l3passthrough,
  NodeConfig: nodeConfig,
  OpenPERouter: openPERouter,
} as const;

/** Wanted is what one of them is read to. */
export type Wanted<K extends keyof typeof schemas> = z.output<(typeof schemas)[K]>;

/** What is inside of these is not OpenPERouter's own, and stays as it is. */
const OPAQUE = new Set(["rawconfig", "runtimeconfig", "matchlabels"]);

function lowered(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(lowered);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => {
      const name = key.toLowerCase();
      return [name, OPAQUE.has(name) ? (inner as Json) : lowered(inner)];
    }),
  );
}

/** How OpenPERouter spells what may be missing. */
const SPELLED: Readonly<Record<string, string>> = {
  networkdevice: "networkDevice",
  cnidevice: "cniDevice",
  interfacename: "interfaceName",
  rawconfig: "rawConfig",
  linuxbridge: "linuxBridge",
  ovsbridge: "ovsBridge",
  hostsession: "hostSession",
};

/** fieldOf returns a path as it was written: `spec.neighbors[0].holdTimeSeconds`. */
export function fieldOf(spec: unknown, path: readonly PropertyKey[]): string {
  let here = spec;
  let field = "spec";
  for (const step of path) {
    if (typeof step === "number") field += `[${step}]`;
    else {
      const keys = typeof here === "object" && here !== null ? Object.keys(here) : [];
      const key =
        keys.find((one) => one.toLowerCase() === String(step).toLowerCase()) ??
        SPELLED[String(step)] ??
        String(step);
      field += `.${key}`;
      here = (here as Readonly<Record<string, unknown>> | null | undefined)?.[key];
      continue;
    }
    here = (here as readonly unknown[] | undefined)?.[step];
  }
  return field;
}

/** readSpec reads the spec of an object; undefined when there are problems, which name object and field, and no value: it might be a password. */
export function readSpec<K extends keyof typeof schemas>(
  kind: K,
  source: Source,
  problems: ManifestProblem[],
): Wanted<K> | undefined {
  const result = schemas[kind].safeParse(lowered(source.spec));
  if (result.success) return result.data as Wanted<K>;
  for (const issue of result.error.issues) {
    const paths =
      issue.code === "unrecognized_keys" ? issue.keys.map((key) => [...issue.path, key]) : [issue.path];
    for (const path of paths)
      problems.push({
        object: `${source.kind} "${source.name}"`,
        field: fieldOf(source.spec, path),
        problem:
          issue.code === "unrecognized_keys"
            ? "is no field that is known of OpenPERouter; remove it, or say what it means by fields that are"
            : issue.code === "invalid_type" && issue.message.endsWith("received undefined")
              ? "is missing; add it"
              : `cannot be read: ${issue.message}; write it as OpenPERouter has it`,
      });
  }
  return undefined;
}
