/** When links by CNI plugins are made again, and when not: what DEL has begun, trouble of plugins that passes, what cannot be looked at. */
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync } from "node:fs";
import { EdgeChains } from "../../src/agent/edge-chains.ts";
import { runSync } from "../../src/sys/mod.ts";
import { BRIDGE, chain, ChainLab, lacksPlugins, PLUGINS, underlay } from "../support/edge-chain-lab.ts";
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
