/** Our own engine as a back-end: all that every back-end does, its supervision, and what only it can: be taken over by another build. */
import { describe, expect, test } from "bun:test";
import { chmodSync, writeFileSync } from "node:fs";
import { isAlive, run, runSync } from "../../src/sys/mod.ts";
import type { TunnelState } from "../../src/tunnel/backend.ts";
import { type OwnOptions, ownBackend } from "../../src/tunnel/own.ts";
import { wireguardGoBackend } from "../../src/tunnel/wireguard-go.ts";
import { backendSuite } from "../support/backend-suite.ts";
import { ownLacks as skip } from "../support/own-needs.ts";
import { ip, type Side, TunnelPair, until } from "../support/tunnel-pair.ts";
import { pidOf, userSuite } from "../support/user-suite.ts";
import { lostPings } from "../support/lost-pings.ts";

const own = () => ownBackend();

backendSuite("our engine", { near: own, far: own, skip });
userSuite("our engine", {
  backend: own,
  provider: /^causeway \S+, ChaCha20-Poly1305 by (?:ipsec-mb|libcrypto) \d/,
  taken: "there is a link of that name",
  source: `
    import { ownBackend } from "${import.meta.dir}/../../src/tunnel/own.ts";
    const backend = ownBackend();`,
  skip,
});

/** The command that starts the engine, as the back-end under test has it. */
const command: readonly string[] =
  process.env.CAUSEWAY_EXECUTABLE === undefined
    ? [process.execPath, `${import.meta.dir}/../../src/main.ts`]
    : [process.env.CAUSEWAY_EXECUTABLE];

describe.skipIf(skip !== undefined)(
  `our engine, other builds of it, and other programs${skip === undefined ? "" : ` (${skip})`}`,
  () => {
    const open = () => TunnelPair.open({ near: own(), far: own() });

    /** Opens a side's tunnel as an agent of another build does; returns the states that follow. */
    async function reopen(
      side: Side,
      options: OwnOptions & { readonly logPath?: string } = {},
    ): Promise<TunnelState[]> {
      const states: TunnelState[] = [];
      const { logPath, ...program } = options;
      side.tunnel.close();
      side.tunnel = await ownBackend({ build: "another", ...program }).open(side.link, {
        netns: side.netns,
        onChange: (state) => void states.push(state),
        ...(logPath === undefined ? {} : { logPath }),
      });
      return states;
    }

    /** A program in the engine's place: shell text that sees `$LINK` and ends, or falls through to the engine. */
    function instead(pair: TunnelPair, text: string): readonly string[] {
      const path = `${pair.folder}/instead`;
      writeFileSync(path, `#!/bin/sh\nLINK=$2\n${text}\nexec ${command.join(" ")} "$@"\n`);
      chmodSync(path, 0o755);
      return [path];
    }

    test("the process says who encrypts, and what it counts", async () => {
      await using pair = await open();
      const { near } = pair;
      const { dataplane } = near.tunnel;
      expect(dataplane).toMatchObject({ pid: pidOf(near.link), workers: expect.any(Number) });
      expect(near.tunnel.provider).toBe(
        `causeway ${dataplane?.version}, ChaCha20-Poly1305 by ${dataplane?.aead}`,
      );
      for (const { name, reason } of dataplane?.passedOver ?? [])
        expect([name, reason]).toEqual([
          expect.stringMatching(/^(?:ipsec-mb-\d|libcrypto)$/),
          expect.any(String),
        ]);
      expect(Object.values(dataplane?.counters ?? {}).every((count) => count >= 0)).toBe(true);
    });

    test("a process of another build is taken over: link, settings and session stay, and no packet is lost", async () => {
      await using pair = await open();
      const { near, far } = pair;
      pair.meet();
      expect(await pair.pings(near)).toBe(true);
      const before = near.tunnel.device.read();
      const index = ip(near.netns, `-o link show ${near.link}`).split(":")[0];
      const first = pidOf(near.link);
      const count = 400;
      const flow = run(["ping", "-n", "-i", "0.01", "-c", `${count}`, "-W", "20", far.overlay4], {
        netns: near.netns,
      });
      const states = await reopen(near);
      await until("a successor serves", () => pidOf(near.link) !== first);
      await until("the first one has ended", () => !isAlive(first));
      expect(lostPings((await flow).stdout)).toEqual([]);
      expect(ip(near.netns, `-o link show ${near.link}`).split(":")[0]).toBe(index as string);
      const after = near.tunnel.device.read();
      expect({ ...after, peers: [] }).toEqual({ ...before, peers: [] });
      expect(after.peers[0]?.lastHandshakeMs).toBe(before.peers[0]?.lastHandshakeMs as number);
      const enough = (before.peers[0]?.rxBytes ?? 0) + count * 84;
      await until("bytes are counted", () => (pair.seen(near)?.rxBytes ?? 0) >= enough);
      expect(await pair.pings(far)).toBe(true);
      // Nothing had to be told, and the successor is watched as the first one was.
      expect(states).toEqual([]);
      process.kill(pidOf(near.link), "SIGKILL");
      await until("running again", () => states.at(-1)?.kind === "running");
      expect(states.map(({ kind }) => kind)).toEqual(["waiting", "running"]);
    });

    test("a successor that fails leaves the first one as it is, and the reason is told", async () => {
      await using pair = await open();
      const { near } = pair;
      pair.meet();
      expect(await pair.pings(near)).toBe(true);
      const first = pidOf(near.link);
      const states = await reopen(near, {
        command: instead(pair, 'echo "there is no memory" >&2; exit 1'),
        logPath: `${pair.folder}/log`,
      });
      await until("the failure is told", () => states.length > 0);
      expect(states).toEqual([
        {
          kind: "outdated",
          reason: expect.stringMatching(
            new RegExp(`^Cannot take over ${near.link} with causeway \\S+: there is no memory$`),
          ),
          nextTryMs: 60_000,
        },
      ]);
      expect(pidOf(near.link)).toBe(first);
      expect(await pair.pings(near)).toBe(true);
      expect(near.tunnel.device.read().peers).toHaveLength(1);
    });

    test("a process that dies while it is taken over is started again", async () => {
      await using pair = await open();
      const { near } = pair;
      const first = pidOf(near.link);
      const states = await reopen(near, {
        command: instead(pair, `case "$*" in *--take-over*) kill -9 ${first}; sleep 2; exit 1;; esac`),
      });
      await until("running again", () => states.at(-1)?.kind === "running");
      expect(states.map(({ kind }) => kind)).toEqual(["outdated", "waiting", "running"]);
      expect(pidOf(near.link)).not.toBe(first);
      expect(near.tunnel.device.read().peers).toEqual([]);
    });

    test("a successor that somebody else started is followed", async () => {
      await using pair = await open();
      const { near } = pair;
      const states: TunnelState[] = [];
      near.tunnel.close();
      near.tunnel = await own().open(near.link, {
        netns: near.netns,
        onChange: (state) => void states.push(state),
      });
      pair.meet();
      const first = pidOf(near.link);
      const [program, ...rest] = command;
      const successor = near.netns.run(() =>
        Bun.spawn([program as string, ...rest, "dataplane", near.link, "--take-over"], {
          stdio: ["ignore", "ignore", "ignore"],
        }),
      );
      await until("the first one has ended", () => !isAlive(first));
      expect(pidOf(near.link)).toBe(successor.pid);
      expect(await pair.pings(near)).toBe(true);
      // Longer than the supervision takes to see that the first one is gone.
      await Bun.sleep(2500);
      expect(states).toEqual([]);
      expect(near.tunnel.dataplane?.pid).toBe(successor.pid);
      process.kill(successor.pid, "SIGKILL");
      await until("running again", () => states.at(-1)?.kind === "running");
      expect(states.map(({ kind }) => kind)).toEqual(["waiting", "running"]);
    });

    test("without libcrypto the reason names the package that brings it", async () => {
      const cached = runSync(["/sbin/ldconfig", "-p"]).stdout;
      const library = /libcrypto\.so\.3 \(.*=> (\S+)/.exec(cached)?.[1] ?? "";
      const program = `
      import { chooseBackend } from "${import.meta.dir}/../../src/tunnel/mod.ts";
      try { chooseBackend("user"); } catch (error) { console.log(error.message); }`;
      const hidden = 'mount --bind /dev/null "$0" && exec "$@"';
      const done = await run(["unshare", "-m", "sh", "-c", hidden, library, process.execPath, "-e", program]);
      expect(done).toEqual({
        status: 0,
        stderr: "",
        stdout:
          "Cannot run a tunnel: Causeway's own engine cannot run: Cannot load libcrypto.so.3; install it, on Debian: " +
          "apt-get install libssl3; or let the choice be automatic (--tunnel auto)\n",
      });
    });

    const go = wireguardGoBackend();
    test.skipIf(go === undefined)(
      `wireguard-go on a link with our mark makes room when the choice changes; on another it stays${go === undefined ? " (needs wireguard-go)" : ""}`,
      async () => {
        if (go === undefined) return;
        await using pair = await TunnelPair.open({ near: go, far: go });
        const { near } = pair;
        near.tunnel.close();
        const first = pidOf(near.link);
        await expect(own().open(near.link, { netns: near.netns })).rejects.toThrow("belongs to wireguard-go");
        expect(isAlive(first)).toBe(true);
        runSync(["ip", "link", "set", near.link, "alias", "causeway external"], { netns: near.netns });
        near.tunnel = await own().open(near.link, { netns: near.netns });
        expect(isAlive(first)).toBe(false);
        expect(near.tunnel.provider).toStartWith("causeway ");
        runSync(["ip", "link", "set", near.link, "alias", "causeway external"], { netns: near.netns });
        near.tunnel.close();
        near.tunnel = await go.open(near.link, { netns: near.netns });
        expect(near.tunnel.provider).toStartWith("wireguard-go ");
      },
    );
  },
);
