/** How the data-plane process begins and ends: what it refuses, what it says, and that it leaves nothing. */
import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { connectUnix, runSync } from "../../src/sys/mod.ts";
import { DataplaneProcess, type DataplaneOptions, socketOf } from "../support/dataplane.ts";
import { ownLacks } from "../support/own-needs.ts";
import { Scratch } from "../support/scratch.ts";
import { until } from "../support/tunnel-pair.ts";

const skip = ownLacks;
let serial = 0;
/** Sockets of user-space WireGuard are named after the link, for the whole machine. */
const newName = () => `s${process.pid.toString(36)}x${++serial}`;

describe.skipIf(skip !== undefined)(
  `the data plane begins and ends${skip === undefined ? "" : ` (${skip})`}`,
  () => {
    /** Starts one that must refuse; returns its status and what it said. */
    async function refused(
      link: string,
      options: Partial<DataplaneOptions> & { readonly scratch?: Scratch } = {},
    ) {
      using own = options.scratch === undefined ? new Scratch() : undefined;
      const { netns } = (options.scratch ?? own) as Scratch;
      await using started = DataplaneProcess.spawn(link, { netns, ...options });
      return await started.ended();
    }

    const links = (scratch: Scratch) => scratch.text("ip -o link");

    test("arguments that cannot be: status 2, and what is wrong with them", async () => {
      for (const [link, args, said] of [
        ["sixteen-letters-", [], "has 1 to 15 bytes"],
        ["a/b", [], "not a name of a link"],
        ["a:b", [], "not a name of a link"],
        ["cw%d", [], "not a name of a link"],
        ["..", [], "not a name of a link"],
        ["cw0", ["cw1"], '"cw1" is one argument too many'],
        ["cw0", ["--workers", "0"], "--workers is 1 to 64, not 0"],
        ["cw0", ["--workers", "65"], "--workers is 1 to 64, not 65"],
        ["cw0", ["--workers", "two"], '--workers "two" is not a whole number'],
        ["cw0", ["--cpu", "1-2"], "--cpu takes numbers such as 2,3"],
        ["cw0", ["--aead", "rot13"], "is not one of ipsec-mb-2, ipsec-mb-1, libcrypto"],
        ["cw0", ["--nonsense"], "--nonsense"],
      ] as const) {
        const { status, said: text } = await refused(link, { args });
        expect([link, ...args, status]).toEqual([link, ...args, 2]);
        expect(text).toContain(said);
        expect(text).not.toContain("    at ");
      }
    });

    test("a name that another link has, whatever it is", async () => {
      using scratch = new Scratch();
      for (const make of ["ip link add LINK type bridge", "ip tuntap add dev LINK mode tun"]) {
        const link = newName();
        scratch.text(make.replace("LINK", link));
        const before = links(scratch);
        expect(await refused(link, { scratch })).toMatchObject({
          status: 1,
          said: `Cannot make link ${link}: there is a link of that name; remove it or choose another name\n`,
        });
        expect(links(scratch)).toBe(before);
        expect(existsSync(socketOf(link))).toBe(false);
      }
    });

    test("a link that a data plane serves, here or in another namespace; the first one is left alone", async () => {
      using scratch = new Scratch();
      const link = newName();
      await using first = await DataplaneProcess.start(link, {
        netns: scratch.netns,
        args: ["--workers", "1"],
      });
      expect((await refused(link, { scratch })).said).toContain("there is a link of that name");
      const elsewhere = await refused(link);
      expect(elsewhere.status).toBe(1);
      expect(elsewhere.said).toBe(
        `Cannot serve link ${link}: another process listens on ${socketOf(link)}; stop it, or use --take-over\n`,
      );
      expect(first.serves).toBe(true);
      expect(first.device.read().peers).toEqual([]);
    });

    test("of several that start at once one serves, and its socket is there", async () => {
      using scratch = new Scratch();
      const link = newName();
      const { netns } = scratch;
      const all = Array.from({ length: 4 }, () =>
        DataplaneProcess.spawn(link, { netns, args: ["--workers", "1"] }),
      );
      try {
        await until("one serves, the others have ended", () => all.filter(({ runs }) => runs).length === 1);
        const left = all.find(({ runs }) => runs) as DataplaneProcess;
        await until("it serves", () => left.serves);
        expect(left.device.read().peers).toEqual([]);
      } finally {
        for (const one of all) await one[Symbol.asyncDispose]();
      }
    });

    test("a cipher library or a processor that is not there: why, and nothing is left", async () => {
      using scratch = new Scratch();
      for (const [args, said] of [
        [["--cpu", "4321"], /^Cannot keep threads to processor 4321: choose among \d/],
        // The machine has one of the two at most.
        [["--aead", missingAead()], /^Cannot encrypt packets: ipsec-mb-\d: /],
      ] as const) {
        const link = newName();
        const { status, said: text } = await refused(link, { scratch, args });
        expect(status).toBe(1);
        expect(text).toMatch(said);
        expect(text).not.toContain("    at ");
        expect(existsSync(socketOf(link))).toBe(false);
        expect(links(scratch)).not.toContain(link);
      }
    });

    test("without libcrypto: which package brings it", async () => {
      const cached = runSync(["/sbin/ldconfig", "-p"]).stdout;
      const library = /libcrypto\.so\.3 \(.*=> (\S+)/.exec(cached)?.[1] ?? "";
      const link = newName();
      const hidden = `mount --bind /dev/null ${library} && exec "$@"`;
      const { status, said } = await refused(link, { wrapper: ["unshare", "-m", "sh", "-c", hidden, "sh"] });
      expect(status).toBe(1);
      expect(said).toContain("libcrypto");
      expect(said).toContain("apt-get install libssl3");
      expect(existsSync(socketOf(link))).toBe(false);
    });

    test("without /dev/net/tun: what to load", async () => {
      const link = newName();
      const hidden = 'mount -t tmpfs none /dev/net && exec "$@"';
      const { status, said } = await refused(link, { wrapper: ["unshare", "-m", "sh", "-c", hidden, "sh"] });
      expect(status).toBe(1);
      expect(said).toBe(
        `Cannot make link ${link}: there is no /dev/net/tun; load its module (modprobe tun)\n`,
      );
    });

    test("without the right to make links", async () => {
      const link = newName();
      const { status, said } = await refused(link, {
        wrapper: ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"],
      });
      expect(status).toBe(1);
      expect(said).toContain(`Cannot make link ${link}: not permitted; become root (CAP_NET_ADMIN)`);
      expect(existsSync(socketOf(link))).toBe(false);
    });

    test("nobody to take over from", async () => {
      const link = newName();
      expect(await refused(link, { args: ["--take-over"] })).toMatchObject({
        status: 1,
        said: `Cannot take over link ${link}: no process serves it; start one without --take-over\n`,
      });
      expect(existsSync(socketOf(link))).toBe(false);
    });

    test("a socket file that nobody listens on is replaced", async () => {
      using scratch = new Scratch();
      const link = newName();
      const { netns } = scratch;
      const first = await DataplaneProcess.start(link, { netns, args: ["--workers", "1"] });
      process.kill(first.pid, "SIGKILL");
      await first.ended();
      expect(existsSync(socketOf(link))).toBe(true);
      await using second = await DataplaneProcess.start(link, { netns, args: ["--workers", "1"] });
      expect(second.device.read().peers).toEqual([]);
    });

    test("it ends when its link is deleted, with status 0, and takes its socket along", async () => {
      for (const workers of ["1", "3"]) {
        using scratch = new Scratch();
        const link = newName();
        await using started = await DataplaneProcess.start(link, {
          netns: scratch.netns,
          args: ["--workers", workers],
        });
        scratch.text(`ip link del ${link}`);
        expect(await started.ended()).toEqual({ status: 0, signal: null, said: "" });
        expect(existsSync(socketOf(link))).toBe(false);
      }
    });

    test("it ends at once on SIGTERM and SIGINT, and its link goes with it", async () => {
      for (const signal of ["SIGTERM", "SIGINT"] as const) {
        using scratch = new Scratch();
        const link = newName();
        await using started = await DataplaneProcess.start(link, { netns: scratch.netns });
        process.kill(started.pid, signal);
        expect(await started.ended()).toEqual({ status: null, signal, said: "" });
        expect(links(scratch)).not.toContain(link);
      }
    });

    test("idle, it sleeps: no thread of it uses the processor", async () => {
      using scratch = new Scratch();
      const link = newName();
      await using started = await DataplaneProcess.start(link, { netns: scratch.netns });
      scratch.text(`ip link set ${link} up`);
      // Connected and silent.
      using _client = connectUnix(socketOf(link));
      const ticks = () => {
        const stat =
          runSync(["cat", `/proc/${started.pid}/stat`])
            .stdout.split(") ")[1]
            ?.split(" ") ?? [];
        return Number(stat[11]) + Number(stat[12]);
      };
      // It settles after its start.
      await Bun.sleep(1000);
      const before = ticks();
      await Bun.sleep(1000);
      // Of the 100 that a busy thread has in a second.
      expect(ticks() - before).toBeLessThan(20);
    });

    test("the link can be renamed, and goes on under its new name", async () => {
      using scratch = new Scratch();
      const link = newName();
      await using started = await DataplaneProcess.start(link, { netns: scratch.netns });
      scratch.text(`ip link set ${link} name renamed`);
      scratch.text("ip link set renamed mtu 1300 up");
      expect(started.device.read().peers).toEqual([]);
      scratch.text("ip link del renamed");
      expect((await started.ended()).status).toBe(0);
      expect(existsSync(socketOf(link))).toBe(false);
    });

    /** A library that is not on this machine. */
    function missingAead(): string {
      const cached = runSync(["/sbin/ldconfig", "-p"]).stdout;
      return cached.includes("libIPSec_MB.so.2") ? "ipsec-mb-1" : "ipsec-mb-2";
    }
  },
);
