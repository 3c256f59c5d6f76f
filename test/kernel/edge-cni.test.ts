/**
 * Pods in a fabric's VPC by the CNI plugin, in agents: two nodes that are each other's fabric by an unnumbered session. Addresses come from the
 * register's pool; an agent that begins anew has lost nothing; another VPC with the same addresses is never reached.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync, rmSync } from "node:fs";
import { Lab, until } from "../../src/lab/mod.ts";
import { executable, labLacks } from "../support/lab-needs.ts";

setDefaultTimeout(180_000);

const LAB = `apiVersion: causeway.network/v1alpha1
kind: Lab
metadata: { name: edge-cni }
spec:
  networks:
    - { name: wire, prefix4: 192.0.2.0/24 }
    - { name: fabric, prefix4: 192.168.11.0/24 }
  nodes:
    - { name: hub, role: hub, networks: [wire, fabric] }
    - { name: a, networks: [wire, fabric] }
`;

const vpc = (name: string, vni: number, more = "") => `apiVersion: causeway.network/v1alpha1
kind: VPC
metadata: { name: ${name} }
spec: { vni: ${vni}, allow: { namespaces: ["*"] }, underlay: { hosts: true${more} } }
`;
const subnet = (name: string, of: string, vni: number, prefix: string) => `---
apiVersion: causeway.network/v1alpha1
kind: Subnet
metadata: { name: ${name} }
spec: { vpc: ${of}, vni: ${vni}, prefixes: [${prefix}] }
---
`;
const EDGE = `apiVersion: causeway.network/v1alpha1
kind: Underlay
metadata: { name: rack }
spec:
  asn: 64514
  links: [{ name: eth1 }]
  neighbors: [{ link: eth1, asn: internal, connectRetry: 1s }]
  tunnelEndpoint: { prefixes: [100.65.0.0/24] }
---
${vpc("red", 5100)}${subnet("red.web", "red", 5110, "10.1.0.0/24")}${vpc("blue", 5200)}${subnet("blue.web", "blue", 5210, "10.1.0.0/24")}`;

const to = (name: string, more: object = {}) => ({
  ifname: "net1",
  config: { cniVersion: "1.1.0", name: `to-${name}`, type: "causeway", subnet: name, ...more },
});

describe.skipIf(labLacks !== undefined)(
  `pods of the CNI plugin in a fabric${labLacks === undefined ? "" : ` (${labLacks})`}`,
  () => {
    const root = `/run/causeway-test/${process.pid}-edge-cni`;
    let lab: Lab;
    beforeAll(async () => {
      lab = await Lab.up(LAB, { root, executable });
      await apply(EDGE);
    });
    afterAll(async () => {
      await lab?.down();
      rmSync(root, { recursive: true, force: true });
    });

    const apply = (text: string) => lab.causewayJson("hub", ["apply", "-f", "-"], text);
    const run = async (place: string, command: string) => {
      const { status, stdout, stderr } = await lab.exec(place, ["sh", "-ec", command]);
      if (status !== 0) throw new Error(`${place}: ${command}: ${stderr}`);
      return stdout;
    };
    const pings = async (pod: string, address: string) =>
      (await lab.exec(pod, ["ping", "-n", "-c1", "-W1", "-I", "net1", address])).status === 0;
    const reaches = (pod: string, address: string) =>
      until(async () => ((await pings(pod, address)) ? undefined : "no answer"), {
        what: `${pod} reaches ${address}`,
        deadlineMs: 60_000,
      });
    const addressOf = async (pod: string) =>
      JSON.parse(await run(pod, "ip -j -4 address show dev net1"))[0].addr_info[0].local as string;
    const attached = async (node: string) =>
      (
        await lab.causewayJson<{ name: string; attachments: { container: string }[] }[]>(node, [
          "vpc",
          "list",
        ])
      ).map(({ name, attachments }) => `${name} ${attachments.length}`);
    /** Whether a node's speaker in the fabric has an address of red as announced by a. */
    const told = async (node: string, address: string) =>
      (await lab.exec(node, ["causeway", "bgp", "evpn", "--type", "5"])).stdout.includes(
        `10.0.0.2:5100 [5]:[0]:[32]:[${address}] `,
      );
    const untilTold = (address: string, wanted: boolean) =>
      until(async () => ((await told("hub", address)) === wanted ? undefined : "not yet"), {
        what: `${address} is ${wanted ? "" : "not "}announced`,
        deadlineMs: 30_000,
      });

    test("ADD: addresses of the register, and pods of two nodes are neighbours across the fabric", async () => {
      await lab.addPod("hub", "red-hub", [to("red.web")]);
      await lab.addPod("a", "red-a", [to("red.web")]);
      const [one, two] = [await addressOf("red-hub"), await addressOf("red-a")];
      expect(new Set([one, two]).size).toBe(2);
      await reaches("red-a", one);
      await reaches("red-hub", two);
      // As neighbours: without a router in between.
      expect(await run("red-a", `ping -n -c1 -W1 ${one}`)).toContain("ttl=64");
      expect(await run("red-a", "ip -o link show net1")).toContain("mtu 1450");
      expect(await run("a", `ip netns exec cw-5100 ip neigh show ${one}`)).toContain("extern_learn");
      await untilTold(two, true);
      expect(await attached("a")).toEqual(["red 1", "blue 0"]);
      await lab.checkPod("red-a");
    });

    test("another VPC has the same addresses, and neither is reached from the other", async () => {
      await lab.addPod("hub", "blue-hub", [to("blue.web")]);
      await lab.addPod("a", "blue-a", [to("blue.web")]);
      await lab.addPod("a", "blue-b", [to("blue.web")]);
      await reaches("blue-a", await addressOf("blue-hub"));
      const [red, blue] = [await addressOf("red-a"), await addressOf("blue-b")];
      expect(await pings("red-hub", red)).toBe(true);
      expect(blue).not.toBe(red);
      expect(await pings("red-a", blue)).toBe(false);
    });

    test("CHECK finds what is missing; a VPC that is not in the fabric here is refused by name", async () => {
      await run("blue-b", "ip link set net1 down");
      await expect(lab.checkPod("blue-b")).rejects.toThrow("net1 is down");
      const far = vpc("far", 5300, ", nodes: { role: gateway }");
      await apply(far + subnet("far.web", "far", 5310, "10.3.0.0/24").replace(/---\n$/, ""));
      await expect(lab.addPod("a", "none", [to("far.web")])).rejects.toThrow(
        "VPC far is not in the fabric here",
      );
    });

    test("security groups: members of both nodes, while the agent is killed, and with the next one", async () => {
      const group = (rules: string) =>
        apply(`apiVersion: causeway.network/v1alpha1
kind: SecurityGroup
metadata: { name: red-in }
spec: { vpc: red, rules: [${rules}] }
`);
      await expect(lab.addPod("a", "in-a", [to("red.web", { groups: ["red-in"] })])).rejects.toThrow(
        "group red-in: there is no SecurityGroup with this name",
      );
      await group("{ direction: ingress, groups: [red-in] }, { direction: egress }");
      await lab.addPod("a", "in-a", [to("red.web", { groups: ["red-in"] })]);
      await lab.addPod("hub", "in-hub", [to("red.web", { groups: ["red-in"] })]);
      const address = await addressOf("in-a");
      const isGuarded = async () => {
        await reaches("in-hub", address);
        const others = await Promise.all(["red-hub", "red-a"].map((other) => pings(other, address)));
        expect(others).toEqual([false, false]);
      };
      await isGuarded();
      await lab.killAgent("a");
      await isGuarded();
      await lab.startAgent("a");
      await isGuarded();
      await lab.checkPod("in-a");
      await group("{ direction: egress }");
      await until(async () => ((await pings("in-hub", address)) ? "still" : undefined), {
        what: "a rule that went lets nobody in",
        deadlineMs: 30_000,
      });
      for (const pod of ["in-a", "in-hub"]) await lab.deletePod(pod);
    });

    test("an agent that is killed, and its next one, lose nothing: pods, addresses and announcements stay", async () => {
      const other = await addressOf("red-hub");
      const seen = async () =>
        await Promise.all([
          ...["ip -o link", "ip -o address"].map((command) => run("a", `ip netns exec cw-5100 ${command}`)),
          run("red-a", "ip -o address; ip route"),
        ]);
      const before = await seen();
      await lab.killAgent("a");
      expect(await pings("red-a", other)).toBe(true);
      await lab.startAgent("a");
      await reaches("red-a", other);
      expect(await attached("a")).toEqual(["red 1", "blue 2"]);
      await lab.checkPod("red-a");
      const address = await addressOf("red-a");
      await untilTold(address, true);
      expect(await seen()).toEqual(before);
      // Its address is nobody else's.
      await lab.addPod("a", "red-b", [to("red.web")]);
      expect([address, other]).not.toContain(await addressOf("red-b"));
    });

    test("a VPC that leaves the node's fabric and comes back finds its pods, also by another agent", async () => {
      const other = await addressOf("red-hub");
      const address = await addressOf("red-a");
      await apply(vpc("red", 5100, ", nodes: { node: [hub] }"));
      await untilTold(address, false);
      expect(await pings("red-a", other)).toBe(false);
      await lab.killAgent("a");
      await lab.startAgent("a");
      expect(await run("a", "ip netns list")).toContain("cw-5100");
      await apply(vpc("red", 5100));
      await reaches("red-a", other);
      expect(await attached("a")).toEqual(["red 2", "blue 2"]);
    });

    test("GC takes what the runtime does not know, DEL the rest; the fabric forgets both", async () => {
      const gone = [await addressOf("red-a"), await addressOf("red-b")];
      const gc = {
        cniVersion: "1.1.0",
        name: "to-red.web",
        type: "causeway",
        subnet: "red.web",
        "cni.dev/valid-attachments": [],
      };
      await run(
        "a",
        `echo '${JSON.stringify(gc)}' | CNI_COMMAND=GC CNI_PATH=/opt/cni/bin /opt/cni/bin/causeway`,
      );
      expect(await attached("a")).toEqual(["red 0", "blue 2"]);
      await lab.deletePod("blue-a");
      expect(await attached("a")).toEqual(["red 0", "blue 1"]);
      for (const address of gone) await untilTold(address, false);
      expect(await run("a", "ip netns exec cw-5100 ip -br link")).not.toContain("br5110");
      expect(await run("a", "ip netns list")).toContain("cw-5100");
    });

    test("a VPC that only a file of the node has gives no pod an address; with the same in the register it does", async () => {
      const filed = `${vpc("filed", 5400)}${subnet("filed.web", "filed", 5410, "10.4.0.0/24").replace(/---\n$/, "")}`;
      const folder = "/etc/causeway/manifests";
      await run("a", `mkdir -p ${folder}; cat > ${folder}/filed.yaml <<'END'\n${filed}\nEND`);
      await until(
        async () => ((await run("a", "ip netns list")).includes("cw-5400") ? undefined : "not yet"),
        { what: "the file's VPC is in the fabric", deadlineMs: 30_000 },
      );
      await expect(lab.addPod("a", "filed", [to("filed.web")])).rejects.toThrow(
        "Subnet filed.web of VPC filed is only in a file on this node, and the register gives pods their addresses; apply VPC and Subnet there too, as they are in the file: causeway apply -f FILE",
      );
      await apply(filed);
      await lab.addPod("a", "filed", [to("filed.web")]);
      expect(await addressOf("filed")).toStartWith("10.4.0.");
      await lab.deletePod("filed");
    });

    test("security groups of a file: for pods of this node, before the register's, judged together with it", async () => {
      const group = (rules: string, of = "red") => `apiVersion: causeway.network/v1alpha1
kind: SecurityGroup
metadata: { name: red-file }
spec: { vpc: ${of}, rules: [{ direction: egress }, ${rules}] }
`;
      const path = "/etc/causeway/manifests/group.yaml";
      const write = (text: string) =>
        run("a", `cat > ${path}.new <<'END'\n${text}\nEND\nmv ${path}.new ${path}`);
      const status = async () => (await lab.exec("a", ["causeway", "status"])).stdout;
      const shows = (what: string, wanted = true) =>
        until(
          async () => {
            const shown = await status();
            return shown.includes(what) === wanted ? undefined : shown;
          },
          { what: `status ${wanted ? "shows" : "does not show"} ${what}`, deadlineMs: 30_000 },
        );
      const add = (pod: string) => lab.addPod("a", pod, [to("red.web", { groups: ["red-file"] })]);
      await expect(add("file-a")).rejects.toThrow("group red-file: there is no SecurityGroup with this name");
      await write(group("{ direction: ingress, groups: [none] }"));
      await shows('SecurityGroup "red-file": spec.rules[1].groups[0] none is no SecurityGroup of VPC "red"');
      await write(group("{ direction: ingress, groups: [red-file] }"));
      await shows("red-file", false);
      await add("file-a");
      await add("file-b");
      const address = await addressOf("file-a");
      const isGuarded = async () => {
        await reaches("file-b", address);
        expect(await pings("red-hub", address)).toBe(false);
      };
      await isGuarded();
      // What the register has of that name is for other nodes.
      await apply(group("{ direction: ingress }"));
      const said = "a resource is in a file and in the register; the file's counts on this node";
      await until(
        async () => {
          const log = readFileSync(lab.place.agentLog("a"), "utf8").split("\n");
          return log.some((line) => line.includes(said) && line.includes("security-group/red-file"))
            ? undefined
            : "not yet";
        },
        { what: "the log says that the file's counts", deadlineMs: 30_000 },
      );
      await lab.addPod("hub", "file-hub", [to("red.web", { groups: ["red-file"] })]);
      await reaches("file-hub", address);
      await isGuarded();
      expect(await pings("red-hub", await addressOf("file-hub"))).toBe(true);
      await lab.killAgent("a");
      await lab.startAgent("a");
      // The next agent has it too, and not only what the kernel was left with.
      await add("file-c");
      await isGuarded();
      await write(group("", "far"));
      await shows('SecurityGroup "red-file": spec.vpc far is VPC "red" in the register, whose group counts');
      await reaches("red-hub", address);
      await run("a", `rm ${path}`);
      await shows("red-file", false);
      await reaches("red-hub", address);
      await lab.checkPod("file-a");
      for (const pod of ["file-a", "file-b", "file-c", "file-hub"]) await lab.deletePod(pod);
    });

    test("a node that leaves the mesh keeps nothing of the fabric, whatever pods it still has", async () => {
      expect(await attached("a")).toContain("blue 1");
      expect((await lab.exec("a", ["causeway", "leave"])).status).toBe(0);
      expect(await run("a", "ip netns list")).not.toContain("cw-");
      expect(await run("a", "ip -br address show dev eth1")).toContain("192.168.11.");
    });
  },
);
