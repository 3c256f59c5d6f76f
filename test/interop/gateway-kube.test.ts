/**
 * Two regions, one cluster of Kubernetes across: the API is in Paris, a kubelet in Tokyo, and the site gateways between them are all that joins
 * them. It takes minutes, and runs only where `npm run kubernetes -- kubelet …` has built what it is made of.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { runSync } from "../../src/sys/mod.ts";
import { until } from "../../src/lab/mod.ts";
import { addressOf, GatewayKube } from "../support/gateway-kube.ts";
import type { City } from "../support/gateway-story.ts";
import { clusterNeeds } from "../support/kube-control.ts";
import { machineTraces } from "../support/machine-traces.ts";
import type { Json } from "../support/private-node.ts";
import { IMAGE } from "../support/runtime-image.ts";
import { lacksXdp } from "../support/xdp-pair.ts";

/** Guard against hanging only. */
const DEADLINE_MS = 1_200_000;
setDefaultTimeout(DEADLINE_MS);
const xdp = lacksXdp();
const { parts, lacks } = xdp === undefined ? clusterNeeds() : { lacks: xdp };

const LARGE_BYTES = 1_024_000;

/** Serves its own name, and something that needs large packets. */
const container = {
  name: "web",
  image: IMAGE,
  command: [
    "/bin/sh",
    "-c",
    `hostname > /www/index.html; busybox dd if=/dev/zero of=/www/large bs=${LARGE_BYTES} count=1 2> /dev/null
    echo serving; exec httpd -f -p 80 -h /www`,
  ],
  readinessProbe: { httpGet: { path: "/", port: 80 } },
};
const plain = { terminationGracePeriodSeconds: 0, containers: [container] };
const labels = { app: "web" };

/** One pod beside the control plane, and one where the scheduler puts it: that is Tokyo, since Paris is the control plane's. */
const manifests = [
  { apiVersion: "v1", kind: "Pod", metadata: { name: "near" }, spec: { ...plain, nodeName: "paris" } },
  {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: "web" },
    spec: { selector: { matchLabels: labels }, template: { metadata: { labels }, spec: plain } },
  },
  {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name: "web" },
    spec: { selector: labels, ports: [{ port: 80, protocol: "TCP" }] },
  },
].map((one) => ({ ...one, metadata: { namespace: "default", ...one.metadata } }));

const ask = (address: string, path = "/") =>
  `printf 'GET ${path} HTTP/1.0\\r\\n\\r\\n' | nc -w 20 ${address} 80`;

describe.skipIf(parts === undefined)(
  `a cluster of Kubernetes across two site gateways${lacks === undefined ? "" : ` (skipped: ${lacks})`}`,
  () => {
    const traces = machineTraces();
    let cluster: GatewayKube;

    beforeAll(async () => {
      if (parts === undefined) return;
      const begun = performance.now();
      const say = (text: string) =>
        void process.stderr.write(`${Math.round((performance.now() - begun) / 1000)} s: ${text}\n`);
      cluster = await GatewayKube.create({ parts, say });
      // What is between the gateways.
      nft(`table ip seen { counter plain { }; counter sealed { }
        chain forward { type filter hook forward priority 0
          ip protocol { tcp, icmp } counter name plain
          ip protocol 50 counter name sealed
        }; }`);
      try {
        await cluster.up();
        await cluster.apply(...manifests);
        await cluster.kubectl("wait", "--for=condition=Ready", "--timeout=15m", "pod/near");
        await cluster.kubectl("rollout", "status", "deployment/web", "--timeout=15m");
        await cluster.kubectl(
          ..."-n kube-system rollout status daemonset/kube-proxy --timeout=15m".split(" "),
        );
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

    function nft(input: string): string {
      const { status, stdout, stderr } = runSync(["nft", "-f", "-"], { netns: cluster.story.wan, input });
      if (status !== 0) throw new Error(stderr);
      return stdout;
    }

    const inPod = (pod: Json, command: string) =>
      cluster.kubectl("exec", pod.metadata.name, "--", "sh", "-c", command);

    /** The pod of Paris and that of Tokyo. */
    async function both(): Promise<readonly [Json, Json]> {
      const near = await cluster.kubectlJson("get", "pod", "near", "-o", "json");
      const { items } = await cluster.kubectlJson("get", "pods", "-l", "app=web", "-o", "json");
      expect(items).toHaveLength(1);
      return [near, items[0]];
    }

    /** How many packets each queue's SA has sealed so far. */
    async function sealed(city: City): Promise<number[]> {
      const top = JSON.parse((await cluster.story.causeway(["top", city, "--json"])).stdout);
      return top.associations
        .filter(({ direction }: Json) => direction === "outbound")
        .map(({ packets }: Json) => packets);
    }

    test("each region's machine is a node, Ready, under its own address", async () => {
      const { items } = await cluster.kubectlJson("get", "nodes", "-o", "json");
      const shown = items.map(({ metadata, status }: Json) => [
        metadata.name,
        status.addresses.find(({ type }: Json) => type === "InternalIP").address,
        status.conditions.find(({ type }: Json) => type === "Ready").status,
      ]);
      expect(shown).toEqual((["paris", "tokyo"] as const).map((city) => [city, addressOf(city), "True"]));
    });

    test("pods of both regions reach each other, with packets of all sizes, and by a Service", async () => {
      const [near, far] = await both();
      expect([near, far].map(({ spec, status }) => [spec.nodeName, status.podIP])).toEqual([
        ["paris", expect.stringMatching(/^172\.31\.64\./)],
        ["tokyo", expect.stringMatching(/^172\.32\.64\./)],
      ]);
      for (const [from, to] of [
        [near, far],
        [far, near],
      ] as const) {
        const { podIP } = to.status;
        expect(await inPod(from, `${ask(podIP)} | busybox tail -n 1`)).toBe(`${to.metadata.name}\n`);
        const large = `${ask(podIP, "/large")} | busybox wc -c`;
        expect(Number(await inPod(from, large))).toBeGreaterThan(LARGE_BYTES);
      }
      const { spec } = await cluster.kubectlJson("get", "service", "web", "-o", "json");
      expect(await inPod(near, `${ask(spec.clusterIP)} | busybox tail -n 1`)).toBe(`${far.metadata.name}\n`);
    });

    test("exec, logs and port-forward go from the API to the kubelet of Tokyo", async () => {
      const { name } = (await both())[1].metadata;
      expect(await cluster.kubectl("exec", name, "--", "hostname")).toBe(`${name}\n`);
      expect(await cluster.kubectl("logs", name)).toBe("serving\n");
      expect(await cluster.forwarded(name, 80)).toBe(`${name}\n`);
    });

    test("both queues of both gateways carry it, and nothing of it is between them in the plain", async () => {
      const [near, far] = await both();
      await until(
        async () => {
          // Each connection is another flow, of which the kernel puts some into either queue.
          await inPod(near, ask(far.status.podIP));
          const all = [...(await sealed("paris")), ...(await sealed("tokyo"))];
          return all.length >= 4 && all.every((packets) => packets > 0) ? undefined : all.join(" ");
        },
        { what: "each queue to carry packets", deadlineMs: DEADLINE_MS },
      );
      expect(nft("list counter ip seen sealed")).not.toContain("packets 0 ");
      expect(nft("list counter ip seen plain")).toContain("packets 0 ");
    });

    test.each(["tokyo", "paris"] as const)(
      "the gateway of %s is killed and started again while pods talk, and the cluster goes on",
      async (city) => {
        const [near, far] = await both();
        await using there = await cluster.nodes.paris.flow(near.status.podIP, far.status.podIP);
        await using back = await cluster.nodes.tokyo.flow(far.status.podIP, near.status.podIP);
        const talk = async (sinceMs: number) => {
          for (const flow of [there, back])
            await until(() => (flow.since(sinceMs) > 20 ? undefined : `${flow.since(sinceMs)} answers`), {
              ...{ what: `pings ${flow.name}`, deadlineMs: DEADLINE_MS },
            });
        };
        await talk(0);
        await cluster.story.end(city, "SIGKILL");
        expect((await cluster.tryKubectl("exec", far.metadata.name, "--", "true")).status).not.toBe(0);
        await cluster.story.start(city);
        await cluster.story.up(city);
        await talk(Date.now());
        // The same pods, and none has begun anew.
        const seen = (pods: readonly Json[]) =>
          pods.map(({ metadata, status }) => [metadata.uid, status.containerStatuses[0].restartCount]);
        expect(seen(await both())).toEqual(seen([near, far]));
        await cluster.kubectl("wait", "--for=condition=Ready", "--timeout=15m", "nodes", "--all");
        // What the API wants is done in Tokyo.
        await cluster.replacePod(far.metadata.name);
        const [, next] = await both();
        expect(next.spec.nodeName).toBe("tokyo");
        expect(await inPod(near, `${ask(next.status.podIP)} | busybox tail -n 1`)).toBe(
          `${next.metadata.name}\n`,
        );
        expect(await inPod(next, "hostname")).toBe(`${next.metadata.name}\n`);
        expect(nft("list counter ip seen plain")).toContain("packets 0 ");
      },
    );
  },
);
