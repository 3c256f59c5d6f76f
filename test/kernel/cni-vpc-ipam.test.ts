/** Private networks by number with addresses of other people's IPAM plugins: Debian's host-local and static, run as the runtime would. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { type CallOptions, CniNode } from "../support/cni-node.ts";
import { notRoot } from "../support/scratch.ts";

const REFERENCE = "/usr/lib/cni";
const cannot =
  notRoot ?? (existsSync(`${REFERENCE}/host-local`) ? undefined : "needs containernetworking-plugins");
const suffix = cannot === undefined ? "" : ` (skipped: ${cannot})`;

const range = { subnet: "172.16.32.0/24", rangeStart: "172.16.32.10", gateway: "172.16.32.1" };
const numbered = { name: "numbered", type: "vxlan", vni: 300 };
const local = {
  ...numbered,
  ipam: { type: "host-local", ranges: [[range]], routes: [{ dst: "192.0.2.0/24" }] },
};

describe.skipIf(cannot !== undefined)(`CNI: addresses of IPAM plugins${suffix}`, () => {
  let node: CniNode;
  beforeAll(async () => {
    node = await CniNode.create();
    node.more = { vpcs: true };
    await node.startAgent();
  });
  afterAll(() => node?.[Symbol.asyncDispose]());
  afterEach(() => node.must("for pod in one two; do ip netns del $pod 2> /dev/null || :; done"));

  const at = (containerId: string, configuration: object, path = REFERENCE): CallOptions => ({
    ...{ containerId, ifname: "net1", configuration: configuration as Record<string, unknown> },
    environment: { CNI_PATH: path },
  });
  const leases = async () =>
    (await node.must("ls /var/lib/cni/networks/numbered 2> /dev/null | grep ^172 || :"))
      .split("\n")
      .filter(Boolean);
  const stored = async () =>
    JSON.parse(await node.must("cat /var/lib/causeway/vpcs.json 2> /dev/null || echo '[]'"));

  test("ADD takes address and routes from it, CHECK asks it, DEL gives back after the link is gone", async () => {
    const result = await node.add("one", at("one", local));
    expect(result.ips).toEqual([{ address: "172.16.32.10/24", interface: 2 }]);
    expect(result.routes).toEqual([{ dst: "192.0.2.0/24", gw: "172.16.32.1" }]);
    expect(await node.ip("route show 192.0.2.0/24", "one")).toMatchObject([
      { gateway: "172.16.32.1", dev: "net1" },
    ]);
    await node.add("two", at("two", local));
    expect(await node.in("one", "ping -c1 -W2 172.16.32.11")).toBe(true);
    expect((await leases()).sort()).toEqual(["172.16.32.10", "172.16.32.11"]);
    const check = { ...local, prevResult: result };
    expect((await node.call("CHECK", at("one", check))).status).toBe(0);
    await node.must("rm /var/lib/cni/networks/numbered/172.16.32.10");
    expect((await node.call("CHECK", at("one", check))).json.msg).toContain("host-local: Failed to find");
    for (const name of ["one", "two", "two"])
      expect((await node.call("DEL", at(name, local))).status).toBe(0);
    expect([await leases(), await stored()]).toEqual([[], []]);
    expect(await node.in("two", "ip link show net1")).toBe(false);
  });

  test("what we refuse after it has given an address is given back", async () => {
    const routes = [{ dst: "192.0.2.0/24", gw: "203.0.113.1" }];
    const wrong = { ...local, ipam: { ...local.ipam, routes } };
    await node.addPod("one");
    expect((await node.call("ADD", at("one", wrong))).json).toMatchObject({ code: 7 });
    expect([await leases(), await stored()]).toEqual([[], []]);
  });

  test("what it refuses is answered in its own words", async () => {
    await node.addPod("one");
    const wrong = { ...local, ipam: { type: "host-local", subnet: "nonsense" } };
    const { status, json } = await node.call("ADD", at("one", wrong));
    expect([status, json.msg]).toEqual([1, expect.stringContaining("nonsense")]);
    expect(await stored()).toEqual([]);
  });

  test("the talk's form without version and name; static addresses", async () => {
    const ipam = { type: "static", addresses: [{ address: "172.16.32.5/24" }] };
    const talk = { cniVersion: undefined, name: undefined, type: "vxlan", vni: 300, ipam };
    const result = await node.add("one", at("one", talk));
    expect(result).toEqual({ cniVersion: "0.1.0", ip4: { ip: "172.16.32.5/24" }, dns: {} });
    expect((await node.ip("-4 addr show dev net1", "one"))[0].addr_info[0].local).toBe("172.16.32.5");
    expect((await node.call("DEL", at("one", talk))).status).toBe(0);
    expect(await stored()).toEqual([]);
  });

  test.each([
    ["one that is not installed", "whereabouts", REFERENCE],
    ["a program of the node that is no plugin", "true", REFERENCE],
    ["a folder", "..", REFERENCE],
    ["one in a folder that is relative", "host-local", "usr/lib/cni"],
  ])("%s is not run", async (_, type, path) => {
    await node.addPod("one");
    const { json } = await node.call("ADD", at("one", { ...numbered, ipam: { type } }, path));
    expect(json).toMatchObject({ code: 7, msg: expect.stringContaining("not in CNI_PATH") });
  });

  test("a DEL while the agent is away gives the address back, and the link goes when the agent is there", async () => {
    await node.add("one", at("one", local));
    await node.stopAgent("SIGKILL");
    expect((await node.call("DEL", at("one", local))).status).toBe(0);
    expect(await leases()).toEqual([]);
    await node.startAgent();
    while ((await stored()).length > 0) await Bun.sleep(10);
    expect(await node.in("one", "ip link show net1")).toBe(false);
  });
});
