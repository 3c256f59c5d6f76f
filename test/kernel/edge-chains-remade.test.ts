/** When links by CNI plugins are made again, and when not: what DEL has begun, trouble of plugins that passes, what cannot be looked at. */
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { EdgeChains } from "../../src/agent/edge-chains.ts";
import { runSync } from "../../src/sys/mod.ts";
import {
  ANSWER,
  BRIDGE,
  chain,
  ChainLab,
  lacksPlugins,
  PLUGINS,
  STATIC,
  underlay,
} from "../support/edge-chain-lab.ts";
import type { EdgeNode } from "../support/edge-lab.ts";
import { until } from "../support/evpn-cluster.ts";

setDefaultTimeout(60_000);

describe.skipIf(lacksPlugins !== undefined)(
  `links by CNI plugins that are made again${lacksPlugins === undefined ? "" : ` (${lacksPlugins})`}`,
  () => {
    let at: ChainLab;
    let node: EdgeNode;
    beforeEach(() => {
      at = new ChainLab();
      ({ node } = at);
    });
    afterEach(() => at?.[Symbol.asyncDispose]());

    test("DEL of a link that is made again goes on until it is done, whatever CHECK would say of what is left", async () => {
      at.judge();
      at.script(
        "held",
        `[ "$CNI_COMMAND" = DEL ] && [ -e ${node.folder}/hold ] && { echo "no way" >&2; exit 1; }\n` +
          `echo "$stdin" | ${PLUGINS}/bridge`,
      );
      const text = underlay(chain([{ ...BRIDGE, type: "held" }, { type: "judge" }]));
      node.follow(text);
      await at.isThere("192.168.11.3/24");
      await at.isWell();
      const first = at.indexOf();
      writeFileSync(`${node.folder}/hold`, "");
      node.text("ip address del 192.168.11.3/24 dev net1", "cw-underlay");
      await at.problem("link net1: plugin held has refused DEL: no way");
      // What spoilt it is over, and CHECK would find nothing.
      node.text("ip address add 192.168.11.3/24 dev net1", "cw-underlay");
      await at.isCalled("DEL", 4);
      node.stop();
      node.start();
      node.follow(text);
      await at.isCalled("DEL", 6);
      expect(at.indexOf()).toBe(first);
      rmSync(`${node.folder}/hold`);
      await until("it is another one", async () => {
        try {
          return at.indexOf() !== first && at.shown().includes("192.168.11.3/24");
        } catch {
          return false;
        }
      });
      const commands = at.calls().map((call) => call.split(" ")[0]);
      expect(commands.slice(commands.indexOf("DEL"), commands.lastIndexOf("DEL"))).not.toContain("CHECK");
    });

    test("an agent that ended in the middle of DEL: the next one waits for the plugin, and begins DEL anew", async () => {
      const [begun, go] = [`${node.folder}/begun`, `${node.folder}/go`];
      at.script(
        "slow",
        `[ "$CNI_COMMAND" = DEL ] && { touch ${begun}; until [ -e ${go} ]; do sleep 0.05; done; }\n${ANSWER}`,
      );
      const text = underlay(chain([{ type: "slow" }, BRIDGE]));
      node.follow(text);
      await at.isThere("192.168.11.3/24");
      await at.isWell();
      node.text("ip address del 192.168.11.3/24 dev net1", "cw-underlay");
      await until("DEL is in its middle", async () => existsSync(begun));
      node.stop();
      const before = at.calls().length;
      node.start();
      node.follow(text);
      expect(node.edge.status()[0]?.problems).toContain("CNI plugins are at work for link net1");
      // Another DEL would have begun by then.
      await Bun.sleep(1_000);
      expect(at.calls()).toHaveLength(before);
      writeFileSync(go, "");
      await at.isCalled("ADD", 2);
      await at.isThere("192.168.11.3/24");
      expect(
        at
          .calls()
          .slice(before, before + 2)
          .map((call) => call.split(" ")[0]),
      ).toEqual(["DEL", "ADD"]);
    });

    test("a link that is whole stays over a plugin's trouble that passes, and as long as a plugin is missing that ADD would need", async () => {
      at.judge();
      const program = `${node.folder}/lent`;
      const lend = () => at.script("lent", `echo "$stdin" | ${PLUGINS}/static`);
      lend();
      node.follow(underlay(chain([{ ...BRIDGE, ipam: { ...STATIC, type: "lent" } }, { type: "judge" }])));
      await at.isThere("192.168.11.3/24");
      await at.isWell();
      const first = at.indexOf();
      at.finding(999, "no more tries");
      at.stir("add");
      await at.problem(
        "link net1: plugin judge has refused CHECK: no more tries; CHECK is asked again first",
      );
      rmSync(`${node.folder}/finding`);
      await until("all is well", async () => node.edge.status()[0]?.problems.length === 0);
      expect([at.indexOf(), at.times("DEL")]).toEqual([first, 0]);
      rmSync(program);
      at.stir("del");
      await at.problem('link net1: there is no plugin "lent" in ');
      expect([at.indexOf(), at.times("DEL")]).toEqual([first, 0]);
      lend();
      await until("all is well", async () => node.edge.status()[0]?.problems.length === 0);
      expect([at.indexOf(), at.times("DEL")]).toEqual([first, 0]);
    });

    test("a link stays as it is as long as a plugin is missing that its other configuration needs", async () => {
      at.judge();
      node.follow(underlay(chain([BRIDGE, { type: "judge" }])));
      await at.isThere("192.168.11.3/24");
      await at.isWell();
      const first = at.indexOf();
      node.follow(underlay(chain([{ ...BRIDGE, ipam: { ...STATIC, type: "lent" } }, { type: "judge" }])));
      await at.problem('link net1: there is no plugin "lent" in ');
      expect(at.shown()).toContain("192.168.11.3/24");
      expect([at.indexOf(), at.times("DEL")]).toEqual([first, 0]);
      at.script("lent", `echo "$stdin" | ${PLUGINS}/static`);
      await until("it is the other one", async () => {
        try {
          return at.indexOf() !== first && node.edge.status()[0]?.problems.length === 0;
        } catch {
          return false;
        }
      });
      // The judge twice, and who lends once.
      expect([at.times("ADD"), at.times("DEL")]).toEqual([3, 1]);
    });

    test("a link that cannot be looked at is a problem of its own, and keeps nothing else from being looked at", async () => {
      at.judge();
      const text = underlay(chain([BRIDGE, { type: "judge" }]));
      node.follow(text);
      await at.isThere("192.168.11.3/24");
      await at.isWell();
      const first = at.indexOf();
      node.stop();
      {
        const folder = `${node.folder}/netns`;
        using chains = new EdgeChains({
          ...{ path: at.stored(), home: node.netns, folder, folders: [node.folder, PLUGINS] },
          ...{ node: node.name, run: node.folder, onChange() {} },
        });
        const [{ config, runtime }] = JSON.parse(readFileSync(at.stored(), "utf8")).chains;
        chains.want("underlay", [{ name: "net1", made: { type: "cni", config, runtime }, addresses: [] }]);
        await until("CHECK was well", async () => chains.state("underlay").waiting.length === 0);
        // A namespace, and none of networks.
        expect(runSync(["mount", "--bind", "/proc/self/ns/uts", `${folder}/cw-underlay`]).status).toBe(0);
        try {
          chains.look("underlay");
          expect(chains.state("underlay").problems).toEqual(["link net1: setns: invalid argument (EINVAL)"]);
        } finally {
          expect(runSync(["umount", `${folder}/cw-underlay`]).status).toBe(0);
        }
      }
      node.start();
      node.follow(text);
      await until("all is well", async () => node.edge.status()[0]?.problems.length === 0);
      expect([at.indexOf(), at.times("DEL")]).toEqual([first, 0]);
    });
  },
);
