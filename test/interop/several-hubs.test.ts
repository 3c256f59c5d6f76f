/** Two hubs that share a register in Debian's etcd, with real agents: a mesh of one hub becomes one of two, and lives through the loss of either, and of etcd. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { chmodSync, mkdirSync, rmSync } from "node:fs";
import type { Results, Status } from "../../src/agent/mod.ts";
import { Lab, until } from "../../src/lab/mod.ts";
import { Authority, EtcdCluster, etcdFolder } from "../support/etcd.ts";
import { executable, labLacks } from "../support/lab-needs.ts";

const root = `/run/causeway-test/${process.pid}-hubs`;
/** Guards against hanging only. */
const DEADLINE_MS = 120_000;
setDefaultTimeout(300_000);
const { folder, lacks } = etcdFolder();
const why = labLacks ?? lacks;

const manifest = `apiVersion: causeway.network/v1alpha1
kind: Lab
metadata: { name: hubs }
spec:
  networks:
    - { name: internet, prefix4: 203.0.113.0/24 }
    - { name: home, prefix4: 192.168.1.0/24 }
  routers:
    - { name: nat, kind: cone, inside: home, outside: internet }
  nodes:
    - { name: hub1, role: hub, networks: [{ name: internet, address4: 203.0.113.11 }] }
    - { name: n1, networks: [home] }
    - { name: hub2, role: none, networks: [{ name: internet, address4: 203.0.113.12 }] }
    - { name: n2, role: none, networks: [{ name: internet, address4: 203.0.113.20 }] }
    - { name: solo, role: none, networks: [{ name: internet, address4: 203.0.113.40 }] }
    - { name: e1, role: none, networks: [{ name: internet, address4: 203.0.113.31 }] }
    - { name: e2, role: none, networks: [{ name: internet, address4: 203.0.113.32 }] }
    - { name: e3, role: none, networks: [{ name: internet, address4: 203.0.113.33 }] }
`;

describe.skipIf(why !== undefined)(`two hubs${why === undefined ? "" : ` (skipped: ${why})`}`, () => {
  let lab: Lab;
  let etcd: EtcdCluster;
  const token = async (hub: string, ...options: string[]) =>
    (await lab.causewayJson<Results["token-create"]>(hub, ["token", "create", ...options])).token;
  const status = async (node: string) => (await lab.status(node)) as Status;
  const hubs = async (node: string) =>
    (await lab.causewayJson<Results["hub-list"]>(node, ["hub", "list"])).hubs;
  const wait = (what: string, look: () => Promise<string | undefined>) =>
    until(look, { what, deadlineMs: DEADLINE_MS });

  beforeAll(async () => {
    mkdirSync(root, { recursive: true });
    await Lab.remove("hubs", { root });
    lab = await Lab.up(manifest, { root, executable });
    etcd = new EtcdCluster(folder as string, {
      addresses: ["203.0.113.31", "203.0.113.32", "203.0.113.33"],
      command: (index, argv) => lab.command(`e${index + 1}`, argv),
    });
    etcd.startAll();
  });
  afterAll(async () => {
    await etcd?.[Symbol.asyncDispose]();
    await Lab.remove("hubs", { root });
    rmSync(root, { recursive: true, force: true });
  });

  test("a hub alone makes no token for a second; its register moves into etcd and goes on", async () => {
    const refused = await lab.causeway("hub1", ["token", "create", "--role", "hub"]);
    expect(refused.stderr).toContain("causeway hub migrate");
    const { revision } = (await status("hub1")).hub as NonNullable<Status["hub"]>;
    await wait("etcd takes the register", async () => {
      const done = await lab.causeway("hub1", ["hub", "migrate", ...etcd.hubOptions("hub1")]);
      if (done.status !== 0 && !done.stderr.includes("etcd")) throw new Error(done.stderr);
      return done.status === 0 ? undefined : done.stderr;
    });
    const { hub } = await status("hub1");
    expect(hub).toMatchObject({ revision, writes: { register: "etcd", possible: true } });
  });

  test("a second hub joins, with the certificates that the first checks, and nodes hear of it", async () => {
    const text = await token("hub1", "--role", "hub");
    await lab.startAgent("hub2");
    const join = ["join", "-", "--name", "hub2", "--endpoint", "203.0.113.12:51820"];
    const without = await lab.causeway("hub2", join, text);
    expect(without.stderr).toContain("a hub shares the register in etcd; give --etcd-ca");
    await lab.causewayJson("hub2", [...join, ...etcd.hubOptions("hub2")], text);
    expect((await status("hub2")).hub).toMatchObject({ writes: { register: "etcd", possible: true } });
    for (const [one, other] of [
      ["hub1", "hub2"],
      ["hub2", "hub1"],
    ] as const)
      await wait(`${other} at ${one}`, async () => {
        const entry = (await hubs(one)).find(({ name }) => name === other);
        return entry?.connected === true && entry.revision !== undefined ? undefined : JSON.stringify(entry);
      });
    await wait("the second hub at a node", async () => {
      const names = (await hubs("n1")).map(({ name }) => name);
      return names.includes("hub2") ? undefined : names.join();
    });
  });

  test("with the first hub's agent dead, its nodes follow the second, and a newcomer joins through it", async () => {
    const text = await token("hub1");
    await lab.killAgent("hub1");
    await wait("n1 follows hub2", async () => {
      const { hub } = await status("n1");
      return hub?.connected === true && hub.followed === "hub2" ? undefined : JSON.stringify(hub);
    });
    await lab.startAgent("n2");
    await lab.causewayJson("n2", ["join", "-", "--name", "n2"], text);
    await wait("n2 at n1", async () => {
      const found = (await lab.peers("n1")).some(({ name }) => name === "n2");
      return found ? undefined : "not yet";
    });
    await lab.startAgent("hub1");
    await wait("hub1 has what was written meanwhile", async () => {
      const [first, second] = [await status("hub1"), await status("hub2")];
      return first.hub?.revision === second.hub?.revision
        ? undefined
        : JSON.stringify([first.hub, second.hub]);
    });
    expect((await lab.peers("hub1")).map(({ name }) => name)).toContain("n2");
  });

  test("with one member of etcd lost, writes go on; with two, they are refused in words, and packets flow", async () => {
    await etcd.kill(0);
    await wait("a token", async () => {
      const done = await lab.causeway("hub2", ["token", "create"]);
      return done.status === 0 ? undefined : done.stderr;
    });
    await etcd.kill(1);
    const refused = await lab.causeway("hub2", ["token", "create"]);
    expect(refused.status).toBe(1);
    expect(refused.stderr).toContain("Cannot write the register now: etcd");
    await wait("status says so", async () => {
      const { hub } = await status("hub1");
      return hub?.writes?.possible === false ? undefined : JSON.stringify(hub);
    });
    // A hub that starts now begins with what it has, and serves it.
    await lab.killAgent("hub1", { gently: true });
    await lab.startAgent("hub1");
    expect((await hubs("hub1")).map(({ name }) => name)).toEqual(["hub1", "hub2"]);
    const { hub } = await status("n1");
    expect(hub?.connected).toBe(true);
    const to = (await lab.peers("n1")).find(({ name }) => name === "n2")?.overlay4 as string;
    await wait("a ping from n1 to n2", async () => {
      const done = await lab.exec("n1", ["ping", "-n", "-c", "1", "-W", "1", to]);
      return done.status === 0 ? undefined : done.stdout;
    });
    etcd.start(0);
    await wait("a token again", async () => {
      const done = await lab.causeway("hub1", ["token", "create"]);
      return done.status === 0 ? undefined : done.stderr;
    });
  });

  test("a mesh begins in etcd; what is wrong with the certificates is said before anything is made", async () => {
    await lab.startAgent("solo");
    const init = (...options: string[]) =>
      lab.causeway("solo", ["init", "--endpoint", "203.0.113.40:51820", ...options]);
    const stranger = new Authority(etcd.folder, "stranger");
    const foreign = stranger.sign("solo", "DNS:solo");
    const right = etcd.hubOptions("solo");
    const where = right.slice(0, 4);
    const refused = await init(...where, "--etcd-cert", foreign.certificate, "--etcd-key", foreign.key);
    expect(refused.stderr).toContain("etcd and this hub do not accept each other's certificates");
    chmodSync(right[7] as string, 0o644);
    expect((await init(...right)).stderr).toContain("can be read by others than root; chmod 600");
    chmodSync(right[7] as string, 0o600);
    expect((await init("--etcd", "10.0.0.1:2379")).stderr).toContain("is no endpoint of etcd");
    expect((await status("solo")).node).toBeUndefined();
    expect((await init(...right)).status).toBe(0);
    const { hub } = await status("solo");
    expect(hub?.writes).toEqual({ register: "etcd", possible: true });
    expect((await init()).stderr).toContain("belongs to a mesh already");
  });

  test("nodes never speak to etcd, and a hub that was removed is one no more", async () => {
    for (const node of ["n1", "n2"])
      expect((await lab.exec(node, ["ss", "-Htn", "dport = :2379"])).stdout).toBe("");
    await lab.causewayJson("hub2", ["hub", "remove", "hub1"]);
    await wait("n1 follows hub2", async () => {
      const { hub } = await status("n1");
      const names = (await hubs("n1")).map(({ name }) => name);
      return hub?.connected === true && names.join() === "hub2" ? undefined : names.join();
    });
    // While it leaves, it may not answer.
    await wait("hub1 has left", async () => {
      const left = await lab.status("hub1");
      return left !== undefined && left.node === undefined ? undefined : "not yet";
    });
    const last = await lab.causeway("hub2", ["leave"]);
    expect(last.stderr).toContain("its register ends with it");
    // It may come back as a new hub, and leave by itself.
    const text = await token("hub2", "--role", "hub");
    const join = [
      "join",
      "-",
      "--name",
      "hub3",
      "--endpoint",
      "203.0.113.11:51820",
      ...etcd.hubOptions("hub3"),
    ];
    await lab.causewayJson("hub1", join, text);
    await lab.causewayJson("hub1", ["leave"]);
    await wait("hub3 has left", async () => {
      const names = (await hubs("hub2")).map(({ name }) => name);
      return names.join() === "hub2" ? undefined : names.join();
    });
  });
});
