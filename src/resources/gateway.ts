/**
 * Gateway: joins the network of a site, or a VPC, with those of other sites over IPsec. It runs on one node; what it reaches is in its Routes.
 *
 * It says what Vita's configurations say (docs/gateway.md), in the form of the other resources.
 */
import { z } from "zod";
import { formatDurationMs, formatIp, formatMac, type Ip, ipEqual, type Mac } from "../net/mod.ts";
import { type Json, present, withoutAbsent } from "./canonical.ts";
import { durationSchema, ipSchema, linkSchema, macSchema, nameProblem, wholeNumber } from "./scalars.ts";

/** GatewayAddress is an address of a gateway, and its one neighbor on that link. */
export interface GatewayAddress {
  readonly ip: Ip;
  /** All packets that leave by this interface go there. */
  readonly nextHop: Ip;
  /** Absent: asked for by ARP or neighbor discovery. */
  readonly nextHopMac?: Mac;
  /** Of the public side: the address that a NAT shows for it. */
  readonly natIp?: Ip;
}

/** GatewayInterface is a network interface of a gateway, with an address of one family or of each. */
export interface GatewayInterface {
  /** Name of the interface, or its PCI address. */
  readonly interface?: string;
  readonly pci?: string;
  /** Absent: the interface's own. */
  readonly mac?: Mac;
  readonly address4?: GatewayAddress;
  readonly address6?: GatewayAddress;
}

/** PublicInterface is one on the side of other gateways, with a worker of its own. */
export interface PublicInterface extends GatewayInterface {
  /** 1 to 65535; other gateways name it for theirs. */
  readonly queue: number;
  /** Receive queue of the interface, from 1; absent: as `queue`. */
  readonly deviceQueue?: number;
}

/** Gateway is a gateway between sites, as the resource of kind Gateway says it. */
export interface Gateway {
  readonly name: string;
  /** Name of the node that runs it. */
  readonly node: string;
  /** Of private and vpc, one is there. */
  readonly private?: GatewayInterface;
  readonly vpc?: string;
  readonly public: readonly PublicInterface[];
  /** Largest inner packet. */
  readonly mtuBytes: number;
  /** Pads every inner packet to `mtuBytes`. */
  readonly tfc: boolean;
  /** UDP port of the key exchange, here and at other gateways. */
  readonly port: number;
  /** How long each half of an exchange may take; whole seconds. */
  readonly negotiationMs: number;
  /** When keys end; whole seconds. */
  readonly associationMs: number;
  /** After how many bytes or packets keys end; absent: as the algorithm allows. */
  readonly associationBytes?: number;
  readonly associationPackets?: number;
  /** Whether SAs are given by an operator (`causeway config add`), and none negotiated. */
  readonly dataPlane: boolean;
  readonly backend: "auto" | "kernel" | "user";
  /** Processors for the workers, in order of queues. */
  readonly cpus: readonly number[];
}

const PCI = /^([0-9a-f]{4}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-9a-f]$/i;
const ADDRESS = "is not an address with its next hop; write {ip: 192.0.2.1, nextHop: 192.0.2.254}";

const addressSchema = (family: 4 | 6, natIp: boolean) =>
  z
    .strictObject(
      {
        ip: ipSchema(family),
        nextHop: ipSchema(family),
        nextHopMac: macSchema.optional(),
        ...(natIp ? { natIp: ipSchema(family).optional() } : {}),
      },
      { error: ADDRESS },
    )
    .refine(
      ({ ip, nextHop }) => !ipEqual(ip, nextHop),
      "has itself as next hop; write its neighbor's address",
    )
    .transform((given): GatewayAddress => withoutAbsent(given) as GatewayAddress);

const interfaceFields = (natIp: boolean) => ({
  interface: linkSchema.optional(),
  pci: z
    .string()
    .regex(PCI, "is not a PCI address; write it like 0000:00:06.0")
    .transform((text) => text.toLowerCase())
    .optional(),
  mac: macSchema.optional(),
  address4: addressSchema(4, natIp).optional(),
  address6: addressSchema(6, natIp).optional(),
});

const WANTS = "is not an interface; write {interface: eth1, address4: {ip: …, nextHop: …}}";
const privateSchema = z
  .strictObject(interfaceFields(false), { error: WANTS })
  .transform((given): GatewayInterface => withoutAbsent(given));
const publicSchema = z
  .strictObject(
    {
      ...interfaceFields(true),
      queue: wholeNumber(1, 65535).optional(),
      deviceQueue: wholeNumber(1, 65535).optional(),
    },
    { error: WANTS },
  )
  .transform((given) => withoutAbsent(given));

const yes = z.boolean({ error: "is not true or false" });
const objectName = z.string().refine((name) => nameProblem(name) === undefined, { error: "is not a name" });
/** What JSON numbers carry exactly. */
const amount = wholeNumber(1, Number.MAX_SAFE_INTEGER);

/** The fields of `spec`. */
export const gatewayFields = {
  node: objectName,
  private: privateSchema.optional(),
  vpc: objectName.optional(),
  public: z.array(publicSchema).min(1, "names no interface; add one").max(64),
  mtuBytes: wholeNumber(0, 8923).default(8923),
  tfc: yes.default(false),
  port: wholeNumber(1, 65535).default(303),
  negotiationTime: durationSchema.default(5000),
  associationTime: durationSchema.default(600_000),
  associationBytes: amount.optional(),
  associationPackets: amount.optional(),
  dataPlane: yes.default(false),
  backend: z.enum(["auto", "kernel", "user"], { error: "is none of auto, kernel, user" }).default("auto"),
  cpus: z.array(wholeNumber(0, 4095)).max(64).default([]),
} as const;

type Report = (field: string, value: string, problem: string) => void;

function checkInterface(field: string, side: GatewayInterface, report: Report): void {
  if (side.interface === undefined && side.pci === undefined)
    report(`${field}.interface`, "", "is missing, and pci too; add one of them");
  if (side.interface !== undefined && side.pci !== undefined)
    report(`${field}.pci`, side.pci, "stands beside interface; keep one of them");
  if (side.address4 === undefined && side.address6 === undefined)
    report(`${field}.address4`, "", "is missing, and address6 too; add one of them");
}

function checkSeconds(field: string, ms: number, report: Report): void {
  if (ms % 1000 !== 0) report(field, formatDurationMs(ms), "is not whole seconds; write them like 5s");
  else if (ms / 1000 > 0xffff_ffff) report(field, formatDurationMs(ms), "is more than 4294967295s");
}

/** gatewayFromSpec joins name and spec, and reports what does not fit together. */
export function gatewayFromSpec(
  name: string,
  spec: z.output<z.ZodObject<typeof gatewayFields>>,
  report: Report,
): Gateway {
  const { negotiationTime, associationTime, public: given, ...rest } = spec;
  const gateway = withoutAbsent({
    name,
    ...rest,
    public: given.map((side, i): PublicInterface => ({ ...side, queue: side.queue ?? i + 1 })),
    negotiationMs: negotiationTime,
    associationMs: associationTime,
  }) as Gateway;
  checkSeconds("spec.negotiationTime", negotiationTime, report);
  checkSeconds("spec.associationTime", associationTime, report);
  if (gateway.private === undefined && gateway.vpc === undefined)
    report("spec.private", "", "is missing, and vpc too; add one of them");
  if (gateway.private !== undefined && gateway.vpc !== undefined)
    report("spec.vpc", gateway.vpc, "is the private side, and so is private; keep one of them");
  if (gateway.private !== undefined) checkInterface("spec.private", gateway.private, report);
  const queues = new Set<number>();
  gateway.public.forEach((side, i) => {
    checkInterface(`spec.public[${i}]`, side, report);
    if (queues.has(side.queue))
      report(`spec.public[${i}].queue`, `${side.queue}`, "is there twice; write another");
    queues.add(side.queue);
  });
  if (new Set(gateway.cpus).size < gateway.cpus.length)
    report("spec.cpus", gateway.cpus.join(", "), "names a processor twice; keep one");
  return gateway;
}

function addressJson(address: GatewayAddress): Json {
  const { ip, nextHop, nextHopMac, natIp } = address;
  return present({
    ip: formatIp(ip),
    nextHop: formatIp(nextHop),
    nextHopMac: nextHopMac && formatMac(nextHopMac),
    natIp: natIp && formatIp(natIp),
  });
}

function interfaceJson(side: GatewayInterface): { readonly [field: string]: Json } {
  return present({
    interface: side.interface,
    pci: side.pci,
    mac: side.mac && formatMac(side.mac),
    address4: side.address4 && addressJson(side.address4),
    address6: side.address6 && addressJson(side.address6),
  });
}

/** gatewaySpec returns the fields of `spec` as JSON. */
export function gatewaySpec(gateway: Gateway): { readonly [field: string]: Json } {
  return present({
    node: gateway.node,
    private: gateway.private && interfaceJson(gateway.private),
    vpc: gateway.vpc,
    public: gateway.public.map((side) =>
      present({ ...interfaceJson(side), queue: side.queue, deviceQueue: side.deviceQueue }),
    ),
    mtuBytes: gateway.mtuBytes,
    tfc: gateway.tfc,
    port: gateway.port,
    negotiationTime: formatDurationMs(gateway.negotiationMs),
    associationTime: formatDurationMs(gateway.associationMs),
    associationBytes: gateway.associationBytes,
    associationPackets: gateway.associationPackets,
    dataPlane: gateway.dataPlane,
    backend: gateway.backend,
    cpus: gateway.cpus.length === 0 ? undefined : [...gateway.cpus],
  });
}

/** gatewayExample is a manifest for the documentation, tested to be valid. */
export const gatewayExample = `apiVersion: causeway.network/v1alpha1
kind: Gateway
metadata:
  name: paris
spec:
  node: gw-paris                  # runs it
  private:                        # the side of the site
    interface: eth1
    address4: {ip: 172.31.1.20, nextHop: 172.31.0.1}
    address6: {ip: "fd00:31::20", nextHop: "fd00:31::1"}
  public:                         # the side of other gateways, one entry for each worker
    - interface: eth2
      deviceQueue: 1              # default: as queue, which is the place in this list
      address4: {ip: 172.31.1.30, nextHop: 172.31.0.1, natIp: 203.0.113.2}
    - interface: eth3
      deviceQueue: 1
      address4: {ip: 172.31.1.31, nextHop: 172.31.0.1, natIp: 203.0.113.3}
  mtuBytes: 1440                  # default: 8923
  associationTime: 10m            # default
  cpus: [2, 3]
`;
