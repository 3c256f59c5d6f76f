/** The launcher with a real agent: the same answers, byte for byte, as the full executable; and what happens while the agent is away. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { CallOptions, Outcome } from "../support/cni-node.ts";
import { LauncherScene, runnerOf } from "../support/cni-launcher.ts";
import { notRoot } from "../support/scratch.ts";

const architecture = process.arch as "x64";
const lacking =
  notRoot ?? (runnerOf(architecture) === undefined ? `has no launcher for ${architecture}` : undefined);
const suffix = lacking === undefined ? "" : ` (skipped: ${lacking})`;

describe.skipIf(lacking !== undefined)(`CNI: launcher and agent${suffix}`, () => {
  let scene: LauncherScene;
  beforeAll(async () => {
    scene = await LauncherScene.create(architecture);
    await scene.node.startAgent();
  });
  afterAll(() => scene?.[Symbol.asyncDispose]());

  /** call calls the launcher, or what it stands for. */
  async function call(by: "launcher" | "full", command: string, options: CallOptions): Promise<Outcome> {
    scene.placeFull(by === "launcher" ? "witness" : "real");
    scene.node.plugin = [by === "launcher" ? scene.launcher : `${scene.launcher}-full`];
    const { status, stdout, stderr } = await scene.node.call(command, options);
    return { status, stdout, stderr };
  }

  /** Both answer alike; the launcher does it alone, as the witness would say otherwise. */
  async function same(command: string, options: CallOptions): Promise<Outcome> {
    const full = await call("full", command, options);
    expect(await call("launcher", command, options)).toEqual(full);
    return full;
  }

  const v11 = (more: object = {}) => ({ configuration: { cniVersion: "1.1.0", ...more } });

  test("ADD, CHECK, GC, STATUS and DEL give the same bytes and status", async () => {
    await scene.node.addPod("c1");
    // The host's end of the link gets a random address from the kernel.
    const anonymous = ({ stdout, ...rest }: Outcome) => ({
      ...rest,
      stdout: stdout.replace(/(cw[0-9a-z]{11}","mac":")[^"]+/, "$1"),
    });
    const runtimeConfig = { ips: ["10.244.1.77/24", "fd00:244:1::77/64"] };
    const added: Outcome[] = [];
    for (const by of ["full", "launcher"] as const) {
      added.push(await call(by, "ADD", { args: "IgnoreUnknown=1", configuration: { runtimeConfig } }));
      const prevResult = JSON.parse(added.at(-1)?.stdout ?? "");
      expect(await same("CHECK", { configuration: { prevResult } })).toEqual({
        status: 0,
        stdout: "",
        stderr: "",
      });
      const kept = { "cni.dev/valid-attachments": [{ containerID: "c1", ifname: "eth0" }] };
      expect(await same("GC", { netns: undefined, ...v11(kept) })).toMatchObject({ status: 0, stdout: "" });
      expect(await same("STATUS", { netns: undefined, ...v11() })).toMatchObject({ status: 0, stdout: "" });
      expect(await call(by, "DEL", {})).toEqual({ status: 0, stdout: "", stderr: "" });
      expect(await scene.node.remains()).toEqual({ links: [], elements: [], neighbours: [], rows: [] });
    }
    const [full, launcher] = added.map(anonymous);
    expect(JSON.parse(added[0]?.stdout ?? "").ips[0].address).toBe("10.244.1.77/24");
    expect(launcher).toEqual(full as Outcome);
  });

  test("refusals give the same bytes and status", async () => {
    const codes: number[] = [];
    for (const [command, options] of [
      ["ADD", { containerId: "/bad", netns: "/run/netns/c1" }],
      ["ADD", { netns: undefined }],
      ["ADD", { netns: "/proc/self/status" }],
      ["ADD", { configuration: { name: "" } }],
      ["ADD", { args: "no pair" }],
      ["CHECK", {}],
      ["CHECK", { configuration: { cniVersion: "0.3.1" } }],
      ["STATUS", { netns: undefined }],
      ["ATTACH", {}],
      ["DEL", { containerId: "never", netns: undefined }],
    ] as [string, CallOptions][]) {
      const { status, stdout } = await same(command, options);
      codes.push(status === 0 ? 0 : JSON.parse(stdout).code);
    }
    expect(codes).toEqual([4, 4, 8, 7, 4, 7, 1, 1, 4, 0]);
  });

  test("VERSION, and a namespace that is not there, get the full executable's answer", async () => {
    for (const [command, options] of [
      ["VERSION", { configuration: { cniVersion: "0.4.0" } }],
      ["ADD", { netns: "/run/netns/gone" }],
    ] as [string, CallOptions][]) {
      const full = await call("full", command, options);
      scene.node.plugin = [scene.launcher]; // the real one is in place
      expect(await scene.node.call(command, options)).toMatchObject(full);
      expect(JSON.parse(full.stdout)).toMatchObject(
        command === "ADD" ? { code: 8, msg: expect.stringContaining("ENOENT") } : { cniVersion: "0.4.0" },
      );
    }
  });

  test("a namespace by a path that means nothing, or something else, to the agent", async () => {
    await scene.node.addPod("hidden");
    // A file of the caller's mount namespace, and the namespace of a process in a PID namespace of its own.
    const bind = `mount -t tmpfs tmpfs /mnt; touch /mnt/ns; mount --bind /run/netns/hidden /mnt/ns; exec ${scene.launcher}`;
    const process = `mount -t proc proc /proc; ip netns exec hidden sleep 100 & until [ $(stat -Lc %i /proc/$!/ns/net) = $(stat -Lc %i /run/netns/hidden) ]; do sleep 0.01; done; CNI_NETNS=/proc/$!/ns/net ${scene.launcher}; status=$?; kill $!; exit $status`;
    for (const [containerId, argv] of [
      ["bound", ["unshare", "-m", "sh", "-c", bind]],
      ["process", ["unshare", "-m", "-p", "-f", "sh", "-c", process]],
    ] as const) {
      scene.placeFull("witness");
      scene.node.plugin = argv;
      const ifname = containerId;
      const add = await scene.node.call("ADD", { containerId, ifname, netns: "/mnt/ns" });
      expect([containerId, add.status, add.json?.interfaces?.at(-1)?.name]).toEqual([containerId, 0, ifname]);
      expect((await scene.node.ip(`link show ${ifname}`, "hidden"))[0].mtu).toBe(1420);
      scene.node.plugin = [scene.launcher];
      const del = await scene.node.call("DEL", { containerId, ifname, netns: undefined });
      expect(del).toMatchObject({ status: 0, stdout: "" });
    }
  });

  test("3.13: variables that Bun reads in the runtime's environment do not reach a call that the agent answers", async () => {
    await scene.node.addPod("variables");
    await scene.node.must(`echo 'process.stdout.write("trapped")' > /run/trap.ts`);
    const environment = {
      BUN_BE_BUN: "1",
      BUN_OPTIONS: "--preload /run/trap.ts",
      BUN_INSPECT: "ws://127.0.0.1:1/x?wait=1",
      NODE_OPTIONS: "--require /run/trap.ts",
    };
    let prevResult: unknown;
    for (const command of ["ADD", "CHECK", "STATUS", "DEL"]) {
      const options = { containerId: "variables", environment, ...v11({ prevResult }) };
      const { status, stderr, stdout } = await call("launcher", command, options);
      expect([command, status, stderr]).toEqual([command, 0, ""]);
      prevResult ??= JSON.parse(stdout);
    }
  });

  test("8 at once, each its own address", async () => {
    const names = Array.from({ length: 24 }, (_, index) => `p${index}`);
    await Promise.all(names.map((name) => scene.node.addPod(name)));
    scene.placeFull("witness");
    scene.node.plugin = [scene.launcher];
    const given: string[] = [];
    const queue = [...names];
    const worker = async () => {
      for (let name = queue.shift(); name !== undefined; name = queue.shift()) {
        const { status, json } = await scene.node.call("ADD", { containerId: name });
        expect([name, status]).toEqual([name, 0]);
        given.push(json.ips[0].address);
        expect(await scene.node.in(name, `ip -4 addr show eth0 | grep -q '${json.ips[0].address} '`)).toBe(
          true,
        );
      }
    };
    await Promise.all(Array.from({ length: 8 }, worker));
    expect(new Set(given).size).toBe(names.length);
    await Promise.all(names.map((name) => scene.node.call("DEL", { containerId: name })));
    expect((await scene.node.remains()).rows).toEqual([]);
  });

  test("the agent is away: ADD has code 11, and DEL is written down and replayed", async () => {
    scene.placeFull("real");
    scene.node.plugin = [scene.launcher];
    await scene.node.add("away");
    for (const signal of ["SIGTERM", "SIGKILL"] as const) {
      await scene.node.stopAgent(signal);
      const add = await scene.node.call("ADD", { containerId: "c1" });
      expect(add).toMatchObject({ status: 1, json: { code: 11, cniVersion: "1.0.0" } });
      expect((await scene.node.call("STATUS", { netns: undefined, ...v11() })).json.code).toBe(50);
      if (signal === "SIGKILL") break;
      await scene.node.startAgent();
    }
    expect(await scene.node.call("DEL", { containerId: "away", netns: undefined })).toMatchObject({
      status: 0,
      stdout: "",
    });
    expect((await scene.node.must("ls /var/lib/causeway/tombstones")).trim().split("\n")).toHaveLength(1);
    await scene.node.startAgent();
    expect(await scene.node.remains()).toEqual({ links: [], elements: [], neighbours: [], rows: [] });
  });

  test("variables and input above the limit: ADD is refused for what it is, DEL is written down", async () => {
    scene.placeFull("real");
    scene.node.plugin = [scene.launcher];
    await scene.node.add("long");
    const long = { configuration: { padding: "x".repeat(4 * 2 ** 20) } };
    const add = await scene.node.call("ADD", { containerId: "c1", ...long });
    expect(add).toMatchObject({
      status: 1,
      json: { code: 7, details: expect.stringContaining("4194304 is the limit") },
    });
    expect(await scene.node.call("DEL", { containerId: "long", ...long })).toMatchObject({
      status: 0,
      stdout: "",
    });
    // The next ADD replays it.
    expect((await scene.node.call("ADD", { containerId: "c1" })).status).toBe(0);
    expect((await scene.node.remains()).rows).toHaveLength(3);
    await scene.node.call("DEL", { containerId: "c1" });
  });
});
