/** What changes under running traffic: pods and VTEPs move, routers come and go, domains are peered. */
import { describe, expect, test } from "bun:test";
import type { Remote } from "../../src/domain/mod.ts";
import { mac, parseIp, parsePrefix } from "../../src/net/mod.ts";
import { type Netns, runSync } from "../../src/sys/mod.ts";
import { DomainLab, pings, segment, vpc } from "../support/domain-lab.ts";
import { notRoot } from "../support/scratch.ts";

const suffix = notRoot === undefined ? "" : ` (skipped: ${notRoot})`;
const net = segment("net", 101, ["10.1.1.0/24", "fd00:1:1::/64"]);
const other = segment("other", 102, ["10.1.2.0/24"]);
const blue = vpc("blue", 5000, [net, other]);

describe.skipIf(notRoot !== undefined)(`domains that change${suffix}`, () => {
  test("an address moves between hosts: reached from its segment, from another, and at its new place", () => {
    using lab = new DomainLab({ hosts: 3 });
    lab.setDomains(blue);
    const [one, two, three] = [lab.host(1), lab.host(2), lab.host(3)];
    const vm = { domain: blue, segment: net, addresses: ["10.1.1.5"], mac: 0x0a58_0000_0555 };
    lab.pod(one, "vm", vm);
    const near = lab.pod(two, "near", { domain: blue, segment: net, addresses: ["10.1.1.11"] });
    const far = lab.pod(three, "far", { domain: blue, segment: other, addresses: ["10.1.2.12"] });
    for (const netns of [near, far]) expect(pings(netns, "10.1.1.5")).toBe(true);
    // It comes up at the second host while the first still announces it.
    const moved = lab.pod(two, "vm", vm);
    expect(pings(near, "10.1.1.5")).toBe(true);
    expect(pings(moved, "10.1.1.11")).toBe(true);
    expect(two.text("ip neigh show 10.1.1.5", 5000)).toContain("PERMANENT");
    lab.remove(one, "vm");
    for (const netns of [near, far]) expect(pings(netns, "10.1.1.5")).toBe(true);
    expect(pings(moved, "10.1.2.12")).toBe(true);
    // And back, by way of the third.
    lab.remove(two, "vm");
    expect(pings(near, "10.1.1.5")).toBe(false);
    const third = lab.pod(three, "vm", vm);
    for (const netns of [near, far]) expect(pings(netns, "10.1.1.5")).toBe(true);
    expect(pings(third, "10.1.1.11")).toBe(true);
    expect(lab.hosts.flatMap(({ problems }) => problems)).toEqual([]);
  });

  test("a pod that asked in vain is told when an address comes to be reachable", async () => {
    using lab = new DomainLab();
    lab.setDomains(blue);
    const [one, two] = [lab.host(1), lab.host(2)];
    const wish = (host: number) => ({ addresses: [`10.1.1.1${host}`, `fd00:1:1::1${host}`] });
    const asking = lab.pod(one, "asking", { domain: blue, segment: net, ...wish(1) });
    // It asks once, and then not for a minute.
    for (const family of ["ipv4", "ipv6"])
      for (const setting of ["mcast_solicit=1", "retrans_time_ms=60000"])
        runSync(["sysctl", "-qw", `net.${family}.neigh.eth0.${setting}`], { netns: asking });
    const { addresses } = wish(2);
    const ping = (address: string) =>
      asking.run(() => ({ child: Bun.spawn(["ping", "-n", "-c1", "-W30", "-w30", address]) })).child;
    const asks = addresses.map(ping);
    const neighbours = () => runSync(["ip", "neigh", "show"], { netns: asking }).stdout;
    for (const address of addresses)
      while (!neighbours().includes(`${address} dev eth0 INCOMPLETE`)) await Bun.sleep(5);
    lab.pod(two, "late", { domain: blue, segment: net, ...wish(2) });
    for (const child of asks) expect(await child.exited).toBe(0);
    expect(lab.hosts.flatMap(({ problems }) => problems)).toEqual([]);
  });

  test("of two pods with one address the last that came has it, and elsewhere is elsewhere for both", () => {
    using lab = new DomainLab();
    lab.setDomains(blue);
    const [one, two] = [lab.host(1), lab.host(2)];
    const vm = { domain: blue, segment: net, addresses: ["10.1.1.5"], mac: 0x0a58_0000_0555 };
    const near = lab.pod(one, "near", { domain: blue, segment: net, addresses: ["10.1.1.11"] });
    // By the time to live, who it is that answers.
    const mark = (netns: Netns, ttl: number) =>
      runSync(["sysctl", "-qw", `net.ipv4.ip_default_ttl=${ttl}`], { netns });
    const answer = () =>
      /ttl=(\d+)/.exec(runSync(["ping", "-n", "-c1", "-W1", "10.1.1.5"], { netns: near }).stdout)?.[1];
    mark(lab.pod(one, "first", vm), 101);
    expect(answer()).toBe("101");
    mark(lab.pod(one, "second", vm), 102);
    expect(answer()).toBe("102");
    lab.remove(one, "second");
    expect(answer()).toBe("101");
    mark(lab.pod(two, "first", vm), 103);
    const setElsewhere = (isElsewhere: boolean) =>
      one.domains.setElsewhere(net.vni, mac(vm.mac), isElsewhere);
    setElsewhere(true);
    expect(answer()).toBe("103");
    setElsewhere(false);
    expect(answer()).toBe("101");
    // It comes back as another pod, while the one that was here first still ends.
    setElsewhere(true);
    mark(lab.pod(one, "third", vm), 104);
    setElsewhere(false);
    expect(answer()).toBe("104");
    lab.remove(one, "third");
    expect(answer()).toBe("101");
    setElsewhere(true);
    lab.remove(one, "first");
    expect(answer()).toBe("103");
    expect([...one.problems, ...two.problems]).toEqual([]);
  });

  test("a detached pod's link goes although its segment stays", () => {
    using lab = new DomainLab({ hosts: 1 });
    lab.setDomains(blue);
    const one = lab.host(1);
    lab.pod(one, "stays", { domain: blue, segment: net, addresses: ["10.1.1.5"] });
    const netns = lab.pod(one, "goes", { domain: blue, segment: net, addresses: ["10.1.1.6"] });
    const before = one.text("ip -br link", 5000).split("\n").length;
    lab.remove(one, "goes");
    expect(one.text("ip -br link", 5000).split("\n").length).toBe(before - 1);
    expect(runSync(["ip", "link", "show", "eth0"], { netns }).status).not.toBe(0);
    expect(one.text("ip neigh", 5000)).not.toContain("10.1.1.6");
    // Half made is not made: the name inside is taken.
    const taken = { domain: blue, segment: net, addresses: ["10.1.1.7"], ifname: "lo" };
    expect(() => lab.pod(one, "taken", taken)).toThrow("EEXIST");
    expect(one.text("ip -br link", 5000).split("\n").length).toBe(before - 1);
    expect(one.domains.active()).toEqual({ domains: [5000], segments: [101] });
  });

  test("a VTEP gets another address", () => {
    using lab = new DomainLab();
    lab.setDomains(blue);
    const [one, two] = [lab.host(1), lab.host(2)];
    const a = lab.pod(one, "a", { domain: blue, segment: net, addresses: ["10.1.1.5", "fd00:1:1::5"] });
    lab.pod(two, "b", { domain: blue, segment: net, addresses: ["10.1.1.6", "fd00:1:1::6"] });
    lab.pod(two, "c", { domain: blue, segment: other, addresses: ["10.1.2.6"] });
    two.text("ip address add 192.0.2.22/24 dev nic");
    two.node = { ...two.node, vtep: parseIp("192.0.2.22") };
    two.domains.setNode(two.node);
    lab.sync();
    for (const address of ["10.1.1.6", "fd00:1:1::6", "10.1.2.6"])
      expect([address, pings(a, address)]).toEqual([address, true]);
    for (const table of ["ip route", "ip neigh", "bridge fdb show"])
      expect(one.text(table, 5000)).not.toMatch(/192\.0\.2\.2 /);
    expect(one.text("nft list set inet causeway vxlan4")).not.toMatch(/192\.0\.2\.2 /);
    expect([...one.problems, ...two.problems]).toEqual([]);
  });

  test("a network behind several routers is reached by all, one behind none ends here", () => {
    using lab = new DomainLab({ hosts: 3 });
    lab.setDomains(blue);
    const one = lab.host(1);
    const a = lab.pod(one, "a", { domain: blue, segment: net, addresses: ["10.1.1.5", "fd00:1:1::5"] });
    const hops = [lab.host(2), lab.host(3)].map(({ node, domains }) => ({
      vtep: node.vtep,
      routerMac: domains.routerMac,
    }));
    for (const text of ["10.77.0.0/16", "fd77::/32"]) {
      const remote: Remote = { kind: "prefix", vni: 5000, prefix: parsePrefix(text), hops };
      one.domains.apply([{ op: "set", remote }]);
    }
    const four = one.text("ip -4 route show 10.77.0.0/16", 5000);
    expect(four).toMatch(/via 192\.0\.2\.2 dev br5000.*onlink[^]*via 192\.0\.2\.3 dev br5000.*onlink/);
    const six = one.text("ip -6 route show fd77::/32", 5000);
    expect(six).toMatch(/via ::ffff:192\.0\.2\.2 dev br5000.*onlink[^]*via ::ffff:192\.0\.2\.3/);
    const nowhere = (address: string) =>
      runSync(["ping", "-n", "-c", "1", "-W", "1", address], { netns: a }).stdout;
    expect(nowhere("203.0.113.7")).toContain("From 10.1.1.1 icmp_seq=1 Destination");
    expect(nowhere("2001:db8::7")).toContain("From fd00:1:1::1 icmp_seq=1 Destination unreachable");
    expect(one.problems).toEqual([]);
  });

  test("a peered domain is here as long as the other one is used, and a kept one as long as it is asked for", () => {
    using lab = new DomainLab();
    const far = segment("far", 201, ["10.2.1.0/24"]);
    const peers = [
      vpc("blue", 5000, [net], { peerings: [{ with: 5001, prefixes: [parsePrefix("10.2.0.0/16")] }] }),
      vpc("red", 5001, [far], { peerings: [{ with: 5000, prefixes: [parsePrefix("10.1.0.0/16")] }] }),
    ] as const;
    lab.setDomains(...peers, vpc("green", 5002, []));
    const [one, two] = [lab.host(1), lab.host(2)];
    const told: string[] = [];
    one.domains.onActive(({ domains }) => void told.push(domains.join(" ")));
    lab.pod(two, "r", { domain: peers[1], segment: far, addresses: ["10.2.1.6"] });
    lab.pod(one, "b", { domain: peers[0], segment: net, addresses: ["10.1.1.5"] });
    expect(one.domains.active()).toEqual({ domains: [5000, 5001], segments: [101] });
    // What is in the other domain is known in its own namespace.
    lab.sync();
    expect(one.text("ip route get 10.2.1.6", 5001)).toContain("via 192.0.2.2 dev br5001");
    one.domains.keep(5002, "gateway");
    lab.remove(one, "b");
    expect(one.domains.active()).toEqual({ domains: [5002], segments: [] });
    one.domains.keep(5002, "gateway", false);
    expect(one.domains.active()).toEqual({ domains: [], segments: [] });
    expect(told).toEqual(["5000 5001", "5000 5001 5002", "5002", ""]);
    expect(one.problems).toEqual([]);
  });
});
