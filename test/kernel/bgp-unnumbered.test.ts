/** Unnumbered sessions: two speakers on a link without addresses find each other by router advertisements (RFC 4861). */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { formatIp, type Ip } from "../../src/net/mod.ts";
import type { Neighbor } from "../../src/bgp/io/mod.ts";
import { IPV4_UNICAST } from "../../src/bgp/wire/mod.ts";
import { joined, session, Speaker, until } from "../support/bgp-ends.ts";
import { notRoot, Scratch } from "../support/scratch.ts";

setDefaultTimeout(120_000);
const impatient = { connectRetryMs: 500, idleHoldMs: 200, idleHoldMostMs: 500 };

const ends = () =>
  Scratch.prepared((scratch) => {
    const second = scratch.another();
    joined(scratch, { second, names: ["e1", "e2"] });
    return { first: scratch.netns, second };
  });

const on = (device: string, number: 1 | 2, more: Partial<Neighbor> = {}): Neighbor => ({
  name: device,
  remote: { kind: "interface", device },
  session: session(number, { families: [{ family: IPV4_UNICAST, extendedNextHop: true }] }),
  options: impatient,
  ...more,
});

const text = (address: Ip | undefined) => address && formatIp(address);

describe.skipIf(notRoot !== undefined)(
  `unnumbered sessions${notRoot === undefined ? "" : ` (${notRoot})`}`,
  () => {
    test("two ends of a link find each other, with IPv4 over IPv6 next hops", async () => {
      using pair = ends();
      using first = new Speaker({ netns: pair.first });
      using second = new Speaker({ netns: pair.second });
      first.io.add(on("e1", 1));
      second.io.add(on("e2", 2));
      const here = await first.up("e1");
      await second.up("e2");
      expect([...(here.negotiated?.extendedNextHop ?? [])]).toEqual([IPV4_UNICAST]);
      // What ip(8) says is the other's address is whom we speak to.
      const [link] = pair.json("ip -j -6 address show dev e2 scope link", pair.second);
      expect(text(first.io.addressOf("e1"))).toBe(link.addr_info[0].local);
      // Nobody has got a default route: the lifetime is zero.
      for (const netns of [pair.first, pair.second])
        expect(pair.text("ip -6 route show default", netns)).toBe("");
    });

    test("with TTL security and a key; the wrong key stays out", async () => {
      using pair = ends();
      const key = (text: string) => ({
        password: new TextEncoder().encode(text),
        reach: { kind: "gtsm", hops: 1 } as const,
      });
      using first = new Speaker({ netns: pair.first });
      using second = new Speaker({ netns: pair.second });
      first.io.add(on("e1", 1, key("k")));
      second.io.add(on("e2", 2, key("other")));
      await until("they know each other", () =>
        [first.io.addressOf("e1"), second.io.addressOf("e2")].every(Boolean),
      );
      await Bun.sleep(3_000);
      expect([first.state("e1"), second.state("e2")]).not.toContain("established");
      second.io.remove("e2");
      second.io.add(on("e2", 2, key("k")));
      await first.up("e1");
      await second.up("e2");
    });

    test("the link goes and comes back, as a new interface with a new address", async () => {
      using pair = ends();
      using first = new Speaker({ netns: pair.first });
      using second = new Speaker({ netns: pair.second });
      first.io.add(on("e1", 1, { session: session(1, { holdMs: 3_000 }) }));
      second.io.add(on("e2", 2, { session: session(2, { holdMs: 3_000 }) }));
      await first.up("e1");
      await second.up("e2");
      const before = text(first.io.addressOf("e1"));
      pair.text("ip link delete e1");
      await until("both have lost it", () => first.downs.length + second.downs.length === 2);
      joined(pair, { second: pair.second, names: ["e1", "e2"] });
      const now = () => first.io.addressOf("e1");
      await until("it is another address", () => ![undefined, before].includes(text(now())));
      await first.up("e1");
      await second.up("e2");
    });

    test("a third router on the link is not listened to while the peer is there", async () => {
      using pair = ends();
      pair.text("ip link add br0 type bridge");
      const third = pair.another();
      joined(pair, { second: third, names: ["x1", "x2"] });
      pair.text("ip link set br0 up");
      pair.text("ip link set e1 master br0");
      pair.text("ip link set x1 master br0");
      using first = new Speaker({ netns: pair.first });
      using second = new Speaker({ netns: pair.second });
      first.io.add(on("br0", 1));
      second.io.add(on("e2", 2));
      await first.up("br0");
      await second.up("e2");
      const peer = first.io.addressOf("br0");
      using stranger = new Speaker({ netns: third });
      stranger.io.add(on("x2", 2));
      await until("it has heard us", () => stranger.io.addressOf("x2") !== undefined);
      await until(
        "it has an address to speak from",
        () => !pair.text("ip -6 address show dev x2", third).includes("tentative"),
      );
      const seen = new Set<string | undefined>();
      for (let times = 0; times < 60; times++) {
        seen.add(text(first.io.addressOf("br0")));
        await Bun.sleep(50);
      }
      expect([...seen]).toEqual([text(peer)]);
      expect(first.state("br0")).toBe("established");
      expect(stranger.state("x2")).not.toBe("established");
    });
  },
);
