/** Thousands of hosts elsewhere, and many domains here: all of it is in the kernel, and one more costs what one costs. */
import { describe, expect, test } from "bun:test";
import type { Remote, RemoteChange } from "../../src/domain/mod.ts";
import { ip, mac, parseIp } from "../../src/net/mod.ts";
import { DomainLab, type Host, pings, segment, vpc } from "../support/domain-lab.ts";
import { LinkEvents } from "../support/link-events.ts";
import { notRoot } from "../support/scratch.ts";

const suffix = notRoot === undefined ? "" : ` (skipped: ${notRoot})`;
const COUNT = 2_000;

const near = segment("near", 101, ["10.0.0.0/12"]);
const far = segment("far", 102, ["10.16.0.0/12"]);
const domain = vpc("big", 5000, [near, far]);

function hosts(of: Host): Remote[] {
  const { vtep } = of.node;
  const { routerMac } = of.domains;
  return [near, far].flatMap(({ vni, prefixes }, at) =>
    Array.from({ length: COUNT }, (_, i): Remote => ({
      kind: "host",
      vni,
      mac: mac(0x0a59_0000_0000 + at * 0x10_0000 + i),
      ip: ip(4, (prefixes[0]?.value ?? 0n) + 256n + BigInt(i)),
      vtep,
      routerMac,
    })),
  );
}

const changes = (op: RemoteChange["op"], remotes: readonly Remote[]) =>
  remotes.map((remote): RemoteChange => ({ op, remote }));
const count = (text: string, word: string) => text.split("\n").filter((line) => line.includes(word)).length;

describe.skipIf(notRoot !== undefined)(`much that is elsewhere${suffix}`, () => {
  test(`${COUNT} hosts of a segment that is here and ${COUNT} of one that is not`, async () => {
    using lab = new DomainLab();
    lab.setDomains(domain);
    const [one, two] = [lab.host(1), lab.host(2)];
    lab.pod(one, "a", { domain, segment: near, addresses: ["10.0.0.2"] });
    const all = hosts(two);
    const shown = () => ({
      stations: count(one.text("bridge fdb show dev vx101", 5000), "dst"),
      learned: count(one.text("bridge fdb show br br101", 5000), "vx101 master"),
      neighbours: count(one.text("ip neigh show dev br101", 5000), "extern_learn"),
      routes: count(one.text("ip route", 5000), "dev br5000"),
      routers: count(one.text("ip neigh show dev br5000", 5000), "extern_learn"),
    });
    const before = shown();
    one.domains.apply(changes("set", all));
    const full = { stations: COUNT, neighbours: COUNT, routes: 2 * COUNT, routers: 1 };
    expect(shown()).toMatchObject(full);
    expect(one.domains.status()[0]).toMatchObject({ remote: { hosts: 2 * COUNT }, problems: [] });

    // Told again in another order, nothing changes; one more is one more.
    await using events = await LinkEvents.start(`${one.folder}/cw-5000`);
    one.domains.apply(changes("set", [...all].reverse()));
    const [sample] = all;
    if (sample?.kind !== "host") throw new Error("no host");
    const more: Remote = { ...sample, mac: mac(0x0a5a_0000_0001), ip: parseIp("10.1.1.1") };
    one.domains.apply(changes("set", [more]));
    one.domains.apply(changes("set", [{ ...more, vni: 102, ip: parseIp("10.17.1.1") }]));
    const seen = await events.stop();
    // The bridge's own entry is not among what ip-monitor(8) shows.
    expect(seen.map((line) => line.split(/ (?:proto|extern_learn)/)[0])).toEqual([
      "10.1.1.1 via 192.0.2.2 dev br5000",
      "192.0.2.2 dev vx101 lladdr 0a:5a:00:00:00:01",
      "10.1.1.1 dev br101 lladdr 0a:5a:00:00:00:01",
      "10.17.1.1 via 192.0.2.2 dev br5000",
    ]);

    // Its segment comes and goes: they are neighbours meanwhile, and routed all the time.
    lab.pod(one, "b", { domain, segment: far, addresses: ["10.16.0.2"] });
    one.domains.apply(changes("set", all));
    expect(count(one.text("ip neigh show dev br102", 5000), "extern_learn")).toBe(COUNT + 1);
    expect(shown().routes).toBe(2 * COUNT + 2);
    lab.remove(one, "b");
    one.domains.apply(changes("set", all));
    expect(shown().routes).toBe(2 * COUNT + 2);

    one.domains.apply(changes("remove", [...all, more, { ...more, vni: 102, ip: parseIp("10.17.1.1") }]));
    expect(shown()).toEqual(before);
    expect(one.problems).toEqual([]);
  });

  test("twenty domains of one pod each, with the same addresses", () => {
    using lab = new DomainLab();
    const many = Array.from({ length: 20 }, (_, i) =>
      vpc(`tenant${i}`, 6000 + i, [segment("net", 7000 + i, ["10.1.1.0/24", "fd00:1:1::/64"])]),
    );
    lab.setDomains(...many);
    const [one, two] = [lab.host(1), lab.host(2)];
    const pods = many.map((tenant, i) => {
      const [net] = tenant.segments;
      if (net === undefined) throw new Error("no segment");
      const wish = (last: number) => ({
        domain: tenant,
        segment: net,
        addresses: [`10.1.1.${last}`, `fd00:1:1::${last}`],
      });
      if (i % 10 === 0) lab.pod(two, `${i}`, wish(11));
      return lab.pod(one, `${i}`, wish(10));
    });
    expect(one.domains.active().domains).toHaveLength(20);
    for (const [i, netns] of pods.entries()) {
      if (i % 10 !== 0 && i % 10 !== 1) continue;
      expect([i, pings(netns, "10.1.1.11")]).toEqual([i, i % 10 === 0]);
    }
    for (let i = 0; i < 20; i++) lab.remove(one, `${i}`);
    expect(one.text(`ls ${one.folder}`)).toBe("");
    expect(one.text("ss -Hlun sport = 4789")).toBe("");
    expect([...one.problems, ...two.problems]).toEqual([]);
  });
});
