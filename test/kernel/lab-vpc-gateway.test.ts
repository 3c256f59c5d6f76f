/**
 * A tenant's tunnel from the register to the pod, with real agents: what is applied at the hub runs on node a, and a pod on the hub reaches the
 * remote site by it. The remote gateway is one that nobody supervises.
 *
 * ```
 *   pod 10.1.0.x (hub) ═ EVPN ═ a: cw-<vni> ── cwt<vni> ── gateway red 198.51.100.10 ═ ESP ═ 198.51.100.20 far 10.99.0.1 ── 10.99.0.2 site
 * ```
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { Lab, until } from "../../src/lab/mod.ts";
import { isAlive, Netns, processesInNetns, readText, signal } from "../../src/sys/mod.ts";
import { labLacks } from "../support/lab-needs.ts";
import { Pinger } from "../support/pinger.ts";
import { resource } from "../support/resource-text.ts";
import { lacksXdp } from "../support/xdp-pair.ts";

const skip = labLacks ?? lacksXdp();
const root = `/run/causeway-test/${process.pid}-vpc-gateway`;
setDefaultTimeout(200_000);

const REMOTE = "10.99.0.0/24";
const SITE = "10.99.0.2";
const KEY = "5c".repeat(32);

const manifest = `apiVersion: causeway.network/v1alpha1
kind: Lab
metadata: { name: vpc-gateway }
spec:
  networks:
    - { name: wire, prefix4: 203.0.113.0/24 }
    - { name: wan, prefix4: 198.51.100.0/24 }
    - { name: remote, prefix4: ${REMOTE} }
  nodes:
    - { name: hub, role: hub, networks: [wire] }
    - { name: a, networks: [wire, { name: wan, address4: 198.51.100.3 }], endpoint: auto }
  hosts:
    - { name: far, networks: [{ name: wan, address4: 198.51.100.4 }, { name: remote, address4: 10.99.0.4 }] }
    - { name: site, networks: [{ name: remote, address4: ${SITE} }] }
`;

const tenant =
  resource("VPC", "red", 'allow: { namespaces: ["*"] }') +
  resource("Subnet", "red-web", "vpc: red, prefixes: [10.1.0.0/24]");
const gateway =
  resource(
    "Gateway",
    "red",
    "node: a, vpc: red, mtuBytes: 1300, public: [{ interface: eth1, address4: { ip: 198.51.100.10, nextHop: 198.51.100.20 } }]",
  ) +
  resource(
    "Route",
    "site",
    `gateway: red, prefixes: [${REMOTE}], gateways: [{ ip: 198.51.100.20 }], spi: 700, presharedKeyFile: /etc/causeway/site.psk`,
  );
const far = `private-interface4 { ifname eth1; ip 10.99.0.1; nexthop-ip ${SITE}; }
public-interface4 { ifname eth0; ip 198.51.100.20; nexthop-ip 198.51.100.10; }
mtu 1300;
route { id vpc; spi 700; net 10.1.0.0/24; preshared-key ${KEY}; gateway { ip 198.51.100.10; } }
`;

interface Shown {
  readonly status: { readonly up?: boolean };
}

describe.skipIf(skip !== undefined)(
  `a tenant's tunnel from the register${skip === undefined ? "" : ` (${skip})`}`,
  () => {
    let lab: Lab;
    let farGateway: Bun.Subprocess | undefined;
    let vni = 0;
    const farLog = `${root}/far.log`;

    beforeAll(async () => {
      mkdirSync(root, { recursive: true });
      await Lab.remove("vpc-gateway", { root });
      lab = await Lab.up(manifest, { root });
      writeFileSync(`${lab.place.state("a")}/etc/site.psk`, `${KEY}\n`, { mode: 0o600 });
      writeFileSync(`${root}/far.conf`, far, { mode: 0o600 });
      const back = ["ip", "route", "add", "10.1.0.0/24", "via", "10.99.0.1", "mtu", "1300"];
      expect((await lab.exec("site", back)).status).toBe(0);
    });
    afterAll(async () => {
      farGateway?.kill("SIGKILL");
      await farGateway?.exited;
      await Lab.remove("vpc-gateway", { root });
      rmSync(root, { recursive: true, force: true });
    });

    /** What its process says is shown, should it never be so. */
    const comes = (what: string, missing: () => Promise<string | undefined> | string | undefined) =>
      until(missing, { what }).catch((error: Error) => {
        const logs = [runFile("red.log"), farLog].map((path) =>
          existsSync(path) ? readFileSync(path, "utf8") : "",
        );
        throw new Error(`${error.message}\n${logs.join("\n")}`);
      });
    const runFile = (name: string) => `${lab.place.state("a")}/run/gateway/${name}`;
    const upIs = (wanted: boolean) =>
      comes(`the Route to be ${wanted ? "up" : "down"}`, async () => {
        const { status } = await lab.causewayJson<Shown>("hub", ["get", "route", "site"]);
        return status.up === wanted ? undefined : JSON.stringify(status);
      });
    const pings = async (address: string) =>
      (await lab.exec("app", ["ping", "-n", "-c1", "-W1", address])).status === 0;
    const reaches = () =>
      comes("the pod to reach the site", async () => ((await pings(SITE)) ? undefined : "no answer"));
    /** The ways to the remote network in the VPC, on a node. */
    const ways = async (node: string) =>
      (await lab.exec(node, ["ip", "netns", "exec", `cw-${vni}`, "ip", "route", "show", REMOTE])).stdout;
    /** All processes of gateways on node a. */
    const gateways = () => {
      using netns = Netns.open(lab.place.netns("a"));
      return processesInNetns(new Set([netns.inode])).filter((pid) =>
        // One that ends meanwhile is none.
        readText(`/proc/${pid}/cmdline`)?.includes("\0gateway\0run\0"),
      );
    };
    const only = () => {
      const [pid, ...others] = gateways();
      expect(others).toEqual([]);
      return pid as number;
    };

    test("what is applied at the hub carries packets of a pod on another node", async () => {
      await lab.causewayJson("hub", ["apply", "-f", "-"], tenant);
      vni = (await lab.causewayJson<{ spec: { vni: number } }>("hub", ["get", "vpc", "red"])).spec.vni;
      const net1 = { cniVersion: "1.0.0", name: "red-web", type: "causeway", subnet: "red-web" };
      await lab.addPod("hub", "app", [{ ifname: "net1", config: { ...net1, isDefaultGateway: true } }]);
      await lab.causewayJson("hub", ["apply", "-f", "-"], gateway);
      await upIs(false);
      expect(await pings(SITE)).toBe(false);
      farGateway = Bun.spawn(
        lab.command("far", [
          ...["causeway", "gateway", "run", "--name", "far", "--folder", root],
          ...["--state", `${root}/far`, "--config", `${root}/far.conf`],
        ]),
        { stdin: "ignore", stdout: "ignore", stderr: Bun.file(farLog) },
      );
      await upIs(true);
      await reaches();
      expect(await ways("hub")).toMatch(/^10\.99\.0\.0\/24 via \S+ dev br/);
      const { stdout } = await lab.causeway("hub", ["get", "routes"]);
      expect(stdout).toMatch(/^ROUTE .* EXCHANGE\nsite .*\n$/);
      expect(gateways()).toHaveLength(1);
    });

    test("its process is killed: another one takes its place, with keys of its own", async () => {
      const first = only();
      expect(signal(first, "SIGKILL")).toBe(true);
      await comes("another process", () => {
        const pid = gateways()[0];
        return pid === undefined || pid === first ? "none" : undefined;
      });
      await reaches();
      await upIs(true);
      only();
    });

    test("the agent is killed: the process goes on and is taken over; one that ends meanwhile is started once", async () => {
      const first = only();
      {
        await using flow = new Pinger("app → site", SITE, { command: (argv) => lab.command("app", argv) });
        await until(() => (flow.since(0) > 20 ? undefined : "no answers"), { what: "the flow" });
        await lab.killAgent("a");
        await lab.startAgent("a");
        await upIs(true);
        const seen = flow.since(0);
        await until(() => (flow.since(0) > seen + 20 ? undefined : "no answers"), { what: "the flow" });
        expect(flow.lost).toBe(0);
      }
      expect(only()).toBe(first);
      await lab.killAgent("a");
      signal(first, "SIGKILL");
      await comes("the process to be gone", () => (isAlive(first) ? "there" : undefined));
      await lab.startAgent("a");
      await comes("its process", () => (gateways().length === 1 ? undefined : "none"));
      await reaches();
      expect(only()).not.toBe(first);
    });

    test("the Route goes, then the Gateway: nothing of them is left", async () => {
      const pid = only();
      await lab.causewayJson("hub", ["delete", "route", "site"]);
      await comes("the way to go", async () => (await ways("hub")) || (await ways("a")) || undefined);
      expect(await pings(SITE)).toBe(false);
      expect(only()).toBe(pid);
      expect((await lab.exec("a", ["ip", "link", "show", `cwt${vni}`])).status).toBe(0);
      await lab.causewayJson("hub", ["delete", "gateway", "red"]);
      await comes("the process to end", () => (gateways().length === 0 ? undefined : "it runs"));
      await comes("the link to go", async () =>
        (await lab.exec("a", ["ip", "link", "show", `cwt${vni}`])).status === 0 ? "there" : undefined,
      );
      expect(isAlive(pid)).toBe(false);
      await comes("its files to go", () =>
        ["red.yaml", "red.sock"].find((name) => existsSync(runFile(name))),
      );
    });
  },
);
