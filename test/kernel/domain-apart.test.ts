/** Two VPCs with the same prefixes and the same addresses on the same hosts: all of one reach each other, and nothing crosses. */
import { describe, expect, test } from "bun:test";
import type { Domain } from "../../src/domain/mod.ts";
import { Rtnetlink } from "../../src/netlink/mod.ts";
import type { Netns } from "../../src/sys/mod.ts";
import { DomainLab, type Host, pings, segment, vpc } from "../support/domain-lab.ts";
import { FrameSocket } from "../support/frames.ts";
import { notRoot } from "../support/scratch.ts";

const suffix = notRoot === undefined ? "" : ` (skipped: ${notRoot})`;

interface Tenant {
  readonly domain: Domain;
  /** Sixteen bytes that every packet of the tenant carries. */
  readonly pattern: string;
  readonly pods: { readonly netns: Netns; readonly addresses: readonly string[] }[];
}

function tenant(index: number): Tenant {
  const nets = [1, 2].map((i) => segment(`net${i}`, 100 * index + i, [`10.1.${i}.0/24`, `fd00:1:${i}::/64`]));
  const domain = vpc(`tenant${index}`, 5000 + index, nets);
  return { domain, pattern: Buffer.from(`of tenant no. ${index} `).toString("hex"), pods: [] };
}

/** Frames that wait on a socket. */
function* frames(socket: FrameSocket): Iterable<Buffer> {
  for (let frame = socket.receive(0); frame !== undefined; frame = socket.receive(0))
    yield Buffer.from(frame);
}

function open(netns: Netns, link: string): FrameSocket {
  using route = Rtnetlink.open({ netns });
  return new FrameSocket(netns, route.link(link)?.index ?? 0);
}

/** The VNI of a VXLAN packet over IPv4 or IPv6. */
function vniOf(frame: Buffer): number | undefined {
  const udp = frame.readUInt16BE(12) === 0x0800 ? 34 : 54;
  return frame.readUInt16BE(udp + 2) === 4789 ? frame.readUIntBE(udp + 12, 3) : undefined;
}

for (const family of [4, 6] as const)
  describe.skipIf(notRoot !== undefined)(`two tenants over IPv${family}${suffix}`, () => {
    test("the same addresses, full matrix inside, nothing across", () => {
      using lab = new DomainLab({ family });
      const tenants = [tenant(1), tenant(2)];
      lab.setDomains(...tenants.map(({ domain }) => domain));
      const places: [Host, number, number][] = [
        [lab.host(1), 0, 10],
        [lab.host(2), 0, 11],
        [lab.host(1), 1, 10],
        [lab.host(2), 1, 11],
      ];
      for (const [at, { domain, pods }] of tenants.entries())
        for (const [host, net, last] of places) {
          const addresses = [`10.1.${net + 1}.${last}`, `fd00:1:${net + 1}::${last}`];
          const segment = domain.segments[net];
          if (segment === undefined) throw new Error("no segment");
          // The same Ethernet addresses too.
          const mac = 0x0a58_0000_1000 + 16 * net + last;
          const netns = lab.pod(host, `${at} ${net} ${last}`, { domain, segment, addresses, mac });
          pods.push({ netns, addresses });
        }
      const wire = open(lab.scratch.netns, "h1");
      const ears = tenants.map(({ pods }) => pods.map(({ netns }) => open(netns, "eth0")));
      const seen = new Map<string, Set<number>>();
      for (const { pods, pattern } of tenants)
        for (const { netns } of pods)
          for (const { addresses } of pods)
            for (const address of addresses) {
              expect([address, pings(netns, address, `-c 1 -W 2 -p ${pattern}`)]).toEqual([address, true]);
              for (const frame of frames(wire))
                for (const one of tenants)
                  if (frame.includes(Buffer.from(one.pattern, "hex")))
                    seen.set(one.pattern, (seen.get(one.pattern) ?? new Set()).add(vniOf(frame) ?? 0));
            }
      // What is asked for and not there is asked for inside as well.
      for (const { pods, pattern } of tenants)
        expect(pings(pods[0]?.netns as Netns, "10.1.1.77", `-c 1 -W 1 -p ${pattern}`)).toBe(false);
      for (const [at, { pattern, domain }] of tenants.entries()) {
        const own = [domain.vni, ...domain.segments.map(({ vni }) => vni)];
        expect([...(seen.get(pattern) ?? [])].filter((vni) => !own.includes(vni))).toEqual([]);
        expect(seen.get(pattern)?.size).toBeGreaterThan(1);
        const others = (ears[1 - at] ?? []).flatMap((ear) => [...frames(ear)]);
        expect(others.some((frame) => frame.includes(Buffer.from(pattern, "hex")))).toBe(false);
        expect(others.length).toBeGreaterThan(0);
      }
      expect(lab.hosts.flatMap(({ problems }) => problems)).toEqual([]);
      for (const socket of [wire, ...ears.flat()]) socket[Symbol.dispose]();
    });
  });
