/** OpenPERouter's Underlay, with what others say of it, as ours. */
import type { Json } from "../resources/mod.ts";
import { nodesOf, poolOf, type Refuse, type Spec, written } from "./convert-fields.ts";
import type { Wanted } from "./convert-schema.ts";

type Underlay = Wanted<"Underlay">;
type Neighbor = Underlay["neighbors"][number];

/** Beside is what other objects say of all Underlays. */
export interface Beside {
  readonly namespace: string;
  readonly index: Json | undefined;
  readonly listenLimit: number | undefined;
  /** Host sessions of L3Passthroughs. */
  readonly hostSessions: readonly Json[];
}

const families = {
  ipv4unicast: "ipv4-unicast",
  ipv6unicast: "ipv6-unicast",
  evpn: "l2vpn-evpn",
} as const;

/** underlaySpec returns the spec of an Underlay; what cannot be is reported. */
export function underlaySpec(given: Underlay, beside: Beside, refuse: Refuse): Spec {
  for (const [field, what] of [
    ["isis", "IS-IS"],
    ["srv6", "SRv6"],
  ] as const)
    if (given[field] !== undefined && given[field] !== null)
      refuse([field], `is ${what}, which Causeway has not; remove it, and reach the fabric by BGP`);
  if (given.networkattachmentdefinition !== undefined)
    refuse(
      ["networkattachmentdefinition"],
      "is Multus' way to a link, which OpenPERouter has left, and Causeway has not; write interfaces, or a link of ours (macvlan with addressesFrom)",
    );
  const restart = given.gracefulrestart;
  const seconds = (count: number): Json => (count === 0 ? 0 : `${count}s`);
  return {
    nodes: nodesOf(given.nodeselector),
    asn: given.asn,
    routerIds: given.routeridcidr === undefined ? undefined : poolOf(given.routeridcidr),
    clusterId: given.routereflector?.clusterid,
    links: linksOf(given, refuse),
    neighbors: given.neighbors.map((neighbor, i) =>
      neighborOf(neighbor, beside, (path, problem) => refuse(["neighbors", i, ...path], problem)),
    ),
    tunnelEndpoint: endpointOf(given, refuse),
    // An empty object enables it, none does not.
    restartTime: restart === undefined || restart === null ? 0 : seconds(restart.restarttimeseconds),
    stalePathTime:
      restart === undefined || restart === null ? undefined : seconds(restart.stalepathtimeseconds),
    hostSessions: beside.hostSessions.length === 0 ? undefined : beside.hostSessions,
    index: beside.index,
  };
}

/** A letter first, as OpenPERouter has it. */
const NAME = /^[a-zA-Z][a-zA-Z0-9._-]{0,14}$/;

function linksOf({ interfaces, nics }: Underlay, refuse: Refuse): Json[] {
  if (interfaces.length > 0 && nics.length > 0) refuse(["nics"], "stands beside interfaces; keep those");
  const [first] = interfaces;
  const check = (name: string, path: readonly PropertyKey[]) => {
    if (!NAME.test(name))
      refuse(
        path,
        `${JSON.stringify(name)} is not the name of an interface; use at most 15 letters, digits, '.', '_' and '-', a letter first`,
      );
    return name;
  };
  return [
    ...nics.map((name, i): Json => ({ name: check(name, ["nics", i]) })),
    ...interfaces.map((one, i): Json => {
      const path = ["interfaces", i];
      if (one.type !== first?.type)
        refuse(
          [...path, "type"],
          "is another than that of the first; OpenPERouter takes NetworkDevice or CNIDevice, not both",
        );
      if (one.type === "NetworkDevice")
        return { name: check(one.networkdevice.interfacename, [...path, "networkdevice", "interfacename"]) };
      const { interfacename, rawconfig, runtimeconfig } = one.cnidevice;
      return {
        name: check(interfacename, [...path, "cnidevice", "interfacename"]),
        cni: written({ config: rawconfig, runtime: runtimeconfig }),
      };
    }),
  ];
}

function endpointOf({ tunnelendpoint, evpn, ...given }: Underlay, refuse: Refuse): Json | undefined {
  const first = tunnelendpoint !== undefined ? "tunnelEndpoint" : evpn !== undefined ? "evpn" : undefined;
  if (tunnelendpoint !== undefined && evpn !== undefined)
    refuse(["evpn"], "stands beside tunnelEndpoint; keep that");
  if (given.vtepcidr !== undefined && first !== undefined)
    refuse(["vtepcidr"], `stands beside ${first}; keep that`);
  if (tunnelendpoint !== undefined)
    return written({ prefixes: tunnelendpoint.cidrs.map(poolOf), link: tunnelendpoint.interfacename });
  const { vtepcidr = given.vtepcidr, vtepinterface } = evpn ?? {};
  if (vtepcidr !== undefined && vtepinterface !== undefined)
    refuse(["evpn", "vtepinterface"], "stands beside vtepCIDR; keep one of them");
  if (vtepcidr !== undefined) return { prefixes: [poolOf(vtepcidr)] };
  return vtepinterface === undefined ? undefined : { link: vtepinterface };
}

function neighborOf(given: Neighbor, beside: Beside, refuse: Refuse): Json {
  const { asn, type, properties, ebgpmultihop } = given;
  if (asn === undefined && type === undefined) refuse(["asn"], "is missing, and type too; write one of them");
  if (asn !== undefined && type !== undefined) refuse(["type"], "stands beside asn; keep one of them");
  if (given.password !== undefined)
    refuse(
      ["password"],
      "is a password in clear text, which is in none of Causeway's resources; put it into a Secret, and name that in passwordSecret",
    );
  const hop = properties.find((one) => one.type === "ebgpMultiHop");
  const secret = given.passwordsecret;
  const seconds = (count: number | undefined): Json | undefined =>
    count === undefined ? undefined : count === 0 ? 0 : `${count}s`;
  return written({
    address: given.address,
    link: given.interface,
    listen: given.listenrange === undefined ? undefined : poolOf(given.listenrange),
    limit: given.listenrange === undefined ? undefined : beside.listenLimit,
    asn: asn ?? type,
    port: given.port === 0 ? undefined : given.port,
    // FRR's own where no number is given.
    multihop: hop === undefined ? (ebgpmultihop === true ? 255 : undefined) : (hop.ebgpmultihop?.ttl ?? 255),
    password:
      secret === undefined
        ? undefined
        : { secret: { namespace: beside.namespace, name: secret.name, key: secret.key ?? "password" } },
    hold: seconds(given.holdtimeseconds),
    keepalive: seconds(given.keepalivetimeseconds),
    connectRetry: given.connecttimeseconds === undefined ? undefined : `${given.connecttimeseconds}s`,
    bfd: given.bfd === undefined || given.bfd === null ? undefined : bfdOf(given.bfd),
    families: familiesOf(given.addressfamilies, refuse),
  });
}

function bfdOf(given: NonNullable<Neighbor["bfd"]>): Json {
  const interval = (ms: number | undefined) => (ms === undefined ? undefined : `${ms}ms`);
  return written({
    transmit: interval(given.transmitinterval),
    receive: interval(given.receiveinterval),
    multiplier: given.detectmultiplier,
    passive: given.sessionmode === "Passive" ? true : undefined,
    minimumTtl: given.minimumttl,
  });
}

function familiesOf(given: Neighbor["addressfamilies"], refuse: Refuse): Json | undefined {
  if (given.length === 0) return undefined;
  const found: [string, Json][] = [];
  given.forEach(({ type, properties }, i) => {
    if (type === "ipv4vpn" || type === "ipv6vpn")
      return refuse(
        ["addressfamilies", i, "type"],
        `${type} is of L3VPNs (SRv6), which Causeway has not; remove it`,
      );
    const name = families[type];
    if (found.some(([other]) => other === name))
      return refuse(["addressfamilies", i, "type"], `${type} is there twice; keep one`);
    found.push([name, properties.length > 0 ? { routeReflectorClient: true } : {}]);
  });
  return Object.fromEntries(found);
}
