import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { isAlive, run, runSync, unixPeer } from "../../src/sys/mod.ts";
import { type TunnelState } from "../../src/tunnel/backend.ts";
import { userBackend } from "../../src/tunnel/user.ts";
import { backendSuite } from "../support/backend-suite.ts";
import { ip, TunnelPair, until } from "../support/tunnel-pair.ts";

const backend = userBackend();
const skip =
  process.getuid?.() !== 0
    ? "needs root"
    : backend === undefined
      ? "needs wireguard-go"
      : existsSync("/dev/net/tun")
        ? undefined
        : "needs /dev/net/tun";
const user = () => backend as NonNullable<typeof backend>;

backendSuite("wireguard-go", { near: user, far: user, skip });

describe.skipIf(skip !== undefined)(`user-space tunnel${skip === undefined ? "" : ` (${skip})`}`, () => {
  const open = () => TunnelPair.open({ near: user(), far: user() });
  const pidOf = (link: string) => unixPeer(`/var/run/wireguard/${link}.sock`).pid;

  test("the provider is named with its version", () => {
    expect(user().provider).toMatch(/^wireguard-go \d/);
  });

  test("destroy leaves no process, socket or link", async () => {
    await using pair = await open();
    const pid = pidOf(pair.near.link);
    await pair.near.tunnel.destroy();
    expect(isAlive(pid)).toBe(false);
    expect(existsSync(`/var/run/wireguard/${pair.near.link}.sock`)).toBe(false);
    expect(ip(pair.near.netns, "-o link")).not.toContain(pair.near.link);
  });

  test("the process outlives the program that opened it, and the next one takes it over", async () => {
    await using pair = await open();
    const { near } = pair;
    await near.tunnel.destroy();
    const program = `
      import { userBackend } from "${import.meta.dir}/../../src/tunnel/user.ts";
      const tunnel = await userBackend().open("${near.link}");
      tunnel.device.change({ listenPort: 4567 });
      process.exit(0);`;
    const done = await run([process.execPath, "-e", program], { netns: near.netns });
    expect(done).toMatchObject({ status: 0, stderr: "" });
    const pid = pidOf(near.link);
    near.tunnel = await user().open(near.link, { netns: near.netns });
    expect(pidOf(near.link)).toBe(pid);
    expect(near.tunnel.device.read().listenPort).toBe(4567);
  });

  test("a process that ends is started again, also one that was taken over", async () => {
    await using pair = await open();
    const { near } = pair;
    const states: TunnelState[] = [];
    near.tunnel.close();
    near.tunnel = await user().open(near.link, {
      netns: near.netns,
      onChange: (state) => void states.push(state),
    });
    const first = pidOf(near.link);
    process.kill(first, "SIGKILL");
    await until("running again", () => states.at(-1)?.kind === "running");
    expect(states.map((state) => state.kind)).toEqual(["waiting", "running"]);
    expect(pidOf(near.link)).not.toBe(first);
    expect(near.tunnel.state).toEqual({ kind: "running" });
    // Nothing is in the new process: the engine puts it there when it sees the new link.
    expect(near.tunnel.device.read().peers).toEqual([]);
    process.kill(pidOf(near.link), "SIGKILL");
    await until("running for the second time", () => states.length === 4);
    expect(states[2]).toEqual({ kind: "waiting", reason: "the process ended", nextTryMs: 500 });
  });

  test("a link name that is taken is an error with what the program said", async () => {
    await using pair = await open();
    const { netns } = pair.near;
    const link = `${pair.near.link}b`;
    ip(netns, `link add ${link} type bridge`);
    const logPath = `${pair.folder}/log`;
    let message = "";
    try {
      await user().open(link, { netns, logPath });
    } catch (error) {
      message = String(error);
    }
    expect(message).toContain(`Cannot start ${user().provider} for ${link}`);
    expect(message).toContain("Failed to create TUN device");
  });

  test("a tunnel in another network namespace is not taken over", async () => {
    await using pair = await open();
    expect(user().open(pair.near.link, { netns: pair.far.netns })).rejects.toThrow(
      "in another network namespace",
    );
  });

  test("a socket left by a crash does not stop the next start", async () => {
    await using pair = await open();
    const { near } = pair;
    near.tunnel.close();
    const pid = pidOf(near.link);
    process.kill(pid, "SIGKILL");
    await until("the process is gone", () => !isAlive(pid));
    near.tunnel = await user().open(near.link, { netns: near.netns });
    expect(near.tunnel.device.read().peers).toEqual([]);
    expect(runSync(["ip", "link", "show", near.link], { netns: near.netns }).status).toBe(0);
  });
});
