/** A node made by hand with ip(8), as the same bridge and VXLAN of a laboratory's underlay: `pod eth0 ── br ── vx ── nic`. */
import { addLink } from "../../src/netlink/mod.ts";
import type { Netns } from "../../src/sys/mod.ts";
import type { DomainLab } from "../../test/support/domain-lab.ts";

/** What VXLAN over IPv4 takes of the underlay's 1500 bytes. */
const MTU_BYTES = 1450;

/** HandNode lives in namespaces of the laboratory, which removes them. */
export class HandNode {
  readonly netns: Netns;
  readonly pod: Netns;
  readonly vxlan = "vx0";
  readonly bridge = "br0";
  readonly outside: string;
  /** Of the pod. */
  readonly inside: string;
  readonly mac: string;
  readonly #lab: DomainLab;

  /** `number` is the last byte of its addresses. */
  constructor(lab: DomainLab, { number, vni }: { readonly number: number; readonly vni: number }) {
    const { scratch } = lab;
    this.#lab = lab;
    this.netns = scratch.another();
    this.pod = scratch.another();
    this.outside = `192.0.2.${number}`;
    this.inside = `10.0.9.${number}`;
    this.mac = `0a:58:00:00:09:${number.toString(16).padStart(2, "0")}`;
    const peer = { name: "nic", netns: this.netns };
    const master = scratch.index("underlay");
    scratch.route.request(addLink({ name: `hand${number}`, type: "veth", peer, master, up: true }));
    this.#text(
      `ip address add ${this.outside}/24 dev nic`,
      "ip link set nic up",
      `ip link add ${this.bridge} type bridge mcast_snooping 0`,
      `ip link add ${this.vxlan} type vxlan id ${vni} local ${this.outside} dstport 4789 nolearning`,
      `ip link set ${this.vxlan} mtu ${MTU_BYTES} master ${this.bridge} up`,
      `ip link set ${this.bridge} up`,
      `ip link add port type veth peer name eth0 netns ${this.pod.path}`,
      `ip link set port mtu ${MTU_BYTES} master ${this.bridge} up`,
    );
    scratch.text(`ip link set eth0 address ${this.mac} mtu ${MTU_BYTES} up`, this.pod);
    scratch.text(`ip address add ${this.inside}/12 dev eth0`, this.pod);
  }

  /** know tells it where another one's pod is, as EVPN would. */
  know(other: HandNode): void {
    this.#text(
      `bridge fdb append 00:00:00:00:00:00 dev ${this.vxlan} dst ${other.outside}`,
      `bridge fdb replace ${other.mac} dev ${this.vxlan} dst ${other.outside} self master extern_learn`,
    );
  }

  #text(...commands: readonly string[]): void {
    for (const command of commands) this.#lab.scratch.text(command, this.netns);
  }
}
