/** What the supervision of every user-space back-end must do: start, adopt, start again, refuse what is not its own, leave nothing. */
import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { isAlive, run, runSync, unixPeer } from "../../src/sys/mod.ts";
import type { TunnelBackend, TunnelState } from "../../src/tunnel/backend.ts";
import { ip, TunnelPair, until } from "./tunnel-pair.ts";

/** UserBackend says what is supervised; `skip` why it cannot run here. */
export interface UserBackend {
  readonly backend: () => TunnelBackend;
  /** What the provider's name looks like while it runs. */
  readonly provider: RegExp;
  /** What the program says when the link's name is taken. */
  readonly taken: string;
  /** Statements of a program that makes `backend`, a back-end of the same kind, in another process. */
  readonly source: string;
  readonly skip?: string | undefined;
}

/** pidOf returns the process that serves a link. */
export function pidOf(link: string): number {
  return unixPeer(`/var/run/wireguard/${link}.sock`).pid;
}

/** userSuite declares the tests. */
export function userSuite(
  title: string,
  { backend: user, provider, taken, source, skip }: UserBackend,
): void {
  const name = `${title}, supervised${skip === undefined ? "" : ` (${skip})`}`;
  describe.skipIf(skip !== undefined)(name, () => {
    const open = () => TunnelPair.open({ near: user(), far: user() });

    test("the provider is named with its version", async () => {
      await using pair = await open();
      expect(pair.near.tunnel.provider).toMatch(provider);
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
        ${source}
        const tunnel = await backend.open("${near.link}");
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
      expect(near.tunnel.provider).toMatch(provider);
      // Nothing is in the new process: the engine puts it there when it sees the new link.
      expect(near.tunnel.device.read().peers).toEqual([]);
      process.kill(pidOf(near.link), "SIGKILL");
      await until("running for the second time", () => states.length === 4);
      // The first time at once, later not so soon.
      expect(states[0]).toEqual({ kind: "waiting", reason: "the process ended", nextTryMs: 20 });
      expect(states[2]).toEqual({ kind: "waiting", reason: "the process ended", nextTryMs: 250 });
    });

    test("a link that is deleted is made again", async () => {
      await using pair = await open();
      const { near } = pair;
      const first = pidOf(near.link);
      ip(near.netns, `link del ${near.link}`);
      await until("the process has ended", () => !isAlive(first));
      await until(
        "the link is there",
        () => ip(near.netns, "-o link").includes(` ${near.link}:`) && near.tunnel.state.kind === "running",
      );
      expect(near.tunnel.device.read().peers).toEqual([]);
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
      expect(message).toContain(taken);
    });

    test("a tunnel in another network namespace is not taken over", async () => {
      await using pair = await open();
      await expect(user().open(pair.near.link, { netns: pair.far.netns })).rejects.toThrow(
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
}
