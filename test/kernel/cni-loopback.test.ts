/** The plugin `loopback` as runtimes call it: no agent runs here. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { type CallOptions, CniNode } from "../support/cni-node.ts";
import { executable, labLacks } from "../support/lab-needs.ts";
import { notRoot } from "../support/scratch.ts";

const suffix = notRoot === undefined ? "" : ` (skipped: ${notRoot})`;
const VERSIONS = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

describe.skipIf(notRoot !== undefined)(`CNI: loopback${suffix}`, () => {
  let node: CniNode;
  beforeAll(async () => {
    node = await CniNode.create();
    node.plugin = ["bash", "-c", 'exec -a /opt/cni/bin/loopback "$@"', "--", ...node.plugin];
  });
  afterAll(() => node?.[Symbol.asyncDispose]());

  const call = (command: string, containerId: string, options: CallOptions = {}) =>
    node.call(command, {
      containerId,
      ifname: "lo",
      ...options,
      configuration: {
        cniVersion: "0.3.1",
        name: "cni-loopback",
        type: "loopback",
        ...options.configuration,
      },
    });
  const state = async (pod: string) => {
    const [lo] = await node.ip("addr show lo", pod);
    return {
      up: lo.flags.includes("UP") as boolean,
      addresses: lo.addr_info.map(
        (entry: { local: string; prefixlen: number }) => `${entry.local}/${entry.prefixlen}`,
      ),
    };
  };
  // The kernel keeps IPv4 addresses of a link that goes down.
  const down = { up: false, addresses: ["127.0.0.1/8"] };
  const up = { up: true, addresses: ["127.0.0.1/8", "::1/128"] };

  test("ADD as containerd calls it: lo is up, and the result says so", async () => {
    await node.addPod("one");
    expect((await state("one")).up).toBe(false);
    const added = await call("ADD", "one", {
      args: "K8S_POD_UID=1;K8S_POD_NAME=x;IgnoreUnknown=1;K8S_POD_NAMESPACE=y;ODD",
    });
    expect([added.status, added.stderr]).toEqual([0, ""]);
    expect(added.json).toEqual({
      cniVersion: "0.3.1",
      interfaces: [{ name: "lo", mac: "00:00:00:00:00:00", sandbox: "/run/netns/one" }],
      ips: [
        { version: "4", address: "127.0.0.1/8", interface: 0 },
        { version: "6", address: "::1/128", interface: 0 },
      ],
      dns: {},
    });
    expect(await state("one")).toEqual(up);
    // Once more, as a pod that is set up again.
    expect((await call("ADD", "one")).json).toEqual(added.json);
  });

  test("the result has the configuration's version, in every version", async () => {
    for (const cniVersion of VERSIONS) {
      const { json } = await call("ADD", "one", { configuration: { cniVersion } });
      expect(json.cniVersion).toBe(cniVersion);
      if (cniVersion < "0.3")
        expect(json).toEqual({ cniVersion, ip4: { ip: "127.0.0.1/8" }, ip6: { ip: "::1/128" }, dns: {} });
      else
        expect(
          json.ips.map((entry: { address: string; version?: string }) => [entry.address, entry.version]),
        ).toEqual([
          ["127.0.0.1/8", cniVersion < "1" ? "4" : undefined],
          ["::1/128", cniVersion < "1" ? "6" : undefined],
        ]);
    }
  });

  test("A3: a prevResult is passed on as it came", async () => {
    const prevResult = {
      cniVersion: "1.0.0",
      interfaces: [{ name: "eth0", mac: "02:00:00:00:00:01", sandbox: "/run/netns/one" }],
      ips: [{ address: "10.1.0.2/24", gateway: "10.1.0.1", interface: 0 }],
      routes: [{ dst: "0.0.0.0/0" }],
    };
    const { json } = await call("ADD", "one", { configuration: { cniVersion: "1.0.0", prevResult } });
    expect(json).toEqual(prevResult);
    const odd = await call("ADD", "one", { configuration: { prevResult: { ips: [{ address: "x" }] } } });
    expect(odd.json).toMatchObject({ code: 7, cniVersion: "0.3.1" });
  });

  test("CHECK: silent while lo is up; fails when it is down, or lost an address", async () => {
    const check = (prevResult: unknown) =>
      call("CHECK", "one", { configuration: { cniVersion: "0.4.0", prevResult } });
    const prevResult = (await call("ADD", "one", { configuration: { cniVersion: "0.4.0" } })).json;
    expect(await check(prevResult)).toMatchObject({ status: 0, stdout: "" });
    await node.must("ip -n one addr del 127.0.0.1/8 dev lo");
    expect((await check(prevResult)).json).toMatchObject({
      code: 103,
      msg: "Cannot confirm the attachment: address 127.0.0.1 is missing on lo",
    });
    expect((await check(undefined)).status).toBe(0);
    await node.must("ip -n one link set lo down");
    expect((await check(undefined)).json).toMatchObject({ code: 103, cniVersion: "0.4.0" });
    expect((await call("CHECK", "one")).json.code).toBe(1);
  });

  test("D2, D3: DEL takes lo down, any number of times, without a namespace, and when it is gone", async () => {
    await call("ADD", "one");
    for (let time = 0; time < 2; time++) {
      expect(await call("DEL", "one")).toMatchObject({ status: 0, stdout: "" });
      expect(await state("one")).toEqual(down);
    }
    await node.must("touch /run/plain");
    for (const netns of [undefined, "/run/netns/absent", "/run/plain", "/proc/self/ns/mnt"])
      expect([netns, (await call("DEL", "one", { netns })).status]).toEqual([netns, 0]);
  });

  test("the node's own lo is nobody's: ADD is refused, DEL leaves it up", async () => {
    const own = { netns: "/proc/self/ns/net" };
    const lo = () => node.must("ip -o link show lo");
    const before = await lo();
    expect(before).toContain("LOOPBACK,UP");
    expect((await call("ADD", "one", own)).json).toMatchObject({
      code: 8,
      details: 'CNI_NETNS is "/proc/self/ns/net"',
    });
    expect((await call("DEL", "one", own)).status).toBe(0);
    expect(await lo()).toBe(before);
    const environment = { CNI_NETNS_OVERRIDE: "1" };
    expect((await call("ADD", "one", { ...own, environment })).json.ips).toHaveLength(2);
  });

  test("no IPv6 in the container is no IPv6 in the result; an address that is not loopback's is not told", async () => {
    await node.addPod("four");
    await node.must("ip netns exec four sysctl -qw net.ipv6.conf.all.disable_ipv6=1");
    await node.must("ip -n four addr add 10.9.9.9/32 dev lo");
    const { json } = await call("ADD", "four", { configuration: { cniVersion: "1.1.0" } });
    expect(json.ips).toEqual([{ address: "127.0.0.1/8", interface: 0 }]);
  });

  test("STATUS and GC say nothing, VERSION all versions", async () => {
    for (const command of ["STATUS", "GC"]) {
      const configuration = { cniVersion: "1.1.0", "cni.dev/valid-attachments": [] };
      expect(await call(command, "one", { netns: undefined, configuration })).toMatchObject({
        status: 0,
        stdout: "",
      });
      expect((await call(command, "one")).json.code).toBe(1);
    }
    expect((await call("VERSION", "one")).json).toEqual({ cniVersion: "0.3.1", supportedVersions: VERSIONS });
  });

  test("errors have the codes of the specification", async () => {
    const codes: [number, CallOptions][] = [
      [8, { netns: "/run/netns/absent" }],
      [8, { netns: "/run/plain" }],
      [8, { netns: "/proc/self/ns/mnt" }],
      [4, { netns: undefined }],
      [4, { ifname: "a/b" }],
      [4, { environment: { CNI_CONTAINERID: "../x" } }],
      [7, { configuration: { name: "" } }],
      [1, { configuration: { cniVersion: "9.9.9" } }],
    ];
    for (const [code, options] of codes) {
      const refused = await call("ADD", "one", options);
      expect([options, refused.status, refused.json.code]).toEqual([options, 1, code]);
      expect(refused.json.details).toBeString();
    }
    expect((await call("UPDATE", "one")).json.code).toBe(4);
  });

  test.skipIf(labLacks !== undefined)(
    "installed, it is a link to the executable beside the plugin",
    async () => {
      await node.addPod("linked");
      await node.must(`${executable} cni install --bin-dir /run/bin --conf-dir /run/net.d`);
      const called = node.plugin;
      try {
        node.plugin = ["/run/bin/loopback"];
        expect((await call("ADD", "linked")).json.interfaces[0].name).toBe("lo");
        expect((await state("linked")).up).toBe(true);
        // The plugin causeway is another one: it asks the agent, which is away.
        node.plugin = ["/run/bin/causeway"];
        expect((await call("ADD", "linked")).json.code).toBe(11);
      } finally {
        node.plugin = called;
        await node.must("rm -r /run/bin /run/net.d");
      }
    },
  );

  test("called by hand it says what it is, and touches nothing", async () => {
    const said = await node.run([...node.plugin]);
    expect([said.status, said.stdout]).toEqual([0, ""]);
    expect(said.stderr).toContain("container runtimes call it");
  });
});
