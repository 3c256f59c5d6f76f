/** What passes between runtime and plugin: variables, standard input, exit status, error objects, and what both call valid. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { CniNode } from "../support/cni-node.ts";
import { executable, labLacks } from "../support/lab-needs.ts";
import { notRoot } from "../support/scratch.ts";

const suffix = notRoot === undefined ? "" : ` (skipped: ${notRoot})`;
const nothing = { links: [], elements: [], neighbours: [], rows: [] };

describe.skipIf(notRoot !== undefined)(`CNI: protocol${suffix}`, () => {
  let node: CniNode;
  beforeAll(async () => {
    node = await CniNode.create();
    await node.startAgent();
    await node.addPod("pod");
  });
  afterAll(() => node?.[Symbol.asyncDispose]());

  const configuration = { cniVersion: "1.0.0", name: "net", type: "causeway" };
  const variables = {
    CNI_COMMAND: "ADD",
    CNI_CONTAINERID: "pod",
    CNI_NETNS: "/run/netns/pod",
    CNI_IFNAME: "eth0",
  };

  /** Runs the plugin with exactly these variables and this text. */
  async function plugin(env: Record<string, string>, stdin: unknown = configuration) {
    const text = typeof stdin === "string" ? stdin : JSON.stringify(stdin);
    const outcome = await node.run(node.plugin, { env, stdin: text });
    return { ...outcome, json: outcome.stdout === "" ? undefined : JSON.parse(outcome.stdout) };
  }

  async function clear(...names: string[]): Promise<void> {
    for (const containerId of names) expect((await node.call("DEL", { containerId })).status).toBe(0);
    expect(await node.remains()).toEqual(nothing);
  }

  const without = (name: keyof typeof variables) =>
    Object.fromEntries(Object.entries(variables).filter(([key]) => key !== name));

  /** Calls that are wrong in one way each, with the code and what the message or the details must name. */
  const wrong: [string, Record<string, string>, unknown, number, string][] = [
    ["version", variables, { ...configuration, cniVersion: "2.0.0" }, 1, '"2.0.0"'],
    ["version, no text", variables, { ...configuration, cniVersion: 1 }, 7, "cniVersion is 1"],
    ["container", { ...variables, CNI_CONTAINERID: "a/b" }, configuration, 4, 'CNI_CONTAINERID is "a/b"'],
    ["interface", { ...variables, CNI_IFNAME: "a b" }, configuration, 4, 'CNI_IFNAME is "a b"'],
    ["no namespace", without("CNI_NETNS"), configuration, 4, "CNI_NETNS"],
    ["arguments", { ...variables, CNI_ARGS: "A=1" }, configuration, 4, "A=1"],
    ["command", { ...variables, CNI_COMMAND: "UPDATE" }, configuration, 4, "UPDATE"],
    ["no JSON", variables, "{", 6, "JSON"],
    ["no object", variables, "[]", 6, "[]"],
    ["no name", variables, { ...configuration, name: undefined }, 7, "name"],
    ["MTU", variables, { ...configuration, mtu: "x" }, 7, 'mtu is "x"'],
    ["namespace", { ...variables, CNI_NETNS: "/run/netns/no" }, configuration, 8, "/run/netns/no"],
    ["IPAM", variables, { ...configuration, ipam: { type: "dhcp" } }, 2, 'ipam.type is "dhcp"'],
    [
      "address",
      variables,
      { ...configuration, runtimeConfig: { ips: ["192.0.2.1"] } },
      102,
      "192.0.2.1: it is not a pod address",
    ],
  ];

  test("P1: the environment says what is to be done, standard input how", async () => {
    const { status, json } = await plugin(
      { ...variables, CNI_ARGS: "IP=10.244.1.77" },
      { ...configuration, mtu: 1300 },
    );
    expect([status, json.ips[0].address]).toEqual([0, "10.244.1.77/24"]);
    expect(json.interfaces[2]).toMatchObject({ name: "eth0", mtu: 1300, sandbox: "/run/netns/pod" });
    expect(await node.ip("link show eth0", "pod")).toMatchObject([{ mtu: 1300 }]);
    await clear("pod");
  });

  test("P2, P3: exit status 0 and a result, or another status and an error, both on standard output", async () => {
    const good = await plugin(variables);
    expect([good.status, good.stderr, good.json.interfaces.length]).toEqual([0, "", 3]);
    await clear("pod");
    for (const [what, env, stdin] of wrong) {
      const { status, stderr, json } = await plugin(env, stdin);
      expect([what, status > 0 && status < 128, stderr, typeof json.msg]).toEqual([what, true, "", "string"]);
    }
    expect(await node.remains()).toEqual(nothing);
  });

  test("P4, 7.12: an error has a version, a code that says something, a message, and details with field and value", async () => {
    for (const [what, env, stdin, code, named] of wrong) {
      const { json } = await plugin(env, stdin);
      // Details are more than the message, where there is more to say.
      expect([
        what,
        Object.keys(json)
          .filter((key) => key !== "details")
          .sort(),
      ]).toEqual([what, ["cniVersion", "code", "msg"]]);
      expect([what, json.cniVersion]).toEqual([
        what,
        code === 1 || code === 6 || what.startsWith("version") ? "1.1.0" : "1.0.0",
      ]);
      expect([what, json.code]).toEqual([what, code]);
      expect(`${json.msg}; ${json.details}`).toContain(named);
    }
  });

  test("P5, 3.2: an interface name that cannot be is code 4, and nothing is made", async () => {
    for (const name of ["sixteen-letters!", ".", "..", "a/b", "a:b", "a b", "a\tb"]) {
      const { status, json } = await plugin({ ...variables, CNI_IFNAME: name });
      expect([name, status, json.code]).toEqual([name, 1, 4]);
    }
    expect(await node.remains()).toEqual(nothing);
    expect((await plugin({ ...variables, CNI_IFNAME: "fifteen-letters" })).status).toBe(0);
    expect((await plugin({ ...variables, CNI_COMMAND: "DEL", CNI_IFNAME: "fifteen-letters" })).status).toBe(
      0,
    );
  });

  test("P6: an id that is none is code 4 in every command that has one", async () => {
    for (const CNI_COMMAND of ["ADD", "CHECK", "DEL"])
      for (const id of [".a", "-a", "_a", "a/b", "../a", "a b", "ä"]) {
        const { status, json } = await plugin({ ...variables, CNI_COMMAND, CNI_CONTAINERID: id });
        expect([CNI_COMMAND, id, status, json.code]).toEqual([CNI_COMMAND, id, 1, 4]);
      }
    for (const id of ["a", "9_.-", "k8s.io-box", "0".repeat(64)]) {
      expect((await plugin({ ...variables, CNI_CONTAINERID: id })).status).toBe(0);
      expect((await plugin({ ...variables, CNI_COMMAND: "DEL", CNI_CONTAINERID: id })).status).toBe(0);
    }
  });

  test("P7: a network's name that is none is code 7 in every command; plugin names have no slash", async () => {
    const newest = { ...configuration, cniVersion: "1.1.0" };
    for (const CNI_COMMAND of ["ADD", "CHECK", "DEL", "GC", "STATUS"])
      for (const name of ["", undefined, 3, ".a", "a/b", "a b", "a\0b"]) {
        const { json } = await plugin({ ...variables, CNI_COMMAND }, { ...newest, name });
        expect([CNI_COMMAND, name, json.code]).toEqual([CNI_COMMAND, name, 7]);
      }
    expect((await plugin(variables, { ...configuration, type: "a/b" })).json.code).toBe(7);
    expect((await plugin(variables, { ...configuration, ipam: { type: "a/b" } })).json.code).toBe(2);
  });

  test("P9: unknown keys are ignored, and nothing in `args` is refused", async () => {
    const strange: object[] = [
      { isGateway: true, unknown: { deep: [null] } },
      { args: { cni: { labels: [{ key: "a", value: "b" }] }, "org.example": 1 } },
      { args: 3 },
      { args: { cni: "x" } },
      { args: { cni: { ips: ["not an address"], mac: "not one" } } },
      { args: { cni: { ips: 3, mac: ["x"] } } },
    ];
    for (const more of strange) {
      const { status, stdout } = await plugin(variables, { ...configuration, ...more });
      expect([more, status, status === 0 ? "" : stdout]).toEqual([more, 0, ""]);
      await clear("pod");
    }
  });

  test("P10: the plugin may run in any namespace, for the agent's decides", async () => {
    await node.addPod("elsewhere");
    const argv = ["ip", "netns", "exec", "elsewhere", ...node.plugin];
    const { status, stdout } = await node.run(argv, { env: variables, stdin: JSON.stringify(configuration) });
    expect([status, JSON.parse(stdout).interfaces[0].name]).toEqual([0, "cw-pods"]);
    expect(await node.in("pod", "ping -c1 -W5 10.244.1.1")).toBe(true);
    await clear("pod");
  });

  test("P11, P12, 2.5: keys that runtimes keep to themselves do no harm when they come", async () => {
    const { status } = await plugin(variables, {
      ...configuration,
      capabilities: { ips: true, portMappings: true },
      cniVersions: ["0.4.0", "9.9.9"],
      disableCheck: true,
      disableGC: true,
      loadOnlyInlinedPlugins: true,
      plugins: [{ type: "bridge" }],
      "cni.dev/valid-attachments": [{ containerID: "other", ifname: "eth0" }],
      "cni.dev/anything": 1,
      runtimeConfig: { unknown: [1] },
    });
    expect(status).toBe(0);
    await clear("pod");
  });

  test("P13, 2.4 dns: dns is what the configuration or the runtime says", async () => {
    const dns = { nameservers: ["10.0.0.10"], domain: "a.test", search: ["b.test"], options: ["ndots:5"] };
    expect((await plugin(variables, { ...configuration, dns })).json.dns).toEqual(dns);
    await clear("pod");
    const runtimeConfig = { dns: { Servers: ["10.0.0.11"], Searches: ["c.test"], Options: [] } };
    expect((await plugin(variables, { ...configuration, dns, runtimeConfig })).json.dns).toEqual({
      ...dns,
      nameservers: ["10.0.0.11"],
      search: ["c.test"],
    });
    await clear("pod");
  });

  test("code 1, code 2, code 4, code 6, code 7, code 8, code 100+, 3.3: each wrong call has its code", async () => {
    const codes = await Promise.all(
      wrong.map(async ([, env, stdin]) => (await plugin(env, stdin)).json.code),
    );
    expect(codes).toEqual(wrong.map(([, , , code]) => code));
    expect([...new Set(codes)].sort((a, b) => a - b)).toEqual([1, 2, 4, 6, 7, 8, 102]);
    const { details } = (await plugin(variables, { ...configuration, cniVersion: "2.0.0" })).json;
    expect(details).toBe(
      'config is "2.0.0", plugin supports ["0.1.0","0.2.0","0.3.0","0.3.1","0.4.0","1.0.0","1.1.0"]',
    );
  });

  test("3.1: all variables that are missing are named at once, and empty is missing", async () => {
    const missing = async (env: Record<string, string>) => {
      const { json } = await plugin(env, { ...configuration, cniVersion: "1.1.0" });
      return [json?.code, json?.msg];
    };
    const text = (...names: string[]) => [4, `required env variables [${names.join(",")}] missing`];
    for (const CNI_COMMAND of ["ADD", "CHECK"]) {
      expect(await missing({ CNI_COMMAND })).toEqual(text("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"));
      expect(await missing({ ...variables, CNI_COMMAND, CNI_NETNS: "" })).toEqual(text("CNI_NETNS"));
    }
    expect(await missing({ CNI_COMMAND: "DEL" })).toEqual(text("CNI_CONTAINERID", "CNI_IFNAME"));
    for (const CNI_COMMAND of ["STATUS", "GC"])
      expect(await missing({ CNI_COMMAND })).toEqual([undefined, undefined]);
    // Nothing is delegated, so CNI_PATH is not asked for.
    expect((await plugin({ ...variables, CNI_PATH: "" })).status).toBe(0);
    await clear("pod");
  });

  test.skipIf(labLacks !== undefined)(
    "3.7: without CNI_COMMAND it is the command line, which says what it is",
    async () => {
      const { status, stdout, stderr } = await node.run([executable], {
        stdin: JSON.stringify(configuration),
      });
      expect([status, stderr]).toEqual([2, ""]);
      expect(stdout).toContain("One encrypted network");
      expect(stdout).toContain("causeway COMMAND --help");
    },
  );

  test("3.8: pairs of CNI_ARGS, known ones and unknown ones", async () => {
    const code = async (CNI_ARGS: string) => {
      const { json, status } = await plugin({ ...variables, CNI_ARGS });
      if (status === 0) await clear("pod");
      return status === 0 ? 0 : json.code;
    };
    for (const [text, wanted] of [
      ["A=1", 4],
      ["A=1;IgnoreUnknown=1", 0],
      ["IgnoreUnknown=true;A=1;A=2", 0],
      ["IgnoreUnknown=false;A=1", 4],
      ["K8S_POD_NAME=x;K8S_POD_NAMESPACE=y;K8S_POD_UID=u;K8S_POD_INFRA_CONTAINER_ID=z", 0],
      ["IgnoreUnknown=1;A", 4],
      ["IgnoreUnknown=1;A=b=c", 4],
      [";", 0],
      ["IP=;MAC=", 0],
      ["IP=nonsense", 7],
    ] as const)
      expect([text, await code(text)]).toEqual([text, wanted]);
  });

  test("3.9: keys match without regard to case", async () => {
    const { json } = await plugin(variables, {
      CNIVERSION: "1.1.0",
      Name: "net",
      TYPE: "causeway",
      MTU: 1290,
      RuntimeConfig: { IPS: ["10.244.1.90"], Mac: "02:00:00:00:00:90" },
      DNS: { NameServers: ["10.0.0.10"] },
    });
    expect([json.cniVersion, json.ips[0].address, json.dns.nameservers]).toEqual([
      "1.1.0",
      "10.244.1.90/24",
      ["10.0.0.10"],
    ]);
    expect(json.interfaces[2]).toMatchObject({ mac: "02:00:00:00:00:90", mtu: 1290 });
    await clear("pod");
  });

  test("3.10: standard output holds one document or nothing, and standard error nothing", async () => {
    const { json: prevResult, ...add } = await plugin(variables);
    expect([add.stdout.trim().split("\n").length, add.stderr]).toEqual([1, ""]);
    const quiet = { status: 0, stdout: "", stderr: "" };
    const newest = { ...configuration, cniVersion: "1.1.0" };
    expect(
      await plugin({ ...variables, CNI_COMMAND: "CHECK" }, { ...configuration, prevResult }),
    ).toMatchObject(quiet);
    expect(await plugin({ CNI_COMMAND: "STATUS" }, newest)).toMatchObject(quiet);
    expect(await plugin({ CNI_COMMAND: "GC" }, { ...newest, "cni.dev/valid-attachments": [] })).toMatchObject(
      quiet,
    );
    expect(await plugin({ ...variables, CNI_COMMAND: "DEL" })).toMatchObject(quiet);
    await clear("pod");
  });

  test.skipIf(labLacks !== undefined)("3.11: an executable that runs is replaced by rename", async () => {
    const [bin, conf] = ["/run/bin", "/run/net.d"];
    const install = [executable, "cni", "install", "--bin-dir", bin, "--conf-dir", conf];
    expect((await node.run(install)).status).toBe(0);
    // Another program runs in the place of each, as an older build would: writing into it is refused (ETXTBSY) from the moment it runs.
    await node.must("mkfifo /run/gate");
    for (const path of [`${bin}/causeway`, `${bin}/causeway-full`]) {
      await node.must(`cp /bin/cat ${path}.older && mv ${path}.older ${path}`);
      const running = node.run([path, "/run/gate"]);
      while ((await node.run(["dd", "if=/dev/null", "conv=notrunc", `of=${path}`])).status === 0)
        await Bun.sleep(1);
      expect((await node.run(install)).status).toBe(0);
      expect((await node.run(["cmp", path, "/bin/cat"])).status).toBe(1);
      await node.must("echo older > /run/gate");
      expect(await running).toMatchObject({ status: 0, stdout: "older\n" });
    }
    await node.must(`rm -r ${bin} ${conf}`);
  });

  test.skipIf(labLacks !== undefined)(
    "3.13: the runtime's environment and working folder do not reach the plugin",
    async () => {
      const folder = "/run/trap";
      await node.must(
        `mkdir ${folder}; echo 'process.stdout.write("trapped")' > ${folder}/trap.ts; echo 'CNI_IFNAME=trapped0' > ${folder}/.env;
      printf 'preload = ["./trap.ts"]' > ${folder}/bunfig.toml`,
      );
      const env = {
        ...variables,
        TRACEPARENT: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        TRACESTATE: "a=b",
        BAGGAGE: "c=d",
        NODE_OPTIONS: `--require ${folder}/trap.ts`,
      };
      const { status, stdout, stderr } = await node.run(["sh", "-c", `cd ${folder} && exec ${executable}`], {
        env,
        stdin: JSON.stringify(configuration),
      });
      expect([status, stderr, JSON.parse(stdout).interfaces[2].name]).toEqual([0, "", "eth0"]);
      await clear("pod");
    },
  );
});
