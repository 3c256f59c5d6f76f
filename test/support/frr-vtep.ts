/**
 * FRR as a VTEP of VPC red, on a machine that is no node: the anycast gateway of subnet 5001, a subnet of its own (5003), the L3VNI 5000, and
 * networks behind its router that are no subnets.
 *
 * ```
 *  h1 10.1.0.200 ── br5001 ─ vx5001 ┐
 *  h3 10.3.0.5 ──── br5003 ─ vx5003 ┼─ eth0 10.77.0.10
 *  10.4.0.1 ─────── behind   vx5000 ┘
 * ```
 * In a VRF where the kernel has them, else in the machine's own tables.
 */
import type { Netns } from "../../src/sys/mod.ts";
import { Foreign } from "./bgp-foreign.ts";
import type { SmallMesh } from "./small-mesh.ts";
import { ip } from "./tunnel-pair.ts";

/** Where it is, and what its gateway of 5001 answers with: what the Subnet says. */
export const FRR = { address: "10.77.0.10", host: 10, gatewayMac: "02:00:00:00:13:89" } as const;

/** FrrRole is what it is for our nodes: a client of the hub's, or the reflector of all. */
export type FrrRole = "client" | "reflector";

const NEIGHBORS: Readonly<Record<FrrRole, string>> = {
  client: " neighbor 10.77.0.1 remote-as 64512",
  reflector: ` bgp cluster-id 10.77.0.10
 neighbor nodes peer-group
 neighbor nodes remote-as 64512
 bgp listen range 10.77.0.0/24 peer-group nodes`,
};
const ACTIVE: Readonly<Record<FrrRole, string>> = {
  client: "  neighbor 10.77.0.1 activate",
  reflector: "  neighbor nodes activate\n  neighbor nodes route-reflector-client",
};
const NETWORKS = ` address-family ipv4 unicast
  network 10.1.0.0/24
  network 10.3.0.0/24
  network 10.4.0.0/24
 exit-address-family
 address-family ipv6 unicast
  network fd00:1::/64
  network fd00:3::/64
  network fd00:4::/64
 exit-address-family`;
const ADVERTISE = "  advertise ipv4 unicast\n  advertise ipv6 unicast";

function configuration(role: FrrRole, vrf: boolean): string {
  const own = ` bgp router-id ${FRR.address}\n no bgp default ipv4-unicast\n no bgp network import-check`;
  const evpn = (...lines: string[]) =>
    [" address-family l2vpn evpn", ...lines, " exit-address-family"].join("\n");
  const main = ["router bgp 64512", own, " timers bgp 20 60", NEIGHBORS[role]];
  return (
    vrf
      ? [
          ...["vrf red", " vni 5000", "exit-vrf"],
          ...[...main, evpn(ACTIVE[role], "  advertise-all-vni")],
          ...["router bgp 64512 vrf red", own, NETWORKS, evpn(ADVERTISE)],
        ]
      : ["vni 5000", ...main, NETWORKS, evpn(ACTIVE[role], "  advertise-all-vni", ADVERTISE)]
  ).join("\n");
}

const bridge = (vni: number, mac: string) => `
link add br${vni} address ${mac} type bridge
link set br${vni} addrgenmode none
link add vx${vni} type vxlan id ${vni} local ${FRR.address} dstport 4789 nolearning
link set vx${vni} addrgenmode none master br${vni}
link set dev vx${vni} type bridge_slave learning off${vni === 5000 ? "" : " neigh_suppress on"}`;

const LINKS = `${bridge(5000, "02:00:00:00:50:10")}${bridge(5001, FRR.gatewayMac)}${bridge(5003, "02:00:00:00:13:8b")}
link add behind type bridge`;

/** Without an address of the link the kernel asks nobody for the neighbour of what it forwards. */
const ADDRESSES = `
address add fe80::5001/64 dev br5001 nodad
address add fe80::5003/64 dev br5003 nodad
address add 10.1.0.1/24 dev br5001
address add fd00:1::1/64 dev br5001 nodad
address add 10.3.0.1/24 dev br5003
address add fd00:3::1/64 dev br5003 nodad
address add 10.4.0.1/24 dev behind
address add fd00:4::1/64 dev behind nodad`;

const PORTS = "br5000 br5001 br5003 behind vx5000 vx5001 vx5003".split(" ");

/** plug takes a host's link up, with its addresses and the way to its gateway. */
export function plug(netns: Netns, vni: number, addresses: readonly string[]): void {
  const net = vni - 5000;
  ip(netns, "address flush dev net1");
  ip(netns, "link set net1 up");
  for (const one of addresses) ip(netns, `address add ${one} dev net1${one.includes(":") ? " nodad" : ""}`);
  ip(netns, `route add default via 10.${net}.0.1`);
  ip(netns, `-6 route add default via fd00:${net}::1`);
}

/** FrrVtep owns the daemons; namespaces are the mesh's. */
export class FrrVtep implements AsyncDisposable {
  readonly netns: Netns;
  readonly #mesh: SmallMesh;
  readonly #options: { readonly root: string; readonly vrf: boolean };
  #daemon: Foreign | undefined;

  constructor(mesh: SmallMesh, options: { readonly root: string; readonly vrf: boolean }) {
    this.#mesh = mesh;
    this.#options = options;
    this.netns = mesh.box("frr", FRR.host);
    const { vrf } = options;
    const masters = ["br5000", "br5001", "br5003", "behind"].map((link) => `link set ${link} master red`);
    const text = [
      ...(vrf ? ["link add red type vrf table 100", "link set red up"] : []),
      ...LINKS.split("\n"),
      ...(vrf ? masters : []),
      ...ADDRESSES.split("\n"),
      ...PORTS.map((link) => `link set ${link} up`),
    ];
    for (const line of text) if (line !== "") ip(this.netns, line);
    const router = ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"];
    this.netns.run(() => {
      for (const name of router) Bun.spawnSync(["sysctl", "-qw", `${name}=1`]);
    });
  }

  /** host makes a machine in one of its subnets, whose router is its gateway. */
  host(
    name: string,
    vni: number,
    address: { readonly mac?: string; readonly ips: readonly string[] },
  ): Netns {
    const netns = this.#mesh.netns(name);
    const there = `/proc/${process.pid}/fd/${netns.fd.number}`;
    ip(this.netns, `link add ${name} type veth peer name net1 netns ${there}`);
    ip(this.netns, `link set ${name} addrgenmode none master br${vni} up`);
    if (address.mac !== undefined) ip(netns, `link set net1 address ${address.mac}`);
    ip(netns, "link set lo up");
    plug(netns, vni, address.ips);
    return netns;
  }

  /** start starts the daemons in a role, anew where they run. */
  async start(role: FrrRole): Promise<void> {
    await this.#daemon?.[Symbol.asyncDispose]();
    const { root, vrf } = this.#options;
    this.#daemon = await Foreign.start("frr", { root, netns: this.netns, config: configuration(role, vrf) });
  }

  /** What it knows, for the message of a test that fails. */
  get state(): string {
    return this.#daemon?.ask("show bgp l2vpn evpn", "show evpn vni", "show bgp l2vpn evpn summary") ?? "";
  }

  /** routes returns the tenant's routes as its kernel has them. */
  routes(family: 4 | 6): string {
    return ip(this.netns, `-${family} route show${this.#options.vrf ? " vrf red" : ""}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#daemon?.[Symbol.asyncDispose]();
  }
}
