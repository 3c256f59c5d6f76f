/** What a pod asks for of private networks, from the configuration, from its annotations, and from what it is. */
import { parseIp } from "../net/mod.ts";
import type { Configuration, PodName } from "./configuration.ts";
import { CniError } from "./error.ts";
import type { PodFacts } from "./pod-facts.ts";
import { stationMac } from "./requested.ts";
import type { Result } from "./result.ts";
import { checkGroups, checkOwner, checkResource } from "./vpc-configuration.ts";
import type { VpcWish } from "./vpc-network.ts";

/** ANNOTATIONS of pods; those of its namespace count where a pod has none. */
export const ANNOTATIONS = {
  /** Name of the VPC that is the pod's primary network. */
  vpc: "causeway.network/vpc",
  subnet: "causeway.network/subnet",
  /** Names of SecurityGroups, separated by commas. */
  groups: "causeway.network/groups",
  /** Addresses that it must have, separated by commas. */
  ips: "causeway.network/ips",
  mac: "causeway.network/mac",
  /** Identity that keeps addresses when the pod is replaced. */
  owner: "causeway.network/owner",
} as const;

/** KubeVirt's label of the pod that a virtual machine runs in; the machine's next pod has the same. */
const VIRTUAL_MACHINE = "vm.kubevirt.io/name";

/** PRIMARY_LINK is the interface of the pod's VPC, where that is its primary network. */
export const PRIMARY_LINK = "vpc0";

/** secondaryWish returns what a configuration of a private network asks for. */
export function secondaryWish(
  { vpc = {}, pod }: Pick<Configuration, "vpc" | "pod">,
  around: {
    readonly ifname: string;
    readonly facts: PodFacts | undefined;
    readonly ipam: Result | undefined;
  },
): VpcWish {
  const { ifname, facts, ipam } = around;
  const { vpc: name, subnet, vni, dstPort, mac, mtuBytes, groups = [] } = vpc;
  const addresses = ipam?.addresses.map(({ address }) => address) ?? vpc.addresses;
  const owner = ownerOf(vpc.owner, pod) ?? machineOf(pod, facts, ifname);
  return {
    ...(name !== undefined && { vpc: name }),
    ...(subnet !== undefined && { subnet }),
    ...(vni !== undefined && { vni }),
    ...(dstPort !== undefined && { dstPort }),
    ...(addresses !== undefined && { addresses }),
    ...(mac !== undefined && { mac }),
    ...(mtuBytes !== undefined && { mtuBytes }),
    defaultRoute: vpc.defaultRoute ?? ifname === "eth0",
    groups,
    ...(owner !== undefined && { owner }),
    ...(pod !== undefined && {
      pod: { namespace: pod.namespace, name: pod.name, labels: facts?.labels ?? {} },
    }),
  };
}

/** primaryWish returns the private network that is to be a pod's primary one; undefined for a pod of the default network. */
export function primaryWish(pod: PodName, facts: PodFacts): VpcWish | undefined {
  const { annotations, labels } = facts;
  const vpc = annotations[ANNOTATIONS.vpc];
  if (vpc === undefined || vpc === "") return undefined;
  const refuse = (key: string, why: string) =>
    new CniError(
      "badConfiguration",
      `Cannot use the annotation ${key} of pod ${pod.namespace}/${pod.name}: ${why}`,
      {
        details: `${key} is ${JSON.stringify(annotations[key])}`,
      },
    );
  const read = <T>(key: string, parse: (text: string) => T | undefined, what: string): T | undefined => {
    const text = annotations[key];
    if (text === undefined || text === "") return undefined;
    let value: T | undefined;
    try {
      value = parse(text);
    } catch {
      value = undefined;
    }
    if (value === undefined) throw refuse(key, `it is not ${what}`);
    return value;
  };
  const list = (text: string) =>
    text
      .split(",")
      .map((item) => item.trim())
      .filter(Boolean);
  const name = "a resource's name: small letters, digits, - and .";
  const subnet = read(ANNOTATIONS.subnet, checkResource, name);
  const groups = read(ANNOTATIONS.groups, (text) => checkGroups(list(text)), "a list of SecurityGroups");
  const ips = read(ANNOTATIONS.ips, (text) => list(text).map(parseIp), "a list of addresses");
  const mac = read(ANNOTATIONS.mac, stationMac, "the MAC address of one station");
  const owner =
    ownerOf(read(ANNOTATIONS.owner, checkOwner, "a short printable text"), pod) ??
    machineOf(pod, facts, PRIMARY_LINK);
  return {
    vpc: read(ANNOTATIONS.vpc, checkResource, name) ?? vpc,
    ...(subnet !== undefined && { subnet }),
    ...(ips !== undefined && { addresses: ips.map((ip) => ({ ip, length: ip.family === 4 ? 32 : 128 })) }),
    ...(mac !== undefined && { mac }),
    defaultRoute: true,
    groups: groups ?? [],
    ...(owner !== undefined && { owner }),
    pod: { namespace: pod.namespace, name: pod.name, labels },
  };
}

/** What pods say is of their namespace: another one's machines keep their addresses. */
function ownerOf(given: string | undefined, pod: PodName | undefined): string | undefined {
  if (given === undefined || pod === undefined) return given;
  const home = /^vm ([^/]*)\//.exec(given)?.[1];
  if (home === undefined) return `${pod.namespace}/${given}`;
  if (home === pod.namespace) return given;
  throw new CniError(
    "badConfiguration",
    `Cannot use owner "${given}": it is a machine of namespace ${home}, and the pod is of ${pod.namespace}; name one of ${pod.namespace}`,
  );
}

/** A machine may have several interfaces in one subnet, whose names are the same in each of its pods. */
function machineOf(
  pod: PodName | undefined,
  facts: PodFacts | undefined,
  ifname: string,
): string | undefined {
  const machine = facts?.labels[VIRTUAL_MACHINE];
  return pod === undefined || machine === undefined ? undefined : `vm ${pod.namespace}/${machine} ${ifname}`;
}
