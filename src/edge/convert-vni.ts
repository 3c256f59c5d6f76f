/** OpenPERouter's L3VNI as a VPC with a host session, and its L2VNI as a Subnet. */
import { formatIp, formatMac, formatPrefix, mac, networkOf, tryParseInterfaceAddress } from "../net/mod.ts";
import type { Json } from "../resources/mod.ts";
import { familyOf, nodesOf, type Refuse, sessionOf, type Spec, written } from "./convert-fields.ts";
import type { Wanted } from "./convert-schema.ts";

type L3Vni = Wanted<"L3VNI">;
type L2Vni = Wanted<"L2VNI">;

/** None is what is said by an empty list, too. */
function targetsOf(targets: readonly string[] | undefined): readonly string[] | undefined {
  return targets === undefined || targets.length === 0 ? undefined : targets;
}

/** vpcSpec returns the spec of the VPC that an L3VNI is; `shared` are route targets that other L3VNIs have, too. */
export function vpcSpec(given: L3Vni, shared: ReadonlySet<string>, refuse: Refuse): Spec {
  const { vrf, vni, hostsession, importrts, exportrts } = given;
  if (vrf !== undefined && !/^[a-zA-Z][a-zA-Z0-9_-]{0,14}$/.test(vrf))
    refuse(
      ["vrf"],
      `${JSON.stringify(vrf)} is not the name of a VRF; use at most 15 letters, digits, '_' and '-', a letter first`,
    );
  const both = [...new Set([...(importrts ?? []), ...(exportrts ?? [])])].filter((one) => shared.has(one));
  return {
    vni,
    importTargets: targetsOf(importrts),
    exportTargets: targetsOf(exportrts),
    sharedTargets: both.length === 0 ? undefined : both,
    underlay: written({
      nodes: nodesOf(given.nodeselector),
      family: familyOf(given.underlayaddressfamily),
      port: given.vxlanport,
    }),
    hostSession:
      hostsession === undefined || hostsession === null
        ? undefined
        : written(sessionOf(hostsession, `host-e-${vni}`, refuse)),
  };
}

/** flatVpcSpec returns the spec of the VPC around an L2VNI that belongs to no routing domain. */
export function flatVpcSpec(given: L2Vni): Spec {
  return {
    routed: false,
    underlay: written({ nodes: nodesOf(given.nodeselector), family: familyOf(given.underlayaddressfamily) }),
  };
}

/** gatewaysOf returns the gateways of an L2VNI, as all versions of it spell them. */
export function gatewaysOf({ gatewayips, l2gatewayips, l2gatewayip }: L2Vni): readonly string[] {
  return [...gatewayips, ...l2gatewayips, ...(l2gatewayip ? [l2gatewayip] : [])];
}

/** Undefined where nothing is said. */
function someOf(spec: Spec): Json | undefined {
  const some = written(spec);
  return Object.keys(some).length === 0 ? undefined : some;
}

/** subnetSpec returns the spec of the Subnet that an L2VNI is. */
export function subnetSpec(given: L2Vni, vpc: string, refuse: Refuse): Spec {
  const { vni, importrts, exportrts } = given;
  const gateways = gatewaysOf(given).flatMap((text, i) => {
    const address = tryParseInterfaceAddress(text);
    if (address !== undefined) return [address];
    refuse(
      ["gatewayIPs", i],
      `${JSON.stringify(text)} is not an address with the length of its network; write it like 10.1.0.1/24`,
    );
    return [];
  });
  return {
    vpc,
    vni,
    prefixes: gateways.map((address) => formatPrefix(networkOf(address))),
    gateways: gateways.map(({ ip }) => formatIp(ip)),
    // The same on every node of either kind, so that machines may move between them.
    gatewayMac: gateways.length === 0 ? undefined : formatMac(mac(0x00f3 * 2 ** 32 + vni + 1)),
    port: given.vxlanport,
    importTargets: targetsOf(importrts),
    exportTargets: targetsOf(exportrts),
    underlay: someOf({
      nodes: nodesOf(given.nodeselector),
      family: familyOf(given.underlayaddressfamily),
    }),
    hostLink: `host-e-${vni}`,
    hostBridge: bridgeOf(given, refuse),
  };
}

const BRIDGES = {
  LinuxBridge: "linuxbridge",
  "linux-bridge": "linuxbridge",
  bridge: "linuxbridge",
  OVSBridge: "ovsbridge",
  "ovs-bridge": "ovsbridge",
} as const;

/** Undefined where the host's end is left to others. */
function bridgeOf({ hostmaster: master, vni }: L2Vni, refuse: Refuse): Json | undefined {
  if (master === undefined || master === null) return undefined;
  const at = (field: string) => ["hostmaster", field];
  const [own, other] =
    BRIDGES[master.type] === "ovsbridge"
      ? (["ovsbridge", "linuxbridge"] as const)
      : (["linuxbridge", "ovsbridge"] as const);
  if (master[other] !== undefined)
    refuse(at(other), `stands beside type ${master.type}; keep the one that is meant`);
  if (own === "ovsbridge") {
    refuse(at("type"), `${master.type} is Open vSwitch, which Causeway has not; use LinuxBridge`);
    return undefined;
  }
  const given = master.linuxbridge ?? { name: master.name, autocreate: master.autocreate };
  const lifecycle = "lifecycle" in given ? given.lifecycle : undefined;
  if (lifecycle === undefined && given.autocreate === undefined && given.name === undefined) {
    refuse(
      at(own),
      "says not whose the bridge is; write {lifecycle: Managed}, or {lifecycle: External, name: br0}",
    );
    return undefined;
  }
  const managed = lifecycle === undefined ? given.autocreate === true : lifecycle === "Managed";
  if (managed && given.name !== undefined)
    refuse(at(own), "has a name, and is made by OpenPERouter (Managed); remove one of the two");
  if (managed) return { name: `br-hs-${vni}` };
  if (given.name !== undefined) return { name: given.name, managed: false };
  refuse(at(own), "has no name, and is not made by OpenPERouter (External); add it");
  return undefined;
}
