import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { PrivateKey } from "../net/mod.ts";
import type { Status } from "./api.ts";
import { Carried, metricsText } from "./metrics.ts";

const domain = {
  ...{ name: "red", vni: 5100, namespace: "cw-5100", routed: true, segments: [] },
  remote: { hosts: 3, prefixes: 4, floods: 1 },
};
const { publicKey } = PrivateKey.random();

const status: Status = {
  version: "1.0",
  node: { name: "a", hub: true, overlay4: "10.90.0.1", overlay6: "fd00::1", publicKey },
  mesh: "home",
  tunnel: { backend: "kernel", provider: "Linux", reason: "", listenPort: 51820, mtuBytes: 1420 },
  hub: { connected: true, revision: 12, writes: { register: "sqlite", possible: true } },
  relay: {
    ...{ nodes: 2, liveNodes: 2, circuits: 2, pairs: 1, datagrams: 9, bytes: 1000, handshakes: 1, drops: {} },
    ...{ xdpLinks: [], xdp: { circuits: 1, datagrams: 1, bytes: 24 } },
  },
  portMappings: [],
  objects: { ready: 40, pending: 1, failed: [{ key: "link x", reason: "no" }] },
  pods: 7,
  edge: {
    routers: [
      {
        ...{ router: "underlay", namespace: "cw-underlay", underlay: "rack", links: ["eth1", "eth2"] },
        domains: [{ ...domain, fromHost: ["10.0.0.0/24"], problems: ["no", "not that either"] }],
        problems: [],
      },
    ],
    resources: [],
    problems: [],
  },
};
const text = metricsText({
  ...{ status, carried: { rxBytes: 5, txBytes: 6 } },
  peers: [{ path: "lan" }, { path: "relay" }, { path: "lan" }],
  vpcs: [{ ...domain, problems: [], attachments: [] }],
});
const lines = text.trimEnd().split("\n");

test("an agent's counts are lines for Prometheus, and hold no key", () => {
  expect(lines).toContain(
    'causeway_agent_info{version="1.0",node="a",role="hub",mesh="home",tunnel="kernel"} 1',
  );
  for (const line of [
    'causeway_agent_objects{state="failed"} 1',
    'causeway_agent_peers{path="lan"} 2',
    'causeway_agent_peers{path="down"} 0',
    "causeway_agent_relay_bytes_total 1024",
    "causeway_agent_tunnel_received_bytes_total 5",
    'causeway_vpc_remote_prefixes{vpc="red"} 4',
    'causeway_edge_router_up{router="underlay"} 1',
    'causeway_edge_links{router="underlay"} 2',
    'causeway_edge_host_prefixes{router="underlay",vpc="red"} 1',
    'causeway_edge_failed_resources{kind="VPC",reason="failed"} 1',
    'causeway_edge_failed_resources{kind="Subnet",reason="invalid"} 0',
  ])
    expect(lines).toContain(line);
  expect(text).not.toContain(publicKey);
  for (const line of lines)
    expect(line).toMatch(/^causeway_[a-z_]+(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? \d+$/);
});

test("every name is in docs/operate.md, counters as such, and no other is", () => {
  const docs = readFileSync(new URL("../../docs/operate.md", import.meta.url), "utf8");
  const names = new Set(lines.map((line) => /^causeway_([a-z_]+)/.exec(line)?.[1] ?? ""));
  const rows = docs.split("\n").filter((line) => /^\| `(agent|vpc|edge)_/.test(line));
  const said = new Map(
    rows.flatMap((row) => {
      const [, cell = "", type = ""] = row.split("|");
      return [...cell.matchAll(/`([a-z_]+)`/g)].map(([, name = ""]) => [name, type.trim()] as const);
    }),
  );
  expect([...said.keys()].sort()).toEqual([...names].sort());
  for (const [name, type] of said) expect(type.startsWith("counter")).toBe(name.endsWith("_total"));
});

test("what the tunnel carries only grows, though peers begin anew, come and go", () => {
  const [a, b] = [PrivateKey.random().publicKey, PrivateKey.random().publicKey];
  const carried = new Carried();
  const look = (...peers: (readonly [key: typeof a, rx: number, tx: number])[]) => {
    const { rxBytes, txBytes } = carried.look(
      peers.map(([publicKey, rxBytes, txBytes]) => ({ publicKey, rxBytes, txBytes })),
    );
    return [rxBytes, txBytes];
  };
  // Before that another agent may have counted it.
  expect(look([a, 1000, 2000])).toEqual([0, 0]);
  expect(look([a, 1010, 2020])).toEqual([10, 20]);
  expect(look([a, 1010, 2020], [b, 5, 6])).toEqual([15, 26]);
  expect(look([b, 1, 2])).toEqual([16, 28]);
  expect(look([a, 3, 4], [b, 1, 2])).toEqual([19, 32]);
});
