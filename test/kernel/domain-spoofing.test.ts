/** What a pod of a VPC may send, whether its good packets are known by a program or not: frames made by hand leave one pod, and are looked for in another. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { portOf } from "../../src/domain/mod.ts";
import { formatIp, formatMac, type Mac } from "../../src/net/mod.ts";
import { Rtnetlink } from "../../src/netlink/mod.ts";
import { linkLocalIp, OWN_MARK } from "../../src/pods/mod.ts";
import type { Netns } from "../../src/sys/mod.ts";
import { type Host, segment, vpc } from "../support/domain-lab.ts";
import { FrameSocket } from "../support/frames.ts";
import { dropAll, goPastPrograms } from "../support/past-programs.ts";
import { lacksKind, notRoot } from "../support/scratch.ts";
import { ServicesLab } from "../support/services-lab.ts";
import { arrives, fragmentCases, type Pair, spoofingCases } from "../support/spoofing-cases.ts";

// A guest whose processor is emulated takes minutes to make what it needs.
setDefaultTimeout(240_000);
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
const forged = cases.filter(([, allowed]) => !allowed);
const honest = cases.filter(([, allowed]) => allowed);

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
    `domains: spoofing, ${programs ? "with a program before the rules" : "by rules alone"}${suffix}`,
    () => {
      let world: ServicesLab;
      let host: Host;
      let mine: Netns;
      let sender: FrameSocket;
      let receiver: FrameSocket;
      const port = () => portOf(host.pods.get("me")?.attachment.id ?? "");
      const filters = () => host.text(`tc filter show dev ${port()} ingress`, 5000);
      const passed = (list: typeof cases) =>
        list.filter(([, , make]) => arrives({ sender, receiver }, pair, make())).map(([what]) => what);
      const expectJudged = () => {
        expect(passed(forged)).toEqual([]);
        expect(passed(honest)).toEqual(honest.map(([what]) => what));
      };

      beforeAll(() => {
        world = new ServicesLab(1, { programs });
        world.set({ domains: [blue] });
        host = world.lab.host(1);
        mine = attach(world, host, "me");
        sender = open(mine);
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

      test("the rules are in force, and a program before them where it is wanted", () => {
        expect(filters().includes("direct-action")).toBe(programs);
        expect(host.text("nft list ruleset", 5000)).toContain(`"${port()}" . ${pair.me.mac} . ${pair.me.ip}`);
        expect([...world.plain, ...world.problems()]).toEqual([]);
      });

      const onlyWithProgram = (name: string, work: () => Promise<void>) => programs && test(name, work);
      onlyWithProgram("without the program rules judge the same; it comes back", async () => {
        const watch = Promise.withResolvers<void>();
        host.text(`tc qdisc del dev ${port()} clsact`, 5000);
        expectJudged();
        const look = setInterval(() => filters().includes("direct-action") && watch.resolve(), 5);
        await watch.promise;
        clearInterval(look);
        expectJudged();
      });

      test("it stays while no agent runs, and as it is when one begins anew", () => {
        world.services.get(host)?.[Symbol.dispose]();
        host.stop();
        expect(passed(forged)).toEqual([]);
        const before = filters();
        world.restart(host);
        expect(filters()).toBe(before);
        expectJudged();
      });

      const cannot = lacksKind({ name: "x", type: "ifb" });
      test.skipIf(cannot !== undefined)(
        `a pod gets past programs with ifb, and not past the rules, whatever its mark is${cannot === undefined ? "" : ` (skipped: ${cannot})`}`,
        () => {
          goPastPrograms(mine, { link: "eth0", mark: OWN_MARK });
          expectJudged();
          if (!programs) return;
          // The witness: a program that drops everything does not see it.
          const domain = host.domains.netns(5000);
          if (domain === undefined) throw new Error("the domain is gone");
          dropAll(domain, port());
          expect(passed(honest)).toEqual(honest.map(([what]) => what));
        },
      );
    },
  );
