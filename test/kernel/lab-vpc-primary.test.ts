/**
 * Pods whose primary network is a VPC, on real agents that read annotations from files: two networks in one pod over two nodes, probes, services
 * and names by the one, everything else by the other, and what is refused.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { Lab, until } from "../../src/lab/mod.ts";
import { probeTcp, probeUdp } from "../../src/sys/mod.ts";
import { executable, labLacks as skip } from "../support/lab-needs.ts";
import { Pinger } from "../support/pinger.ts";
import { annotated, Answering, PODS_FOLDER, translate, writePods } from "../support/primary-world.ts";
import { resource } from "../support/resource-text.ts";

const root = `/run/causeway-test/${process.pid}-vpc-primary`;
/** Guards against hanging only. */
const DEADLINE_MS = 60_000;
setDefaultTimeout(120_000);
/** How long what is refused is waited for: it is dropped, so nobody says so. */
const SILENCE_MS = 700;

const member = (name: string) =>
  `{ name: ${name}, networks: [wire], endpoint: auto, agentOptions: [--pod-files, ${PODS_FOLDER}] }`;
const manifest = `apiVersion: causeway.network/v1alpha1
kind: Lab
metadata: { name: vpc-primary }
spec:
  networks:
    - { name: wire, prefix4: 203.0.113.0/24 }
  nodes:
    - { name: hub, role: hub, networks: [wire] }
    - ${member("a")}
    - ${member("b")}
`;

const NAMES = ["10.96.0.10", "fd00:96::10"];
const API = "10.96.0.1";
const SERVICES = `{ ports: [udp/53, tcp/53] }, { prefixes: ["fd00:96::/112"], ports: [tcp/53] }, { prefixes: [${API}/32], ports: [tcp/443] }`;
/** The VPC's own server of names, which kubelet is told of as well by a pod with a dnsConfig. */
const OWN_NAMES = "10.1.0.53";

const ITEMS = [
  annotated("team", undefined, { vpc: "red" }),
  annotated("team", "red-own", {
    vpc: "red",
    subnet: "red-web",
    ips: "10.1.0.99,fd00:1::99",
    mac: "06:00:00:00:00:99",
  }),
  annotated("team", "guarded", { groups: "red-guarded" }),
  annotated("loose", "loose", { vpc: "red" }),
  annotated("other", "stranger", { vpc: "red" }),
  annotated("clash", undefined, { vpc: "overlap" }),
];

describe.skipIf(skip !== undefined)(
  `VPCs as primary networks${skip === undefined ? "" : ` (${skip})`}`,
  () => {
    let lab: Lab;
    const listeners = new AsyncDisposableStack();
    beforeAll(async () => {
      mkdirSync(root, { recursive: true });
      await Lab.remove("vpc-primary", { root });
      lab = await Lab.up(manifest, { root, executable });
      for (const node of ["a", "b"]) writePods(lab, node, ITEMS);
      const { pods4, pods6 } = (await lab.status("a"))?.node ?? {};
      await lab.causewayJson(
        "hub",
        ["apply", "-f", "-"],
        resource("VPC", "red", `allow: { namespaces: [team, loose] }, services: [${SERVICES}]`) +
          resource(
            "Subnet",
            "red-web",
            `vpc: red, prefixes: [10.1.0.0/24, "fd00:1::/64"], dnsServers: [${OWN_NAMES}], reserved: [${OWN_NAMES}], fixed: [10.1.0.99, "fd00:1::99"]`,
          ) +
          resource("VPC", "overlap", "allow: { namespaces: [clash] }, services: []") +
          // Those of pods of node a, with its own addresses as gateways.
          resource("Subnet", "overlap", `vpc: overlap, prefixes: [${pods4}, "${pods6}"]`) +
          resource(
            "SecurityGroup",
            "red-guarded",
            "vpc: red, rules: [{ direction: ingress, protocol: tcp, ports: [80] }, { direction: egress }]",
          ),
      );
    });
    afterAll(async () => {
      await listeners.disposeAsync();
      await Lab.remove("vpc-primary", { root });
      rmSync(root, { recursive: true, force: true });
    });

    const wait = (what: string, missing: () => Promise<string | undefined> | string | undefined) =>
      until(missing, { what, deadlineMs: DEADLINE_MS });
    /** Attaches a pod as kubelet does, and returns the plugin's result. */
    async function add(node: string, pod: string, namespace = "team", servers = NAMES) {
      await lab.addPod(node, pod, [{ runtimeConfig: { dns: { servers } } }], { namespace });
      return JSON.parse(readFileSync(lab.place.podRecord(pod), "utf8")).attachments[0].result;
    }
    const ip = async (pod: string, words: string) =>
      JSON.parse((await lab.exec(pod, ["ip", "-j", ...words.split(" ")])).stdout || "[]");
    async function addressOf(pod: string, link: string, family: 4 | 6 = 4): Promise<string> {
      const [shown] = await ip(pod, `-${family} addr show dev ${link} scope global`);
      return shown?.addr_info[0]?.local;
    }
    const pings = async (from: string, ...words: string[]) =>
      (await lab.exec(from, ["ping", "-n", "-c1", "-W1", ...words])).status === 0;
    const reaches = (from: string, ...words: string[]) =>
      wait(`${from} to reach ${words.join(" ")}`, async () =>
        (await pings(from, ...words)) ? undefined : "no answer",
      );
    async function says(from: string, host: string, port: number, timeoutMs = SILENCE_MS) {
      using netns = lab.netns(from);
      return await probeTcp({ netns, host, port, timeoutMs });
    }
    /** A packet that is lost is sent again after a second. */
    const opens = async (from: string, host: string, port: number) =>
      expect([from, host, port, await says(from, host, port, DEADLINE_MS)]).toEqual([
        from,
        host,
        port,
        "open",
      ]);
    const isSilent = async (from: string, host: string, port: number) =>
      expect([from, host, port, await says(from, host, port)]).toEqual([from, host, port, "silent"]);
    async function answers(from: string, host: string, port: number) {
      using netns = lab.netns(from);
      return await probeUdp({ netns, host, port, timeoutMs: DEADLINE_MS });
    }
    async function listen(where: string, port: number, udp = false): Promise<Answering> {
      using netns = lab.netns(where);
      return listeners.use(await Answering.at(netns, port, { udp }));
    }
    /** Who asked has its answer before the server is told of it. */
    async function heard({ callers }: Answering, count: number): Promise<void> {
      await wait(`${count} callers`, () => (callers.length < count ? callers.join() : undefined));
      expect(callers).toHaveLength(count);
    }
    const interfaces = async (pod: string): Promise<string[]> =>
      (await ip(pod, "link show"))
        .map(({ ifname }: { ifname: string }) => ifname)
        .filter((name: string) => name !== "lo");

    test("the VPC has the node's own pod network: both answer, each by its own link, and no address is in both", async () => {
      await add("a", "clash-a", "clash");
      await add("b", "clash-b", "clash");
      const cluster = await Promise.all(
        ([4, 6] as const).map((family) => addressOf("clash-a", "eth0", family)),
      );
      const own = await Promise.all(([4, 6] as const).map((family) => addressOf("clash-a", "vpc0", family)));
      for (const [index, address] of cluster.entries()) {
        expect(own).not.toContain(address);
        await reaches("a", address);
        await reaches("clash-b", own[index] as string);
      }
      const probed = await listen("clash-a", 8080);
      for (const address of cluster) await opens("a", address, 8080);
      await heard(probed, 2);
      // The same gateway's address in both networks; the pod's is the VPC's.
      const [gateway] = await ip("clash-a", "route show default");
      expect(gateway).toMatchObject({ dev: "vpc0" });
      await opens("clash-b", own[0] as string, 8080);
      // Nobody else of the cluster begins anything with it.
      await isSilent("b", cluster[0] as string, 8080);
    });

    test("annotated by its namespace alone, or by itself: vpc0 with the default route, eth0 with the cluster's address", async () => {
      const result = await add("a", "red-a");
      expect(await interfaces("red-a")).toEqual(expect.arrayContaining(["eth0", "vpc0"]));
      const names = result.interfaces.map(({ name }: { name: string }) => name);
      expect(names.slice(2)).toEqual(["eth0", "vpc0"]);
      const addresses = result.ips.map(({ address }: { address: string }) => address.split("/")[0]);
      expect(addresses).toEqual([await addressOf("red-a", "eth0"), await addressOf("red-a", "eth0", 6)]);
      for (const family of [4, 6] as const) {
        const defaults = await ip("red-a", `-${family} route show default`);
        expect(defaults.map(({ dev, gateway }: Record<string, string>) => [dev, gateway])).toEqual([
          ["vpc0", family === 4 ? "10.1.0.1" : "fd00:1::1"],
        ]);
      }
      await add("b", "red-own");
      expect(await addressOf("red-own", "vpc0")).toBe("10.1.0.99");
      expect((await ip("red-own", "link show vpc0"))[0].address).toBe("06:00:00:00:00:99");
      await add("b", "loose", "loose");
      for (const pod of ["red-own", "loose"])
        for (const family of [4, 6] as const) {
          await reaches("red-a", await addressOf(pod, "vpc0", family));
          await reaches(pod, await addressOf("red-a", "vpc0", family));
        }
      for (const pod of ["red-a", "red-own", "loose", "clash-a", "clash-b"]) await lab.checkPod(pod);
    });

    test("of the Subnet's servers of names the runtime is told, and they are reached by the VPC", async () => {
      expect((await add("a", "silent", "team", [])).dns).toEqual({ nameservers: [OWN_NAMES] });
      expect((await add("a", "told", "team", [OWN_NAMES, ...NAMES])).dns).toEqual({
        nameservers: [OWN_NAMES, ...NAMES],
      });
      const [way] = await ip("told", `route get ${OWN_NAMES}`);
      expect(way).toMatchObject({ dev: "vpc0" });
      const [names] = await ip("told", `route get ${NAMES[0]}`);
      expect(names).toMatchObject({ dev: "eth0" });
    });

    test("a pod without an annotation is as ever, and services lead to it; of them the VPC's allow-list is reached", async () => {
      const result = await add("b", "plain", "lab");
      expect(await interfaces("plain")).toEqual([expect.stringMatching(/^eth0/)]);
      const [route] = await ip("plain", "route show default");
      expect(route).toMatchObject({ dev: "eth0" });
      await add("a", "plain-a", "lab");
      await reaches("plain-a", await addressOf("plain", "eth0"));
      await reaches("plain", "203.0.113.1");
      const [plain4, plain6] = result.ips.map(({ address }: { address: string }) => address.split("/")[0]);
      const names = await listen("plain", 53, true);
      await listen("plain", 443);
      await listen("plain", 80);
      // As Kubernetes knows its API server: by the address of a node.
      await listen("hub", 6443);
      const api = `${(await lab.status("hub"))?.node?.overlay4}:6443`;
      for (const node of ["a", "b"])
        await translate(lab, node, [
          [`tcp/${NAMES[0]}/53`, `${plain4}:53`],
          [`udp/${NAMES[0]}/53`, `${plain4}:53`],
          [`tcp/${NAMES[0]}/80`, `${plain4}:80`],
          [`tcp/${NAMES[1]}/53`, `[${plain6}]:53`],
          [`tcp/${NAMES[1]}/80`, `[${plain6}]:80`],
          [`tcp/${API}/443`, api],
          [`tcp/${API}/80`, `${plain4}:80`],
        ]);
      const allowed = [...NAMES.map((address) => [address, 53] as const), [API, 443] as const];
      const others = [...NAMES, API].map((address) => [address, 80] as const);
      for (const [address, port] of allowed)
        for (const pod of ["red-a", "red-own", "plain-a"]) await opens(pod, address, port);
      for (const [address, port] of others) await opens("plain-a", address, port);
      await Promise.all(
        others.flatMap(([address, port]) => ["red-a", "red-own"].map((pod) => isSilent(pod, address, port))),
      );
      expect(await answers("red-a", NAMES[0] as string, 53)).toBe("answered");
      // As the pod that the cluster knows, not as the node.
      const clusterAddress = await addressOf("red-a", "eth0");
      await wait("its caller", () =>
        names.callers.some((caller) => caller.endsWith(clusterAddress)) ? undefined : names.callers.join(),
      );
      // Whatever route it makes for itself.
      expect((await lab.exec("red-a", ["ip", "route", "add", plain4, "dev", "eth0"])).status).toBe(0);
      await isSilent("red-a", plain4, 443);
      expect(await pings("red-a", "-I", "eth0", plain4)).toBe(false);
    });

    test("probes come from the node and from nobody else; what is in the VPC comes by it", async () => {
      const probed = await listen("red-a", 8080);
      for (const family of [4, 6] as const) {
        const eth0 = await addressOf("red-a", "eth0", family);
        await opens("a", eth0, 8080);
        await Promise.all(["b", "plain", "plain-a"].map((from) => isSilent(from, eth0, 8080)));
        await opens("loose", await addressOf("red-a", "vpc0", family), 8080);
      }
      await heard(probed, 4);
    });

    test("a pod that is not known, since a file cannot be read, lands in no network", async () => {
      const broken = `${lab.place.state("b")}/etc/pods/broken.yaml`;
      writeFileSync(broken, "kind: {");
      await expect(add("b", "unknown")).rejects.toThrow(
        "Cannot attach pod team/unknown: which network it belongs to is not known",
      );
      rmSync(broken);
      await add("b", "unknown");
      await reaches("unknown", await addressOf("red-a", "vpc0"));
    });

    test("another namespace's pod is refused with the reason, and keeps nothing", async () => {
      const before = (await lab.status("b"))?.pods;
      await expect(add("b", "stranger", "other")).rejects.toThrow(
        "VPC red lets in namespaces team, loose, and not pod other/stranger; change spec.allow",
      );
      expect((await lab.status("b"))?.pods).toBe(before as number);
    });

    test("groups of the annotation bound vpc0, and not probes", async () => {
      await add("b", "guarded");
      await listen("guarded", 80);
      await listen("guarded", 8080);
      const vpc0 = await addressOf("guarded", "vpc0");
      await wait("the group's port", async () =>
        (await says("red-a", vpc0, 80)) === "open" ? undefined : "closed",
      );
      await isSilent("red-a", vpc0, 8080);
      await opens("b", await addressOf("guarded", "eth0"), 8080);
    });

    test("agents are killed: both networks go on without a loss, pods come and go as before", async () => {
      await using stack = new AsyncDisposableStack();
      const pinger = (from: string, address: string) =>
        stack.use(
          new Pinger(`${from} → ${address}`, address, { command: (argv) => lab.command(from, argv) }),
        );
      const flows = [
        pinger("red-a", await addressOf("red-own", "vpc0")),
        pinger("red-a", await addressOf("red-own", "vpc0", 6)),
        pinger("a", await addressOf("red-a", "eth0")),
        pinger("clash-b", await addressOf("clash-a", "vpc0")),
        pinger("a", await addressOf("clash-a", "eth0")),
      ];
      const run = () => {
        const sinceMs = Date.now();
        return wait("the flows", () => flows.find((flow) => flow.since(sinceMs) < 20)?.name);
      };
      await run();
      for (const node of ["a", "b"]) await lab.killAgent(node);
      // The deletion is written down.
      await lab.deletePod("told");
      await run();
      for (const node of ["a", "b"]) await lab.startAgent(node);
      await add("a", "red-late");
      await reaches("red-late", await addressOf("red-own", "vpc0"));
      await opens("a", await addressOf("red-a", "eth0"), 8080);
      await opens("red-a", API, 443);
      await opens("red-late", API, 443);
      await isSilent("red-a", API, 80);
      await run();
      for (const flow of flows) expect([flow.name, flow.lost]).toEqual([flow.name, 0]);
      for (const pod of ["red-a", "red-own", "loose", "clash-a", "clash-b", "guarded"])
        await lab.checkPod(pod);
    });

    test("a change of the allow-list holds for pods that are there; with the last pod the VPC leaves the node", async () => {
      await opens("red-a", NAMES[0] as string, 53);
      await lab.causewayJson(
        "hub",
        ["apply", "-f", "-"],
        resource("VPC", "red", "allow: { namespaces: [team, loose] }, services: []"),
      );
      await wait("the allow-list to end", async () =>
        (await says("red-a", API, 443)) === "silent" ? undefined : "open",
      );
      // What the runtime gave it is no matter of the list.
      await opens("red-a", NAMES[0] as string, 53);
      for (const { name, node } of lab.pods()) if (node === "a") await lab.deletePod(name);
      expect(await lab.causewayJson<object[]>("a", ["vpc", "list"])).toEqual([]);
      expect((await lab.status("a"))?.pods).toBe(0);
      expect((await lab.exec("a", ["ip", "-j", "link", "show", "type", "veth"])).stdout).not.toContain('"cw');
    });
  },
);
