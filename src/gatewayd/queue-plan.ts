/** What a back-end is told of a gateway's queues: devices and addresses of each, from the model. */
import type { Device, GatewayModel, PublicModel, QueueModel, SideModel } from "../gateway/mod.ts";
import { tunnelAddresses, tunnelLink, tunnelMac } from "../domain/mod.ts";
import type { Ip, Mac } from "../net/mod.ts";
import type { SideAddress } from "../tunnel/gateway/mod.ts";
import { pciInterfaces } from "./pci-interfaces.ts";

/** SidePlan is one side of a queue: a receive queue of an interface, and its addresses. */
export interface SidePlan {
  readonly interface: string;
  /** That of IPv6, where it is another than that of IPv4. */
  readonly interface6?: string;
  /** From 0. */
  readonly deviceQueue: number;
  /** Absent: the interface's own. */
  readonly mac?: Mac;
  readonly four?: SideAddress;
  readonly six?: SideAddress;
}

/** QueuePlan is one queue; with a `problem` it cannot run whatever the machine has. */
export interface QueuePlan {
  readonly number: number;
  readonly cpu?: number;
  readonly sides: { readonly private: SidePlan; readonly public: SidePlan } | { readonly problem: string };
  /** Its own addresses, and its neighbours', also where its interfaces are not there. */
  readonly own: readonly Ip[];
  readonly mtuBytes: number;
  readonly tfc: boolean;
  /** UDP port of the exchange. */
  readonly port: number;
  /** Whether it asks for the private side's neighbour, for all queues. */
  readonly asksPrivate: boolean;
  /** VNI of the VPC that is its private side: what by the kernel the `if_id` is. */
  readonly vpc?: number;
}

function addressOf({ ip, nextHop, nextHopMac }: SideModel): SideAddress {
  return { ip, nextHop, ...(nextHopMac === undefined ? {} : { nextHopMac }) };
}

type InterfacesAt = NonNullable<PlanOptions["interfacesAt"]>;

/** Name of a device's interface, or why there is none. */
function nameOf(device: Device, interfacesAt: InterfacesAt): { readonly name: string } | string {
  if (device.kind === "interface") return device;
  if (device.kind === "none") return "is pci 00:00.0, which is none; give an ifname";
  const { address } = device;
  const [name, ...others] = interfacesAt(address);
  if (name === undefined)
    return `is at ${address} of the PCI bus, where the kernel has none; bind the card to its driver of the kernel, or give an ifname`;
  if (others.length > 0)
    return `is at ${address} of the PCI bus, where there are ${[name, ...others].join(" and ")}; give the ifname of one`;
  return { name };
}

/** One side of both families. A string is why there is none. */
function sideOf(
  name: string,
  deviceQueue: number,
  about: {
    readonly four: SideModel | undefined;
    readonly six: SideModel | undefined;
    readonly interfacesAt: InterfacesAt;
  },
): SidePlan | string {
  const { four, six } = about;
  const names: string[] = [];
  for (const { device } of [four, six].filter((side) => side !== undefined)) {
    const found = nameOf(device, about.interfacesAt);
    if (typeof found === "string") return `its ${name} interface ${found}`;
    names.push(found.name);
  }
  if (names.length === 0) return `there is no ${name} interface; add one`;
  const mac = four?.mac ?? six?.mac;
  return {
    interface: names[0] as string,
    ...(new Set(names).size > 1 && { interface6: names[1] as string }),
    deviceQueue,
    ...(mac === undefined ? {} : { mac }),
    ...(four === undefined ? {} : { four: addressOf(four) }),
    ...(six === undefined ? {} : { six: addressOf(six) }),
  };
}

function publicSide({ public4, public6 }: QueueModel, interfacesAt: InterfacesAt): SidePlan | string {
  const queues = [public4, public6].flatMap((side: PublicModel | undefined) => side?.deviceQueue ?? []);
  if (new Set(queues).size > 1) return "its families have two device-queues; give both the same";
  return sideOf("public", queues[0] ?? 0, { four: public4, six: public6, interfacesAt });
}

/** The leg that the agent makes of a VPC: both ends know each other. */
function legOf(vni: number, deviceQueue: number): SidePlan {
  const address = (family: 4 | 6): SideAddress => {
    const { inside, outside } = tunnelAddresses(vni, family);
    return { ip: outside, nextHop: inside, nextHopMac: tunnelMac(vni, "inside") };
  };
  const mac = tunnelMac(vni, "outside");
  return { interface: tunnelLink(vni), deviceQueue, mac, four: address(4), six: address(6) };
}

/** `place` is the queue's among all: a leg has as many queues as the gateway, whatever their numbers. */
function sidesOf(
  model: GatewayModel,
  queue: QueueModel,
  about: { readonly place: number; readonly vni: number | undefined; readonly interfacesAt: InterfacesAt },
): QueuePlan["sides"] {
  const { inside } = model;
  const { place, vni, interfacesAt } = about;
  if (inside.kind === "vpc") {
    if (vni === undefined)
      return {
        problem: `its side of VPC ${inside.vpc} is made by the agent, of Gateways in the register; put it there, or give a private interface`,
      };
    const outer = publicSide(queue, interfacesAt);
    return typeof outer === "string" ? { problem: outer } : { private: legOf(vni, place), public: outer };
  }
  const [four, six] = inside.kind === "none" ? [] : [inside.private4, inside.private6];
  const inner = sideOf("private", queue.number - 1, { four, six, interfacesAt });
  if (typeof inner === "string") return { problem: inner };
  const outer = publicSide(queue, interfacesAt);
  return typeof outer === "string" ? { problem: outer } : { private: inner, public: outer };
}

function ownOf({ inside }: GatewayModel, { public4, public6 }: QueueModel, vni: number | undefined): Ip[] {
  const leg = inside.kind === "vpc" && vni !== undefined ? legOf(vni, 0) : undefined;
  const inner = inside.kind === "interfaces" ? [inside.private4, inside.private6] : [leg?.four, leg?.six];
  return [...inner, public4, public6].flatMap((side) => (side === undefined ? [] : [side.ip, side.nextHop]));
}

/** PlanOptions are what a model does not say. */
export interface PlanOptions {
  /** Processors of the command line, which come before the configuration's. */
  readonly cpus: readonly number[];
  /** Its VPC's. */
  readonly vni?: number | undefined;
  /** Names of interfaces by their place on the PCI bus; default: the kernel's. */
  readonly interfacesAt?: (address: string) => readonly string[];
}

/** namesPlaces tells whether a model has interfaces by their place on the PCI bus: they may come, and get other names. */
export function namesPlaces({ inside, queues }: GatewayModel): boolean {
  const sides = inside.kind === "interfaces" ? [inside.private4, inside.private6] : [];
  return [...sides, ...queues.flatMap(({ public4, public6 }) => [public4, public6])].some(
    (side) => side?.device.kind === "pci",
  );
}

/** planQueues returns the queues of a model. */
export function planQueues(model: GatewayModel, options: PlanOptions): QueuePlan[] {
  const { cpus, vni, interfacesAt = pciInterfaces } = options;
  return model.queues.map((queue, index) => {
    const cpu = cpus[index] ?? (cpus.length > 0 ? undefined : model.cpus[index]);
    return {
      number: queue.number,
      ...(cpu === undefined ? {} : { cpu }),
      sides: sidesOf(model, queue, { place: index, vni, interfacesAt }),
      own: ownOf(model, queue, vni),
      mtuBytes: model.mtuBytes,
      tfc: model.padding,
      port: model.port,
      asksPrivate: index === 0,
      ...(model.inside.kind === "vpc" && vni !== undefined && { vpc: vni }),
    };
  });
}
