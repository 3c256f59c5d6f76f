/** Two site gateways whose packets the kernel's ESP carries: the list of behaviours that every back-end has, and its own. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { parseIp, parsePrefix } from "../../src/net/mod.ts";
import { XfrmGateway } from "../../src/tunnel/xfrm/mod.ts";
import { agree, associationOf, gatewaySuite, lead } from "../support/gateway-suite.ts";
import { kernelAlgorithms, lacksXfrm, XFRM_SITE_MTU, XfrmSites } from "../support/xfrm-sites.ts";

setDefaultTimeout(300_000);

gatewaySuite("site gateways by the kernel's ESP", {
  skip: lacksXfrm(),
  mtuBytes: XFRM_SITE_MTU,
  algorithms: kernelAlgorithms,
  make: () => new XfrmSites(),
});

const skip = lacksXfrm();

describe.skipIf(skip !== undefined)(
  `the kernel's ESP as a back-end${skip === undefined ? "" : ` (${skip})`}`,
  () => {
    const udp = { from: 4500, to: 4500 };
    const pinged = (sites: XfrmSites) =>
      sites.scratch.text("ping -n -c 3 -i 0.05 -W 2 10.10.2.2", sites.one.host);
    const kernelText = (sites: XfrmSites) =>
      ["xfrm state", "xfrm policy", "route show proto 68", "-6 route show proto 68"].map((words) =>
        sites.one.ip("gate", words),
      );

    test("ESP in UDP, and a remote gateway that moves: sequence numbers and window go on", async () => {
      using sites = new XfrmSites();
      const { one, two } = sites;
      lead(sites);
      const agreement = { spi: 500 };
      for (const [site, other] of [
        [one, two],
        [two, one],
      ] as const) {
        const to = parseIp(`192.0.2.${other.number}`);
        const association = associationOf(agreement, other.number);
        site.obey(
          { kind: "inbound", association: associationOf(agreement, site.number) },
          { kind: "outbound", association: { ...association, to, udp } },
          { kind: "move-outbound", route: "other", spi: association.spi },
        );
      }
      expect(pinged(sites)).toContain("3 received");
      expect(one.ip("gate", "xfrm state")).toContain("encap type espinudp sport 4500 dport 4500");
      // It has another address and goes without UDP now.
      two.ip("gate", "addr add 192.0.2.22/24 dev p0");
      const { four: _, ...rest } = two.sides.public;
      const four = { ip: parseIp("192.0.2.22"), nextHop: parseIp("192.0.2.1") };
      two.obey(
        { kind: "side", side: "public", configuration: { ...rest, four } },
        { kind: "endpoint", route: "other", spi: 501, to: parseIp("192.0.2.1") },
      );
      one.obey({ kind: "endpoint", route: "other", spi: 502, to: parseIp("192.0.2.22") });
      expect(pinged(sites)).toContain("3 received");
      const [out] = one.report().outbound;
      expect(out?.next).toBe((out?.packets as number) + 1);
      expect(out?.packets).toBeGreaterThanOrEqual(6);
      for (const site of [one, two])
        expect(site.report().inbound).toMatchObject([
          { packets: out?.packets as number, replayed: 0, decryptErrors: 0 },
        ]);
      const state = one.ip("gate", "xfrm state");
      expect(state).toContain("192.0.2.22");
      expect(state).not.toContain("espinudp");
    });

    test("with TFC all are as long as the MTU", () => {
      using sites = new XfrmSites();
      const { one } = sites;
      lead(sites);
      agree(sites, { spi: 600 });
      expect(pinged(sites)).toContain("3 received");
      one.obey({ kind: "mtu", mtuBytes: 1000, tfc: true });
      const sent = () => {
        const [counters] = sites.scratch.json("ip -j -s link show p0", one.gate);
        return { bytes: counters.stats64.tx.bytes, packets: counters.stats64.tx.packets };
      };
      const before = sent();
      expect(pinged(sites)).toContain("3 received");
      const after = sent();
      expect((after.bytes - before.bytes) / (after.packets - before.packets)).toBeGreaterThan(1000);
      expect(one.report().outbound).toMatchObject([{ packets: 6, next: 7 }]);
    });

    test("what cannot work is refused; what was made is removed, by its maker or by the next one", () => {
      using sites = new XfrmSites();
      const { one, two } = sites;
      const { gate } = one;
      lead(sites);
      agree(sites, { spi: 700 });
      expect(kernelText(sites).every((text) => text !== "")).toBe(true);
      // Another instance leaves it alone; the same one, after a process that was killed, does not.
      const tell = () => {};
      using other = new XfrmGateway({ netns: gate, tell, instance: 1 });
      expect(kernelText(sites).every((text) => text !== "")).toBe(true);
      using same = new XfrmGateway({ netns: gate, tell });
      expect(kernelText(sites)).toEqual(["", "", "", ""]);
      const queue = {
        private: one.sides.private,
        public: two.sides.public,
        linkIndex: one.linkIndex,
        mtuBytes: 1400,
      };
      expect(() => same.attach(0, queue)).toThrow("192.0.2.2");
      sites.scratch.text("sysctl -q -w net.ipv4.ip_forward=0", gate);
      expect(() => other.attach(0, { ...queue, public: one.sides.public })).toThrow("net.ipv4.ip_forward");
      sites.scratch.text("sysctl -q -w net.ipv4.ip_forward=1", gate);
      same.attach(0, { ...queue, public: one.sides.public });
      const route = (text: string) => () =>
        same.obey({ kind: "route", route: { name: "wide", prefixes: [parsePrefix(text)] } });
      expect(route("0.0.0.0/0")).toThrow("addresses of the gateway");
      route("10.99.0.0/16")();
      expect(kernelText(sites)[1]).toContain("dir out action block");
      same[Symbol.dispose]();
      expect(kernelText(sites)).toEqual(["", "", "", ""]);
    });
  },
);
