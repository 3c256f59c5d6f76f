/** Route: a tunnel of a Gateway to one remote site: its networks, its gateways, and how keys are agreed on with them. */
import { z } from "zod";
import { formatIp, formatPrefix, type Ip, type Prefix, type PublicKey } from "../net/mod.ts";
import { type Json, present, withoutAbsent } from "./canonical.ts";
import { addressSchema, nameProblem, prefixSchema, publicKeySchema, wholeNumber } from "./scalars.ts";

/** RouteGateway is an address of the remote gateway, for one queue of ours. */
export interface RouteGateway {
  /** As it is seen from here: behind a NAT, the NAT's. */
  readonly ip: Ip;
  /** 1 to 65535. */
  readonly queue: number;
}

/** Route is a tunnel to a remote site, as the resource of kind Route says it. */
export interface Route {
  readonly name: string;
  /** Name of the Gateway that it belongs to. */
  readonly gateway: string;
  /** Networks of the remote site, of either family; one at least. */
  readonly prefixes: readonly Prefix[];
  /** Empty: the remote gateway calls. */
  readonly gateways: readonly RouteGateway[];
  /** Names the route in the exchange, the same on both ends: 256 to 4294967295. */
  readonly spi: number;
  /** `vita` for a gateway of Vita, else Causeway's own. */
  readonly exchange: "causeway" | "vita";
  /** Public key of the remote gateway. */
  readonly publicKey?: PublicKey;
  /** File on the node that has the pre-shared key; the key itself is in no resource. */
  readonly presharedKeyFile?: string;
  /** Absent: aes-256-gcm, or what Vita has. */
  readonly algorithm?: "aes-128-gcm" | "aes-256-gcm" | "chacha20-poly1305";
  /** When packets are carried in UDP; absent: where a NAT is in between, or never with Vita. */
  readonly encapsulation?: "auto" | "always" | "never";
}

const gatewaySchema = z
  .strictObject(
    { ip: addressSchema, queue: wholeNumber(1, 65535).optional() },
    { error: "is not a gateway; write {ip: 203.0.113.5}" },
  )
  .transform((given) => withoutAbsent(given));

const algorithms = ["aes-128-gcm", "aes-256-gcm", "chacha20-poly1305"] as const;
const encapsulations = ["auto", "always", "never"] as const;

/** The fields of `spec`. */
export const routeFields = {
  gateway: z.string().refine((name) => nameProblem(name) === undefined, { error: "is not a name" }),
  prefixes: z.array(prefixSchema()).min(1, "names no network; add one").max(1024),
  gateways: z.array(gatewaySchema).max(64).default([]),
  spi: wholeNumber(256, 0xffff_ffff),
  exchange: z.enum(["causeway", "vita"], { error: "is none of causeway, vita" }).default("causeway"),
  publicKey: publicKeySchema.optional(),
  presharedKeyFile: z
    .string()
    .max(4096, "is longer than a path can be (4096 bytes, PATH_MAX)")
    .regex(/^\/[!-~]+$/, "is not an absolute path; write it like /etc/causeway/tokyo.psk")
    .optional(),
  algorithm: z.enum(algorithms, { error: `is none of ${algorithms.join(", ")}` }).optional(),
  encapsulation: z.enum(encapsulations, { error: `is none of ${encapsulations.join(", ")}` }).optional(),
} as const;

type Report = (field: string, value: string, problem: string) => void;

function twice(texts: readonly string[]): number {
  return texts.findIndex((text, i) => texts.indexOf(text) < i);
}

function checkExchange(route: Route, report: Report): void {
  const never = "is not what Vita's exchange can agree on; remove it, or set exchange: causeway";
  if (route.exchange === "causeway") {
    if (route.publicKey === undefined && route.presharedKeyFile === undefined)
      report("spec.publicKey", "", "is missing, and presharedKeyFile too; add one of them");
    if (route.gateways.length === 0 && route.encapsulation === "never")
      report("spec.encapsulation", "never", "does not fit a gateway that calls; remove it, or add gateways");
    return;
  }
  if (route.presharedKeyFile === undefined) report("spec.presharedKeyFile", "", "is missing; add it");
  if (route.gateways.length === 0) report("spec.gateways", "", "names no gateway; add one");
  if (route.publicKey !== undefined) report("spec.publicKey", route.publicKey, never);
  if (route.algorithm !== undefined && route.algorithm !== "aes-128-gcm")
    report("spec.algorithm", route.algorithm, never);
  if (route.encapsulation !== undefined && route.encapsulation !== "never")
    report("spec.encapsulation", route.encapsulation, never);
}

/** routeFromSpec joins name and spec, and reports what does not fit together. */
export function routeFromSpec(
  name: string,
  spec: z.output<z.ZodObject<typeof routeFields>>,
  report: Report,
): Route {
  const route = withoutAbsent({
    name,
    ...spec,
    gateways: spec.gateways.map(({ ip, queue }, i): RouteGateway => ({ ip, queue: queue ?? i + 1 })),
  }) as Route;
  const prefix = twice(route.prefixes.map(formatPrefix));
  if (prefix >= 0)
    report(
      `spec.prefixes[${prefix}]`,
      formatPrefix(route.prefixes[prefix] as Prefix),
      "is there twice; keep one",
    );
  const address = twice(route.gateways.map(({ ip }) => formatIp(ip)));
  if (address >= 0)
    report(
      `spec.gateways[${address}].ip`,
      formatIp((route.gateways[address] as RouteGateway).ip),
      "is there twice; keep one",
    );
  const queue = twice(route.gateways.map((one) => `${one.queue}`));
  if (queue >= 0)
    report(
      `spec.gateways[${queue}].queue`,
      `${route.gateways[queue]?.queue}`,
      "is there twice; write another",
    );
  checkExchange(route, report);
  return route;
}

/** routeSpec returns the fields of `spec` as JSON. */
export function routeSpec(route: Route): { readonly [field: string]: Json } {
  return present({
    gateway: route.gateway,
    prefixes: route.prefixes.map(formatPrefix),
    gateways: route.gateways.map(({ ip, queue }) => ({ ip: formatIp(ip), queue })),
    spi: route.spi,
    exchange: route.exchange,
    publicKey: route.publicKey,
    presharedKeyFile: route.presharedKeyFile,
    algorithm: route.algorithm,
    encapsulation: route.encapsulation,
  });
}

/** routeExample is a manifest for the documentation, tested to be valid. */
export const routeExample = `apiVersion: causeway.network/v1alpha1
kind: Route
metadata:
  name: tokyo
spec:
  gateway: paris                               # the Gateway that it belongs to
  prefixes: [172.32.0.0/16, "fd00:32::/48"]    # what is there
  gateways:                                    # one for each queue; the others stand in for it
    - ip: 203.0.113.5                          # queue: 1; default: the place in this list
    - ip: 203.0.113.6
  spi: 1234                                    # the same at the other end
  exchange: causeway                           # default; or vita
  publicKey: HIgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw=
  presharedKeyFile: /etc/causeway/tokyo.psk    # beside publicKey, or in its place
`;
