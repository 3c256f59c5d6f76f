/** What a pod may send: frames made by hand leave one pod, and are looked for in another. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { Netns } from "../../src/sys/mod.ts";
import { CniNode } from "../support/cni-node.ts";
import { FrameSocket } from "../support/frames.ts";
import { notRoot } from "../support/scratch.ts";
import { arrives, spoofingCases } from "../support/spoofing-cases.ts";

const suffix = notRoot === undefined ? "" : ` (skipped: ${notRoot})`;

describe.skipIf(notRoot !== undefined)(`CNI: spoofing${suffix}`, () => {
  let node: CniNode;
  let sender: FrameSocket;
  let receiver: FrameSocket;
  // The pods' addresses follow from the ranges.
  const me = {
    mac: "0a:58:0a:f4:01:02",
    ip: "10.244.1.2",
    ip6: "fd00:244:1::2",
    link: "fe80::858:aff:fef4:102",
  };
  const you = { mac: "0a:58:0a:f4:01:03", ip: "10.244.1.3", ip6: "fd00:244:1::3" };
  const gateway = { ip: "10.244.1.1", ip6: "fd00:244:1::1" };
  const pair = { me, you, gateway, others: { ip: "10.244.1.77", ip6: "fd00:244:1::77" } };

  async function open(pod: string): Promise<FrameSocket> {
    using netns = Netns.open(node.netnsPath(pod));
    const [link] = await node.ip("link show eth0", pod);
    return new FrameSocket(netns, link.ifindex);
  }

  beforeAll(async () => {
    node = await CniNode.create();
    await node.startAgent();
    for (const name of ["me", "you"]) await node.add(name);
    sender = await open("me");
    receiver = await open("you");
  });
  afterAll(async () => {
    sender?.[Symbol.dispose]();
    receiver?.[Symbol.dispose]();
    await node?.[Symbol.asyncDispose]();
  });

  const cases = spoofingCases(pair);
  for (const [what, allowed, make] of cases)
    test(`${what} is ${allowed ? "let through" : "dropped"}`, () =>
      expect(arrives({ sender, receiver }, pair, make())).toBe(allowed));

  test("the gateway does not answer a pod that uses another address", async () => {
    await node.must(
      "ip -n me addr add 10.244.1.66/32 dev lo; ip -n me -6 addr add fd00:244:1::66/128 dev lo nodad",
    );
    expect(await node.in("me", "ping -c1 -W1 -I 10.244.1.66 10.244.1.1")).toBe(false);
    expect(await node.in("me", "ping -c1 -W1 -I fd00:244:1::66 fd00:244:1::1")).toBe(false);
    expect(await node.in("me", "ping -c1 -w10 10.244.1.1 && ping -c1 -w10 fd00:244:1::1")).toBe(true);
  });

  test("a pod that changes its Ethernet address is heard no more", async () => {
    await node.must("ip -n me link set eth0 address 02:00:00:00:00:07");
    expect(await node.in("me", "ping -c1 -W1 10.244.1.1")).toBe(false);
    await node.must(`ip -n me link set eth0 address ${me.mac}`);
    expect(await node.in("me", "ping -c1 -w10 10.244.1.1")).toBe(true);
  });

  test("without the rules the same frames would arrive: the witness sees them", async () => {
    const dropped = cases.filter(
      ([what, allowed]) => !allowed && !what.includes("bridge's own") && !what.includes("receiver's"),
    );
    for (const [what, , make] of dropped) {
      let seen = false;
      // The agent puts the rules back.
      for (let tries = 0; tries < 10 && !seen; tries++) {
        await node.must("nft flush chain bridge causeway prerouting");
        seen = arrives({ sender, receiver }, pair, make());
      }
      expect([what, seen]).toEqual([what, true]);
    }
  });
});
