/** Two site gateways whose packets the kernel's ESP carries: the list of behaviours that every back-end has, and its own. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
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
    let sites: XfrmSites;
    beforeAll(() => {
      sites = new XfrmSites();
      lead(sites);
    });
    afterAll(() => sites?.[Symbol.dispose]());

    const pinged = () => sites.scratch.text("ping -n -c 3 -i 0.05 -W 2 10.10.2.2", sites.one.host);
    const kernelText = () =>
      ["xfrm state", "xfrm policy", "route show proto 68", "-6 route show proto 68"].map((words) =>
        sites.one.ip("gate", words),
      );

    test("with TFC all are as long as the MTU", () => {
      const { one } = sites;
      agree(sites, { spi: 600 });
      expect(pinged()).toContain("3 received");
      one.obey({ kind: "mtu", mtuBytes: 1000, tfc: true });
      const sent = () => sites.scratch.json("ip -j -s link show p0", one.gate)[0].stats64.tx.bytes;
      const before = sent();
      expect(pinged()).toContain("3 received");
      const after = sent();
      expect(after - before).toBeGreaterThan(3000);
      expect(one.report().outbound).toMatchObject([{ packets: 6, next: 7 }]);
      one.obey({ kind: "mtu", mtuBytes: XFRM_SITE_MTU, tfc: false });
    });

    test.each([
      ["192.0.2.2", 303],
      ["2001:db8::2", 303],
      ["192.0.2.2", 4500],
      ["2001:db8::2", 4500],
    ])("messages of an exchange come and go, to %s port %d", async (address, port) => {
      const { one, two } = sites;
      const [bytes, to] = [Uint8Array.of(1, 2, 3, port & 255), parseIp(address)];
      const from = parseIp(address.replace(/2$/, "1"));
      const news = { kind: "exchange", from, fromPort: port, to, toPort: port, bytes };
      for (let tries = 0; !two.news.some((told) => Bun.deepEquals(told, news)); tries++) {
        if (tries === 500)
          throw new Error(`no message comes: ${JSON.stringify(two.news.map(({ kind }) => kind))}`);
        if (tries % 50 === 0) one.obey({ kind: "exchange", to, toPort: port, fromPort: port, bytes });
        await Bun.sleep(20);
      }
      expect(() => one.obey({ kind: "exchange", to, toPort: port, fromPort: 99, bytes })).toThrow("port 99");
    });

    test("ESP in UDP, and a remote gateway that moves: sequence numbers and window go on", async () => {
      const { one, two } = sites;
      const agreement = { spi: 500 };
      for (const [site, other] of [
        [one, two],
        [two, one],
      ] as const) {
        const to = parseIp(`192.0.2.${other.number}`);
        const association = associationOf(agreement, other.number);
        site.obey(
          { kind: "inbound", association: associationOf(agreement, site.number) },
          { kind: "outbound", association: { ...association, to, udp, next: 1 } },
          { kind: "move-outbound", route: "other", spi: association.spi },
        );
      }
      expect(pinged()).toContain("3 received");
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
      expect(pinged()).toContain("3 received");
      const [out] = one.report().outbound;
      expect(out?.next).toBe((out?.packets as number) + 1);
      expect(out?.packets).toBeGreaterThanOrEqual(6);
      for (const site of [one, two])
        expect(site.report().inbound.at(-1)).toMatchObject({
          ...{ spi: agreement.spi + site.number, replayed: 0, decryptErrors: 0 },
          packets: out?.packets as number,
        });
      const state = one.ip("gate", "xfrm state");
      expect(state).toContain("192.0.2.22");
      expect(state).not.toContain("espinudp");
    });

    test("what cannot work is refused; what was made is removed, by its maker or by the next one", () => {
      const { one, two } = sites;
      const { gate } = one;
      expect(kernelText().every((text) => text !== "")).toBe(true);
      // Another instance leaves it alone; the same one, after a process that was killed, does not.
      const tell = () => {};
      using other = new XfrmGateway({ netns: gate, tell, instance: 1 });
      expect(kernelText().every((text) => text !== "")).toBe(true);
      using same = new XfrmGateway({ netns: gate, tell });
      expect(kernelText()).toEqual(["", "", "", ""]);
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
      expect(kernelText()[1]).toContain("dir out action block");
      // What comes from there in the plain is refused too.
      two.ip("gate", "addr add 10.99.0.1/32 dev lo");
      const words = "ping -n -c 1 -W 1 -I 10.99.0.1 192.0.2.1";
      expect(() => sites.scratch.text(words, two.gate)).toThrow();
      expect(same.report().counters.publicRouter.refusedSource).toBe(1);
      same[Symbol.dispose]();
      expect(kernelText()).toEqual(["", "", "", ""]);
    });
  },
);
