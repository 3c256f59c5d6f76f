/**
 * What nodes of the edge's topology (edge-topology.ts) are told: manifests of OpenPERouter, which `causeway convert` makes ours. Each can be had in
 * today's words, and in those that its API had under the name before. What its API cannot say is added in our words by those who need it.
 */
import { runSync } from "../../src/sys/mod.ts";
import { SESSIONS, type Vrf, VNIS } from "./edge-topology-config.ts";
import { executable } from "./lab-needs.ts";

/** Words are those of OpenPERouter's API now, or as it was called once. */
type Words = "now" | "once";

const GROUPS = { now: "network.openperouter.io", once: "openpe.openperouter.github.io" } as const;

/** Fields were in small letters once. */
const object = (words: Words, kind: string, name: string, spec: string) => `---
apiVersion: ${GROUPS[words]}/v1alpha1
kind: ${kind}
metadata: {name: ${name}, namespace: openperouter-system}
spec: {${words === "now" ? spec : spec.toLowerCase()}}
`;

const hostSession = ({ net4, net6 }: { readonly net4: string; readonly net6?: string }) =>
  `hostSession: {asn: 64514, hostASN: 64515, localCIDR: {ipv4: ${net4}.0/24${net6 === undefined ? "" : `, ipv6: "${net6}::/64"`}}}`;

const device = (name: string) => `{type: NetworkDevice, networkDevice: {interfaceName: ${name}}}`;
const LINKS = {
  now: `interfaces: [${device("eth1")}, ${device("eth2")}], tunnelEndpoint: {cidrs: [100.65.0.0/24]}`,
  once: "nics: [eth1, eth2], evpn: {vtepCIDR: 100.65.0.0/24}",
} as const;

const neighbor = (address: string, asn: number, more = "") =>
  `{address: ${address}, asn: ${asn}, connectTimeSeconds: 1, holdTimeSeconds: 180, keepaliveTimeSeconds: 60${more}}`;

/** underlayText is the Underlay of all nodes, with the passthrough; `more` are further fields of the first ToR's session. */
export const underlayText = (words: Words, more = "") =>
  object(
    words,
    "Underlay",
    "rack",
    `asn: 64514, ${LINKS[words]}, gracefulRestart: {}, neighbors: [${neighbor("192.168.11.2", 64512, more)}, ${neighbor("192.168.12.2", 64513)}]`,
  ) + object(words, "L3Passthrough", "plain", hostSession(SESSIONS.plain));

/** l3vniText is an L3 domain with its host session; `more` are further fields. */
export const l3vniText = (words: Words, name: Vrf, more = "") =>
  object(words, "L3VNI", name, `vrf: ${name}, vni: ${VNIS[name]}, ${hostSession(SESSIONS[name])}${more}`);

/** ALL is what nodes are told: an Underlay, and both tenants. */
export const ALL = underlayText("now") + l3vniText("now", "red") + l3vniText("now", "blue");

/**
 * TARGETS is what node c is told instead: what it exports has the targets that the leaves' own routes have, and it imports those, in blue also what
 * other nodes export. FRR 8.4 forgets a router's Ethernet address when targets of its routes change: it has these from the beginning.
 */
export const TARGETS =
  underlayText("once") +
  l3vniText("once", "red", ", importRTs: ['64520:100'], exportRTs: ['64520:100', '64514:999']") +
  l3vniText("once", "blue", ", importRTs: ['64520:200', '64514:200'], exportRTs: ['64520:200']");

const web = (words: Words, more: string) =>
  object(words, "L2VNI", "web", `vni: 110, ${more}: [192.171.24.1/24, "2001:db8:171:24::1/64"]`);

/** WEB is an L2 domain of red's, with a bridge on the host. */
export const WEB = {
  now: web(
    "now",
    "routingDomain: {type: L3VNI, l3vni: {name: red}}, hostMaster: {type: LinuxBridge, linuxBridge: {lifecycle: Managed}}, gatewayIPs",
  ),
  once: web("once", "vrf: red, hostMaster: {type: bridge, autoCreate: true}, l2GatewayIPs"),
} as const;

/** As each is converted once: an emulated processor takes its time to start a program. */
const done = new Map<string, string>();

/** converted returns what `causeway convert` makes of manifests. */
export function converted(theirs: string): string {
  const before = done.get(theirs);
  if (before !== undefined) return before;
  const { status, stdout, stderr } = runSync([executable, "convert", "-"], { input: theirs });
  if (status !== 0) throw new Error(`causeway convert: ${stderr.trim()}`);
  done.set(theirs, stdout);
  return stdout;
}
