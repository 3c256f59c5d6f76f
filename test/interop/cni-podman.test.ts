/** podman 4.3, the last in Debian with a CNI back-end: what it asks of the plugin, and what its containers get. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { argumentKeys, recordCalls } from "../support/call-recorder.ts";
import { debianRuntimes } from "../support/debian-runtimes.ts";
import { machineTraces } from "../support/machine-traces.ts";
import { Podman } from "../support/podman.ts";
import { WIRE } from "../support/private-host.ts";
import { GATEWAY, PrivateNode } from "../support/private-node.ts";
import { IMAGE } from "../support/runtime-image.ts";

const { trees, lacks } = debianRuntimes();

describe.skipIf(trees === undefined)(
  `CNI: podman 4.3${lacks === undefined ? "" : ` (skipped: ${lacks})`}`,
  () => {
    const before = machineTraces();
    let node: PrivateNode;
    let podman: Podman;

    beforeAll(async () => {
      node = await PrivateNode.create(trees ?? []);
      podman = await Podman.open(node);
    });
    afterAll(async () => {
      await node?.[Symbol.asyncDispose]();
      expect(machineTraces()).toEqual(before);
    });
    // What a test that failed has left must not fail the next one.
    afterEach(async () => {
      if (!node.host.runs("agent")) await node.startAgent();
      await podman.remove(...(await podman.names()));
    });

    const reaches = async (name: string, ...targets: string[]) => {
      for (const target of targets)
        expect([target, (await podman.call("exec", name, "ping", "-c1", "-W5", target)).status]).toEqual([
          target,
          0,
        ]);
    };

    test("it is that version, and takes our list as its default network", async () => {
      expect(await podman.must("--version")).toStartWith("podman version 4.3.");
      expect(await podman.must("network", "ls", "--format", "{{.Name}}")).toBe("causeway");
      // podman locks the folder of configurations by a file in it.
      const files = node.files().filter((path) => !path.endsWith("/cni.lock"));
      expect(files.sort()).toEqual([...node.installed].sort());
    });

    test("a container has an address of each family, and reaches the gateway, another one, and the world", async () => {
      await podman.start("one");
      await podman.start("two");
      const [one, two] = [await podman.networkOf("one"), await podman.networkOf("two")];
      expect([one.IPPrefixLen, one.GlobalIPv6PrefixLen, one.Gateway, one.IPv6Gateway]).toEqual([
        28,
        64,
        GATEWAY.ip4,
        GATEWAY.ip6,
      ]);
      expect(one.IPAddress).toMatch(/^10\.244\.0\.\d+$/);
      expect(one.GlobalIPv6Address).toMatch(/^fd00:244:0:100:/);
      const inside = await podman.must("exec", "one", "ip", "-o", "addr");
      expect([
        inside.includes(` ${one.IPAddress}/28 `),
        inside.includes(` ${one.GlobalIPv6Address}/64 `),
      ]).toEqual([true, true]);
      expect(await podman.must("exec", "one", "cat", "/sys/class/net/eth0/address")).toBe(one.MacAddress);
      await reaches(
        "one",
        GATEWAY.ip4,
        GATEWAY.ip6,
        two.IPAddress,
        two.GlobalIPv6Address,
        WIRE.world4,
        WIRE.world6,
      );
      await reaches("one", "127.0.0.1", "::1");
      await podman.remove("one", "two");
      await node.bare();
    });

    test("--ip and --mac-address are what the container gets; a second one that wants the same is refused", async () => {
      const wanted = ["--ip", "10.244.0.9", "--mac-address", "02:00:00:00:00:77"];
      await podman.start("fixed", ...wanted);
      expect(await podman.networkOf("fixed")).toMatchObject({
        IPAddress: "10.244.0.9",
        MacAddress: "02:00:00:00:00:77",
        GlobalIPv6Address: expect.stringMatching(/^fd00:244:0:100:/),
      });
      await reaches("fixed", GATEWAY.ip4, GATEWAY.ip6);
      const before = await node.remains();
      const second = await podman.call("run", "--detach", "--name", "second", "--ip", "10.244.0.9", IMAGE);
      expect(second.status).not.toBe(0);
      expect(second.stderr).toContain("Cannot allocate 10.244.0.9: ");
      expect(await node.remains()).toEqual(before);
      await podman.remove("fixed", "second");
      await node.bare();
    });

    test("-p leads to the container, from outside and from the node, and ends with it", async () => {
      await podman.start("web", "-p", "8080:80");
      await podman.must("exec", "web", "httpd", "-p", "80", "-h", "/www");
      for (const [address, from] of [
        [WIRE.host4, "world"],
        [WIRE.host6, "world"],
        [WIRE.host4, "host"],
      ] as const)
        expect([address, from, await node.host.page(address, 8080, from)]).toEqual([
          address,
          from,
          "hello\n",
        ]);
      await podman.remove("web");
      expect(await node.host.page(WIRE.host4, 8080, "world")).toBeUndefined();
      await node.bare();
    });

    test("without the agent no container starts, and one can end; its address comes back with the agent", async () => {
      await podman.start("early");
      await node.stopAgent();
      const late = await podman.call("run", "--detach", "--name", "late", IMAGE);
      expect(late.status).not.toBe(0);
      expect(late.stderr).toContain("Cannot serve ADD: the Causeway agent does not answer");
      await podman.remove("early", "late");
      expect(await podman.names()).toEqual([]);
      await node.startAgent();
      await node.bare();
    });

    test("what it sends is what the plugin's own tests are made of", async () => {
      const calls = await recordCalls(node, async () => {
        await podman.start(
          "box",
          "--ip",
          "10.244.0.9",
          "--mac-address",
          "02:00:00:00:00:77",
          "-p",
          "8080:80/udp",
        );
        await podman.remove("box");
      });
      const served = calls.filter(({ environment }) => environment.CNI_COMMAND !== "VERSION");
      expect(served.map(({ environment }) => environment.CNI_COMMAND)).toEqual(["ADD", "DEL"]);
      expect(served.length).toBeLessThan(calls.length);
      const [add, del] = served;
      expect(argumentKeys(add)).toEqual(["IP", "IgnoreUnknown", "K8S_POD_NAME", "MAC"]);
      expect(add?.environment).toMatchObject({
        CNI_CONTAINERID: expect.stringMatching(/^[0-9a-f]{64}$/),
        CNI_IFNAME: "eth0",
        CNI_NETNS: expect.stringMatching(/^\/run\/netns\/netns-/),
      });
      expect(add?.configuration).toMatchObject({
        cniVersion: "1.0.0",
        runtimeConfig: { portMappings: [{ hostPort: 8080, containerPort: 80, protocol: "udp" }] },
      });
      expect([del?.environment.CNI_NETNS !== "", del?.configuration.prevResult !== undefined]).toEqual([
        true,
        true,
      ]);
      await node.bare();
    });
  },
);
