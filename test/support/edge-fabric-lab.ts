/** Manifests and pods of two edges with a router of our own between them. */
import type { LocalAttachment } from "../../src/domain/mod.ts";
import { mac, parseIp } from "../../src/net/mod.ts";
import type { Netns } from "../../src/sys/mod.ts";
import type { EdgeLab, EdgeNode } from "./edge-lab.ts";
import { until } from "./evpn-cluster.ts";

/** underlayText is the Underlay of a node, 1 or 2, whose neighbor is EdgeLab.ours. */
export const underlayText = (asn: number, index: number) => `
apiVersion: causeway.network/v1alpha1
kind: Underlay
metadata: {name: rack}
spec:
  asn: ${asn}
  routerIds: 10.0.1${index}.0/24
  links: [{name: eth1}]
  neighbors: [{address: 192.168.1${index}.2, asn: 64512, connectRetry: 1s}]
  tunnelEndpoint: {prefixes: [100.65.0.${index}/32]}
`;

/** vpcText is a VPC in the fabric; `more` are fields of its underlay. */
export const vpcText = (name: string, vni: number, more = "") => `---
apiVersion: causeway.network/v1alpha1
kind: VPC
metadata: {name: ${name}}
spec:
  vni: ${vni}
  underlay: {${more}}
`;

/** subnetText is a Subnet `vpc.name` of it. */
export const subnetText = (name: string, vni: number, prefix: string) => `---
apiVersion: causeway.network/v1alpha1
kind: Subnet
metadata: {name: ${name}}
spec: {vpc: ${name.split(".")[0]}, vni: ${vni}, prefixes: [${prefix}]}
`;

let serial = 0;

/** attachPod attaches a pod with these addresses, and returns its namespace when it is up. */
export async function attachPod(
  lab: Pick<EdgeLab, "scratch">,
  node: EdgeNode,
  {
    domain,
    segment,
    addresses,
  }: { readonly domain: number; readonly segment: number; readonly addresses: readonly string[] },
): Promise<Netns> {
  const netns = lab.scratch.another();
  lab.scratch.text("ip link set lo up", netns);
  const number = ++serial;
  const attachment: LocalAttachment = {
    ...{ id: `pod${String(number).padStart(8, "0")}`, ifname: "eth0", mac: mac(0x0a58_0000_0000 + number) },
    ...{ domain, segment, addresses: addresses.map(parseIp), mtuBytes: 1500 },
    ...{ defaultRoute: true, groups: [] },
  };
  const place = node.edge.place(domain);
  place?.attach(attachment, netns);
  await until("the pod is up", async () => place?.missing(attachment, netns).length === 0);
  return netns;
}

/** bridgedMachine puts a machine with that address into a bridge of a node's host; the first address of its network is its gateway. */
export function bridgedMachine(
  lab: EdgeLab,
  node: EdgeNode,
  { bridge, address }: { readonly bridge: string; readonly address: string },
): Netns {
  const netns = lab.scratch.another();
  const port = `machine${++serial}`;
  node.text(`ip link add ${port} type veth peer name eth0 netns ${netns.path}`);
  node.text(`ip link set ${port} master ${bridge} up`);
  lab.scratch.text(`ip address add ${address}/24 dev eth0`, netns);
  lab.scratch.text("ip link set eth0 up", netns);
  lab.scratch.text(`ip route add default via ${address.replace(/\d+$/, "1")}`, netns);
  return netns;
}
