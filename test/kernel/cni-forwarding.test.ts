/** When a pod's link forwards: nothing counts as up that the kernel would still drop packets of. */
import { describe, expect, test } from "bun:test";
import { attach, detach } from "../../src/cni/attachment.ts";
import { missingOf } from "../../src/cni/mod.ts";
import { Engine } from "../../src/engine/mod.ts";
import { ip, mac, parseIp, parsePrefix } from "../../src/net/mod.ts";
import { LinkRemover, Rtnetlink } from "../../src/netlink/mod.ts";
import { nodeObjects, type Pod } from "../../src/pods/mod.ts";
import { notRoot, Scratch } from "../support/scratch.ts";

const suffix = notRoot === undefined ? "" : ` (skipped: ${notRoot})`;

/** Enough that one of them meets the kernel's work queue late: without waiting some of a hundred do. */
const PODS = 150;

describe.skipIf(notRoot !== undefined)(`a link that forwards${suffix}`, () => {
  test("links that are not up, and addresses that the kernel has not taken up, are missing", () => {
    using scratch = new Scratch();
    const { route } = scratch;
    const addresses = [parseIp("10.0.0.1"), parseIp("fd00::1")];
    const missing = () => missingOf({ route, links: ["one"], addresses });
    expect(missing()).toEqual(["one", "fd00::1"]);
    scratch.text("ip link add one type veth peer name two");
    // For as long as the test takes nobody may have the same address (RFC 4862 section 5.4).
    scratch.text("sysctl -qw net.ipv6.conf.one.dad_transmits=600");
    scratch.text("ip link set one up");
    scratch.text("ip address add fd00::1/64 dev one");
    expect(missing()).toEqual(["one", "fd00::1"]);
    scratch.text("ip link set two up");
    while (missing().includes("one")) Bun.sleepSync(1);
    expect(missing()).toEqual(["fd00::1"]);
    scratch.text("ip address del fd00::1/64 dev one");
    scratch.text("ip address add fd00::1/64 dev one nodad");
    while (missing().length > 0) Bun.sleepSync(1);
  });

  test("a pod of the default network is attached when its IPv6 address is taken up", () => {
    using scratch = new Scratch();
    const { netns, route } = scratch;
    using engine = Engine.open({ netns });
    const node = { ranges: [parsePrefix("fd00:244:1::/64")], mtuBytes: 1400 };
    engine.set("pods", nodeObjects(node));
    engine.apply("pods");
    using remover = LinkRemover.open({ route, netns });
    const tools = { engine, route, remover };
    const late: number[] = [];
    for (let number = 2; number < PODS; number++) {
      const address = ip(6, parseIp("fd00:244:1::").value + BigInt(number));
      const pod: Pod = {
        ...{ id: `pod${String(number).padStart(8, "0")}`, ifname: "eth0", mtuBytes: 1400 },
        ...{ mac: mac(0x0a58_0000_0000 + number), addresses: [address] },
      };
      const inside = scratch.another();
      attach(pod, inside, node, tools);
      using own = Rtnetlink.open({ netns: inside });
      if (missingOf({ route: own, links: [], addresses: [address] }).length > 0) late.push(number);
      detach(pod.id, pod, tools);
    }
    expect(late).toEqual([]);
  });
});
