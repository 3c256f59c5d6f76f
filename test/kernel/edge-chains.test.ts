/** Links of a router that chains of CNI plugins make: Debian's plugins, asked as a runtime asks them, over restarts and crashes of the agent. */
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { removeNetns } from "../../src/sys/mod.ts";
import {
  ANSWER,
  BRIDGE,
  chain,
  ChainLab,
  lacksPlugins,
  STATIC,
  underlay,
} from "../support/edge-chain-lab.ts";
import type { EdgeNode } from "../support/edge-lab.ts";
import { until } from "../support/evpn-cluster.ts";
import { lacksKind } from "../support/scratch.ts";

setDefaultTimeout(60_000);

const lacksMacvlan = lacksPlugins ?? lacksKind({ name: "x", type: "macvlan", parent: 0, mode: "bridge" });
const lacksIpvlan = lacksPlugins ?? lacksKind({ name: "x", type: "ipvlan", parent: 0, mode: "l2" });
const named = (text: string, why: string | undefined) => `${text}${why === undefined ? "" : ` (${why})`}`;

const macvlan = (ipam: object = STATIC) => ({ type: "macvlan", master: "eth1", ipam });

describe.skipIf(lacksPlugins !== undefined)(named("links of an edge by CNI plugins", lacksPlugins), () => {
  let at: ChainLab;
  let node: EdgeNode;
  beforeEach(() => {
    at = new ChainLab();
    ({ node } = at);
  });
  afterEach(() => at?.[Symbol.asyncDispose]());

  test.skipIf(lacksMacvlan !== undefined)(
    named("a macvlan with an address carries the fabric's session, and stays over a restart", lacksMacvlan),
    async () => {
      const text = underlay(chain([macvlan()]).replace(/}$/, ", mtuBytes: 1500}"));
      node.follow(text);
      await at.isThere("192.168.11.3/24");
      at.lab.ours([64514]);
      await until("the fabric has the tunnel endpoint", async () =>
        at.lab.scratch.text("ip route show 100.65.0.1").includes("via 192.168.11.3"),
      );
      await until("the MTU is the Underlay's", async () =>
        node.text("ip link show dev net1", "cw-underlay").includes("mtu 1500"),
      );
      const before = node.text("ip -o link show dev net1", "cw-underlay");
      node.stop();
      node.start();
      node.follow(text);
      await until(
        "the plugins have said that all is well",
        async () => node.edge.status()[0]?.problems.length === 0,
      );
      expect(node.text("ip -o link show dev net1", "cw-underlay")).toBe(before);
      expect(node.problems).toEqual([]);
    },
  );

  test.skipIf(lacksMacvlan !== undefined)(
    named("a link that somebody removed is made again, with another address of host-local", lacksMacvlan),
    async () => {
      const ipam = {
        type: "host-local",
        dataDir: `${node.folder}/ipam`,
        ranges: [[{ subnet: "192.168.11.0/24" }]],
      };
      const given = () => readdirSync(`${node.folder}/ipam/fabric`).filter((name) => /^\d/.test(name));
      node.follow(underlay(chain([macvlan(ipam)])));
      await at.isThere("192.168.11.2/24");
      const before = at.shown();
      node.text("ip link delete net1", "cw-underlay");
      await until("it is another one", async () => {
        try {
          return at.shown() !== before && at.shown().includes("192.168.11.");
        } catch {
          return false;
        }
      });
      expect(given()).toHaveLength(1);
      await at.isOver();
      expect(given()).toEqual([]);
      expect(node.problems).toEqual([]);
    },
  );

  test("a link whose address somebody took away is made again, and one that is whole is not touched", async () => {
    at.judge();
    node.follow(underlay(chain([BRIDGE, { type: "judge" }])));
    await at.isThere("192.168.11.3/24");
    await at.isWell();
    const first = at.indexOf();
    const before = at.times("CHECK");
    at.stir("add");
    await at.isCalled("CHECK", before + 1);
    at.stir("del");
    await at.isCalled("CHECK", before + 2);
    expect(at.indexOf()).toBe(first);
    expect(node.problems).toEqual([]);
    node.text("ip address del 192.168.11.3/24 dev net1", "cw-underlay");
    await at.problem("link net1: plugin bridge has refused CHECK: ");
    await at.isThere("192.168.11.3/24");
    expect(at.indexOf()).not.toBe(first);
    await until("all is well", async () => node.edge.status()[0]?.problems.length === 0);
    expect(
      at
        .calls()
        .slice(-4)
        .map((call) => call.split(" ")[0]),
    ).toEqual(["CHECK", "DEL", "ADD", "CHECK"]);
    expect(node.problems[0]).toEndWith("; it is made again");
  });

  test("what an agent finds broken when it begins is made again, once", async () => {
    at.judge();
    const text = underlay(chain([BRIDGE, { type: "judge" }]));
    node.follow(text);
    await at.isThere("192.168.11.3/24");
    await at.isWell();
    node.stop();
    at.finding(999, "the rack has no power");
    node.start();
    node.follow(text);
    await at.problem("link net1: plugin judge has refused CHECK: the rack has no power; it is made again");
    // The new one was never well: made once more it would be no other.
    await at.problem("the rack has no power; it was never well, and stays as it is");
    expect([at.times("ADD"), at.times("DEL")]).toEqual([2, 1]);
  });

  test("who removes it again and again is told of, and it is made again later", async () => {
    node.follow(underlay(chain([BRIDGE])));
    await at.isThere("192.168.11.3/24");
    const later = "link net1: somebody removes it again and again; it is made again later";
    await until("it is told", async () => {
      try {
        if (node.edge.status()[0]?.problems.length === 0) node.text("ip link delete net1", "cw-underlay");
      } catch {
        // It is gone, and nobody has seen it yet.
      }
      return node.problems.some((one) => one.includes(later));
    });
    await at.isThere("192.168.11.3/24");
  });

  test("what plugins cannot tell of stays, whatever they answer, and is told", async () => {
    at.judge();
    node.follow(underlay(chain([BRIDGE, { type: "judge" }])));
    await at.isThere("192.168.11.3/24");
    await at.isWell();
    const first = at.indexOf();
    at.finding(11, "the API server is away");
    at.stir("add");
    await at.problem("link net1: plugin judge has refused CHECK: the API server is away; it stays as it is");
    const before = at.times("CHECK");
    await at.isCalled("CHECK", before + 1);
    expect(at.indexOf()).toBe(first);
    expect(at.times("DEL")).toBe(0);
    rmSync(`${node.folder}/finding`);
    await until("all is well", async () => node.edge.status()[0]?.problems.length === 0);
    expect(at.indexOf()).toBe(first);
  });

  test("host-device: the host's link comes back under its name", async () => {
    node.text("ip link add spare type veth peer name other");
    node.follow(underlay(chain([{ type: "host-device", device: "spare", ipam: STATIC }])));
    await at.isThere("192.168.11.3/24");
    expect(node.text("ip -br link")).not.toContain("spare");
    await at.isOver();
    expect(node.text("ip -br link")).toContain("spare@other");
    expect(node.problems).toEqual([]);
  });

  test("bridge, and tuning after it; what changes in a file is made anew", async () => {
    const bridge = (mac: string) => [BRIDGE, { type: "tuning", mac }];
    node.follow(underlay(chain(bridge("02:00:00:00:00:01"))));
    await at.isThere("192.168.11.3/24");
    await until("the chain is over", async () => node.edge.status()[0]?.problems.length === 0);
    expect(node.text("ip link show dev net1", "cw-underlay")).toContain("02:00:00:00:00:01");
    node.follow(underlay(chain(bridge("02:00:00:00:00:02"))));
    await until("the other address is there", async () => {
      try {
        return node.text("ip link show dev net1", "cw-underlay").includes("02:00:00:00:00:02");
      } catch {
        return false;
      }
    });
    // A change that is taken back while plugins are at work.
    node.follow(underlay(chain(bridge("02:00:00:00:00:03"))));
    node.follow(underlay(chain(bridge("02:00:00:00:00:04"))));
    await until("the last one is there", async () => {
      try {
        return node.text("ip link show dev net1", "cw-underlay").includes("02:00:00:00:00:04");
      } catch {
        return false;
      }
    });
    expect(node.problems).toEqual([]);
  });

  test("93: another name: the old link goes before the new one is made, which may need what it had", async () => {
    node.text("ip link add spare type veth peer name other");
    const text = underlay(chain([{ type: "host-device", device: "spare", ipam: STATIC }]));
    node.follow(text);
    await at.isThere("192.168.11.3/24");
    node.follow(text.replace("net1", "net2"));
    await until("the new one is well", async () => {
      const links = node.text("ip -br address", "cw-underlay");
      return /^net2\S* .*192\.168\.11\.3\/24/m.test(links) && node.edge.status()[0]?.problems.length === 0;
    });
    expect(node.text("ip -br link", "cw-underlay")).not.toContain("net1");
    expect(node.problems).toEqual([]);
    await at.isOver();
    expect(node.text("ip -br link")).toContain("spare@other");
  });

  test.skipIf(lacksIpvlan !== undefined)(named("ipvlan", lacksIpvlan), async () => {
    node.follow(underlay(chain([{ type: "ipvlan", master: "eth1", ipam: STATIC }])));
    await at.isThere("192.168.11.3/24");
  });

  test("a plugin's own words are told, nothing of it stays, and the next attempt is well", async () => {
    at.script(
      "late",
      `[ -e ${node.folder}/ready ] || [ "$CNI_COMMAND" = DEL ] || {
      echo '{"cniVersion": "1.0.0", "code": 11, "msg": "the rack has no power", "details": "feed B"}'; exit 1; }
      ${ANSWER}`,
    );
    node.follow(underlay(chain([BRIDGE, { type: "late" }])));
    await at.problem("link net1: plugin late has refused ADD: the rack has no power: feed B");
    expect(at.isStored()).toBe(false);
    expect(node.text("ip -br link", "cw-underlay")).not.toContain("net1");
    writeFileSync(`${node.folder}/ready`, "");
    await at.isThere("192.168.11.3/24");
    expect(
      at
        .calls()
        .slice(0, 2)
        .map((call) => call.split(" ")[0]),
    ).toEqual(["ADD", "DEL"]);
    expect(node.problems).toHaveLength(1);
  });

  test("what has failed is left alone for a while, also when the same was wanted meanwhile", async () => {
    const [begun, go] = [`${node.folder}/begun`, `${node.folder}/go`];
    at.script(
      "away",
      `[ "$CNI_COMMAND" = ADD ] && { touch ${begun}; until [ -e ${go} ]; do sleep 0.05; done; echo "no way" >&2; exit 1; }\n${ANSWER}`,
    );
    const text = underlay(chain([{ type: "away" }]));
    node.follow(text);
    await until("ADD is in its middle", async () => existsSync(begun));
    node.follow(text);
    writeFileSync(go, "");
    await at.problem("link net1: plugin away has refused ADD: no way");
    expect(at.calls().map((call) => call.split(" ")[0])).toEqual(["ADD", "DEL"]);
  });

  test("a plugin that is not there is named, and the rest of the router is made", async () => {
    node.follow(underlay(`${chain([{ type: "nowhere" }])}, {name: eth1, addresses: [192.168.11.3/24]}`));
    await at.problem('link net1: there is no plugin "nowhere" in ');
    expect(node.text("ip -br address show dev eth1", "cw-underlay")).toContain("192.168.11.3/24");
    const outside = "/usr/bin/env";
    node.follow(underlay(chain([{ type: `../../..${outside}` }])));
    await at.problem(`there is no plugin "../../..${outside}"`);
  });

  test("capabilities: a plugin hears of those that it has, and of no other", async () => {
    at.script("listener", ANSWER);
    const runtime = JSON.stringify({ ips: ["192.0.2.9/24"], mac: "02:00:00:00:00:09", other: 1 });
    const plugins = [{ type: "listener", capabilities: { ips: true, mac: false } }];
    node.follow(underlay(chain(plugins).replace(/}}$/, `, runtime: ${runtime}}}`)));
    await until("it was called", async () => existsSync(`${node.folder}/stdin`));
    const [first] = readFileSync(`${node.folder}/stdin`, "utf8").split("\n");
    expect(JSON.parse(first as string)).toEqual({
      ...{ cniVersion: "1.0.0", name: "fabric", type: "listener" },
      ...{ capabilities: { ips: true, mac: false }, runtimeConfig: { ips: ["192.0.2.9/24"] } },
    });
  });

  test("an agent that ended in the middle of ADD: the next one waits for the plugin, removes what it made, and begins anew", async () => {
    const [begun, go] = [`${node.folder}/begun`, `${node.folder}/go`];
    at.script(
      "slow",
      `[ "$CNI_COMMAND" = ADD ] && { touch ${begun}; until [ -e ${go} ]; do sleep 0.05; done; }\n${ANSWER}`,
    );
    const text = underlay(chain([BRIDGE, { type: "slow" }]));
    node.follow(text);
    await until("ADD is in its middle", async () => existsSync(begun));
    node.stop();
    node.start();
    node.follow(text);
    expect(node.edge.status()[0]?.problems).toEqual(["CNI plugins are at work for link net1"]);
    expect(at.calls()).toHaveLength(1);
    writeFileSync(go, "");
    await until(
      "the second ADD is over",
      async () => JSON.parse(readFileSync(at.stored(), "utf8")).chains[0].result !== undefined,
    );
    expect(
      at
        .calls()
        .slice(0, 3)
        .map((call) => call.split(" ")[0]),
    ).toEqual(["ADD", "DEL", "ADD"]);
    await at.isThere("192.168.11.3/24");
    expect(node.problems).toEqual([]);
  });

  test("after a reboot, and after a crash while it was taken down, DEL is still owed: without a namespace", async () => {
    at.script("keeper", ANSWER);
    const text = underlay(chain([BRIDGE, { type: "keeper" }]));
    node.follow(text);
    await at.isThere("192.168.11.3/24");
    await at.isWell();
    node.stop();
    node.text("ip link delete fabric0");
    removeNetns(`${node.folder}/netns/cw-underlay`);
    writeFileSync(
      at.stored(),
      readFileSync(at.stored(), "utf8").replace(/"boot":"[^"]*"/, '"boot":"another"'),
    );
    node.start();
    node.follow("");
    await until("nothing is owed", async () => !at.isStored());
    const there = `net1 ${node.folder}/netns/cw-underlay`;
    expect(at.calls()).toEqual([`ADD ${there}`, `CHECK ${there}`, "DEL net1"]);
    expect(node.problems).toEqual([]);
  });

  test("DEL that fails is told and tried again; the router's namespace waits for it", async () => {
    at.script(
      "stuck",
      `[ "$CNI_COMMAND" = DEL ] && [ ! -e ${node.folder}/free ] && { echo "no way" >&2; exit 1; }\n${ANSWER}`,
    );
    node.follow(underlay(chain([BRIDGE, { type: "stuck" }])));
    await at.isThere("192.168.11.3/24");
    node.follow("");
    await at.problem("link net1: plugin stuck has refused DEL: no way");
    expect(at.shown()).toContain("192.168.11.3/24");
    writeFileSync(`${node.folder}/free`, "");
    node.follow("");
    await at.isOver();
  });
});
