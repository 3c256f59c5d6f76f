import { expect, test } from "bun:test";
import { parseIp } from "../net/mod.ts";
import { parseIptablesSave } from "./iptables-save.ts";
import { judge, type Packet, type Table } from "./packet.ts";

const kubelet: Packet = {
  ...{ family: 4, from: "cw0", source: parseIp("10.90.0.3"), destination: parseIp("10.90.0.2") },
  ...{ protocol: "tcp", port: 10250, state: "new" },
};

function tableOf(rules: string, policy = "ACCEPT"): Table {
  const text = `# Generated\n*filter\n:INPUT ${policy} [0:0]\n:OTHER - [0:0]\n${rules}\nCOMMIT\n`;
  return parseIptablesSave(text, { backend: "iptables-legacy", family: "ip" })[0] as Table;
}

function judged(
  rules: string,
  options: { readonly policy?: string; readonly packet?: Partial<Packet> } = {},
) {
  const table = tableOf(rules, options.policy);
  return judge(table, table.chains[0] as never, { ...kubelet, ...options.packet });
}

const REJECT = "-A INPUT -j REJECT --reject-with icmp-host-prohibited";

test("what refuses is told by the base chain's own rule", () => {
  expect(judged(REJECT)).toEqual({ refused: true, rule: 0 });
  expect(judged(`-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT\n${REJECT}`)).toEqual({
    refused: true,
    rule: 1,
  });
  expect(judged(`-A INPUT -j OTHER\n-A OTHER -j DROP`)).toEqual({ refused: true, rule: 0 });
  expect(judged("", { policy: "DROP" })).toEqual({ refused: true });
  expect(judged("")).toEqual({ refused: false });
});

test("what lets through, does", () => {
  for (const rule of [
    "-A INPUT -j ACCEPT",
    "-A INPUT -s 10.90.0.0/16 -d 10.90.0.2/32 -i cw0 -j ACCEPT",
    "-A INPUT -i cw+ -j ACCEPT",
    "-A INPUT ! -i eth0 -j ACCEPT",
    "-A INPUT ! -s 192.0.2.0/24 -j ACCEPT",
    "-A INPUT -p tcp -m multiport --dports 22,10000:10300 -j ACCEPT",
    '-A INPUT -i cw0 -m comment --comment "a \\"b\\" -j DROP" -j ACCEPT',
    "-A INPUT -m conntrack --ctstate NEW,ESTABLISHED -j ACCEPT",
    "-A INPUT -m addrtype --dst-type LOCAL -j ACCEPT",
    "-A INPUT -j OTHER\n-A OTHER -j ACCEPT",
    "-A INPUT -g OTHER",
    "[12:340] -A INPUT -p tcp -j ACCEPT",
  ])
    expect([rule, judged(`${rule}\n${REJECT}`).refused]).toEqual([rule, false]);
});

test("what does not match, or cannot be told, decides nothing", () => {
  for (const rule of [
    "-A INPUT -i eth0 -j ACCEPT",
    "-A INPUT -o cw0 -j ACCEPT",
    "-A INPUT -p udp -j ACCEPT",
    "-A INPUT -m set --match-set good src -j ACCEPT",
    "-A INPUT -m limit --limit 3/min -j ACCEPT",
    "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
    "-A INPUT -j LOG --log-prefix ACCEPT",
    "-A INPUT -j OTHER\n-A OTHER -j RETURN\n-A OTHER -j ACCEPT",
  ])
    expect([rule, judged(`${rule}\n${REJECT}`)]).toMatchObject([rule, { refused: true }]);
  expect(judged("-A INPUT -m set --match-set bad src -j DROP").refused).toBe(false);
});

test("answers are judged as such", () => {
  const rules = `-A INPUT -m state --state RELATED,ESTABLISHED -j ACCEPT\n${REJECT}`;
  expect(judged(rules, { packet: { state: "established" } }).refused).toBe(false);
});

test("tables of NAT are left out, comments are read", () => {
  const text = `*nat\n:INPUT ACCEPT [0:0]\n-A INPUT -j DROP\nCOMMIT\n*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -m comment --comment "causeway: the tunnel" -j ACCEPT\nCOMMIT\n`;
  const tables = parseIptablesSave(text, { backend: "iptables-nft", family: "ip6" });
  expect(tables.map(({ name }) => name)).toEqual(["filter"]);
  expect(tables[0]?.chains[0]?.rules[0]?.comment).toBe("causeway: the tunnel");
});
