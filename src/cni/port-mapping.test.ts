import { describe, expect, test } from "bun:test";
import { parseIp, parsePrefix } from "../net/mod.ts";
import { formatHostPort, type HostPort, podId } from "../pods/mod.ts";
import { CniError } from "./error.ts";
import { Reader } from "./json.ts";
import { type Claim, claimHostPorts, parsePortMappings } from "./port-mapping.ts";
import type { StoredPod } from "./store.ts";

const parse = (portMappings: unknown) => parsePortMappings(new Reader({ portMappings }, "runtimeConfig"));
const texts = (ports: readonly HostPort[]) =>
  ports.map((port) => `${formatHostPort(port)} > ${port.containerPort}`);

function refusal(work: () => unknown): CniError {
  try {
    work();
  } catch (error) {
    if (error instanceof CniError) return error;
    throw error;
  }
  throw new Error("it was not refused");
}

describe("portMappings", () => {
  test("absent, or nothing asked of the node, is nothing", () => {
    expect(parsePortMappings(undefined)).toEqual([]);
    expect(parse(undefined)).toEqual([]);
    expect(parse([])).toEqual([]);
    // kubelet sends every containerPort; what asks for nothing is not looked at.
    expect(parse([{ containerPort: 80 }, { hostPort: 0, protocol: "quic" }, { HostPort: null }])).toEqual([]);
  });

  test("as podman writes it, and as containerd does", () => {
    const mapping = { hostPort: 8080, containerPort: 80, protocol: "udp", hostIP: "192.0.2.1" };
    expect(parse([mapping])).toEqual([
      { ...mapping, hostIP: undefined, hostIp: parseIp("192.0.2.1") } as never,
    ]);
    const cri = [
      { HostPort: 8080, ContainerPort: 80, Protocol: "TCP", HostIP: "" },
      { HostPort: 8080, ContainerPort: 80, Protocol: "SCTP", HostIP: "" },
    ];
    expect(parse(cri)).toEqual([
      { hostPort: 8080, containerPort: 80, protocol: "tcp" },
      { hostPort: 8080, containerPort: 80, protocol: "sctp" },
    ]);
  });

  test("hostIP: families and addresses", () => {
    const of = (hostIP: string) => texts(parse([{ hostPort: 80, containerPort: 8080, hostIP }]));
    expect(of("")).toEqual(["80/tcp > 8080"]);
    expect(of("0.0.0.0")).toEqual(["0.0.0.0:80/tcp > 8080"]);
    expect(of("::")).toEqual(["[::]:80/tcp > 8080"]);
    expect(of("127.0.0.1")).toEqual(["127.0.0.1:80/tcp > 8080"]);
    expect(of("2001:db8::1")).toEqual(["[2001:db8::1]:80/tcp > 8080"]);
    expect(of("::ffff:192.0.2.1")).toEqual(["192.0.2.1:80/tcp > 8080"]);
  });

  test("what is wrong is named with its value", () => {
    const good = { hostPort: 80, containerPort: 8080 };
    for (const [more, details] of [
      [{ hostPort: 65536 }, "portMappings[0].hostPort is 65536"],
      [{ hostPort: -1 }, "portMappings[0].hostPort is -1"],
      [{ hostPort: "80" }, 'portMappings[0].hostPort is "80"'],
      [{ hostPort: 80.5 }, "portMappings[0].hostPort is 80.5"],
      [{ containerPort: 0 }, "portMappings[0].containerPort is 0"],
      [{ containerPort: 70000 }, "portMappings[0].containerPort is 70000"],
      [{ containerPort: undefined }, "portMappings[0].containerPort is absent"],
      [{ protocol: "icmp" }, 'portMappings[0].protocol is "icmp"'],
      [{ protocol: 6 }, "portMappings[0].protocol is 6"],
      [{ hostIP: "localhost" }, 'portMappings[0].hostIP is "localhost"'],
      [{ hostIP: "192.0.2.1/24" }, 'portMappings[0].hostIP is "192.0.2.1/24"'],
      // Nothing is forwarded from or to these.
      [{ hostIP: "::1" }, 'portMappings[0].hostIP is "::1"'],
      [{ hostIP: "fe80::1" }, 'portMappings[0].hostIP is "fe80::1"'],
      [{ hostIP: "224.0.0.1" }, 'portMappings[0].hostIP is "224.0.0.1"'],
    ] as const)
      expect(refusal(() => parse([{ ...good, ...more }]))).toMatchObject({
        code: 7,
        details: `runtimeConfig.${details}`,
      });
    expect(refusal(() => parse({})).details).toBe("runtimeConfig.portMappings is {}");
    expect(refusal(() => parse([3])).code).toBe(7);
  });

  test("the same port of the same address twice is refused; of different ones it is not", () => {
    const at = (hostIP: string, more: object = {}) => ({
      hostPort: 80,
      containerPort: 8080,
      hostIP,
      ...more,
    });
    const twice: [object, object][] = [
      [at(""), at("")],
      [at(""), at("0.0.0.0")],
      [at("::"), at("")],
      [at("192.0.2.1"), at("192.0.2.1", { containerPort: 1 })],
    ];
    for (const pair of twice)
      expect(refusal(() => parse(pair))).toMatchObject({
        code: 7,
        details: "runtimeConfig.portMappings[1].hostPort is 80",
      });
    expect(refusal(() => parse(twice[0])).message).toContain("80/tcp is mapped twice");
    expect(
      parse([at("0.0.0.0"), at("::"), at("", { protocol: "udp" }), at("", { hostPort: 81 })]),
    ).toHaveLength(4);
    // The one address comes before all addresses.
    expect(parse([at(""), at("127.0.0.1", { containerPort: 1 })])).toHaveLength(2);
  });
});

describe("claiming host ports", () => {
  const holder = (containerId: string, ports: unknown, ifname = "eth0"): StoredPod => ({
    network: "net",
    containerId,
    ifname,
    id: podId({ network: "net", containerId, ifname }),
    mac: 0 as StoredPod["mac"],
    addresses: [],
    mtuBytes: 1420,
    netns: "",
    state: "ready",
    hostPorts: parse(ports),
  });
  const claim: Claim = {
    attachment: { network: "net", containerId: "new", ifname: "eth0" },
    node: {
      ranges: [parsePrefix("10.244.1.0/24")],
      mtuBytes: 1420,
      ownPorts: [{ protocol: "udp", port: 51820, purpose: "the tunnel" }],
    },
    pods: [
      holder("old", [{ hostPort: 80, containerPort: 1, hostIP: "192.0.2.1" }]),
      holder("six", [{ hostPort: 81, containerPort: 1, hostIP: "::" }]),
      holder("new", [{ hostPort: 82, containerPort: 1 }], "net1"),
    ],
  };
  const get = (...ports: object[]) =>
    texts(claimHostPorts(parse(ports.map((port) => ({ containerPort: 9, ...port }))), claim));

  test("what nobody has is given", () => {
    expect(get()).toEqual([]);
    expect(
      get(
        { hostPort: 80, hostIP: "192.0.2.2" },
        { hostPort: 80, hostIP: "::" },
        { hostPort: 80, protocol: "udp" },
      ),
    ).toEqual(["192.0.2.2:80/tcp > 9", "[::]:80/tcp > 9", "80/udp > 9"]);
    expect(get({ hostPort: 81, hostIP: "0.0.0.0" }, { hostPort: 51820 })).toHaveLength(2);
  });

  test("what another container has is refused, with its name", () => {
    for (const port of [
      { hostPort: 80 },
      { hostPort: 80, hostIP: "0.0.0.0" },
      { hostPort: 80, hostIP: "192.0.2.1" },
    ])
      expect(refusal(() => get({ hostPort: 1 }, port))).toMatchObject({
        code: 105,
        message: expect.stringContaining("eth0 of container old in network net has 192.0.2.1:80/tcp; delete"),
        details: expect.stringContaining("to port 9"),
      });
    for (const hostIP of ["", "::", "2001:db8::1"])
      expect(refusal(() => get({ hostPort: 81, hostIP })).message).toContain("container six");
  });

  test("what another interface of the same container has is left to it", () => {
    expect(get({ hostPort: 82 }, { hostPort: 83 })).toEqual(["83/tcp > 9"]);
  });

  test("what the node itself cannot do without is refused", () => {
    expect(refusal(() => get({ hostPort: 51820, protocol: "udp", hostIP: "192.0.2.9" }))).toMatchObject({
      code: 105,
      message:
        "Cannot map host port 192.0.2.9:51820/udp: it is the port of the tunnel; choose another hostPort",
    });
  });
});
