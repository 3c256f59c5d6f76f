/** How large packets may be: what the underlay leaves, and what a router says to a pod that sends larger ones. */
import { describe, expect, test } from "bun:test";
import { runSync, type Netns } from "../../src/sys/mod.ts";
import { DomainLab, type Host, segment, vpc } from "../support/domain-lab.ts";
import { notRoot } from "../support/scratch.ts";

const suffix = notRoot === undefined ? "" : ` (skipped: ${notRoot})`;

/** IP and ICMP headers. */
const HEADERS = { 4: 28, 6: 48 } as const;

/** How many fragments a host has made, of IPv4 and IPv6. */
function fragmentsMade(host: Host): number[] {
  const [names, values] = host
    .text("cat /proc/net/snmp")
    .split("\n")
    .map((line) => line.split(" "));
  const six = /^Ip6FragCreates\s+(\d+)$/m.exec(host.text("cat /proc/net/snmp6"))?.[1];
  return [Number(values?.[names?.indexOf("FragCreates") ?? -1]), Number(six)];
}

function sends(netns: Netns, address: string, packetBytes: number): string {
  const family = address.includes(":") ? 6 : 4;
  const argv = `ping -n -c 1 -W 1 -M do -s ${packetBytes - HEADERS[family]} ${address}`.split(" ");
  const { stdout, stderr, status } = runSync(argv, { netns });
  return status === 0 ? "answered" : stdout + stderr;
}

describe.skipIf(notRoot !== undefined)(`sizes of packets${suffix}`, () => {
  for (const [family, mtuBytes] of [
    [4, 1370],
    [6, 1350],
  ] as const)
    test(`VXLAN over IPv${family} fits an underlay of 1420 bytes without fragments`, () => {
      using lab = new DomainLab({ family, underlayMtuBytes: 1420 });
      const net = segment("net", 101, ["10.1.1.0/24"]);
      const far = segment("far", 102, ["10.1.2.0/24"]);
      const domain = vpc("blue", 5000, [net, far]);
      lab.setDomains(domain);
      const a = lab.pod(lab.host(1), "a", { domain, segment: net, addresses: ["10.1.1.10"] });
      lab.pod(lab.host(2), "b", { domain, segment: net, addresses: ["10.1.1.11"] });
      lab.pod(lab.host(2), "c", { domain, segment: far, addresses: ["10.1.2.11"] });
      for (const address of ["10.1.1.11", "10.1.2.11"]) {
        expect(sends(a, address, mtuBytes)).toBe("answered");
        expect(sends(a, address, mtuBytes + 1)).toContain(`message too long, mtu=${mtuBytes}`);
      }
      expect(fragmentsMade(lab.host(1))).toEqual([0, 0]);
      expect(lab.host(1).domains.status()[0]?.segments).toMatchObject([{ name: "net", mtuBytes }]);
    });

  test("it is heard also where the address that it speaks from is that of the pod's own router", () => {
    using lab = new DomainLab();
    const both = segment("both", 101, ["10.1.1.0/24", "fd00:1:1::/64"]);
    const wide = segment("wide", 102, ["10.1.2.0/24", "fd00:1:2::/64"]);
    const tight = segment("tight", 103, ["10.1.3.0/24", "fd00:1:3::/64"], { mtuBytes: 1300 });
    const domain = vpc("blue", 5000, [both, wide, tight]);
    lab.setDomains(domain);
    const [one, two] = [lab.host(1), lab.host(2)];
    // The second host's router has no way to `wide` by an own address, and takes the first that it has.
    lab.pod(two, "beside", { domain, segment: both, addresses: ["10.1.1.11", "fd00:1:1::11"] });
    lab.pod(two, "far", {
      ...{ domain, segment: tight, mtuBytes: 1300 },
      addresses: ["10.1.3.11", "fd00:1:3::11"],
    });
    lab.pod(one, "here", { domain, segment: both, addresses: ["10.1.1.10", "fd00:1:1::10"] });
    const a = lab.pod(one, "a", { domain, segment: wide, addresses: ["10.1.2.10", "fd00:1:2::10"] });
    for (const address of ["10.1.3.11", "fd00:1:3::11"])
      expect(sends(a, address, 1301)).toMatch(/From .*mtu ?= ?1300/);
  });

  test("a router tells a pod of the smaller segment's size, on this host and on another", () => {
    using lab = new DomainLab();
    const wide = segment("wide", 101, ["10.1.1.0/24", "fd00:1:1::/64"]);
    const tight = segment("tight", 102, ["10.1.2.0/24", "fd00:1:2::/64"], { mtuBytes: 1300 });
    const domain = vpc("blue", 5000, [wide, tight]);
    lab.setDomains(domain);
    const [one, two] = [lab.host(1), lab.host(2)];
    const a = lab.pod(one, "a", { domain, segment: wide, addresses: ["10.1.1.10", "fd00:1:1::10"] });
    const tightPod = { domain, segment: tight, mtuBytes: 1300 };
    // Its segment is not on the first host: the second one's router has to say so.
    lab.pod(two, "far", { ...tightPod, addresses: ["10.1.2.11", "fd00:1:2::11"] });
    for (const address of ["10.1.2.11", "fd00:1:2::11"]) {
      expect(sends(a, address, 1300)).toBe("answered");
      expect(sends(a, address, 1301)).toMatch(/mtu ?= ?1300/);
    }
    lab.pod(one, "near", { ...tightPod, addresses: ["10.1.2.12", "fd00:1:2::12"] });
    for (const address of ["10.1.2.12", "fd00:1:2::12"]) {
      expect(sends(a, address, 1300)).toBe("answered");
      expect(sends(a, address, 1301)).toMatch(/mtu ?= ?1300/);
    }
  });

  for (const family of [4, 6] as const)
    test(`a smaller underlay over IPv${family} makes what is here smaller, and pods that were there before are told`, () => {
      using lab = new DomainLab({ family });
      const wide = segment("wide", 101, ["10.1.1.0/24", "fd00:1:1::/64"]);
      const far = segment("far", 102, ["10.1.2.0/24"]);
      const domain = vpc("blue", 5000, [wide, far]);
      lab.setDomains(domain);
      const [one, two] = [lab.host(1), lab.host(2)];
      const a = lab.pod(one, "a", { domain, segment: wide, addresses: ["10.1.1.10", "fd00:1:1::10"] });
      lab.pod(two, "b", { domain, segment: far, addresses: ["10.1.2.11"] });
      lab.pod(two, "c", { domain, segment: wide, addresses: ["10.1.1.11", "fd00:1:1::11"] });
      for (const host of lab.hosts) {
        host.text("ip link set nic mtu 1400");
        host.domains.setNode({ ...host.node, underlayMtuBytes: 1400 });
      }
      const mtuBytes = family === 4 ? 1350 : 1330;
      expect(one.text("ip -o link show br5000", 5000)).toContain(`mtu ${mtuBytes} `);
      // The router says so between segments, VXLAN itself within one.
      for (const address of ["10.1.2.11", "10.1.1.11", "fd00:1:1::11"]) {
        const said = sends(a, address, mtuBytes + 1);
        expect([address, said.match(/mtu ?= ?(\d+)/)?.[1]]).toEqual([address, `${mtuBytes}`]);
        expect(sends(a, address, mtuBytes)).toBe("answered");
      }
    });
});
