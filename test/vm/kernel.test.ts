/** What the guest is for: its kernel has what the machine's own may lack, and loads it when asked. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { createNetns, Netns, removeNetns, removeTree, runSync } from "../../src/sys/mod.ts";

const folder = `/run/causeway-test/${process.pid}-kernel`;
let netns: Netns;

beforeAll(() => {
  createNetns(`${folder}/ns`);
  netns = Netns.open(`${folder}/ns`);
});

afterAll(() => {
  netns.close();
  removeNetns(`${folder}/ns`);
  removeTree(folder);
});

function tool(command: string): string {
  const done = runSync(command.split(" "), { netns });
  expect(`${command}: ${done.status} ${done.stderr}`).toBe(`${command}: 0 `);
  return done.stdout;
}

const links: Readonly<Record<string, string>> = {
  bridge: "type bridge vlan_filtering 1",
  bond: "type bond mode active-backup",
  dummy: "type dummy",
  ipvlan: "link base type ipvlan mode l2",
  macvlan: "link base type macvlan mode bridge",
  veth: "type veth peer name other",
  vlan: "link base type vlan id 100",
  vrf: "type vrf table 1000",
  vxlan: "type vxlan id 77 dstport 4789 local 192.0.2.1",
  wireguard: "type wireguard",
  xfrm: "type xfrm dev base if_id 7",
};

test.each(Object.entries(links))("links of kind %s are made", (kind, words) => {
  tool("ip link add base type dummy");
  try {
    tool(`ip link add subject ${words}`);
    expect(tool("ip -d link show subject")).toContain(` ${kind} `);
    tool("ip link del subject");
  } finally {
    tool("ip link del base");
  }
});

test("delay and loss are made by netem", () => {
  tool("ip link add base type dummy");
  tool("tc qdisc add dev base root netem delay 20ms loss 1%");
  expect(tool("tc qdisc show dev base")).toContain("netem");
  tool("ip link del base");
});

test("security associations are made", () => {
  tool(
    "ip xfrm state add src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x100 mode tunnel " +
      `aead rfc4106(gcm(aes)) 0x${"11".repeat(20)} 128`,
  );
  expect(tool("ip xfrm state")).toContain("rfc4106(gcm(aes))");
  tool("ip xfrm state flush");
});

test("nftables with sets, NAT and connection tracking is there", () => {
  const text = `table inet t {
    set s { type ipv4_addr; elements = { 192.0.2.1 } }
    chain c { type nat hook postrouting priority srcnat; ip saddr @s ct state new masquerade; }
    chain d { type filter hook forward priority 0; numgen random mod 10 0 drop;
      tcp flags syn tcp option maxseg size set rt mtu; }
  }`;
  expect(runSync(["nft", "-f", "-"], { netns, input: text })).toMatchObject({ status: 0, stderr: "" });
  tool("nft delete table inet t");
});
