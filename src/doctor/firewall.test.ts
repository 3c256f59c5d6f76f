import { expect, test } from "bun:test";
import { parseIp, parsePrefix } from "../net/mod.ts";
import { acceptsOf } from "./accept.ts";
import { shellText } from "./check.ts";
import { insertions, refusalsOf, removals } from "./firewall.ts";
import { parseIptablesSave } from "./iptables-save.ts";
import { nftTables, ownTable, parseNftListing } from "./nft-listing.ts";
import { judge, type Packet, type Table } from "./packet.ts";
import type { Place } from "./place.ts";

const place: Place = {
  own: [parseIp("10.90.0.2"), parseIp("fd01:2:3::2")],
  overlay: [parsePrefix("10.90.0.0/16"), parsePrefix("fd01:2:3::/64")],
  pods: [parsePrefix("10.244.0.0/16")],
  ownPods: [parsePrefix("10.244.1.0/24")],
  tunnelPort: 51820,
};

function legacy(rules: string, policy = "ACCEPT"): Table[] {
  const text = `*filter\n:INPUT ${policy} [0:0]\n:FORWARD ${policy} [0:0]\n${rules}\nCOMMIT\n`;
  return [...parseIptablesSave(text, { backend: "iptables-legacy", family: "ip" })];
}

/** A chain of table `inet filter` as nft lists it. */
function native(hook: string, expressions: readonly object[][], policy = "accept"): Table[] {
  const at = { family: "inet", table: "filter", chain: "c" };
  return nftTables(
    parseNftListing({
      nftables: [
        { metainfo: {} },
        { chain: { family: "inet", table: "filter", name: "c", type: "filter", hook, policy } },
        ...expressions.map((expr, index) => ({ rule: { ...at, handle: index + 10, expr } })),
      ],
    }),
    () => false,
  );
}

const commands = (tables: Table[]) => {
  const firewall = { tables, unread: [] };
  return insertions(refusalsOf(firewall, place), firewall).map((words) => shellText([words]));
};

test("an accept is put ahead of the rule that refuses, no further ahead than needed", () => {
  const reject = "-A INPUT -p tcp --dport 22 -j ACCEPT\n-A INPUT -j REJECT";
  expect(commands(legacy(reject))[0]).toBe(
    "iptables-legacy -w -t filter -I INPUT 2 -i cw0 -s 10.90.0.0/16 -d 10.90.0.2/32 -m comment --comment 'causeway: nodes of the mesh' -j ACCEPT",
  );
  expect(commands(legacy("", "DROP"))).toContain(
    "iptables-legacy -w -t filter -A INPUT -p udp --dport 51820 -m comment --comment 'causeway: the tunnel' -j ACCEPT",
  );
  expect(commands(native("input", [[{ accept: null }]]))).toEqual([]);
  expect(commands(native("input", [[{ counter: {} }, { reject: {} }]]))).toContain(
    `nft insert rule inet filter c position 10 'iifname "cw0" ip6 saddr fd01:2:3::/64 ip6 daddr fd01:2:3::2/128 counter accept comment "causeway: nodes of the mesh"'`,
  );
});

test("only what is refused gets a rule", () => {
  const forward = commands(legacy("-A FORWARD -i cw0 -j ACCEPT\n-A FORWARD -j REJECT"));
  expect(forward.map((text) => /causeway: ([^']*)/.exec(text)?.[1])).toEqual([
    "from pods",
    "answers to pods",
  ]);
});

test("those further down come first, so that no place shifts", () => {
  const rules = "-A FORWARD -i cw0 -j REJECT\n-A FORWARD -i lo -j ACCEPT\n-A FORWARD -j REJECT";
  const places = commands(legacy(rules)).map((text) => Number(/-I FORWARD (\d+)/.exec(text)?.[1]));
  expect(places).toEqual([3, 3, 1, 1]);
});

test("with the rules in, nothing is refused: each accept covers its own samples", () => {
  const text = commands(legacy("-A INPUT -j REJECT\n-A FORWARD -j REJECT"))
    .map((line) => line.replace(/^iptables-legacy -w -t filter -I (\S+) \d+/, "-A $1").replaceAll("'", '"'))
    .join("\n");
  expect(commands(legacy(`${text}\n-A INPUT -j REJECT\n-A FORWARD -j REJECT`))).toEqual([]);
});

test("accepts are precise", () => {
  for (const { about, source, destination, udpPort } of acceptsOf(place))
    expect([about, (source ?? destination ?? udpPort) !== undefined]).toEqual([about, true]);
  const tables = legacy(
    '-A INPUT -i cw0 -s 10.90.0.0/16 -d 10.90.0.2/32 -m comment --comment "causeway: nodes of the mesh" -j ACCEPT\n-A INPUT -j REJECT',
  );
  const [table] = tables as [Table];
  const stranger: Packet = {
    ...{ family: 4, from: "eth0", source: parseIp("10.90.0.3"), destination: parseIp("10.90.0.2") },
    ...{ protocol: "tcp", port: 10250, state: "new" },
  };
  expect(judge(table, table.chains[0] as never, stranger)).toEqual({ refused: true, rule: 1 });
});

test("only rules with our mark are removed, the last first", () => {
  const rules = `-A INPUT -m comment --comment "causeway: a" -j ACCEPT
-A INPUT -m comment --comment "not causeway: b" -j ACCEPT
-A INPUT -m comment --comment "causeway: c" -j ACCEPT`;
  expect(removals({ tables: legacy(rules), unread: [] }).map((words) => words.join(" "))).toEqual([
    "iptables-legacy -w -t filter -D INPUT 3",
    "iptables-legacy -w -t filter -D INPUT 1",
  ]);
});

test("firewalld gets a zone, once", () => {
  const tables = native("input", [[{ reject: {} }]]).map((table): Table => ({
    ...table,
    backend: "firewalld",
  }));
  const refusals = refusalsOf({ tables, unread: [] }, place);
  const zone = (there: boolean) =>
    insertions(refusals, { tables, unread: [], firewalld: { zone: there } }).map((words) => words.join(" "));
  expect(zone(false)).toEqual([
    "firewall-cmd --permanent --new-zone=causeway",
    "firewall-cmd --permanent --zone=causeway --set-target=ACCEPT",
    "firewall-cmd --permanent --zone=causeway --add-interface=cw0",
    "firewall-cmd --permanent --zone=causeway --add-interface=cw-pods",
    "firewall-cmd --permanent --add-port=51820/udp",
    "firewall-cmd --reload",
  ]);
  expect(zone(true)[0]).not.toContain("--new-zone");
  const firewall = { tables, unread: [], firewalld: { zone: true } };
  expect(removals(firewall).map((words) => words.join(" "))).toContain(
    "firewall-cmd --permanent --delete-zone=causeway",
  );
});

const left = (protocol: string, field: string) => ({ payload: { protocol, field } });

test("expressions of nft are judged", () => {
  const match = (l: object, right: unknown, op = "==") => ({ match: { op, left: l, right } });
  const refuses = [{ reject: {} }];
  const through = (...expr: object[]) =>
    refusalsOf(
      { tables: native("input", [[...expr, { accept: null }], refuses]), unread: [] },
      {
        ...place,
        overlay: [place.overlay[0] as never],
        pods: [],
        ownPods: [],
        tunnelPort: undefined as never,
      },
    ).length === 0;
  const ipv4 = match(left("ip", "saddr"), { prefix: { addr: "10.0.0.0", len: 8 } });
  expect(through(ipv4)).toBe(true);
  expect(through(match({ meta: { key: "iifname" } }, "cw*"))).toBe(true);
  expect(through(match({ meta: { key: "iifname" } }, { set: ["eth0", "cw0"] }))).toBe(true);
  expect(through(match({ meta: { key: "iifname" } }, "cw0", "!="))).toBe(false);
  expect(through(match(left("tcp", "dport"), { set: [22, { range: [10000, 11000] }] }))).toBe(true);
  expect(through(match(left("th", "dport"), 10250))).toBe(true);
  expect(through(match(left("udp", "dport"), 10250))).toBe(false);
  expect(through(match(left("ip", "daddr"), { range: ["10.90.0.1", "10.90.0.9"] }))).toBe(true);
  expect(through(match({ ct: { key: "state" } }, ["new", "established"], "in"))).toBe(true);
  expect(through(match({ ct: { key: "state" } }, "established", "in"))).toBe(false);
  expect(through(match({ meta: { key: "l4proto" } }, "tcp"))).toBe(true);
  expect(through(match({ fib: { result: "type", flags: ["daddr"] } }, "local"))).toBe(true);
  expect(through(match(left("ip", "saddr"), "@friends"))).toBe(false);
  expect(through({ limit: { rate: 3 } })).toBe(false);
  const states = {
    set: [
      ["established", { accept: null }],
      ["invalid", { drop: null }],
      ["new", { accept: null }],
    ],
  };
  expect(
    refusalsOf(
      {
        tables: native("input", [[{ vmap: { key: { ct: { key: "state" } }, data: states } }], refuses]),
        unread: [],
      },
      place,
    ),
  ).toEqual([]);
});

test("the node's own table tells the tunnel's port and where newcomers come from", () => {
  const at = { family: "inet", table: "causeway", handle: 1 };
  const match = (l: object, right: unknown) => ({ match: { op: "==", left: l, right } });
  const enrol = { prefix: { addr: "fd01:2:3:1::", len: 64 } };
  const nftables = [
    { rule: { ...at, chain: "cluster_ports", expr: [match(left("udp", "dport"), 4789), { drop: null }] } },
    { rule: { ...at, chain: "guard", expr: [match(left("ip6", "saddr"), "fd00::1"), { accept: null }] } },
    { rule: { ...at, chain: "cluster_ports", expr: [match(left("udp", "dport"), 51999), { return: null }] } },
    {
      rule: {
        ...{ ...at, chain: "prerouting" },
        expr: [
          match(left("ip6", "saddr"), enrol),
          match(left("ip6", "daddr"), "fd01:2:3:1::1"),
          { accept: null },
        ],
      },
    },
  ];
  expect(ownTable(parseNftListing({ nftables }))).toEqual({
    tunnelPort: 51999,
    enrolment: { from: parsePrefix("fd01:2:3:1::/64"), service: parseIp("fd01:2:3:1::1") },
  });
});
