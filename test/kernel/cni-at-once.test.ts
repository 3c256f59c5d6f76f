/** Calls that meet: of one container, of several interfaces, of GC and STATUS with others' traffic; and an agent that hangs. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { CniNode } from "../support/cni-node.ts";
import { executable, labLacks } from "../support/lab-needs.ts";
import { notRoot } from "../support/scratch.ts";

const suffix = notRoot === undefined ? "" : ` (skipped: ${notRoot})`;
const nothing = { links: [], elements: [], neighbours: [], rows: [] };
const newest = { cniVersion: "1.1.0" };

describe.skipIf(notRoot !== undefined)(`CNI: at once${suffix}`, () => {
  let node: CniNode;
  beforeAll(async () => {
    node = await CniNode.create();
    await node.startAgent();
  });
  afterAll(() => node?.[Symbol.asyncDispose]());
  afterEach(() => node.sweep());

  test("P10, P8: ADD and DEL of one container at once leave it attached as a whole, or not at all", async () => {
    await node.addPod("both");
    const seen = new Set<string>();
    for (let round = 0; round < 25; round++) {
      const [add, del] = await Promise.all(
        (round % 2 === 0 ? ["ADD", "DEL"] : ["DEL", "ADD"])
          .map((command) => [command, node.call(command, { containerId: "both" })] as const)
          .sort()
          .map(([, call]) => call),
      );
      expect([round, add?.status, del?.status]).toEqual([round, 0, 0]);
      const attached = await node.in("both", "ip link show eth0");
      seen.add(attached ? "attached" : "not attached");
      if (attached) {
        const check = await node.call("CHECK", {
          containerId: "both",
          configuration: { prevResult: add?.json },
        });
        expect([round, check.status, check.stdout]).toEqual([round, 0, ""]);
        expect(await node.in("both", "ping -c1 -W5 10.244.1.1")).toBe(true);
      } else expect(await node.remains()).toEqual(nothing);
      expect((await node.call("DEL", { containerId: "both" })).status).toBe(0);
      expect(await node.remains()).toEqual(nothing);
    }
    expect(seen.size).toBeGreaterThan(0);
  });

  test("P10, A2: of several ADDs of one interface at once, one succeeds and stays whole", async () => {
    await node.addPod("twice");
    for (let round = 0; round < 10; round++) {
      const calls = await Promise.all(
        Array.from({ length: 4 }, () => node.call("ADD", { containerId: "twice" })),
      );
      const good = calls.filter(({ status }) => status === 0);
      const codes = calls.filter(({ status }) => status !== 0).map(({ json }) => json.code);
      expect([good.length, codes]).toEqual([1, [101, 101, 101]]);
      expect(await node.in("twice", "ping -c1 -W5 10.244.1.1")).toBe(true);
      const [eth0] = await node.ip("-4 addr show eth0", "twice");
      expect(`${eth0.addr_info[0].local}/24`).toBe(good[0]?.json.ips[0].address);
      expect((await node.call("DEL", { containerId: "twice" })).status).toBe(0);
      expect(await node.remains()).toEqual(nothing);
    }
  });

  test("P8: eth0, net1 and net2 of one container at once, as well as lo where the plugin is installed", async () => {
    await node.addPod("three");
    const lo = async () => {
      if (labLacks !== undefined) return 0;
      await node.must(`mkdir -p /run/bin; ln -sf ${executable} /run/bin/loopback`);
      const plugin = await node.run(["/run/bin/loopback"], {
        stdin: JSON.stringify({ cniVersion: "0.3.1", name: "cni-loopback", type: "loopback" }),
        env: {
          CNI_COMMAND: "ADD",
          CNI_CONTAINERID: "three",
          CNI_NETNS: "/run/netns/three",
          CNI_IFNAME: "lo",
          CNI_PATH: "/run/bin",
        },
      });
      return plugin.status;
    };
    const names = ["eth0", "net1", "net2"];
    for (let round = 0; round < 5; round++) {
      const [loopback, ...adds] = await Promise.all([
        lo(),
        ...names.map((ifname) => node.call("ADD", { containerId: "three", ifname })),
      ]);
      expect([loopback, ...adds.map(({ status }) => status)]).toEqual([0, 0, 0, 0]);
      expect(new Set(adds.map(({ json }) => json.ips[0].address)).size).toBe(3);
      const defaults = await node.ip("route show default", "three");
      expect(defaults).toHaveLength(1);
      // Who came first has the default routes, and says so.
      const owner = adds.findIndex(({ json }) => json.routes.length > 0);
      expect([defaults[0].dev, adds.filter(({ json }) => json.routes.length > 0).length]).toEqual([
        names[owner],
        1,
      ]);
      for (const [index, ifname] of names.entries()) {
        const configuration = { prevResult: adds[index]?.json };
        expect([
          ifname,
          (await node.call("CHECK", { containerId: "three", ifname, configuration })).stdout,
        ]).toEqual([ifname, ""]);
      }
      await Promise.all(names.map((ifname) => node.call("DEL", { containerId: "three", ifname })));
      expect(await node.remains()).toEqual(nothing);
    }
  });

  test("P10, G1, S4: GC of one network and STATUS while another network's pods come and go", async () => {
    const names = Array.from({ length: 6 }, (_, index) => `busy${index}`);
    for (const name of names) await node.addPod(name);
    let going = true;
    const told: unknown[] = [];
    const traffic = names.map(async (containerId) => {
      const configuration = { name: "busy" };
      for (let round = 0; round < 15; round++) {
        for (const command of ["ADD", "DEL"]) {
          const { status, stdout } = await node.call(command, { containerId, configuration });
          if (status !== 0) told.push([command, containerId, stdout]);
        }
      }
    });
    const asking = async (command: "GC" | "STATUS", more: object) => {
      let calls = 0;
      for (; going; calls++) {
        const { status, stdout } = await node.call(command, {
          netns: undefined,
          configuration: { ...newest, name: "idle", ...more },
        });
        if (status !== 0 || stdout !== "") told.push([command, stdout]);
      }
      return calls;
    };
    await node.add("keep", { configuration: { name: "idle" } });
    const others = [
      asking("GC", { "cni.dev/valid-attachments": [{ containerID: "keep", ifname: "eth0" }] }),
      asking("STATUS", {}),
    ];
    await Promise.all(traffic);
    going = false;
    const calls = await Promise.all(others);
    expect([told, calls.every((count) => count > 0)]).toEqual([[], true]);
    expect(await node.in("keep", "ping -c1 -W5 10.244.1.1")).toBe(true);
    await node.sweep("idle");
    expect(await node.remains()).toEqual(nothing);
  });

  test("P10: GC of the same network while pods come and go removes listed ones never, and the rest whole", async () => {
    const names = Array.from({ length: 6 }, (_, index) => `mixed${index}`);
    for (const name of names) await node.addPod(name);
    await node.add("listed");
    let going = true;
    const told: unknown[] = [];
    const traffic = Promise.all(
      names.map(async (containerId) => {
        for (let round = 0; round < 10; round++)
          for (const command of ["ADD", "DEL"]) {
            const { status, stdout } = await node.call(command, { containerId });
            if (status !== 0) told.push([command, containerId, stdout]);
          }
      }),
    );
    const collecting = (async () => {
      while (going) {
        const attachments = [{ containerID: "listed", ifname: "eth0" }];
        const configuration = { ...newest, "cni.dev/valid-attachments": attachments };
        const { status, stdout } = await node.call("GC", { netns: undefined, configuration });
        if (status !== 0) told.push(["GC", stdout]);
      }
    })();
    await traffic;
    going = false;
    await collecting;
    expect(told).toEqual([]);
    expect(await node.in("listed", "ping -c1 -W5 10.244.1.1")).toBe(true);
    expect((await node.call("DEL", { containerId: "listed" })).status).toBe(0);
    expect(await node.remains()).toEqual(nothing);
  });

  /** A plugin that has handed its call to an agent that hangs: connected, and asleep until an answer comes. */
  async function pending(command: string, containerId: string): Promise<ReturnType<CniNode["begin"]>> {
    const child = node.begin(command, { containerId });
    const folder = `/proc/${child.pid}`;
    for (;;) {
      // Standard streams may be sockets as well.
      const sockets = readdirSync(`${folder}/fd`).filter(
        (fd) => Number(fd) > 2 && linkOf(`${folder}/fd/${fd}`).startsWith("socket:"),
      );
      const asleep = /^State:\s+S/m.test(readFileSync(`${folder}/status`, "utf8"));
      const where = readFileSync(`${folder}/wchan`, "utf8");
      if (asleep && sockets.length === 1 && /poll|unix_stream_read/.test(where)) return child;
      await Bun.sleep(5);
    }
  }

  function linkOf(path: string): string {
    try {
      return readlinkSync(path);
    } catch {
      return "";
    }
  }

  test("D2, code 11: an ADD whose caller has gone while the agent hung does not take effect after its DEL", async () => {
    await node.addPod("hung");
    process.kill(node.agentPid, "SIGSTOP");
    const add = await pending("ADD", "hung");
    add.kill("SIGKILL");
    await add.exited;
    // The runtime deletes what it gave up, and the plugin finds no agent: the deletion is written down.
    await node.must("mv /run/causeway/cni.sock /run/causeway/aside");
    expect(await node.call("DEL", { containerId: "hung" })).toMatchObject({ status: 0, stdout: "" });
    expect((await node.must("ls /var/lib/causeway/tombstones")).trim()).not.toBe("");
    await node.must("mv /run/causeway/aside /run/causeway/cni.sock");
    process.kill(node.agentPid, "SIGCONT");
    // What is asked now is answered after what was asked before.
    expect((await node.call("STATUS", { configuration: newest })).status).toBe(0);
    expect(await node.in("hung", "ip link show eth0")).toBe(false);
    await node.add("after-hung");
    expect((await node.call("DEL", { containerId: "after-hung" })).status).toBe(0);
    expect(await node.remains()).toEqual(nothing);
    expect((await node.must("ls /var/lib/causeway/tombstones")).trim()).toBe("");
  });

  test("D6: a DEL behind an ADD whose caller has gone, both asked while the agent hung, leaves nothing", async () => {
    await node.addPod("queue");
    for (let round = 0; round < 5; round++) {
      process.kill(node.agentPid, "SIGSTOP");
      const add = await pending("ADD", "queue");
      add.kill("SIGKILL");
      await add.exited;
      const del = await pending("DEL", "queue");
      process.kill(node.agentPid, "SIGCONT");
      expect(await del.exited).toBe(0);
      expect(await node.in("queue", "ip link show eth0")).toBe(false);
      expect(await node.remains()).toEqual(nothing);
    }
  });

  test("D3: an agent that is killed while calls hang at it: DELs are written down, ADDs have code 11", async () => {
    await node.add("waits");
    await node.addPod("wants");
    process.kill(node.agentPid, "SIGSTOP");
    const del = await pending("DEL", "waits");
    const add = await pending("ADD", "wants");
    await node.stopAgent("SIGKILL");
    expect([await del.exited, await add.exited]).toEqual([0, 1]);
    expect(JSON.parse(await add.stdout.text())).toMatchObject({ code: 11 });
    await node.startAgent();
    expect(await node.remains()).toEqual(nothing);
  });
});
