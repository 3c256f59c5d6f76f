import { expect, test } from "bun:test";
import { linkInfo, viewOf } from "../../test/support/engine-view.ts";
import {
  parseEndpoint,
  parseInterfaceAddress,
  parseIp,
  parseMac,
  parsePrefix,
  PrivateKey,
} from "../net/mod.ts";
import { Desired } from "./desired.ts";
import type { KernelObject } from "./object.ts";
import { formatPlan, makePlan } from "./plan.ts";

function plan(objects: readonly KernelObject[], view = viewOf()): string {
  const desired = new Desired();
  desired.set("test", objects, 0);
  return formatPlan(makePlan(desired.entries.values(), [], view));
}

test("an empty kernel is filled in the order in which things need each other", () => {
  const secret = PrivateKey.random();
  const remote = PrivateKey.random().publicKey;
  const objects: KernelObject[] = [
    { kind: "element", family: "inet", set: "pods", key: ["10.244.0.2"] },
    { kind: "route", destination: parsePrefix("10.244.1.0/24"), nexthopId: 7, mtuBytes: 1420 },
    { kind: "nexthop", id: 9, group: [{ id: 7 }] },
    { kind: "nexthop", id: 7, dev: "cw0" },
    {
      kind: "peer",
      link: "cw0",
      publicKey: remote,
      allowedIps: [parsePrefix("10.244.1.0/24")],
      endpoint: parseEndpoint("192.0.2.1:51820"),
    },
    { kind: "wireguard", link: "cw0", privateKey: secret, listenPort: 51820 },
    { kind: "sysctl", path: "net/ipv6/conf/cw0/accept_ra", value: "0" },
    { kind: "neighbour", link: "cw0", ip: parseIp("10.9.0.2"), mac: parseMac("02:00:00:00:00:02") },
    { kind: "address", link: "cw0", address: parseInterfaceAddress("10.9.0.1/24") },
    { kind: "rule", family: 6, priority: 7, to: parsePrefix("fd00::/8"), table: 7 },
    { kind: "link", name: "p0", type: "dummy", master: "br0" },
    { kind: "link", name: "br0", type: "bridge" },
    { kind: "link", name: "cw0", type: "wireguard", mtuBytes: 1420 },
    { kind: "ruleset", family: "inet", text: "set pods { type ipv4_addr; }" },
  ];
  expect(plan(objects)).toBe(`table inet causeway {
set pods { type ipv4_addr; }
}
nft add element inet causeway pods { 10.244.0.2 }
ip link add br0 type bridge
ip link set br0 alias causeway up
ip link add cw0 mtu 1420 type wireguard
ip link set cw0 alias causeway up
ip link add p0 master br0 type dummy
ip link set p0 alias causeway up
sysctl -w net/ipv6/conf/cw0/accept_ra=0
wg set cw0 listen-port 51820 private-key (hidden)
wg set cw0 peer ${remote} endpoint 192.0.2.1:51820 allowed-ips 10.244.1.0/24
ip address add 10.9.0.1/24 dev cw0 proto 67
ip nexthop add id 7 dev cw0 proto 67
ip nexthop add id 9 group 7 proto 67
ip route add 10.244.1.0/24 nhid 7 proto 67 mtu 1420
ip neighbour add 10.9.0.2 lladdr 02:00:00:00:00:02 dev cw0 nud permanent proto 67
ip -6 rule add priority 7 from all to fd00::/8 lookup 7 protocol 67
`);
});

test("what waits or is refused is said", () => {
  const { alias: _alias, ...foreign } = linkInfo("br0", 2);
  const objects: KernelObject[] = [
    { kind: "link", name: "br0", type: "bridge" },
    { kind: "address", link: "eth9", address: parseInterfaceAddress("10.9.0.1/24") },
    { kind: "element", family: "inet", set: "pods", key: ["10.244.0.2"] },
  ];
  expect(plan(objects, viewOf([foreign]))).toBe(`# element inet pods 10.244.0.2: waits for ruleset inet
# link br0: Cannot add link br0: the name is taken by a link of kind bridge that is not ours; rename or remove that one
# address eth9 10.9.0.1/24: waits for link eth9
`);
});

test("what is on a link that is replaced is planned again", () => {
  const view = viewOf([linkInfo("d0", 2, { kind: "bridge" })]);
  view.mirror.load("address", [
    {
      linkIndex: 2,
      address: parseInterfaceAddress("10.9.0.1/24"),
      scope: 0,
      permanent: true,
      nodad: false,
      noprefixroute: false,
      tentative: false,
      deprecated: false,
      dadFailed: false,
    },
  ]);
  const address: KernelObject = {
    kind: "address",
    link: "d0",
    address: parseInterfaceAddress("10.9.0.1/24"),
  };
  expect(plan([{ kind: "link", name: "d0", type: "bridge" }, address], view)).toBe("");
  expect(plan([{ kind: "link", name: "d0", type: "dummy" }, address], view)).toBe(`ip link del d0
ip link add d0 type dummy
ip link set d0 alias causeway up
ip address add 10.9.0.1/24 dev d0 proto 67
`);
  expect(view.mirror.tables.address.size).toBe(1);
});
