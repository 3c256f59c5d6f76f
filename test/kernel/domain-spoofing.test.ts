/** What a pod of a VPC may send, whether a program at its port judges it or rules do: frames made by hand leave one pod, and are looked for in another. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { portOf } from "../../src/domain/mod.ts";
import { formatIp, formatMac, type Mac } from "../../src/net/mod.ts";
import { linkLocalIp } from "../../src/pods/mod.ts";
import { Rtnetlink } from "../../src/netlink/mod.ts";
import type { Netns } from "../../src/sys/mod.ts";
import { type Host, segment, vpc } from "../support/domain-lab.ts";
import { FrameSocket } from "../support/frames.ts";
import { notRoot } from "../support/scratch.ts";
import { ServicesLab } from "../support/services-lab.ts";
import { arrives, fragmentCases, type Pair, spoofingCases } from "../support/spoofing-cases.ts";

setDefaultTimeout(30_000);
const suffix = notRoot === undefined ? "" : ` (skipped: ${notRoot})`;
const net = segment("net", 101, ["10.1.1.0/24", "fd00:1:1::/64"]);
const blue = vpc("blue", 5000, [net]);

const [MINE, YOURS] = [0x0a58_0a01_0102 as Mac, 0x0a58_0a01_0103 as Mac];
const pair: Pair = {
  me: { mac: formatMac(MINE), ip: "10.1.1.2", ip6: "fd00:1:1::2", link: formatIp(linkLocalIp(MINE)) },
  you: { mac: formatMac(YOURS), ip: "10.1.1.3", ip6: "fd00:1:1::3" },
  gateway: { ip: "10.1.1.1", ip6: "fd00:1:1::1" },
  others: { ip: "10.1.1.77", ip6: "fd00:1:1::77" },
};

const cases = [...spoofingCases(pair), ...fragmentCases(pair)];

function attach(world: ServicesLab, host: Host, who: "me" | "you"): Netns {
  const { ip, ip6 } = pair[who];
  const mac = who === "me" ? MINE : YOURS;
  return world.lab.pod(host, who, { domain: blue, segment: net, addresses: [ip, ip6], mac });
}

function open(netns: Netns): FrameSocket {
  using route = Rtnetlink.open({ netns });
  return new FrameSocket(netns, route.link("eth0")?.index ?? 0);
}

for (const programs of [true, false])
  describe.skipIf(notRoot !== undefined)(
    `domains: spoofing, judged by ${programs ? "a program" : "rules"}${suffix}`,
    () => {
      let world: ServicesLab;
      let host: Host;
      let sender: FrameSocket;
      let receiver: FrameSocket;
      const port = () => portOf(host.pods.get("me")?.attachment.id ?? "");

      beforeAll(() => {
        world = new ServicesLab(1, { programs });
        world.set({ domains: [blue] });
        host = world.lab.host(1);
        sender = open(attach(world, host, "me"));
        receiver = open(attach(world, host, "you"));
      });
      afterAll(() => {
        sender?.[Symbol.dispose]();
        receiver?.[Symbol.dispose]();
        world?.[Symbol.dispose]();
      });

      for (const [what, allowed, make] of cases)
        test(`${what} is ${allowed ? "let through" : "dropped"}`, () =>
          expect(arrives({ sender, receiver }, pair, make())).toBe(allowed));

      test("what judges is in force, and nothing else", () => {
        const filters = host.text(`tc filter show dev ${port()} ingress`, 5000);
        expect(filters.includes("direct-action")).toBe(programs);
        expect(host.text("nft list ruleset", 5000).includes("pod_ip4")).toBe(!programs);
        expect(world.problems()).toEqual([]);
      });

      test("it stays while no agent runs, and as it is when one begins anew; what somebody took away comes back", async () => {
        const forged = cases.filter(([, allowed]) => !allowed);
        const passed = () =>
          forged.filter(([, , make]) => arrives({ sender, receiver }, pair, make())).map(([what]) => what);
        world.services.get(host)?.[Symbol.dispose]();
        host.stop();
        expect(passed()).toEqual([]);
        const before = host.text(`tc filter show dev ${port()} ingress`, 5000);
        world.restart(host);
        expect(passed()).toEqual([]);
        expect(host.text(`tc filter show dev ${port()} ingress`, 5000)).toBe(before);
        if (!programs) return;
        host.text(`tc qdisc del dev ${port()} clsact`, 5000);
        for (let looks = 0; ; looks++) {
          if (host.text(`tc filter show dev ${port()} ingress`, 5000).includes("direct-action")) break;
          if (looks > 5_000) throw new Error("the filter does not come back");
          await Bun.sleep(1);
        }
        expect(passed()).toEqual([]);
      });
    },
  );
