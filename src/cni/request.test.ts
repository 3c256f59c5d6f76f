import { describe, expect, test } from "bun:test";
import { formatIp, formatMac } from "../net/mod.ts";
import { CniError } from "./error.ts";
import type { Environment } from "./protocol.ts";
import { answerVersion, interfaceNameProblem, parseRequest } from "./request.ts";

const environment: Environment = {
  CNI_COMMAND: "ADD",
  CNI_CONTAINERID: "3f2a",
  CNI_NETNS: "/run/netns/x",
  CNI_IFNAME: "eth0",
};
const configuration = { cniVersion: "1.0.0", name: "net", type: "causeway" };

function parse(
  change: Partial<Record<keyof Environment, string | undefined>> = {},
  config: unknown = configuration,
) {
  const merged = Object.fromEntries(
    Object.entries({ ...environment, ...change }).filter(([, value]) => value !== undefined),
  ) as Environment;
  return parseRequest({
    environment: merged,
    stdin: typeof config === "string" ? config : JSON.stringify(config),
  });
}

function refusal(...args: Parameters<typeof parse>): CniError {
  try {
    parse(...args);
  } catch (error) {
    if (error instanceof CniError) return error;
    throw error;
  }
  throw new Error("not refused");
}

const addWith = (more: object) => parse({}, { ...configuration, ...more });

describe("environment", () => {
  test("P1: a call is read from the environment and standard input", () => {
    expect(parse()).toMatchObject({
      command: "ADD",
      containerId: "3f2a",
      ifname: "eth0",
      netns: "/run/netns/x",
      configuration: { name: "net", version: "1.0.0" },
    });
  });

  test("code 4 names all variables that are missing", () => {
    const error = refusal({ CNI_CONTAINERID: undefined, CNI_IFNAME: undefined, CNI_NETNS: undefined });
    expect([error.code, error.message]).toEqual([
      4,
      "required env variables [CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME] missing",
    ]);
    expect(refusal({ CNI_COMMAND: "DEL", CNI_CONTAINERID: undefined, CNI_NETNS: undefined }).message).toBe(
      "required env variables [CNI_CONTAINERID] missing",
    );
  });

  test("D3: DEL needs no namespace", () => {
    expect(parse({ CNI_COMMAND: "DEL", CNI_NETNS: undefined }).command).toBe("DEL");
  });

  test("an unknown command is code 4", () => {
    for (const command of ["add", "UPDATE", "toString", "VERSION"])
      expect(refusal({ CNI_COMMAND: command }).code).toBe(4);
  });

  test("P6: ids of containers", () => {
    for (const id of ["a", "A.b_c-1", "0".repeat(64)]) parse({ CNI_CONTAINERID: id });
    for (const id of [".a", "-a", "_a", "a/b", "a b", "ä", "../x"]) {
      const error = refusal({ CNI_CONTAINERID: id });
      expect([error.code, error.details]).toEqual([4, `CNI_CONTAINERID is ${JSON.stringify(id)}`]);
    }
  });

  test("P5: names of interfaces", () => {
    for (const name of ["eth0", "net1.100", "a".repeat(15)])
      expect(interfaceNameProblem(name)).toBeUndefined();
    for (const name of ["a".repeat(16), "ää345678901ää", ".", "..", "a/b", "a:b", "a b", "a\t"]) {
      expect(interfaceNameProblem(name) ?? "none").not.toBe("none");
      expect(refusal({ CNI_IFNAME: name }).code).toBe(4);
    }
  });
});

describe("configuration", () => {
  test("code 6 for what is not a JSON object", () => {
    for (const text of ["", "{", "[]", "null", "3", '"x"']) expect(refusal({}, text).code).toBe(6);
  });

  test("P7: names of networks, and of plugins", () => {
    for (const name of [undefined, "", "a/b", ".a", "a b", 3])
      expect(refusal({}, { ...configuration, name }).code).toBe(7);
    expect(refusal({}, { ...configuration, type: "a/b" }).code).toBe(7);
  });

  test("no version means 0.1.0; an unknown one is code 1 with both sides", () => {
    expect(parse({}, { name: "net" }).configuration.version).toBe("0.1.0");
    expect(parse({}, { name: "net", cniVersion: "" }).configuration.version).toBe("0.1.0");
    const error = refusal({}, { ...configuration, cniVersion: "9.9.9" });
    expect([error.code, error.details]).toEqual([
      1,
      'config is "9.9.9", plugin supports ["0.1.0","0.2.0","0.3.0","0.3.1","0.4.0","1.0.0","1.1.0"]',
    ]);
  });

  test("commands exist from a version on", () => {
    expect(refusal({ CNI_COMMAND: "CHECK" }, { ...configuration, cniVersion: "0.3.1" }).code).toBe(1);
    for (const CNI_COMMAND of ["GC", "STATUS"]) {
      expect(refusal({ CNI_COMMAND }).code).toBe(1);
      expect(parse({ CNI_COMMAND }, { ...configuration, cniVersion: "1.1.0" }).command).toBe(
        CNI_COMMAND as "GC",
      );
    }
  });

  test("P9: unknown keys, and unknown args, are ignored", () => {
    addWith({ whatever: { deep: [1] }, args: { cni: { labels: ["x"] }, other: 3 } });
  });

  test("keys match without regard to case; empty texts and null are absent", () => {
    const parsed = addWith({
      RuntimeConfig: { IPS: ["10.0.0.9"], Mac: "02:00:00:00:00:01" },
      MTU: 1400,
      dns: { Domain: "" },
    });
    expect(parsed.configuration.addresses.map(formatIp)).toEqual(["10.0.0.9"]);
    expect(parsed.configuration.mac && formatMac(parsed.configuration.mac)).toBe("02:00:00:00:00:01");
    expect(parsed.configuration.mtuBytes).toBe(1400);
    expect(parsed.configuration.dns).toBeUndefined();
    expect(addWith({ runtimeConfig: null, prevResult: null, mtu: 0 }).configuration).toEqual({
      version: "1.0.0",
      name: "net",
      addresses: [],
    });
  });

  test("several addresses of a family cannot be told before 0.3.0, and are code 1", () => {
    for (const cniVersion of ["0.1.0", "0.2.0"]) {
      const of = (...ips: string[]) => ({ ...configuration, cniVersion, runtimeConfig: { ips } });
      expect(refusal({}, of("10.0.0.8", "10.0.0.9"))).toMatchObject({
        code: 1,
        message: `CNI version ${cniVersion} does not support more than 1 address per family`,
      });
      parse({}, of("10.0.0.8", "fd00::8"));
      parse({}, { ...of("10.0.0.8", "10.0.0.9"), cniVersion: "0.3.0" });
    }
  });

  test("an exact key wins over one that differs in case", () => {
    expect(addWith({ MTU: 1300, mtu: 1400, Mtu: 1500 }).configuration.mtuBytes).toBe(1400);
  });

  test("containerd's dns, and the configuration's", () => {
    const own = { nameservers: ["10.0.0.10"], domain: "cluster.local", search: ["a"] };
    expect(addWith({ dns: own }).configuration.dns).toEqual(own);
    const runtimeConfig = { dns: { Servers: ["10.0.0.11"], Searches: ["b"], Options: ["ndots:5"] } };
    expect(addWith({ dns: own, runtimeConfig }).configuration.dns).toEqual({
      nameservers: ["10.0.0.11"],
      domain: "cluster.local",
      search: ["b"],
      options: ["ndots:5"],
    });
  });

  test("details name field and value of what is wrong", () => {
    for (const [more, details] of [
      [{ mtu: "1400" }, 'mtu is "1400"'],
      [{ mtu: -1 }, "mtu is -1"],
      [{ runtimeConfig: { ips: "10.0.0.1" } }, 'runtimeConfig.ips is "10.0.0.1"'],
      [{ runtimeConfig: { ips: ["x"] } }, 'runtimeConfig.ips has "x"'],
      [{ runtimeConfig: { mac: "x" } }, 'mac is "x"'],
      [{ runtimeConfig: { mac: "01:00:5e:00:00:01" } }, 'mac is "01:00:5e:00:00:01"'],
      [{ prevResult: [] }, "prevResult is []"],
      [{ dns: { nameservers: [3] } }, "dns.nameservers is [3]"],
    ] as const)
      expect(refusal({}, { ...configuration, ...more })).toMatchObject({ code: 7, details });
  });

  test("what we cannot act on is code 2: another IPAM plugin", () => {
    expect(refusal({}, { ...configuration, ipam: { type: "host-local" } })).toMatchObject({
      code: 2,
      details: 'ipam.type is "host-local"',
    });
    addWith({ ipam: {} });
    addWith({ runtimeConfig: { portMappings: [], bandwidth: { IngressRate: 0, IngressBurst: 4294967295 } } });
  });

  test("limits: from runtimeConfig in any case, and from the configuration itself", () => {
    const limits = (more: object) => addWith(more).configuration.bandwidth;
    expect(limits({})).toBeUndefined();
    expect(limits({ runtimeConfig: { bandwidth: { EgressRate: 1000, EgressBurst: 8000 } } })).toEqual({
      egress: { bitsPerSecond: 1000, burstBits: 8000 },
    });
    expect(limits({ ingressRate: 2000, ingressBurst: 9000 })).toEqual({
      ingress: { bitsPerSecond: 2000, burstBits: 9000 },
    });
    const wrong = { ...configuration, runtimeConfig: { bandwidth: { IngressBurst: 1000 } } };
    expect(refusal({}, wrong)).toMatchObject({
      code: 7,
      details: "runtimeConfig.bandwidth.ingressBurst is 1000",
    });
  });

  test("D2: DEL reads nothing that it does not need", () => {
    const wrong = { ...configuration, mtu: "x", runtimeConfig: 3, ipam: { type: "a/b" }, prevResult: [] };
    expect(parse({ CNI_COMMAND: "DEL", CNI_ARGS: "nonsense" }, wrong).configuration.name).toBe("net");
  });

  test("GC reads nothing but the list: a configuration that ADD refuses has stale attachments as well", () => {
    const wrong = { ...configuration, cniVersion: "1.1.0", mtu: "x", ipam: { type: "host-local" } };
    expect(parse({ CNI_COMMAND: "GC" }, wrong).command).toBe("GC");
    expect(refusal({ CNI_COMMAND: "STATUS" }, wrong).code).toBe(2);
    expect(refusal({ CNI_COMMAND: "GC" }, { ...wrong, "cni.dev/valid-attachments": [{}] }).code).toBe(7);
  });

  test("GC: what is valid, under either name; absent is not empty", () => {
    const gc = (more: object) =>
      parse({ CNI_COMMAND: "GC" }, { ...configuration, cniVersion: "1.1.0", ...more }).configuration
        .validAttachments;
    expect(gc({})).toBeUndefined();
    expect(gc({ "cni.dev/valid-attachments": [] })).toEqual([]);
    expect(gc({ "cni.dev/attachments": [{ containerID: "a", ifname: "eth0" }] })).toEqual([
      { containerId: "a", ifname: "eth0" },
    ]);
  });
});

describe("CNI_ARGS", () => {
  const args = (CNI_ARGS: string) => parse({ CNI_ARGS });

  test("what containerd, podman and Multus send", () => {
    args("K8S_POD_UID=1;IgnoreUnknown=1;K8S_POD_NAMESPACE=x;K8S_POD_NAME=y;K8S_POD_INFRA_CONTAINER_ID=z");
    const podman = args("IgnoreUnknown=1;K8S_POD_NAME=box;MAC=02:00:00:00:00:05;IP=10.0.0.5").configuration;
    expect([podman.addresses.map(formatIp), podman.mac && formatMac(podman.mac)]).toEqual([
      ["10.0.0.5"],
      "02:00:00:00:00:05",
    ]);
    expect(
      args("IgnoreUnknown=true;IP=10.0.0.5,fd00::5;IP=10.0.0.5,fd00::5").configuration.addresses,
    ).toHaveLength(2);
  });

  test("unknown keys need IgnoreUnknown; a pair needs one equals sign", () => {
    expect(refusal({ CNI_ARGS: "A=1;B=2" }).message).toContain("unknown keys A, B");
    args("A=1;IgnoreUnknown=1");
    for (const text of ["A", "A=1=2", "=1", "IgnoreUnknown=1;x"])
      expect(refusal({ CNI_ARGS: text }).code).toBe(4);
    args("IP=");
  });

  test("runtimeConfig before args before CNI_ARGS", () => {
    const all = {
      runtimeConfig: { ips: ["10.0.0.1/24"], mac: "02:00:00:00:00:01" },
      args: { cni: { ips: ["10.0.0.2"], mac: "02:00:00:00:00:02" } },
    };
    const first = (config: object) => {
      const { addresses, mac } = parse(
        { CNI_ARGS: "IP=10.0.0.3;MAC=02:00:00:00:00:03" },
        { ...configuration, ...config },
      ).configuration;
      return [addresses.map(formatIp).join(), mac];
    };
    expect(first(all)).toEqual(["10.0.0.1", 0x020000000001 as never]);
    expect(first({ args: all.args })).toEqual(["10.0.0.2", 0x020000000002 as never]);
    expect(first({})).toEqual(["10.0.0.3", 0x020000000003 as never]);
  });
});

test("P4: an answer carries the configuration's version when that can be read", () => {
  expect(answerVersion('{"cniVersion":"0.4.0"}')).toBe("0.4.0");
  expect(answerVersion("{}")).toBe("0.1.0");
  expect(answerVersion('{"cniVersion":"9"}')).toBeUndefined();
  expect(answerVersion("nonsense")).toBeUndefined();
});
