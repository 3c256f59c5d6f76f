/** What containerd does with the plugin and the plugin with it, through CRI as kubelet calls it, and through ctr(8). */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { argumentKeys, recordCalls } from "./call-recorder.ts";
import { Containerd } from "./containerd.ts";
import { debianRuntimes } from "./debian-runtimes.ts";
import { GrpcError } from "./grpc.ts";
import { machineTraces } from "./machine-traces.ts";
import { WIRE } from "./private-host.ts";
import { GATEWAY, PLUGINS, POD_ADDRESSES, PrivateNode } from "./private-node.ts";
import { IMAGE } from "./runtime-image.ts";

/** ContainerdSuite says which of Debian's two is tested. */
export interface ContainerdSuite {
  readonly major: 1 | 2;
  /** How its version begins. */
  readonly version: string;
  /** Version of the results that it gets from the list that `causeway cni install` writes. */
  readonly result: string;
}

/** containerdSuite declares the tests. */
export function containerdSuite({ major, version, result }: ContainerdSuite): void {
  const { trees, lacks } = debianRuntimes({ newer: major === 2 });
  const reason = lacks === undefined ? "" : ` (skipped: ${lacks})`;
  describe.skipIf(trees === undefined)(`CNI: containerd ${version.replace(/\.$/, "")}${reason}`, () => {
    const before = machineTraces();
    let node: PrivateNode;
    let daemon: Containerd;

    beforeAll(async () => {
      node = await PrivateNode.create(trees ?? []);
      daemon = await Containerd.start(node, major);
    });
    afterAll(async () => {
      daemon?.[Symbol.dispose]();
      await node?.[Symbol.asyncDispose]();
      expect(machineTraces()).toEqual(before);
    });
    // What a test that failed has left must not fail the next one.
    afterEach(async () => {
      if (!node.host.runs("agent")) await node.startAgent();
      await daemon.remove(...(await sandboxes()).map(({ id }) => id));
    });

    /** refusal returns what the runtime says of a pod that it could not start. */
    const refusal = async () => {
      const outcome = await daemon.run(daemon.config()).catch((error: unknown) => error);
      expect(outcome).toBeInstanceOf(GrpcError);
      return (outcome as GrpcError).message;
    };
    const networkReady = async () => {
      const { status } = await daemon.cri.call("Status", {});
      return status?.conditions.find(({ type }) => type === "NetworkReady");
    };
    const sandboxes = async () => (await daemon.cri.call("ListPodSandbox", {})).items;

    test("it is that version, and finds only what `causeway cni install` wrote", async () => {
      const { runtimeName, runtimeVersion } = await daemon.cri.call("Version", {});
      expect([runtimeName, runtimeVersion.startsWith(version)]).toEqual(["containerd", true]);
      expect(node.files().sort()).toEqual([...node.installed].sort());
      expect(await networkReady()).toMatchObject({ status: true });
    });

    test("a pod has an address of each family, and reaches the gateway, another pod, and the world", async () => {
      const [one, two] = [await daemon.pod(), await daemon.pod()];
      expect([one.ip4, one.ip6, two.ip4, two.ip6]).toEqual([
        expect.stringMatching(/^10\.244\.0\.\d+$/),
        expect.stringMatching(/^fd00:244:0:100:/),
        expect.stringMatching(/^10\.244\.0\.\d+$/),
        expect.stringMatching(/^fd00:244:0:100:/),
      ]);
      expect(await daemon.addresses(one.id)).toHaveLength(2);
      const inside = (await daemon.exec(one, "ip -o addr show eth0")).stdout;
      expect([inside.includes(` ${one.ip4}/28 `), inside.includes(` ${one.ip6}/64 `)]).toEqual([true, true]);
      for (const target of [GATEWAY.ip4, GATEWAY.ip6, two.ip4, two.ip6, WIRE.world4, WIRE.world6])
        expect([target, (await daemon.exec(one, `ping -c1 -W5 ${target}`)).status]).toEqual([target, 0]);
      await daemon.remove(one.id, two.id);
      await node.bare();
      expect(await sandboxes()).toEqual([]);
    });

    test("`lo` of a pod is up", async () => {
      const pod = await daemon.pod();
      expect((await daemon.exec(pod, "ip -o link show lo")).stdout).toContain("LOOPBACK,UP");
      for (const target of ["127.0.0.1", "::1"])
        expect((await daemon.exec(pod, `ping -c1 -W5 ${target}`)).status).toBe(0);
      await daemon.remove(pod.id);
    });

    test(`results have version ${result}, and the pod's name service arrives in them`, async () => {
      const dnsConfig = {
        servers: ["10.96.0.10"],
        searches: ["test.svc.cluster.local"],
        options: ["ndots:5"],
      };
      const pod = await daemon.pod({ dnsConfig });
      expect(await daemon.result(pod.id)).toMatchObject({
        cniVersion: result,
        interfaces: [{ name: "cw-pods" }, {}, { name: "eth0", ...(major === 2 && { mtu: 1420 }) }],
        dns: { nameservers: dnsConfig.servers, search: dnsConfig.searches, options: dnsConfig.options },
      });
      expect((await daemon.exec(pod, "cat /etc/resolv.conf")).stdout).toBe(
        "search test.svc.cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n",
      );
      await daemon.remove(pod.id);
    });

    test("a host port leads to the pod, from outside and from the node, and ends with it", async () => {
      const pod = await daemon.pod({ portMappings: [{ protocol: 0, containerPort: 80, hostPort: 8080 }] });
      expect((await daemon.exec(pod, "httpd -p 80 -h /www")).status).toBe(0);
      for (const [address, from] of [
        [WIRE.host4, "world"],
        [WIRE.host6, "world"],
        [WIRE.host4, "host"],
        [WIRE.host6, "host"],
        ["127.0.0.1", "host"],
      ] as const)
        expect([address, from, await node.host.page(address, 8080, from)]).toEqual([
          address,
          from,
          "hello\n",
        ]);
      await daemon.remove(pod.id);
      expect(await node.host.page(WIRE.host4, 8080, "world")).toBeUndefined();
      await node.bare();
    });

    test("a pod's annotations limit its bandwidth", async () => {
      const annotations = {
        "kubernetes.io/ingress-bandwidth": "8M",
        "kubernetes.io/egress-bandwidth": "16M",
      };
      const pod = await daemon.pod({ annotations });
      const shapers = JSON.parse(await node.host.must("tc -j qdisc show")) as {
        kind: string;
        dev: string;
        options: { rate?: number };
      }[];
      // What goes to the pod leaves the node's end of its link, what comes from it an intermediate device; tc(8) tells bytes per second.
      expect(
        shapers
          .filter(({ kind }) => kind === "tbf")
          .map(({ dev, options }) => `${dev.replace(/.{11}$/, "")} ${options.rate}`)
          .sort(),
      ).toEqual(["cw 1000000", "ifb 2000000"]);
      await daemon.remove(pod.id);
      await node.bare();
    });

    test("eight sandboxes at once have addresses of their own, and all of them go", async () => {
      const ids = await Promise.all(Array.from({ length: 8 }, () => daemon.run(daemon.config())));
      const addresses = (await Promise.all(ids.map((id) => daemon.addresses(id)))).flat();
      expect([addresses.length, new Set(addresses).size]).toEqual([16, 16]);
      await Promise.all(ids.map((id) => daemon.remove(id)));
      await node.bare();
      expect(await sandboxes()).toEqual([]);
    });

    test("without the agent no pod starts, and one can end; its address comes back with the agent", async () => {
      const pod = await daemon.pod();
      await node.stopAgent();
      expect(await refusal()).toContain(
        "Cannot serve ADD: the Causeway agent does not answer; start it with systemctl start causeway",
      );
      if (major === 2)
        expect(await networkReady()).toMatchObject({
          status: false,
          message: expect.stringContaining("Cannot serve STATUS: the Causeway agent does not answer"),
        });
      else expect(await networkReady()).toMatchObject({ status: true });
      await daemon.remove(pod.id);
      expect(await sandboxes()).toEqual([]);
      await node.startAgent();
      await node.bare();
      expect(await networkReady()).toMatchObject({ status: true });
      const next = await daemon.pod();
      expect((await daemon.exec(next, `ping -c1 -W5 ${GATEWAY.ip4}`)).status).toBe(0);
      await daemon.remove(next.id);
    });

    test("when all addresses are in use the runtime says so, and nothing is left of the pod", async () => {
      const names = Array.from({ length: POD_ADDRESSES }, (_, index) => `other${index}`);
      for (const name of names) {
        await node.host.must(`ip netns add ${name}`);
        expect(await node.call("ADD", name, `/run/netns/${name}`)).toMatchObject({ status: 0 });
      }
      const before = await node.remains();
      try {
        expect(await refusal()).toContain("in use");
        if (major === 2)
          expect(await networkReady()).toMatchObject({
            status: false,
            message: expect.stringContaining("all addresses of the node are in use"),
          });
        expect(await node.remains()).toEqual(before);
        expect(await sandboxes()).toEqual([]);
      } finally {
        for (const name of names) {
          await node.call("DEL", name, `/run/netns/${name}`);
          await node.host.must(`ip netns del ${name}`);
        }
      }
      await node.bare();
      const pod = await daemon.pod();
      await daemon.remove(pod.id);
    });

    test("a pod that another plugin fails leaves nothing of ours, though our ADD runs beside it", async () => {
      const failing = `#!/bin/sh
[ $CNI_COMMAND != ADD ] || { echo '{"cniVersion":"0.3.1","code":100,"msg":"not today"}'; exit 1; }
`;
      await node.host.must(`mv ${PLUGINS}/loopback /run/`);
      await Bun.write(node.host.path(`${PLUGINS}/loopback`), failing);
      await node.host.must(`chmod 755 ${PLUGINS}/loopback`);
      try {
        expect(await refusal()).toContain("not today");
        expect(await sandboxes()).toEqual([]);
        await node.bare();
      } finally {
        await node.host.must(`mv -f /run/loopback ${PLUGINS}/`);
      }
    });

    test("`ctr run --rm --cni` attaches a container and detaches it", async () => {
      const { status, stdout, stderr } = await node.host.run(
        ["ctr", "run", "--rm", "--cni", "--snapshotter", "native", IMAGE, "box", "/bin/sh", "-c"].concat(
          `ip -o addr; ping -c1 -W5 ${GATEWAY.ip4} && ping -c1 -W5 ${GATEWAY.ip6} && ping -c1 -W5 127.0.0.1`,
        ),
      );
      expect([status, stderr]).toEqual([0, ""]);
      expect(stdout).toMatch(/eth0 +inet 10\.244\.0\.\d+\/28 /);
      expect(stdout).toMatch(/eth0 +inet6 fd00:244:0:100:/);
      await node.bare();
    });

    test("what CRI sends is what the plugin's own tests are made of", async () => {
      const calls = await recordCalls(node, async () => {
        const id = await daemon.run(
          daemon.config({
            dnsConfig: { servers: ["10.96.0.10"], searches: ["a"], options: ["ndots:5"] },
            portMappings: [{ protocol: 1, containerPort: 53, hostPort: 5353 }],
            annotations: { "kubernetes.io/ingress-bandwidth": "8M" },
          }),
        );
        if (major === 2) await networkReady();
        await daemon.remove(id);
      });
      const commands = calls.map(({ environment }) => environment.CNI_COMMAND);
      expect(commands).toEqual(["ADD", ...(major === 2 ? ["STATUS"] : []), "DEL", "DEL", "DEL"]);
      const [add] = calls;
      expect(argumentKeys(add)).toEqual([
        "IgnoreUnknown",
        "K8S_POD_INFRA_CONTAINER_ID",
        "K8S_POD_NAME",
        "K8S_POD_NAMESPACE",
        "K8S_POD_UID",
      ]);
      expect(add?.environment).toMatchObject({
        CNI_CONTAINERID: expect.stringMatching(/^[0-9a-f]{64}$/),
        CNI_IFNAME: "eth0",
        CNI_NETNS: expect.stringMatching(/^\/var\/run\/netns\/cni-/),
      });
      expect(add?.configuration.runtimeConfig).toEqual({
        dns: { Servers: ["10.96.0.10"], Searches: ["a"], Options: ["ndots:5"] },
        portMappings: [{ HostPort: 5353, ContainerPort: 53, Protocol: "udp", HostIP: "" }],
        bandwidth: { IngressRate: 8_000_000, IngressBurst: 4294967295, EgressRate: 0, EgressBurst: 0 },
      });
      const removals = calls.filter(({ environment }) => environment.CNI_COMMAND === "DEL");
      expect(
        removals.map(({ environment, configuration }) => [
          (environment.CNI_NETNS ?? "") !== "",
          configuration.prevResult !== undefined,
        ]),
      ).toEqual([
        [true, true],
        [false, false],
        [false, false],
      ]);
      await node.bare();
    });
  });
}
