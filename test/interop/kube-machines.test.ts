/**
 * Machines of a cluster behind NATs with containerd, as Kubernetes finds them: pods by CRI, an upgrade while they talk, and a machine that is
 * left as it was. Kubernetes itself: kube-cluster.test.ts.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { until } from "../../src/lab/mod.ts";
import { Containerd, type Pod } from "../support/containerd.ts";
import { debianRuntimes } from "../support/debian-runtimes.ts";
import { KubeMachines, WORKERS } from "../support/kube-machines.ts";
import { INSTALLED } from "../support/kube-node.ts";
import { machineTraces } from "../support/machine-traces.ts";
import { differences, dumpOf, type NodeDump } from "../support/node-dump.ts";
import { installOther } from "../support/other-build.ts";

/** Guard against hanging only. */
const DEADLINE_MS = 300_000;
setDefaultTimeout(DEADLINE_MS);
const { trees, lacks } = debianRuntimes();

describe.skipIf(trees === undefined)(
  `machines behind NATs with containerd${lacks === undefined ? "" : ` (skipped: ${lacks})`}`,
  () => {
    const traces = machineTraces();
    let machines: KubeMachines;
    let before: NodeDump;
    const daemons = new Map<string, Containerd>();
    const pods = new Map<string, Pod>();

    beforeAll(async () => {
      machines = await KubeMachines.create({ trees: trees ?? [], kubernetes: "" });
      before = await dumpOf(machines.node("home").host);
      await machines.join();
      for (const name of WORKERS) {
        await machines.node(name).causeway(["kube", "prepare", "kubeadm"]);
        const daemon = await Containerd.start(machines.node(name), 1);
        daemons.set(name, daemon);
        const pod = await daemon.pod();
        await daemon.exec(pod, "echo $0 > /www/index.html; httpd -p 80 -h /www".replace("$0", name));
        pods.set(name, pod);
      }
    });
    afterAll(async () => {
      for (const daemon of daemons.values()) daemon[Symbol.dispose]();
      await machines?.[Symbol.asyncDispose]();
      expect(machineTraces()).toEqual(traces);
    });

    const daemon = (name: string) => daemons.get(name) as Containerd;
    const pod = (name: string) => pods.get(name) as Pod;
    const placed = (name: string) => ({ node: name, addresses: [pod(name).ip4, pod(name).ip6] });

    test("pods reach each other in both families", async () => {
      for (const [from, to] of [
        ["home", "office"],
        ["office", "home"],
      ] as const)
        for (const address of placed(to).addresses) {
          const ask = `printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 20 ${address} 80 | tail -n 1`;
          expect([address, (await daemon(from).exec(pod(from), ask)).stdout]).toEqual([address, `${to}\n`]);
        }
    });

    test("a pod reaches itself by a Service, though frames that are bridged are translated too", async () => {
      const { host } = machines.node("home");
      const { ip4, ip6 } = pod("home");
      // What kube-proxy makes of a Service: net/bridge/br_netfilter_hooks.c applies it inside of the bridge, so the frame returns by its port.
      for (const [family, service, own] of [
        ["ip", "10.96.0.80", ip4],
        ["ip6", "fd00:96::80", ip6],
      ] as const) {
        expect(await host.must(`cat /proc/sys/net/bridge/bridge-nf-call-${family}tables`)).toBe("1\n");
        await host.must(`nft -f - <<'END'
table ${family} service {
  chain to { type nat hook prerouting priority -100; ${family} daddr ${service} tcp dport 80 dnat to ${own}; }
  chain from { type nat hook postrouting priority 100; ${family} saddr ${own} ${family} daddr ${own} masquerade; }
}
END`);
        const ask = `printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 20 ${service} 80 | tail -n 1`;
        expect([service, (await daemon("home").exec(pod("home"), ask)).stdout]).toEqual([service, "home\n"]);
        await host.must(`nft delete table ${family} service`);
      }
    });

    test("an agent is upgraded in place while pods talk, and nothing is lost", async () => {
      const node = machines.node("office");
      const dataplane = async () => (await node.causeway(["status"])).tunnel.dataplane;
      const first = await dataplane();
      // Where the kernel has WireGuard, no process of ours has to be succeeded.
      const build = first === undefined ? undefined : installOther(node.host.path(INSTALLED), first.build);
      await using there = await machines.flow(placed("office"), pod("home").ip4);
      await using back = await machines.flow(placed("home"), pod("office").ip6);
      await node.host.stop("agent");
      await node.startAgent();
      await until(async () => ((await dataplane())?.build === build ? undefined : "the old build answers"), {
        what: "the successor",
        deadlineMs: DEADLINE_MS,
      });
      const upgradedMs = Date.now();
      for (const flow of [there, back]) {
        const goesOn = () => (flow.since(upgradedMs) > 20 ? undefined : `${flow.since(upgradedMs)} answers`);
        await until(goesOn, { what: `pings ${flow.name}`, deadlineMs: DEADLINE_MS });
        expect(flow.lost).toBe(0);
      }
      expect((await node.causeway(["plan"])).steps).toEqual([]);
    });

    test("a machine that leaves is as it was before Causeway came, also after a restart of its agent", async () => {
      const node = machines.node("home");
      await daemon("home").remove(pod("home").id);
      await node.host.stop("agent");
      await node.startAgent();
      await node.uninstall();
      expect(differences(before, await dumpOf(node.host))).toEqual([]);
    });
  },
);
