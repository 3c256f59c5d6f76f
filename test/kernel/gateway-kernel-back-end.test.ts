/** The kernel's back-end says what it lacks, where it lacks it. Where the kernel has ESP: test/vm/gateway-xfrm.test.ts. */
import { describe, expect, test } from "bun:test";
import { instanceOf } from "../../src/gateway/mod.ts";
import type { BackEndNews } from "../../src/gatewayd/back-end.ts";
import { KernelBackEnd } from "../../src/gatewayd/kernel-back-end.ts";
import type { QueuePlan } from "../../src/gatewayd/queue-plan.ts";
import { parseIp, parsePrefix } from "../../src/net/mod.ts";
import { notRoot, Scratch } from "../support/scratch.ts";
import { lacksXfrm } from "../support/xfrm-sites.ts";

const four = (number: number) => ({ ip: parseIp(`10.${number}.0.1`), nextHop: parseIp(`10.${number}.0.2`) });
const plan: QueuePlan = {
  number: 1,
  sides: {
    private: { interface: "x0", deviceQueue: 0, four: four(1) },
    public: { interface: "x1", deviceQueue: 0, four: four(2) },
  },
  own: [1, 2].map(four).flatMap(({ ip, nextHop }) => [ip, nextHop]),
  mtuBytes: 1400,
  tfc: false,
  port: 303,
  asksPrivate: true,
};

describe.skipIf(notRoot !== undefined)(
  `the kernel's back-end${notRoot === undefined ? "" : ` (${notRoot})`}`,
  () => {
    test("what a queue lacks is told once, until it is there", async () => {
      using scratch = new Scratch();
      const told: BackEndNews[] = [];
      using backEnd = new KernelBackEnd({ tell: (news) => told.push(news), netns: scratch.netns });
      const reasons = () => told.splice(0).map((news) => (news.kind === "down" ? news.reason : news.kind));
      backEnd.set([{ ...plan, sides: { problem: "it has no interface" } }]);
      backEnd.look();
      expect(reasons()).toEqual(["it has no interface"]);
      backEnd.set([plan]);
      expect(reasons()).toEqual(["there is no interface x1; add it, or name another"]);
      scratch.text("ip link add x0 type veth peer name x1");
      backEnd.look();
      expect(reasons()).toEqual(["the interface x1 is down; run: ip link set x1 up"]);
      for (const name of ["x0", "x1"]) scratch.text(`ip link set ${name} up`);
      backEnd.look();
      backEnd.look();
      const lacking = lacksXfrm() === undefined ? "10.2.0.1" : "The kernel has no ESP here";
      const [reason, ...rest] = reasons();
      expect([reason?.includes(lacking), rest]).toEqual([true, []]);
      expect(backEnd.obey(1, { kind: "remove-inbound", spi: 300 })).rejects.toThrow("queue 1 does not run");
      expect(await backEnd.report()).toEqual(new Map());
      await backEnd.close();
    });

    test("what it cannot protect it does not take over", () => {
      using scratch = new Scratch();
      using backEnd = new KernelBackEnd({ tell: () => {}, netns: scratch.netns });
      const next = {
        plans: [{ ...plan, own: [] }],
        prefixes: [parsePrefix("10.9.0.0/16")],
      };
      const reason = lacksXfrm() === undefined ? "no queue has an address" : "The kernel has no ESP here";
      expect(() => backEnd.prepare(next)).toThrow(reason);
    });

    test("queues wait for what carried packets before", async () => {
      using scratch = new Scratch();
      const told: BackEndNews[] = [];
      const { promise: before, resolve } = Promise.withResolvers<void>();
      const options = { tell: (news: BackEndNews) => told.push(news), netns: scratch.netns, before };
      using backEnd = new KernelBackEnd(options);
      const reasons = () => told.splice(0).map((news) => (news.kind === "down" ? news.reason : news.kind));
      backEnd.set([plan]);
      backEnd.look();
      expect(reasons()).toEqual(["what carried its packets before has not ended yet"]);
      resolve();
      await before;
      expect(reasons()).toEqual(["there is no interface x1; add it, or name another"]);
    });

    test("instances follow from names", () => {
      expect([instanceOf("paris"), instanceOf("tokyo")].every((one) => one >= 0 && one < 256)).toBe(true);
      expect(instanceOf("paris")).not.toBe(instanceOf("tokyo"));
    });
  },
);
