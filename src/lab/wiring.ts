/**
 * Wiring: what each namespace of a laboratory holds, worked out from the topology before anything is made.
 *
 * Every network is a namespace with one bridge called `switch`; every box is a namespace whose interfaces are veth pairs,
 * with the far end, named after the box, plugged into that bridge.
 */
import { bitsOf, type InterfaceAddress, type Ip } from "../net/mod.ts";
import { blockUdpRuleset } from "./block-udp.ts";
import { LAB_TABLE, natRuleset } from "./nat.ts";
import { portMappingRuleset } from "./port-mapping.ts";
import { type LabRoute, realmsOf, routesOf } from "./realm.ts";
import { type Box, isNat, type NatBox, type Network, type Topology } from "./topology.ts";

/** The bridge of a network, in the network's namespace. */
export const SWITCH = "switch";

/** Segment is a network to be made. */
export interface Segment {
  readonly name: string;
  readonly mtuBytes: number;
  readonly delayMs?: number;
  /** Text for nft(8). */
  readonly ruleset?: string;
  /** File below /proc/sys and its value. */
  readonly sysctls: Readonly<Record<string, string>>;
}

/** Cable joins a box's interface to a segment. */
export interface Cable {
  readonly segment: string;
  readonly link: string;
  readonly mtuBytes: number;
  readonly addresses: readonly InterfaceAddress[];
}

/** WiredBox is a box to be made. */
export interface WiredBox {
  readonly name: string;
  readonly cables: readonly Cable[];
  readonly routes: readonly LabRoute[];
  /** Addresses of `lo`, beside its own. */
  readonly loopback: readonly InterfaceAddress[];
  readonly ruleset?: string;
  readonly sysctls: Readonly<Record<string, string>>;
}

/** Wiring is everything that `LabNetwork` makes. */
export interface Wiring {
  readonly segments: readonly Segment[];
  readonly boxes: readonly WiredBox[];
}

/** wiringOf works out the wiring of a topology. */
export function wiringOf(topology: Topology): Wiring {
  return {
    segments: topology.networks.map(segmentOf),
    boxes: topology.boxes.map((box) => wiredBox(topology, box)),
  };
}

function segmentOf({ name, mtuBytes, delayMs, lossBasisPoints }: Network): Segment {
  const ruleset =
    lossBasisPoints === undefined
      ? undefined
      : `table bridge ${LAB_TABLE} {
  chain lossy {
    type filter hook forward priority 0
    numgen random mod 10000 < ${lossBasisPoints} drop
  }
}
`;
  return {
    name,
    mtuBytes,
    // A wire has no addresses and says nothing by itself.
    sysctls: {
      "net/ipv6/conf/default/disable_ipv6": "1",
      "net/ipv6/conf/all/disable_ipv6": "1",
      // A bridge that looks for multicast routers would report itself as a snooper (224.0.0.106, RFC 4286).
      "net/ipv4/igmp_link_local_mcast_reports": "0",
    },
    ...(delayMs === undefined ? {} : { delayMs }),
    ...(ruleset === undefined ? {} : { ruleset }),
  };
}

function wiredBox(topology: Topology, box: Box): WiredBox {
  const mtu = new Map(topology.networks.map((network) => [network.name, network.mtuBytes]));
  const routes = box.kind === "router" || box.kind === "speaker";
  const filters = box.kind === "router" || isNat(box);
  const nat = isNat(box) ? rulesOf(box, insideOf(topology, box)) : "";
  const rules = `${nat}${filters && box.blockUdp === true ? blockUdpRuleset() : ""}`;
  return {
    name: box.name,
    cables: box.attachments.map(({ network, link, address4, address6 }) => ({
      segment: network,
      link,
      mtuBytes: mtu.get(network) ?? 1500,
      addresses: address6 === undefined ? [address4] : [address4, address6],
    })),
    routes: routesOf(topology, box),
    sysctls: {
      "net/ipv4/ip_forward": routes || isNat(box) ? "1" : "0",
      "net/ipv6/conf/all/forwarding": routes ? "1" : "0",
      "net/ipv6/conf/all/accept_ra": "0",
      "net/ipv6/conf/default/accept_ra": "0",
      // Addresses are known to be unique; looking for duplicates would delay the first packets by seconds.
      "net/ipv6/conf/default/accept_dad": "0",
      // Anybody may ping, as with unprivileged containers.
      "net/ipv4/ping_group_range": "0 2147483647",
    },
    loopback: box.kind === "speaker" ? box.loopback.map(hostAddress) : [],
    ...(rules === "" ? {} : { ruleset: rules }),
  };
}

function hostAddress(ip: Ip): InterfaceAddress {
  return { ip, length: bitsOf(ip.family) };
}

/** The addresses of all machines whose packets come to the inside of a NAT box. */
function rulesOf(nat: NatBox, inside: readonly Ip[]): string {
  return natRuleset(nat, inside) + (nat.portMapping ? portMappingRuleset() : "");
}

function insideOf(topology: Topology, nat: NatBox): Ip[] {
  const realm = realmsOf(topology);
  const inside = realm.get(nat.attachments[0].network);
  return topology.boxes
    .filter((box) => box !== nat)
    .flatMap((box) => box.attachments)
    .filter((attachment) => realm.get(attachment.network) === inside)
    .map((attachment) => attachment.address4.ip);
}
