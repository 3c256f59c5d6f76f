/**
 * A real cluster over the overlay: kubeadm's control plane on one node, two kubelets with containerd behind NATs. It takes minutes, and runs
 * only where `npm run kubernetes -- kubelet …` has built what it is made of.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { until } from "../../src/lab/mod.ts";
import { INSTALLED } from "../support/kube-node.ts";
import { clusterNeeds, KubeCluster } from "../support/kube-cluster.ts";
import { MACHINES, type PlacedPod } from "../support/kube-machines.ts";
import { machineTraces } from "../support/machine-traces.ts";
import { differences, dumpOf, type NodeDump } from "../support/node-dump.ts";
import { installOther } from "../support/other-build.ts";
import type { Pinger } from "../support/pinger.ts";
import type { Json } from "../support/private-node.ts";
import { IMAGE } from "../support/runtime-image.ts";

/** Guard against hanging only. */
const DEADLINE_MS = 1_800_000;
setDefaultTimeout(DEADLINE_MS);
const { parts, lacks } = clusterNeeds();

const labels = { app: "web" };
const meta = { name: "web", namespace: "default" };

/** One on each worker, because they may not be together; ready when kubelet has their page. */
const deployment = {
  apiVersion: "apps/v1",
  kind: "Deployment",
  metadata: meta,
  spec: {
    replicas: 2,
    selector: { matchLabels: labels },
    template: {
      metadata: { labels },
      spec: {
        terminationGracePeriodSeconds: 0,
        affinity: {
          podAntiAffinity: {
            requiredDuringSchedulingIgnoredDuringExecution: [
              { labelSelector: { matchLabels: labels }, topologyKey: "kubernetes.io/hostname" },
            ],
          },
        },
        containers: [
          {
            name: "web",
            image: IMAGE,
            command: [
              "/bin/sh",
              "-c",
              "hostname > /www/index.html; echo serving; exec httpd -f -p 80 -h /www",
            ],
            readinessProbe: { httpGet: { path: "/", port: 80 } },
          },
        ],
      },
    },
  },
};

const service = {
  apiVersion: "v1",
  kind: "Service",
  metadata: meta,
  spec: { type: "NodePort", selector: labels, ports: [{ port: 80, nodePort: 30080 }] },
};

/** As much of a pod as is looked at. */
interface Pod extends PlacedPod {
  readonly name: string;
}

const ask = (address: string, port = 80) =>
  `printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 20 ${address} ${port} | tail -n 1`;

describe.skipIf(parts === undefined)(
  `a cluster of Kubernetes over the overlay${lacks === undefined ? "" : ` (skipped: ${lacks})`}`,
  () => {
    const traces = machineTraces();
    let cluster: KubeCluster;
    let before: NodeDump;

    beforeAll(async () => {
      if (parts === undefined) return;
      const begun = performance.now();
      const say = (text: string) =>
        void process.stderr.write(`${Math.round((performance.now() - begun) / 1000)} s: ${text}\n`);
      cluster = await KubeCluster.create(parts, say);
      before = await dumpOf(cluster.node("home").host);
      try {
        await cluster.up();
        await cluster.apply(deployment, service);
        await cluster.kubectl("rollout", "status", "deployment/web", "--timeout=15m");
        const proxies = "-n kube-system rollout status daemonset/kube-proxy --timeout=15m";
        await cluster.kubectl(...proxies.split(" "));
        say("pods are ready");
      } catch (error) {
        process.stderr.write(cluster.logs());
        throw error;
      }
    }, DEADLINE_MS);
    afterAll(async () => {
      await cluster?.[Symbol.asyncDispose]();
      expect(machineTraces()).toEqual(traces);
    }, DEADLINE_MS);

    async function pods(): Promise<Pod[]> {
      const { items } = await cluster.kubectlJson("get", "pods", "-l", "app=web", "-o", "json");
      return items
        .map(({ metadata, spec, status }: Json) => ({
          name: metadata.name,
          node: spec.nodeName,
          addresses: status.podIPs.map(({ ip }: Json) => ip),
        }))
        .sort((a: Pod, b: Pod) => a.node.localeCompare(b.node));
    }
    const inPod = (pod: Pod, command: string) => cluster.kubectl("exec", pod.name, "--", "sh", "-c", command);
    const two = async () => (await pods()) as [Pod, Pod];

    /** The flow goes on after a moment, and nothing of it was lost. */
    async function answersAfter(flow: Pinger, wallMs: number): Promise<void> {
      const goesOn = () => (flow.since(wallMs) > 20 ? undefined : `${flow.since(wallMs)} answers`);
      await until(goesOn, { what: `pings ${flow.name}`, deadlineMs: DEADLINE_MS });
      expect(flow.lost).toBe(0);
    }

    test("each node is ready, under its overlay address, with the ranges that Causeway gave it", async () => {
      const { items } = await cluster.kubectlJson("get", "nodes", "-o", "json");
      const shown = Object.fromEntries(
        items.map(({ metadata, spec, status }: Json) => [
          metadata.name,
          {
            addresses: status.addresses
              .filter(({ type }: Json) => type === "InternalIP")
              .map(({ address }: Json) => address),
            ranges: spec.podCIDRs,
          },
        ]),
      );
      for (const name of MACHINES) {
        const { node } = await cluster.node(name).causeway(["status"]);
        expect(shown[name]).toEqual({
          addresses: [node.overlay4, node.overlay6],
          ranges: [node.pods4, node.pods6],
        });
      }
    });

    test("pods are on both nodes behind NATs, and reach each other in both families", async () => {
      const [home, office] = await two();
      expect([home.node, office.node]).toEqual(["home", "office"]);
      for (const [from, to] of [
        [home, office],
        [office, home],
      ] as const)
        for (const address of to.addresses)
          expect([address, await inPod(from, ask(address))]).toEqual([address, `${to.name}\n`]);
    });

    test("a Service leads to both pods, from pods, from each node, and by each node's port", async () => {
      const names = (await pods()).map(({ name }) => name).sort();
      const { spec } = await cluster.kubectlJson("get", "service", "web", "-o", "json");
      const [home] = await two();
      const asked = async (look: () => Promise<string | undefined>) => {
        const found = new Set<string>();
        await until(
          async () => {
            const page = (await look())?.trim();
            if (page !== undefined) found.add(page);
            return found.size < names.length ? `only ${[...found].join(" ")}` : undefined;
          },
          { what: "both pods", deadlineMs: DEADLINE_MS },
        );
        expect([...found].sort()).toEqual(names);
      };
      await asked(() => inPod(home, ask(spec.clusterIP)));
      for (const name of MACHINES) {
        await asked(() => cluster.node(name).host.page(spec.clusterIP, 80));
        const { node } = await cluster.node(name).causeway(["status"]);
        await asked(() => cluster.node("control").host.page(node.overlay4, 30080));
      }
      // The API by its Service: TLS is wanted, so somebody is there.
      const answer = await inPod(home, `printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 20 10.96.0.1 443`);
      expect(answer).toContain("Client sent an HTTP request to an HTTPS server");
    });

    test("exec, logs and port-forward go to nodes that nobody can call", async () => {
      for (const pod of await two()) {
        expect(await inPod(pod, "hostname")).toBe(`${pod.name}\n`);
        expect(await cluster.kubectl("logs", pod.name)).toContain("serving\n");
        expect(await cluster.forwarded(pod.name, 80)).toBe(`${pod.name}\n`);
      }
    });

    test("the API server is killed: pods go on, and it comes back", async () => {
      const [home, office] = await two();
      await using flow = await cluster.machines.flow(home, office.addresses[0] as string);
      const killedMs = Date.now();
      await cluster.node("control").host.must("kill -KILL $(pidof kube-apiserver)");
      await until(
        async () => {
          const { status, stderr } = await cluster.tryKubectl("get", "--raw", "/readyz");
          return status === 0 ? undefined : stderr;
        },
        { what: "the API", deadlineMs: DEADLINE_MS },
      );
      await answersAfter(flow, killedMs);
      await cluster.kubectl("delete", "pod", office.name);
      await cluster.kubectl("rollout", "status", "deployment/web", "--timeout=15m");
      const [, next] = await two();
      expect(next.name).not.toBe(office.name);
      expect(await inPod(home, ask(next.addresses[0] as string))).toBe(`${next.name}\n`);
    });

    test("an agent is upgraded in place while pods talk, and nothing is lost", async () => {
      const [home, office] = await two();
      const node = cluster.node("office");
      const dataplane = async () => (await node.causeway(["status"])).tunnel.dataplane;
      await using there = await cluster.machines.flow(office, home.addresses[0] as string);
      await using back = await cluster.machines.flow(home, office.addresses[1] as string);
      const build = installOther(node.host.path(INSTALLED), (await dataplane()).build);
      await node.host.stop("agent");
      await node.startAgent();
      await until(async () => ((await dataplane())?.build === build ? undefined : "the old build answers"), {
        what: "the successor",
        deadlineMs: DEADLINE_MS,
      });
      const upgradedMs = Date.now();
      for (const flow of [there, back]) await answersAfter(flow, upgradedMs);
      expect((await node.causeway(["plan"])).steps).toEqual([]);
    });

    test("a node is drained and leaves, and is as it was before Causeway came", async () => {
      await cluster.remove("home");
      expect(differences(before, await dumpOf(cluster.node("home").host))).toEqual([]);
    });
  },
);
