/** The agent stops and comes back: nobody notices, and what was done away with meanwhile goes once EVPN has told everything. */
import { describe, expect, test } from "bun:test";
import type { DomainHost } from "../../src/agent/domain-host.ts";
import { type Netns, removeNetns, runSync } from "../../src/sys/mod.ts";
import { DomainLab, pings, segment, vpc } from "../support/domain-lab.ts";
import { LinkEvents } from "../support/link-events.ts";
import { notRoot } from "../support/scratch.ts";
import { until } from "../support/tunnel-pair.ts";

const suffix = notRoot === undefined ? "" : ` (skipped: ${notRoot})`;

function world() {
  const lab = new DomainLab();
  const front = segment("front", 101, ["10.1.1.0/24", "fd00:1:1::/64"]);
  const back = segment("back", 102, ["10.1.2.0/24", "fd00:1:2::/64"]);
  const domain = vpc("blue", 5000, [front, back]);
  lab.setDomains(domain);
  const [one, two] = [lab.host(1), lab.host(2)];
  const a = lab.pod(one, "a", { domain, segment: front, addresses: ["10.1.1.10", "fd00:1:1::10"] });
  const b = lab.pod(two, "b", { domain, segment: front, addresses: ["10.1.1.11", "fd00:1:1::11"] });
  lab.pod(two, "c", { domain, segment: back, addresses: ["10.1.2.12", "fd00:1:2::12"] });
  return { lab, one, two, a, b, domain, front, back };
}

/** All steps at once. */
function settle(domains: DomainHost): void {
  for (const _ of domains.settling()) continue;
}

describe.skipIf(notRoot !== undefined)(`domains after a restart${suffix}`, () => {
  test("nothing changes, before EVPN has told and after", async () => {
    const { lab, one, a } = world();
    using _ = lab;
    const before = one.text("ip route", 5000);
    one.stop();
    await using inDomain = await LinkEvents.start(`${one.folder}/cw-5000`);
    await using onHost = await LinkEvents.start(one.netns.path);
    one.start();
    one.domains.setNode(one.node);
    lab.sync();
    settle(one.domains);
    expect(pings(a, "10.1.1.11")).toBe(true);
    expect(pings(a, "10.1.2.12")).toBe(true);
    expect(pings(a, "fd00:1:2::12")).toBe(true);
    expect(one.text("ip route", 5000)).toBe(before);
    expect(await inDomain.stop()).toEqual([]);
    expect(await onHost.stop()).toEqual([]);
    expect(one.problems).toEqual([]);
  });

  test("traffic goes on while EVPN has told nothing, and what it does not tell goes when it has told all", () => {
    const { lab, one, two, a } = world();
    using _ = lab;
    one.stop();
    one.start();
    expect(pings(a, "10.1.1.11")).toBe(true);
    expect(pings(a, "10.1.2.12")).toBe(true);
    expect(one.text("nft list set inet causeway vxlan4")).toContain("192.0.2.2 . 0x1388");
    two.stop();
    settle(one.domains);
    expect(one.text("ip route", 5000)).not.toContain("10.1.2.");
    expect(one.text("bridge fdb show dev vx101", 5000)).not.toContain("dst");
    expect(one.text("nft list set inet causeway vxlan4")).not.toContain("elements");
    expect(pings(a, "10.1.1.1")).toBe(true);
    expect(one.problems).toEqual([]);
    two.start();
  });

  test("a segment that is held before its pods are taken up, and of which the kernel refuses an address, stays as it is", async () => {
    const { lab, one, a } = world();
    using _ = lab;
    one.stop();
    one.text("sysctl -qw net.ipv6.conf.br101.disable_ipv6=1", 5000);
    await using inDomain = await LinkEvents.start(`${one.folder}/cw-5000`);
    one.start((adopt) => {
      one.domains.keep(5000, "edge");
      expect(one.domains.place(5000)?.hold(new Set([101]))).toEqual(new Map());
      adopt(one.attachments);
    });
    expect((await inDomain.stop()).filter((event) => event.includes("Deleted"))).toEqual([]);
    expect(pings(a, "10.1.1.11")).toBe(true);
    expect(one.problems[0]).toContain("Cannot add address fd00:1:1::1/64 on link br101");
  });

  test("a domain that the host refuses for a while keeps its pods, and takes them up later", async () => {
    const { lab, one, a } = world();
    using _ = lab;
    one.stop();
    await using inDomain = await LinkEvents.start(`${one.folder}/cw-5000`);
    const { rules } = one;
    one.rules = "chain vxlan {\n}";
    one.start((adopt) => {
      one.domains.keep(5000, "edge");
      adopt(one.attachments);
    });
    expect(one.domains.refused(5000)).toContain("Cannot guard UDP port 4789");
    expect(one.domains.active().domains).toEqual([]);
    expect(pings(a, "10.1.1.11")).toBe(true);
    one.engine.set("guard", [{ kind: "ruleset", family: "inet", text: rules }]);
    one.engine.apply("guard");
    one.domains.keep(5000, "edge");
    one.domains.adopt(one.attachments);
    expect(one.domains.refused(5000)).toBeUndefined();
    lab.sync();
    settle(one.domains);
    expect(pings(a, "10.1.1.11")).toBe(true);
    expect(pings(a, "10.1.2.12")).toBe(true);
    expect(await inDomain.stop()).toEqual([]);
  });

  test("pods of several VPCs are taken over, of which none has to do with another", async () => {
    const { lab, one, domain, a } = world();
    using _ = lab;
    const other = segment("other", 201, ["10.1.1.0/24"]);
    const red = vpc("red", 6000, [other]);
    lab.setDomains(domain, red);
    const pods = [11, 12].map((last) =>
      lab.pod(one, `red${last}`, { domain: red, segment: other, addresses: [`10.1.1.${last}`] }),
    );
    one.stop();
    await using inBlue = await LinkEvents.start(`${one.folder}/cw-5000`);
    await using inRed = await LinkEvents.start(`${one.folder}/cw-6000`);
    one.start();
    lab.sync();
    settle(one.domains);
    expect([pings(a, "10.1.1.11"), pings(pods[0] as Netns, "10.1.1.12")]).toEqual([true, true]);
    expect([await inBlue.stop(), await inRed.stop()]).toEqual([[], []]);
    expect([one.problems, one.late]).toEqual([[], 0]);
  });

  test("a domain that is not ours for a while: its pods' packets pass the guard, and later what is gone meanwhile goes", () => {
    const { lab, one, two, domain, a } = world();
    using _ = lab;
    const other = segment("other", 201, ["10.1.9.0/24"]);
    const red = vpc("red", 6000, [other]);
    lab.setDomains(domain, red);
    for (const [host, last] of [
      [one, 1],
      [two, 2],
    ] as const)
      lab.pod(host, `red${last}`, { domain: red, segment: other, addresses: [`10.1.9.1${last}`] });
    one.stop();
    const path = `${one.folder}/cw-5000`;
    expect(runSync(["mount", "--bind", "/proc/self/ns/net", path]).status).toBe(0);
    try {
      one.start();
      expect(one.domains.refused(5000)).toContain("cw-5000");
      two.pods.delete("c");
      lab.sync();
      settle(one.domains);
      expect(pings(a, "10.1.1.11")).toBe(true);
    } finally {
      expect(runSync(["umount", path]).status).toBe(0);
    }
    one.setDomains([domain, red]);
    expect([one.domains.refused(5000), one.late]).toEqual([undefined, 1]);
    expect(one.text("ip route", 5000)).toContain("10.1.2.12");
    lab.sync();
    settle(one.domains);
    expect(pings(a, "10.1.1.11")).toBe(true);
    expect(one.text("ip route", 5000)).not.toContain("10.1.2.12");
  });

  test("pods of a domain that is refused while they are taken over are taken up by themselves when it is not any more", async () => {
    const { lab, one, a } = world();
    using _ = lab;
    one.stop();
    await using inDomain = await LinkEvents.start(`${one.folder}/cw-5000`);
    const { rules } = one;
    one.rules = "chain vxlan {\n}";
    one.start();
    expect(one.domains.refused(5000)).toContain("Cannot guard UDP port 4789");
    expect(one.problems).toHaveLength(1);
    expect([one.domains.active().domains, one.domains.attachments(5000)]).toEqual([[], []]);
    expect(one.domains.missingStatus()).toMatchObject([
      { name: "blue", vni: 5000, problems: [expect.stringContaining("Cannot guard UDP port 4789")] },
    ]);
    expect(pings(a, "10.1.1.11")).toBe(true);
    one.engine.set("guard", [{ kind: "ruleset", family: "inet", text: rules }]);
    one.engine.apply("guard");
    await until("the domain is here", () => one.domains.refused(5000) === undefined);
    expect(one.domains.attachments(5000)).toEqual(one.attachments);
    expect([one.domains.missingStatus(), one.late]).toEqual([[], 1]);
    lab.sync();
    settle(one.domains);
    expect([pings(a, "10.1.1.11"), pings(a, "10.1.2.12")]).toEqual([true, true]);
    expect(one.problems).toHaveLength(1);
    expect((await inDomain.stop()).filter((event) => event.includes("Deleted"))).toEqual([]);
  }, 120_000);

  test("a pod that went meanwhile takes its segment with it, and the last one the namespace", () => {
    const { lab, two, domain, front } = world();
    using _ = lab;
    two.stop();
    two.pods.delete("c");
    two.start();
    expect(two.text("ip -br link", 5000)).toContain("br102");
    settle(two.domains);
    expect(two.text("ip -br link", 5000)).not.toContain("br102");
    two.stop();
    two.pods.clear();
    two.start();
    expect(two.text(`ls ${two.folder}`)).toBe("");
    // The VNIs are free again at once.
    const again = lab.pod(two, "again", { domain, segment: front, addresses: ["10.1.1.13"] });
    expect(pings(again, "10.1.1.10")).toBe(true);
  });

  test("a link that was made and never told of goes; one that was told of and is gone is a problem", () => {
    const { lab, one } = world();
    using _ = lab;
    one.text("ip link add cw0123456789a type veth peer name stray", 5000);
    const pod = one.pods.get("a")?.attachment;
    one.stop();
    one.text(`ip link del cw${pod?.id}`, 5000);
    one.start();
    expect(one.text("ip -br link", 5000)).not.toContain("cw0123456789a");
    expect(one.problems).toEqual([expect.stringContaining(`waits for cw${pod?.id}`)]);
    expect(one.domains.status()[0]?.problems).toHaveLength(2);
    lab.remove(one, "a");
    expect(one.domains.active()).toEqual({ domains: [], segments: [] });
  });

  test("a namespace of that name that is somebody else's stays as it is", () => {
    using lab = new DomainLab({ hosts: 1 });
    const net = segment("net", 101, ["10.1.1.0/24"]);
    const domain = vpc("blue", 5000, [net]);
    const [one] = lab.hosts;
    if (one === undefined) throw new Error("no host");
    lab.setDomains(domain);
    one.text(`touch ${one.folder}/cw-5000`);
    // An empty file is what a crash leaves.
    lab.pod(one, "a", { domain, segment: net, addresses: ["10.1.1.10"] });
    lab.remove(one, "a");
    one.text(`touch ${one.folder}/cw-5000`);
    one.text(`mount --bind ${lab.scratch.another().path} ${one.folder}/cw-5000`);
    // Nothing is in it, as after a crash of ours.
    lab.pod(one, "a", { domain, segment: net, addresses: ["10.1.1.10"] });
    lab.remove(one, "a");
    one.text(`touch ${one.folder}/cw-5000`);
    one.text(`mount --bind ${lab.scratch.another().path} ${one.folder}/cw-5000`);
    one.text("ip link add name br0 up type bridge", 5000);
    one.stop();
    one.start();
    expect(one.text("ip -br link", 5000)).toContain("br0");
    expect(() => lab.pod(one, "a", { domain, segment: net, addresses: ["10.1.1.10"] })).toThrow(
      "somebody else has one of that name",
    );
    expect(one.domains.active()).toEqual({ domains: [], segments: [] });
    removeNetns(`${one.folder}/cw-5000`);
  });
});
