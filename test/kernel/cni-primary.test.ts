/** Pods whose primary network is a private one, by annotation: two networks in one pod, with the same prefix, and what the node lets through. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { CniNode } from "../support/cni-node.ts";
import { notRoot } from "../support/scratch.ts";

const suffix = notRoot === undefined ? "" : ` (skipped: ${notRoot})`;

const annotated = (more: Record<string, string>) => ({
  labels: { app: "db" },
  annotations: Object.fromEntries(
    Object.entries(more).map(([key, value]) => [`causeway.network/${key}`, value]),
  ),
});

const podFacts = {
  // The VPC's gateway and the node's own address in the default network are the same one: 10.244.1.1.
  "team/tenant": annotated({ vpc: "overlap", subnet: "a", groups: "web, db", ips: "10.244.1.200" }),
  "team/second": annotated({ vpc: "blue" }),
  "team/same": annotated({ vpc: "overlap" }),
  "team/wrong": annotated({ vpc: "Blue!" }),
  "team/slow": annotated({ vpc: "slow" }),
  "team/plain": { labels: {}, annotations: {} },
};

const argsOf = (pod: string) => `IgnoreUnknown=1;K8S_POD_NAMESPACE=team;K8S_POD_NAME=${pod}`;

describe.skipIf(notRoot !== undefined)(`CNI: a private primary network${suffix}`, () => {
  let node: CniNode;
  beforeAll(async () => {
    node = await CniNode.create();
    const clusterServices = [{ prefix: "10.96.0.1/32", protocol: "tcp", port: 443 }];
    node.more = { vpcs: true, podFacts, clusterServices };
    await node.startAgent();
    // Services of the cluster, here on the node itself; and what is behind it: another node.
    await node.must(`ip address add 10.96.0.1/32 dev lo; ip address add 10.96.0.10/32 dev lo
      ip netns add far; ip link add wire type veth peer name far netns far
      ip address add 192.0.2.1/24 dev wire; ip link set wire up
      ip -n far address add 192.0.2.2/24 dev far; ip -n far link set far up; ip -n far route add default via 192.0.2.1`);
    const listen =
      'for (const port of [53, 80, 443]) Bun.listen({ hostname: "::", port, socket: { data() {} } })';
    await node.must(`${process.execPath} -e '${listen}' > /dev/null 2>&1 &`);
    while (!(await node.must("ss -Hltn")).includes(":443")) await Bun.sleep(10);
  });
  /** Processes in namespaces of others, which do not end with the node. */
  const listeners: number[] = [];
  afterAll(() => node?.[Symbol.asyncDispose]());
  afterEach(async () => {
    for (const pid of listeners.splice(0)) process.kill(pid, "SIGKILL");
    await node.must("touch /run/gate");
    await node.sweep();
    await node.must(
      "rm -f /run/gate; for pod in tenant second same wrong slow plain; do ip netns del $pod 2> /dev/null || :; done",
    );
    expect(await node.remains()).toEqual({ links: [], elements: [], neighbours: [], rows: [] });
    expect(await stored()).toEqual([]);
  });

  const dns = { runtimeConfig: { dns: { servers: ["10.96.0.10"] } } };
  const attach = (pod: string) => node.add(pod, { args: argsOf(pod), configuration: dns });
  const stored = async () =>
    JSON.parse(await node.must("cat /var/lib/causeway/vpcs.json 2> /dev/null || echo '[]'"));
  const reaches = (pod: string, address: string, port: number) =>
    node.in(pod, `timeout 1 bash -c 'echo > /dev/tcp/${address}/${port}'`);
  async function listen(pod: string, port: number): Promise<void> {
    const program = `Bun.listen({ hostname: "0.0.0.0", port: ${port}, socket: { data() {} } })`;
    const command = `ip netns exec ${pod} ${process.execPath} -e '${program}'`;
    listeners.push(Number(await node.must(`${command} > /dev/null 2>&1 & echo $!`)));
    while (!(await node.must(`ip netns exec ${pod} ss -Hltn`)).includes(`:${port} `)) await Bun.sleep(10);
  }
  /** How many echo requests a pod has received. */
  const echoes = async (pod: string) => {
    const [names, values] = (await node.must(`ip netns exec ${pod} grep ^Icmp: /proc/net/snmp`)).split("\n");
    return Number(values?.split(" ")[names?.split(" ").indexOf("InEchos") ?? -1]);
  };
  const clusterAddress = (result: { ips: { address: string }[] }) =>
    (result.ips[0]?.address ?? "").split("/")[0] as string;

  test("eth0 has the cluster's address and no default route, vpc0 the VPC's; the result tells of the first address only", async () => {
    const result = await attach("tenant");
    const names = result.interfaces.map(({ name }: { name: string }) => name);
    expect(names).toEqual(["cw-pods", expect.stringMatching(/^cw/), "eth0", "vpc0"]);
    expect(result.ips.map((ip: { interface: number }) => ip.interface)).toEqual([2, 2]);
    expect(result.dns).toEqual({ nameservers: ["10.96.0.10"] });
    const own = clusterAddress(result);
    const routes = (await node.ip("route", "tenant")).map((route: Record<string, string>) =>
      ["dst", "gateway", "dev", "prefsrc"].map((key) => route[key]),
    );
    expect(routes).toEqual([
      ["default", "10.244.1.1", "vpc0", undefined],
      ["10.96.0.1", "10.244.1.1", "eth0", own],
      ["10.96.0.10", "10.244.1.1", "eth0", own],
      ["10.244.1.0/24", undefined, "vpc0", "10.244.1.200"],
    ]);
    expect(await node.ip("rule", "tenant")).toContainEqual(
      expect.objectContaining({ priority: 1000, src: own, table: "25463" }),
    );
    expect((await stored())[0]).toMatchObject({
      attachment: { network: "net/eth0", containerId: "tenant", ifname: "vpc0" },
      wish: {
        ...{
          vpc: "overlap",
          subnet: "a",
          groups: ["web", "db"],
          addresses: ["10.244.1.200/32"],
          defaultRoute: true,
        },
        pod: { namespace: "team", name: "tenant", labels: { app: "db" } },
      },
    });
    expect((await node.call("DEL", { containerId: "tenant" })).status).toBe(0);
    expect(await node.in("tenant", "ip link show eth0 || ip link show vpc0")).toBe(false);
  });

  test("with overlapping prefixes it answers the node and the VPC, each by its own link", async () => {
    const own = clusterAddress(await attach("tenant"));
    expect((await node.run(["ping", "-c1", "-W2", own])).status).toBe(0);
    expect(
      (await node.run(["ip", "netns", "exec", "cw-5002", "ping", "-c1", "-W2", "10.244.1.200"])).status,
    ).toBe(0);
    const v6 = (await node.ip("-6 address show dev eth0", "tenant"))[0].addr_info[0].local;
    expect((await node.run(["ping", "-c1", "-W2", v6])).status).toBe(0);
    expect(await node.in("tenant", "ping -c1 -W2 10.244.1.1")).toBe(true); // the VPC's gateway
    await node.must("ip netns exec cw-5002 ip address del 10.244.1.1/24 dev br5002");
    expect(await node.in("tenant", "ping -c1 -W1 10.244.1.1")).toBe(false); // and nobody else's
  });

  test("names and the allow-list are reached, and nothing else of the node, whatever source it takes", async () => {
    await attach("tenant");
    expect(await reaches("tenant", "10.96.0.1", 443)).toBe(true);
    expect(await reaches("tenant", "10.96.0.10", 53)).toBe(true);
    for (const [address, port] of [
      ["10.96.0.1", 80],
      ["10.96.0.1", 53],
      ["10.96.0.10", 443],
    ] as const)
      expect([address, port, await reaches("tenant", address, port)]).toEqual([address, port, false]);
    // As if it were an ordinary pod: routes of the pod are the pod's affair.
    await node.must("ip -n tenant route add 192.0.2.0/24 via 10.244.1.1 dev eth0 onlink");
    expect(await reaches("tenant", "192.0.2.1", 443)).toBe(false);
    expect(await node.in("tenant", "ping -c1 -W1 -I eth0 192.0.2.2")).toBe(false);
    // By link-local addresses, which no rule of addresses can tell apart.
    const { addr_info: addresses } = (await node.ip("-6 address show dev cw-pods"))[0];
    const { local } = addresses.find(({ scope }: { scope: string }) => scope === "link");
    await attach("plain");
    const connects = (pod: string) => reaches(pod, `${local}%eth0`, 443);
    expect([await connects("plain"), await connects("tenant")]).toEqual([true, false]);
  });

  test("other pods and other nodes begin nothing with it, nor it with pods; ordinary pods are as ever", async () => {
    const own = clusterAddress(await attach("tenant"));
    const plain = clusterAddress(await attach("plain"));
    await node.must("ip -n far route replace 10.244.1.0/24 via 192.0.2.1");
    const far = (address: string) => node.in("far", `ping -c1 -W1 ${address}`);
    expect([await far(plain), await far(own)]).toEqual([true, false]);
    expect(await node.in("plain", `ping -c1 -W1 ${own}`)).toBe(false);
    await node.must(`ip -n tenant route add ${plain}/32 dev eth0`);
    expect(await node.in("tenant", `ping -c1 -W1 -I eth0 ${plain}`)).toBe(false);
    // Neither way by itself, not even where each knows the other's Ethernet address, and no kernel shows routed rules what is bridged.
    await node.must("for f in /proc/sys/net/bridge/bridge-nf-call-*; do [ ! -e $f ] || echo 0 > $f; done");
    const mac = async (pod: string) => (await node.ip("link show eth0", pod))[0].address;
    await node.must(`ip -n plain neigh replace ${own} lladdr ${await mac("tenant")} dev eth0
      ip -n tenant neigh replace ${plain} lladdr ${await mac("plain")} dev eth0`);
    await node.in("plain", `ping -c1 -W1 ${own}`);
    await node.in("tenant", `ping -c1 -W1 -I eth0 ${plain}`);
    expect([await echoes("tenant"), await echoes("plain")]).toEqual([0, 1]); // the one of the other node
    expect(await node.in("plain", "ping -c1 -W2 192.0.2.2")).toBe(true);
  });

  test("services are allowed by the address that pods know, and lead nobody to such a pod", async () => {
    const own = clusterAddress(await attach("tenant"));
    await attach("plain");
    // As kube-proxy does it: one service elsewhere, one that is the pod itself.
    await node.must(`nft -f - << 'END'
      table ip services {
        chain prerouting {
          type nat hook prerouting priority dstnat; policy accept;
          ip daddr 10.96.0.1 tcp dport 443 dnat to 192.0.2.2:6443
          ip daddr 10.96.0.99 tcp dport 80 dnat to ${own}:80
        }
      }
END`);
    await listen("far", 6443);
    await listen("tenant", 80);
    expect([await reaches("tenant", "10.96.0.1", 443), await reaches("tenant", "192.0.2.2", 6443)]).toEqual([
      true,
      false,
    ]);
    expect([await reaches("plain", "192.0.2.2", 6443), await reaches("plain", "10.96.0.99", 80)]).toEqual([
      true,
      false,
    ]);
    // It listens, and the node itself (a probe) reaches it.
    expect((await node.run(["timeout", "2", "bash", "-c", `echo > /dev/tcp/${own}/80`])).status).toBe(0);
    await node.must("nft delete table ip services");
  });

  test("a service's pod on the same node answers, whether bridged frames see the rules of IP or not", async () => {
    const own = clusterAddress(await attach("tenant"));
    const plain = clusterAddress(await attach("plain"));
    await node.must(`nft -f - << 'END'
      table ip services {
        chain prerouting {
          type nat hook prerouting priority dstnat; policy accept;
          ip daddr 10.96.0.1 tcp dport 443 dnat to ${plain}:6443
        }
      }
END`);
    await listen("plain", 6443);
    for (const bridged of [0, 1]) {
      await node.must(
        `for f in /proc/sys/net/bridge/bridge-nf-call-ip*; do [ ! -e $f ] || echo ${bridged} > $f; done`,
      );
      expect([bridged, await reaches("tenant", "10.96.0.1", 443)]).toEqual([bridged, true]);
      expect([bridged, await reaches("tenant", plain, 6443)]).toEqual([bridged, false]);
      expect([bridged, await reaches("plain", own, 443)]).toEqual([bridged, false]);
    }
    await node.must("nft delete table ip services");
  });

  test("CHECK finds what is missing of either network", async () => {
    const prevResult = await attach("tenant");
    const check = () => node.call("CHECK", { containerId: "tenant", configuration: { ...dns, prevResult } });
    expect(await check()).toMatchObject({ status: 0 });
    await node.must(`ip -n tenant rule del from ${clusterAddress(prevResult)} lookup 25463`);
    expect((await check()).json).toMatchObject({ code: 103, msg: expect.stringContaining("the rule from") });
    await node.must(`ip -n tenant rule add from ${clusterAddress(prevResult)} lookup 25463 priority 1000`);
    const [link] = (await node.ip("-n cw-5002 link show type veth")) as { ifname: string }[];
    await node.must(`ip -n cw-5002 link set ${link?.ifname} down`);
    expect((await check()).json).toMatchObject({ code: 103, msg: "The node's end of the link is down" });
  });

  test("what goes wrong leaves nothing: an annotation, a pod that nobody knows, a host port, the same address twice", async () => {
    const add = (pod: string, more = {}) =>
      node.call("ADD", { containerId: pod, args: argsOf(pod), configuration: more });
    for (const pod of ["wrong", "second", "same"]) await node.addPod(pod);
    expect((await add("wrong")).json).toMatchObject({
      code: 7,
      msg: expect.stringContaining("causeway.network/vpc"),
    });
    const stranger = { containerId: "wrong", args: argsOf("stranger") };
    expect((await node.call("ADD", stranger)).json).toMatchObject({
      code: 11,
      details: "nobody knows team/stranger",
    });
    const portMappings = [{ hostPort: 80, containerPort: 80, protocol: "tcp" }];
    expect((await add("second", { runtimeConfig: { portMappings } })).json).toMatchObject({ code: 7 });
    const both = await add("same", { runtimeConfig: { ips: ["10.244.1.2"] } });
    expect(both.json).toMatchObject({
      code: 11,
      msg: expect.stringContaining("is its address in both networks"),
    });
    expect(await stored()).toEqual([]);
    // Where nobody asks for it, not: 10.244.1.2 is the next one of the node's range and of the VPC.
    await node.sql("DELETE FROM pod_cursor");
    expect((await add("same")).json.ips[0].address).toBe("10.244.1.3/24");
  });

  test("a deletion that comes during the ADD waits for it, and takes both away", async () => {
    await node.addPod("slow");
    const add = node.call("ADD", { containerId: "slow", args: argsOf("slow") });
    while ((await node.run(["grep", "-q", "add slow vpc0", "/run/vpcs.log"])).status !== 0)
      await Bun.sleep(10);
    const del = node.call("DEL", { containerId: "slow" });
    await Bun.sleep(300);
    await node.must("touch /run/gate");
    expect([(await add).status, (await del).status]).toEqual([0, 0]);
    expect(await node.in("slow", "ip link show eth0 || ip link show vpc0")).toBe(false);
    expect(await stored()).toEqual([]);
  });

  test("an agent that was killed goes on with both; what was left half made, and deletions meanwhile, are seen to", async () => {
    const own = clusterAddress(await attach("tenant"));
    await attach("second");
    await attach("plain");
    await node.stopAgent("SIGKILL");
    await node.sql("DELETE FROM attachment WHERE container = 'second' RETURNING container");
    await node.sql("DELETE FROM pod_address WHERE container = 'second' RETURNING container");
    await node.must("ip -n second link del eth0");
    await node.startAgent();
    while ((await stored()).length > 1) await Bun.sleep(10);
    expect((await node.run(["ping", "-c1", "-W2", own])).status).toBe(0);
    expect(await reaches("tenant", "10.96.0.1", 443)).toBe(true);
    expect(await reaches("tenant", "10.96.0.1", 80)).toBe(false);
    await node.stopAgent("SIGKILL");
    expect((await node.call("DEL", { containerId: "tenant" })).status).toBe(0);
    node.more = { ...node.more, vpcsAfterMs: 300 };
    await node.startAgent();
    while ((await stored()).length > 0) await Bun.sleep(10);
    expect(await node.in("tenant", "ip link show eth0 || ip link show vpc0")).toBe(false);
  });
});
