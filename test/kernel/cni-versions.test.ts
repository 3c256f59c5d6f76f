/** Each version of the specification: which commands it has, and what its results look like. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { VERSIONS } from "../../src/cni/mod.ts";
import { CniNode } from "../support/cni-node.ts";
import { notRoot } from "../support/scratch.ts";

const suffix = notRoot === undefined ? "" : ` (skipped: ${notRoot})`;
const since = { ADD: "0.1.0", DEL: "0.1.0", CHECK: "0.4.0", GC: "1.1.0", STATUS: "1.1.0" };
type Command = keyof typeof since;
/** Versions are in order, so their places can be compared. */
const has = (version: string, command: Command) =>
  VERSIONS.indexOf(version as never) >= VERSIONS.indexOf(since[command] as never);

describe.skipIf(notRoot !== undefined)(`CNI: versions${suffix}`, () => {
  let node: CniNode;
  beforeAll(async () => {
    node = await CniNode.create();
    await node.startAgent();
  });
  afterAll(() => node?.[Symbol.asyncDispose]());

  const dns = { nameservers: ["10.0.0.10"], search: ["a.test"] };
  const ip = {
    v4: expect.stringMatching(/^10\.244\.1\.\d+\/24$/),
    v6: expect.stringMatching(/^fd00:244:1::\w+\/64$/),
  };
  const mac = expect.stringMatching(/^(?:[0-9a-f]{2}:){5}[0-9a-f]{2}$/);
  const routes = [
    { dst: "0.0.0.0/0", gw: "10.244.1.1" },
    { dst: "::/0", gw: "fd00:244:1::1" },
  ];

  /** The whole result, key by key. */
  function form(cniVersion: string, sandbox: string, withDns: boolean): object {
    if (cniVersion < "0.3")
      return {
        cniVersion,
        ip4: { ip: ip.v4, gateway: "10.244.1.1", routes: [routes[0]] },
        ip6: { ip: ip.v6, gateway: "fd00:244:1::1", routes: [routes[1]] },
        dns: withDns ? dns : {},
      };
    const modern = cniVersion >= "1.0.0";
    const mtu = modern ? { mtu: 1420 } : {};
    const family = (version: string) => (modern ? {} : { version });
    return {
      cniVersion,
      interfaces: [
        { name: "cw-pods", mac, ...mtu },
        { name: expect.stringMatching(/^cw[0-9a-z]{11}$/), mac, ...mtu },
        { name: "eth0", mac, ...mtu, sandbox },
      ],
      ips: [
        { ...family("4"), address: ip.v4, gateway: "10.244.1.1", interface: 2 },
        { ...family("6"), address: ip.v6, gateway: "fd00:244:1::1", interface: 2 },
      ],
      routes,
      ...(withDns ? { dns } : modern ? {} : { dns: {} }),
    };
  }

  for (const cniVersion of VERSIONS)
    test(`version ${cniVersion}: ADD, CHECK, DEL, GC and STATUS in its form, or refused with code 1`, async () => {
      const containerId = `v${cniVersion}`;
      const call = (command: Command, more: object = {}) =>
        node.call(command, { containerId, configuration: { cniVersion, ...more } });
      const refused = { cniVersion, code: 1, msg: expect.stringMatching(/exists from CNI version \d/) };

      const result = await node.add(containerId, { configuration: { cniVersion } });
      expect(result).toEqual(form(cniVersion, `/run/netns/${containerId}`, false));
      for (const [command, more] of [
        ["CHECK", { prevResult: result }],
        ["STATUS", {}],
        ["GC", { "cni.dev/valid-attachments": [{ containerID: containerId, ifname: "eth0" }] }],
      ] as const) {
        const { status, stdout, json } = await call(command, more);
        if (has(cniVersion, command)) expect([command, status, stdout]).toEqual([command, 0, ""]);
        else
          expect([command, status, json]).toEqual([command, 1, { ...refused, details: expect.anything() }]);
      }
      // prevResult comes with DEL from 0.4.0 on; with older ones it does no harm.
      expect(await call("DEL", { prevResult: result })).toMatchObject({ status: 0, stdout: "" });
      expect(await call("DEL")).toMatchObject({ status: 0, stdout: "" });

      const withDns = await call("ADD", { dns });
      expect(withDns.json).toEqual(form(cniVersion, `/run/netns/${containerId}`, true));
      const wrong = await call("ADD", { mtu: "x" });
      expect(wrong.json).toMatchObject({ cniVersion, code: 7 });
      expect((await call("DEL")).status).toBe(0);
    });

  test("4, 3.5: the table of commands and versions", async () => {
    await node.add("table");
    const served: Record<string, string> = {};
    for (const cniVersion of VERSIONS) {
      const codes = await Promise.all(
        (["CHECK", "GC", "STATUS"] as const).map(async (command) => {
          const configuration = { cniVersion, prevResult: {}, "cni.dev/valid-attachments": null };
          return (await node.call(command, { containerId: "table", configuration })).json?.code ?? 0;
        }),
      );
      served[cniVersion] = codes.join(" ");
    }
    // An empty prevResult is one of an old version: it lists nothing that could be missing.
    expect(served).toEqual({
      "0.1.0": "1 1 1",
      "0.2.0": "1 1 1",
      "0.3.0": "1 1 1",
      "0.3.1": "1 1 1",
      "0.4.0": "0 1 1",
      "1.0.0": "0 1 1",
      "1.1.0": "0 0 0",
    });
    await node.call("DEL", { containerId: "table" });
  });

  test("3.4: a configuration without a version is one of 0.1.0, in its result and its errors", async () => {
    await node.addPod("none");
    for (const cniVersion of [undefined, "", null]) {
      const call = (command: Command, more: object = {}) =>
        node.call(command, { containerId: "none", configuration: { cniVersion, ...more } });
      expect((await call("ADD")).json).toEqual(form("0.1.0", "", false));
      expect((await call("DEL")).status).toBe(0);
      expect((await call("CHECK")).json).toMatchObject({ cniVersion: "0.1.0", code: 1 });
      expect((await call("ADD", { mtu: "x" })).json).toMatchObject({ cniVersion: "0.1.0", code: 7 });
    }
  });

  test("A3: a prevResult comes in the configuration's version, and goes out in it", async () => {
    await node.addPod("chained");
    for (const cniVersion of VERSIONS.filter((version) => version >= "0.3")) {
      const family = cniVersion < "1.0.0" ? { version: "4" } : {};
      const prevResult = {
        cniVersion,
        interfaces: [{ name: "lo", sandbox: "/run/netns/chained" }],
        ips: [{ ...family, address: "127.0.0.1/8", interface: 0 }],
        routes: [{ dst: "198.51.100.0/24", gw: "127.0.0.2", mtu: 1300, advmss: 1260 }],
        dns,
      };
      const { json } = await node.call("ADD", {
        containerId: "chained",
        configuration: { cniVersion, prevResult },
      });
      expect(json).toMatchObject({
        cniVersion,
        dns,
        interfaces: [prevResult.interfaces[0], {}, {}, { name: "eth0" }],
      });
      expect(json.ips.map((entry: { interface: number }) => entry.interface)).toEqual([0, 3, 3]);
      expect([json.ips[0], json.routes[0]]).toEqual([prevResult.ips[0], prevResult.routes[0]]);
      expect((await node.call("DEL", { containerId: "chained", configuration: { cniVersion } })).status).toBe(
        0,
      );
    }
  });

  test("code 1: versions that do not exist are refused by every command, in our newest", async () => {
    for (const command of ["ADD", "CHECK", "DEL", "GC", "STATUS"] as const)
      for (const cniVersion of ["0.0.1", "0.3.2", "1.2.0", "v1.0.0", "latest"]) {
        const { status, json } = await node.call(command, {
          netns: "/run/netns/none",
          configuration: { cniVersion },
        });
        expect([command, cniVersion, status, json.code, json.cniVersion]).toEqual([
          command,
          cniVersion,
          1,
          1,
          "1.1.0",
        ]);
      }
  });
});
