import { expect, test } from "bun:test";
import { parseIp } from "../net/mod.ts";
import {
  formatHostPort,
  type HostPort,
  hostPortBridgePort,
  hostPortElements,
  hostPortSettings,
  hostPortsOverlap,
} from "./host-port.ts";
import { hostPortRuleset } from "./host-port-ruleset.ts";

const addresses = ["10.244.1.2", "fd00::2", "10.244.1.3", "fd00::3"].map(parseIp);
const port = (hostIp?: string, more: Partial<HostPort> = {}): HostPort => ({
  hostPort: 80,
  containerPort: 8080,
  protocol: "tcp",
  ...(hostIp !== undefined && { hostIp: parseIp(hostIp) }),
  ...more,
});
const texts = (of: readonly string[], ...hostPorts: HostPort[]) =>
  hostPortElements({ addresses: of.map(parseIp), hostPorts }).map(
    ({ family, set, key, value }) => `${family} ${set} ${key.join(" . ")} : ${value}`,
  );

test("a pod without host ports has none of their objects", () => {
  expect(hostPortElements({ addresses })).toEqual([]);
  expect(hostPortSettings({ addresses })).toEqual([]);
  expect(hostPortBridgePort({ addresses, hostPorts: [] })).toEqual({});
});

test("the first address of a family is the target; a family that the pod does not have is left out", () => {
  const [four, six] = [
    "ip host_port tcp . 80 : 10.244.1.2 . 8080",
    "ip6 host_port tcp . 80 : fd00::2 . 8080",
  ];
  expect(texts(["10.244.1.2", "fd00::2", "10.244.1.3", "fd00::3"], port())).toEqual([four, six]);
  expect(texts(["fd00::2"], port(), port("192.0.2.1"))).toEqual([six]);
  expect(texts(["10.244.1.2", "fd00::2"], port("0.0.0.0"))).toEqual([four]);
  expect(texts(["10.244.1.2", "fd00::2"], port("::", { protocol: "tcp" }))).toEqual([six]);
});

test("one address has a map of its own", () => {
  expect(
    texts(["10.244.1.2", "fd00::2"], port("192.0.2.1", { protocol: "udp" }), port("2001:db8::1")),
  ).toEqual([
    "ip host_port_at 192.0.2.1 . udp . 80 : 10.244.1.2 . 8080",
    "ip6 host_port_at 2001:db8::1 . tcp . 80 : fd00::2 . 8080",
  ]);
});

test("the bridge routes loopback addresses only for pods with host ports of IPv4", () => {
  const [setting] = hostPortSettings({ addresses, hostPorts: [port()] });
  expect(setting).toEqual({ kind: "sysctl", path: "net/ipv4/conf/cw-pods/route_localnet", value: "1" });
  expect(hostPortSettings({ addresses, hostPorts: [port("::")] })).toEqual([]);
  expect(hostPortBridgePort({ addresses, hostPorts: [port()] })).toEqual({ hairpin: true });
});

test("overlap: the same protocol, port, and an address in common, both ways round", () => {
  const [any, four, six, one, two] = [
    port(),
    port("0.0.0.0"),
    port("::"),
    port("192.0.2.1"),
    port("192.0.2.2"),
  ];
  const overlap = (a: HostPort, b: HostPort) => {
    expect(hostPortsOverlap(a, b)).toBe(hostPortsOverlap(b, a));
    return hostPortsOverlap(a, b);
  };
  for (const other of [any, four, six, one]) expect(overlap(any, other)).toBe(true);
  expect([overlap(four, one), overlap(four, six), overlap(one, two), overlap(six, one)]).toEqual([
    true,
    false,
    false,
    false,
  ]);
  expect(overlap(any, port(undefined, { protocol: "udp" }))).toBe(false);
  expect(overlap(any, port(undefined, { hostPort: 81 }))).toBe(false);
  expect([any, six, one].map(formatHostPort)).toEqual(["80/tcp", "[::]:80/tcp", "192.0.2.1:80/tcp"]);
});

test("the node's own ports are let by before any mapping, in an order that does not change the ruleset", () => {
  const own = [
    { protocol: "udp", port: 51820, purpose: "the tunnel" },
    { protocol: "tcp", port: 7473, purpose: "the register" },
  ] as const;
  const { text } = hostPortRuleset(4, { ownPorts: own });
  expect(text).toBe(hostPortRuleset(4, { ownPorts: own.toReversed() }).text);
  expect(text.indexOf("{ tcp . 7473, udp . 51820 } return")).toBeGreaterThan(
    text.indexOf("chain host_ports"),
  );
  expect(text.indexOf("return")).toBeLessThan(text.indexOf("dnat ip to"));
  expect(hostPortRuleset(6).text).not.toContain("th dport {");
  expect(hostPortRuleset(6).text).not.toContain("127.0.0.0");
});
