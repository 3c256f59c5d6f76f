/** What a pod of a VPC may send: frames made by hand leave one pod, and are looked for in another. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { portOf } from "../../src/domain/mod.ts";
import { formatIp, formatMac, linkLocalIp, type Mac } from "../../src/net/mod.ts";
import { Rtnetlink } from "../../src/netlink/mod.ts";
import type { Netns } from "../../src/sys/mod.ts";
import { type Host, segment, vpc } from "../support/domain-lab.ts";
import { FrameSocket } from "../support/frames.ts";
import { notRoot } from "../support/scratch.ts";
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

describe.skipIf(notRoot !== undefined)(`domains: spoofing${suffix}`, () => {
  let world: ServicesLab;
  let host: Host;
  let sender: FrameSocket;
  let receiver: FrameSocket;
  const passed = (list: typeof cases) =>
    list.filter(([, , make]) => arrives({ sender, receiver }, pair, make())).map(([what]) => what);

  beforeAll(() => {
    world = new ServicesLab(1);
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

  test("the rules are in force", () => {
    const port = portOf(host.pods.get("me")?.attachment.id ?? "");
    expect(host.text("nft list ruleset", 5000)).toContain(`"${port}" . ${pair.me.mac} . ${pair.me.ip}`);
    expect(world.problems()).toEqual([]);
  });

  test("VXLAN devices are in the group that is not judged; one that an earlier agent made joins it", () => {
    const groups = () => host.text("ip -o link show type vxlan", 5000).match(/group \S+/g);
    expect(groups()).toEqual(["group 67", "group 67"]);
    host.stop();
    for (const link of ["vx101", "vx5000"]) host.text(`ip link set ${link} group default`, 5000);
    world.restart(host);
    expect(groups()).toEqual(["group 67", "group 67"]);
  });

  test("they stay while no agent runs, and when one begins anew", () => {
    world.services.get(host)?.[Symbol.dispose]();
    host.stop();
    expect(passed(forged)).toEqual([]);
    world.restart(host);
    expect(passed(forged)).toEqual([]);
    expect(passed(honest)).toEqual(honest.map(([what]) => what));
  });
});
