/** The plugin in a list with Debian's reference plugins, each called as libcni calls it: results go on, CHECK and DEL get the last one. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { CniNode } from "../support/cni-node.ts";
import { type Json, notRoot } from "../support/scratch.ts";

const REFERENCE = "/usr/lib/cni";
const cannot =
  notRoot ?? (existsSync(`${REFERENCE}/tuning`) ? undefined : "needs containernetworking-plugins");
const suffix = cannot === undefined ? "" : ` (skipped: ${cannot})`;
const nothing = { links: [], elements: [], neighbours: [], rows: [] };

type Plugin = { readonly type: string } & Readonly<Record<string, unknown>>;

describe.skipIf(cannot !== undefined)(`CNI: chain${suffix}`, () => {
  let node: CniNode;
  let causeway: readonly string[];
  beforeAll(async () => {
    node = await CniNode.create();
    causeway = node.plugin;
    await node.startAgent();
  });
  afterAll(() => node?.[Symbol.asyncDispose]());
  afterEach(async () => {
    node.plugin = causeway;
    await node.sweep();
    await node.removePod("chained");
  });

  /** One plugin of the list. */
  async function one(command: string, plugin: Plugin, more: object): Promise<Json> {
    node.plugin = plugin.type === "causeway" ? causeway : [`${REFERENCE}/${plugin.type}`];
    const { status, stdout, json } = await node.call(command, {
      containerId: "chained",
      configuration: { ...plugin, ...more },
      environment: { CNI_PATH: REFERENCE },
    });
    expect([command, plugin.type, status, status === 0 ? "" : stdout]).toEqual([command, plugin.type, 0, ""]);
    return json;
  }

  async function add(cniVersion: string, plugins: readonly Plugin[]): Promise<Json> {
    let prevResult: unknown;
    for (const plugin of plugins)
      prevResult = await one("ADD", plugin, { cniVersion, ...(prevResult !== undefined && { prevResult }) });
    return prevResult;
  }

  for (const cniVersion of ["0.3.1", "0.4.0", "1.0.0"])
    test(`A3, K2: ${cniVersion}: tuning and sbr behind it take its result, and its CHECK bears what they changed`, async () => {
      await node.addPod("chained");
      const plugins: Plugin[] = [
        { type: "causeway" },
        { type: "tuning", sysctl: { "net.core.somaxconn": "77" }, mtu: 1350 },
        { type: "sbr" },
      ];
      const result = await add(cniVersion, plugins);
      expect([result.cniVersion, result.interfaces.at(-1).name, result.ips.length]).toEqual([
        cniVersion,
        "eth0",
        2,
      ]);
      expect(await node.in("chained", "[ $(cat /proc/sys/net/core/somaxconn) = 77 ]")).toBe(true);
      // sbr has moved the default routes into a table of its own.
      expect(await node.ip("route show default", "chained")).toEqual([]);
      expect(await node.ip("route show default table 100", "chained")).toHaveLength(1);
      const [from4, from6] = result.ips.map(({ address }: { address: string }) => address.split("/")[0]);
      for (const [from, to] of [
        [from4, "10.244.1.1"],
        [from6, "fd00:244:1::1"],
      ])
        expect([to, await node.in("chained", `ping -c1 -W5 -I ${from} ${to}`)]).toEqual([to, true]);
      if (cniVersion !== "0.3.1")
        for (const plugin of plugins) await one("CHECK", plugin, { cniVersion, prevResult: result });
      for (const plugin of [...plugins].reverse())
        await one("DEL", plugin, { cniVersion, ...(cniVersion >= "0.4" && { prevResult: result }) });
      expect(await node.remains()).toEqual(nothing);
    });

  test("A3, K1: behind a reference plugin of the list it passes on what that made, and both can be checked and deleted", async () => {
    await node.addPod("chained");
    const plugins: Plugin[] = [{ type: "loopback" }, { type: "causeway" }];
    const cniVersion = "1.0.0";
    const before = await one("ADD", plugins[0] as Plugin, { cniVersion });
    const result = await one("ADD", plugins[1] as Plugin, { cniVersion, prevResult: before });
    expect(result.interfaces[0]).toEqual(before.interfaces[0]);
    expect(result.ips.slice(0, before.ips.length)).toEqual(before.ips);
    expect(result.ips.slice(before.ips.length).map((ip: { interface: number }) => ip.interface)).toEqual([
      3, 3,
    ]);
    await one("CHECK", plugins[1] as Plugin, { cniVersion, prevResult: result });
    for (const plugin of [...plugins].reverse()) await one("DEL", plugin, { cniVersion, prevResult: result });
    expect(await node.remains()).toEqual(nothing);
  });
});
