/**
 * A real cluster over the overlay: kubeadm's control plane on one node, two kubelets with containerd behind NATs. It takes minutes, and runs
 * only where `npm run kubernetes -- kubelet …` has built what it is made of.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { until } from "../../src/lab/mod.ts";
import { kernelHasWireguard } from "../../src/netlink/mod.ts";
import { INSTALLED } from "../support/kube-node.ts";
import { KubeCluster } from "../support/kube-cluster.ts";
import { clusterNeeds } from "../support/kube-control.ts";
import { MACHINES, type PlacedPod, WORKERS } from "../support/kube-machines.ts";
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

/** Serves its own name. */
const web = {
  name: "web",
  image: IMAGE,
  command: ["/bin/sh", "-c", "hostname > /www/index.html; echo serving; exec httpd -f -p 80 -h /www"],
  readinessProbe: { httpGet: { path: "/", port: 80 } },
};

/** One on each worker, because they may not be together; ready when kubelet has their page. */
const deployment = {
  apiVersion: "apps/v1",
  kind: "Deployment",
  metadata: meta,
  spec: {
    replicas: 2,
    selector: { matchLabels: labels },
    template: {
      metadata: { labels, annotations: { "kubernetes.io/ingress-bandwidth": "80M" } },
      spec: {
        terminationGracePeriodSeconds: 0,
        affinity: {
          podAntiAffinity: {
            requiredDuringSchedulingIgnoredDuringExecution: [
              { labelSelector: { matchLabels: labels }, topologyKey: "kubernetes.io/hostname" },
            ],
          },
        },
        containers: [{ ...web, ports: [{ containerPort: 80, protocol: "TCP", hostPort: 8080 }] }],
      },
    },
  },
};

const service = {
  apiVersion: "v1",
  kind: "Service",
  metadata: meta,
  spec: {
    ...{ type: "NodePort", selector: labels, ipFamilyPolicy: "RequireDualStack" },
    ports: [{ port: 80, protocol: "TCP", nodePort: 30080 }],
  },
};

/** A pod of one machine. */
const placed = (name: string, node: string, annotations = {}) => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name, namespace: "default", annotations },
  spec: { nodeName: node, terminationGracePeriodSeconds: 0, containers: [web] },
});

const tenant = [
  {
    apiVersion: "causeway.network/v1alpha1",
    kind: "VPC",
    metadata: { name: "team" },
    spec: { allow: { namespaces: ["default"] } },
  },
  {
    apiVersion: "causeway.network/v1alpha1",
    kind: "Subnet",
    metadata: { name: "team.web" },
    spec: { vpc: "team", prefixes: ["10.66.0.0/24", "fd00:66::/64"] },
  },
];

const TENANT = ["subnet.causeway.network/team.web", "vpc.causeway.network/team"];

/** As much of a pod as is looked at. */
interface Pod extends PlacedPod {
  readonly name: string;
}

/** What kube-proxy sets for itself (pkg/proxy/iptables/proxier.go, cmd/kube-proxy/app/conntrack.go), and nobody takes back. */
const PROXY_SETTINGS = [
  ["ipv4/conf/all/route_localnet", 0, 1],
  ["netfilter/nf_conntrack_tcp_timeout_close_wait", 60, 3600],
  ["netfilter/nf_conntrack_tcp_timeout_established", 432_000, 86_400],
] as const;

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
      cluster = await KubeCluster.create({ parts, say });
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

    /** What the API says of each node is what Causeway says of it. */
    async function nodesAreOurs(): Promise<void> {
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
    }

    test(
      "each node is ready, under its overlay address, with the ranges that Causeway gave it",
      nodesAreOurs,
    );

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

    test("a Service leads to both pods, from pods, from each node, and by each node's port, in both families", async () => {
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
      expect(spec.ipFamilies).toEqual(["IPv4", "IPv6"]);
      for (const address of spec.clusterIPs) {
        await asked(() => inPod(home, ask(address)));
        for (const name of MACHINES) await asked(() => cluster.node(name).host.page(address, 80));
      }
      for (const name of MACHINES) {
        const { node } = await cluster.node(name).causeway(["status"]);
        for (const address of [node.overlay4, node.overlay6])
          await asked(() => cluster.node("control").host.page(address, 30080));
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

    test("a pod's host port leads to it, and its rate is what its annotation says", async () => {
      for (const { name, node } of await two()) {
        const { host } = cluster.node(node as (typeof MACHINES)[number]);
        const { overlay4 } = (await cluster.node(node as (typeof MACHINES)[number]).causeway(["status"]))
          .node;
        expect(await cluster.node("control").host.page(overlay4, 8080)).toBe(`${name}\n`);
        const shapers: Json[] = JSON.parse(await host.must("tc -j qdisc show"));
        // tc(8) tells bytes per second.
        expect(shapers.filter(({ kind }) => kind === "tbf").map(({ options }) => options.rate)).toEqual([
          10_000_000,
        ]);
      }
    });

    test("a tenant's VPC that was applied joins pods on both sides, and nobody else", async () => {
      await using plain = new AsyncDisposableStack();
      for (const name of WORKERS) {
        await cluster.readPods(name);
        // With the API away they would not know of any pod whether it is a tenant's.
        plain.defer(async () => {
          await cluster.node(name).host.stop("agent");
          await cluster.node(name).startAgent();
        });
      }
      await cluster.apply(...tenant);
      const own = { "causeway.network/vpc": "team" };
      await cluster.apply(...WORKERS.map((name) => placed(`of-${name}`, name, own)));
      for (const name of WORKERS)
        await cluster.kubectl("wait", "--for=condition=Ready", "--timeout=15m", `pod/of-${name}`);
      const said = async (pod: string, command: string) =>
        (await cluster.tryKubectl("exec", pod, "--", "sh", "-c", command)).stdout;
      const [outsider] = await two();
      for (const [from, to] of [
        ["of-home", "of-office"],
        ["of-office", "of-home"],
      ] as const) {
        const shown = await said(to, "ip -o addr show dev vpc0");
        const [ip4 = "", ip6 = "", ...more] = [...shown.matchAll(/inet6? ((?!fe80)[^/]+)/g)].map(
          ([, ip]) => ip,
        );
        expect([ip4, ip6, more]).toEqual([
          expect.stringMatching(/^10\.66\.0\./),
          expect.stringMatching(/^fd00:66::/),
          [],
        ]);
        for (const address of [ip4, ip6])
          expect([address, await said(from, ask(address))]).toEqual([address, `${to}\n`]);
        expect(await said(outsider.name, ask(ip4).replace("-w 20", "-w 3"))).toBe("");
      }
      await cluster.kubectl("delete", "pods", ...WORKERS.map((name) => `of-${name}`));
      // They go when nodes have given the Subnet's addresses back, two minutes later.
      await cluster.kubectl("delete", "--wait=false", ...TENANT);
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
      await cluster.replacePod(office.name);
      const [, next] = await two();
      expect(next.name).not.toBe(office.name);
      expect(await inPod(home, ask(next.addresses[0] as string))).toBe(`${next.name}\n`);
    });

    test("the API server is away: an agent starts anew, and a pod that dies has a network again", async () => {
      const [home, office] = await two();
      await using flow = await cluster.machines.flow(office, home.addresses[1] as string);
      const { host } = cluster.node("control");
      const manifest = "/etc/kubernetes/manifests/kube-apiserver.yaml";
      await host.must(`mv ${manifest} /run/`);
      const answers = async () => (await cluster.tryKubectl("get", "--raw", "/readyz")).status === 0;
      await until(async () => ((await answers()) ? "it answers" : undefined), {
        ...{ what: "the API to go", deadlineMs: DEADLINE_MS },
      });
      const node = cluster.node("home");
      await node.host.stop("agent");
      await node.startAgent();
      await answersAfter(flow, Date.now());
      expect((await node.causeway(["plan"])).steps).toEqual([]);
      const namespace = async () => (await node.host.must("ls /run/netns | grep ^cni- || true")).trim();
      const former = await namespace();
      const of = `labels."io.kubernetes.pod.name"==${home.name},labels."io.cri-containerd.kind"==sandbox`;
      await node.host.must(`ctr -n k8s.io tasks kill -s KILL $(ctr -n k8s.io containers ls -q '${of}')`);
      let address = "";
      await until(
        async () => {
          const name = await namespace();
          if (!name.startsWith("cni-") || name === former) return `its namespace is "${name}"`;
          address = (await node.run(`ip -n ${name} -4 -o addr show eth0`)).stdout.split(/[ /]+/)[3] ?? "";
          const page = address === "" ? "" : await cluster.node("office").host.page(address, 80);
          return page === `${home.name}\n` ? undefined : `${address} has ${page}`;
        },
        { what: "the pod to be there again", deadlineMs: DEADLINE_MS },
      );
      await host.must(`mv /run/kube-apiserver.yaml ${manifest}`);
      const known = async () => (await two())[0].addresses[0];
      await until(async () => ((await known().catch(String)) === address ? undefined : "another address"), {
        ...{ what: "the API to know of it", deadlineMs: DEADLINE_MS },
      });
    });

    test("the agent's pod takes over from the service, and gives back, while pods talk, and nothing is lost", async () => {
      const [home, office] = await two();
      const node = cluster.node("office");
      await using there = await cluster.machines.flow(office, home.addresses[0] as string);
      await using back = await cluster.machines.flow(home, office.addresses[1] as string);
      const pod = await cluster.startAgentPod("office");
      await node.host.stop("agent");
      await cluster.agentPodSays(pod, "agent is ready");
      await cluster.kubectl(
        ...`-n causeway-system wait --for=condition=Ready --timeout=15m ${pod}`.split(" "),
      );
      expect((await node.causeway(["plan"])).steps).toEqual([]);
      // It attaches and detaches.
      await cluster.apply(placed("late", "office"));
      await cluster.kubectl("wait", "--for=condition=Ready", "--timeout=15m", "pod/late");
      const { status } = await cluster.kubectlJson("get", "pod", "late", "-o", "json");
      expect(await inPod(home, ask(status.podIP))).toBe("late\n");
      await cluster.kubectl("delete", "pod", "late");
      await cluster.endAgentPod();
      await node.startAgent();
      const givenMs = Date.now();
      for (const flow of [there, back]) await answersAfter(flow, givenMs);
      expect((await node.causeway(["plan"])).steps).toEqual([]);
    });

    test("a pod takes the plugin off a node, others' files stay, and it is installed again", async () => {
      const [home] = await two();
      const node = cluster.node("office");
      const theirs = ["/etc/cni/net.d/87-podman.conflist.off", "/opt/cni/bin/bridge"];
      for (const path of theirs) await node.host.must(`echo theirs > ${path}`);
      const files = async () =>
        (await node.host.must("find /etc/cni /opt/cni ! -type d | sort | xargs sha256sum"))
          .split("\n")
          .filter(Boolean);
      const installed = await files();
      const ready = (status: boolean) =>
        cluster.kubectl("wait", `--for=condition=Ready=${status}`, "--timeout=15m", "node/office");
      await cluster.removePlugin("office");
      const others = installed.filter((line) => theirs.some((path) => line.endsWith(path)));
      expect(await files()).toEqual(others);
      await ready(false);
      await node.causeway(["cni", "install"]);
      expect(await files()).toEqual(installed);
      await ready(true);
      await cluster.apply(placed("again", "office"));
      await cluster.kubectl("wait", "--for=condition=Ready", "--timeout=15m", "pod/again");
      const { status } = await cluster.kubectlJson("get", "pod", "again", "-o", "json");
      expect(await inPod(home, ask(status.podIP))).toBe("again\n");
      await cluster.kubectl("delete", "pod", "again");
    });

    test.skipIf(kernelHasWireguard())(
      "the agent's pod begins a tunnel in user space in its container",
      async () => {
        const [home, office] = await two();
        const node = cluster.node("office");
        const process = async () => (await node.run("pgrep -f 'causeway dataplane cw0$'")).stdout.trim();
        const reached = () =>
          until(
            async () => {
              const words = ["exec", home.name, "--", "sh", "-c", ask(office.addresses[0] as string)];
              const { stdout, stderr } = await cluster.tryKubectl(...words);
              return stdout === `${office.name}\n` ? undefined : `${stdout}${stderr}`;
            },
            { what: "the pod to be reached", deadlineMs: DEADLINE_MS },
          );
        const pod = await cluster.startAgentPod("office");
        await node.host.stop("agent");
        await cluster.agentPodSays(pod, "agent is ready");
        const before = await process();
        await node.host.must(`kill -KILL ${before}`);
        await until(async () => (["", before].includes(await process()) ? "none" : undefined), {
          ...{ what: "another process of the tunnel", deadlineMs: DEADLINE_MS },
        });
        await reached();
        // With control groups of version 1 that process ends with the pod, and the API hears of nothing before the service is there again.
        const gone = cluster.endAgentPod();
        const answers = async () => (await node.run(`${INSTALLED} status`)).status === 0;
        await until(async () => ((await answers()) ? "it answers" : undefined), {
          ...{ what: "the pod's agent to end", deadlineMs: DEADLINE_MS },
        });
        await node.startAgent();
        await gone;
        await reached();
      },
    );

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

    test("the tenant's VPC has gone by now", () =>
      until(
        async () => {
          const left = (await cluster.kubectl("get", "--ignore-not-found", "-o", "name", ...TENANT)).trim();
          return left === "" ? undefined : left;
        },
        { what: "the VPC to go", deadlineMs: DEADLINE_MS },
      ));

    test("a node is drained and leaves, and is as it was before Causeway came", async () => {
      await cluster.remove("home");
      const setting = (sign: string, name: string, value: number) =>
        `${sign} settings: /proc/sys/net/${name}:${value}`;
      expect(differences(before, await dumpOf(cluster.node("home").host))).toEqual([
        ...PROXY_SETTINGS.map(([name, was]) => setting("-", name, was)),
        ...PROXY_SETTINGS.map(([name, , is]) => setting("+", name, is)),
      ]);
    });

    test("another machine takes its place, under its name", async () => {
      await cluster.replace("home");
      await nodesAreOurs();
      await cluster.kubectl("rollout", "status", "deployment/web", "--timeout=15m");
      const [home, office] = await two();
      expect([home.node, office.node]).toEqual(["home", "office"]);
      for (const address of home.addresses) expect(await inPod(office, ask(address))).toBe(`${home.name}\n`);
      expect(await inPod(home, ask(office.addresses[0] as string))).toBe(`${office.name}\n`);
    });
  },
);
