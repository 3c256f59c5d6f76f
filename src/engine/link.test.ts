import { expect, test } from "bun:test";
import { linkInfo, viewOf } from "../../test/support/engine-view.ts";
import { parseIp, parseMac } from "../net/mod.ts";
import type { Verdict } from "./kind.ts";
import { link } from "./link.ts";
import type { Link } from "./object.ts";

const shown = (verdict: Verdict) =>
  verdict.is === "step"
    ? `${verdict.action}: ${verdict.text}`
    : verdict.is === "same"
      ? "same"
      : verdict.reason;

const bridge: Link = { kind: "link", name: "br0", type: "bridge" };
const vxlan: Link = { kind: "link", name: "vx0", type: "vxlan", vni: 5, local: parseIp("10.0.0.1") };
const vxlanInfo = linkInfo("vx0", 3, {
  kind: "vxlan",
  vxlan: { vni: 5, local: parseIp("10.0.0.1"), dstPort: 4789, learning: true, ttl: 0 },
});

test("every type is made by commands that ip(8) accepts", () => {
  const text = (object: Link) => shown(link.compare(object, viewOf())).split("\n")[0];
  expect(text({ ...bridge, vlanFiltering: true, stp: false })).toBe(
    "add: ip link add br0 type bridge vlan_filtering 1 stp_state 0",
  );
  expect(text({ ...bridge, mcastSnooping: false, defaultPvid: 0 } as Link)).toBe(
    "add: ip link add br0 type bridge mcast_snooping 0 vlan_default_pvid 0",
  );
  expect(text({ ...vxlan, group: 67, dstPort: 8472, learning: false, ttl: 64 } as Link)).toBe(
    "add: ip link add vx0 group 67 type vxlan id 5 local 10.0.0.1 dstport 8472 nolearning ttl 64",
  );
  expect(text({ kind: "link", name: "v7", type: "vlan", parent: "eth0", vlanId: 7, mtuBytes: 1400 })).toBe(
    "add: ip link add link eth0 name v7 mtu 1400 type vlan id 7",
  );
  expect(text({ kind: "link", name: "m0", type: "macvlan", parent: "eth0", mode: "bridge" })).toBe(
    "add: ip link add link eth0 name m0 type macvlan mode bridge",
  );
  expect(text({ kind: "link", name: "vrf9", type: "vrf", table: 9 })).toBe(
    "add: ip link add vrf9 type vrf table 9",
  );
  expect(text({ kind: "link", name: "cw0", type: "wireguard" })).toBe("add: ip link add cw0 type wireguard");
  expect(text({ kind: "link", name: "d0", type: "dummy" })).toBe("add: ip link add d0 type dummy");
  expect(text({ kind: "link", name: "t0", type: "tun", vnetHeader: true })).toBe(
    "add: ip tuntap add dev t0 mode tun vnet_hdr",
  );
  expect(
    text({ kind: "link", name: "a", type: "veth", master: "br0", peer: { name: "b", mtuBytes: 1400 } }),
  ).toBe("add: ip link add a master br0 type veth peer name b mtu 1400");
  expect(text({ kind: "link", name: "a", type: "veth", queues: 2, peer: { name: "b" } })).toBe(
    "add: ip link add a numtxqueues 2 numrxqueues 2 type veth peer name b numtxqueues 2 numrxqueues 2",
  );
});

test("marking, address generation and coming up are set in this order", () => {
  const port: Link = { ...bridge, name: "p0", addrGen: "none", port: { hairpin: true, learning: false } };
  expect(shown(link.compare(port, viewOf()))).toBe(`add: ip link add p0 type bridge
ip link set p0 addrgenmode none
ip link set p0 alias causeway up
bridge link set dev p0 learning off hairpin on`);
});

test("only what is asked for is compared", () => {
  const view = viewOf([linkInfo("br0", 2, { mtuBytes: 1300, master: 9 })]);
  expect(shown(link.compare(bridge, view))).toBe("same");
  expect(shown(link.compare({ ...bridge, group: 67 }, view))).toBe("change: ip link set br0 group 67");
  const grouped = viewOf([linkInfo("br0", 2, { group: 67 })]);
  expect(shown(link.compare({ ...bridge, group: 67 }, grouped))).toBe("same");
  expect(shown(link.compare({ ...bridge, master: null }, view))).toBe("change: ip link set br0 nomaster");
  expect(
    shown(link.compare({ ...bridge, up: false, mac: parseMac("02:00:00:00:00:01"), mtuBytes: 1400 }, view)),
  ).toBe("change: ip link set br0 mtu 1400 address 02:00:00:00:00:01 down");
});

test("what cannot change in place is replaced", () => {
  const view = viewOf([vxlanInfo, linkInfo("br0", 2, { kind: "dummy" })]);
  expect(shown(link.compare(vxlan, view))).toBe("same");
  expect(shown(link.compare({ ...vxlan, learning: false } as Link, view))).toBe(
    "change: ip link set vx0 type vxlan nolearning",
  );
  for (const change of [{ vni: 6 }, { dstPort: 8472 }, { local: parseIp("fd00::1") }])
    expect(shown(link.compare({ ...vxlan, ...change } as Link, view))).toStartWith(
      "replace: ip link del vx0\nip link add vx0",
    );
  expect(shown(link.compare(bridge, view))).toStartWith(
    "replace: ip link del br0\nip link add br0 type bridge",
  );
});

test("a veth with other queues is replaced, where they are asked for", () => {
  const view = viewOf([linkInfo("a", 2, { kind: "veth", txQueues: 8 })]);
  const veth: Link = { kind: "link", name: "a", type: "veth", peer: { name: "b" } };
  expect(shown(link.compare(veth, view))).toBe("same");
  expect(shown(link.compare({ ...veth, queues: 8 }, view))).toBe("same");
  expect(shown(link.compare({ ...veth, queues: 2 }, view))).toStartWith("replace: ip link del a");
});

test("a link without our mark is not ours, and is neither changed nor removed", () => {
  const foreign = linkInfo("br0", 2);
  const { alias: _alias, ...unmarked } = foreign;
  const view = viewOf([unmarked]);
  expect(shown(link.compare(bridge, view))).toBe(
    "Cannot add link br0: the name is taken by a link of kind bridge that is not ours; rename or remove that one",
  );
  expect(link.remove(bridge, view)).toBeUndefined();
  expect([...link.ours(view)]).toEqual([]);
});

test("a device of somebody else is marked as such, and given back by taking the mark away", () => {
  const external: Link = { kind: "link", name: "cw0", type: "external", mtuBytes: 1420 };
  expect(shown(link.compare(external, viewOf()))).toBe("waits for cw0, which its owner has to make");
  const { alias: _alias, ...unmarked } = linkInfo("cw0", 2, { kind: "tun", up: false });
  expect(shown(link.compare(external, viewOf([unmarked])))).toBe(
    'change: ip link set cw0 mtu 1420 alias "causeway external" up',
  );
  expect(link.remove(external, viewOf([unmarked]))).toBeUndefined();
  const ours = viewOf([{ ...unmarked, alias: "causeway external" }]);
  expect(link.remove(external, ours)?.text).toBe('ip link set cw0 alias ""');
});

test("without a mark any link of the right kind is accepted", () => {
  const { alias: _alias, ...unmarked } = linkInfo("br0", 2);
  expect(shown(link.compare(bridge, viewOf([unmarked], { mark: { protocol: 4 } })))).toBe("same");
});
