/**
 * The launcher, executed: what it sends, what it does with answers, and what it leaves to the full executable. The test is the agent. For
 * the architecture that the machine has not, QEMU runs it.
 */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import {
  closeSync,
  constants,
  fstatSync,
  openSync,
  readFileSync,
  renameSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { decodeRequest, launcherFor, MOST_REQUEST_BYTES } from "../../src/cni/mod.ts";
import { libc, LineServer, type LineConnection } from "../../src/sys/mod.ts";
import { LauncherScene, runnerOf } from "../support/cni-launcher.ts";
import { notRoot } from "../support/scratch.ts";

const F_SETFL = 4;

const env = { CNI_COMMAND: "ADD", CNI_CONTAINERID: "c1", CNI_IFNAME: "eth0", CNI_PATH: "/opt/cni/bin" };

for (const architecture of ["x64", "arm64"] as const) {
  const runner = runnerOf(architecture);
  const lacking = notRoot ?? (runner === undefined ? "needs QEMU's user emulation (qemu-user)" : undefined);

  describe.skipIf(lacking !== undefined)(
    `CNI: launcher ${architecture}${lacking === undefined ? "" : ` (skipped: ${lacking})`}`,
    () => {
      let scene: LauncherScene;
      const opened: { close(): void }[] = [];
      beforeAll(async () => {
        scene = await LauncherScene.create(architecture, runner);
      });
      afterEach(() => {
        for (const server of opened.splice(0)) server.close();
        scene.placeFull("witness");
      });
      afterAll(() => scene?.[Symbol.asyncDispose]());

      /** An agent that does as it is told with each question. */
      function agent(onRequest: (line: string, connection: LineConnection) => void): void {
        const options = { mode: 0o600, descriptors: true, maxLineBytes: MOST_REQUEST_BYTES, onRequest };
        opened.push(LineServer.listen(scene.socketPath, options));
      }

      /** An agent that answers always the same; the questions are returned. */
      function answering(answer: string): string[] {
        const asked: string[] = [];
        agent((line, connection) => {
          asked.push(line);
          connection.reply(answer);
          connection.end();
        });
        return asked;
      }

      /** An agent that reads at least so many bytes, says something, and goes. */
      function dying(afterBytes: number, words = ""): void {
        const got = new WeakMap<object, number>();
        const listener = Bun.listen({
          unix: scene.socketPath,
          socket: {
            data(socket, chunk) {
              const sum = (got.get(socket) ?? 0) + chunk.length;
              got.set(socket, sum);
              if (sum < afterBytes) return;
              if (words !== "") socket.write(words);
              socket.end();
              // With unread data the other side gets ECONNRESET or EPIPE instead of an end.
              socket.terminate();
            },
          },
        });
        opened.push({ close: () => listener.stop(true) });
      }

      /** What the witness says when it was called without arguments. */
      const byFull = (stdin: string) => ({ status: 7, stdout: `full ${scene.launcher}-full 0 \n${stdin}` });

      test("a question is the variables and standard input; an answer is status and standard output", async () => {
        const asked = answering('0{"cniVersion":"1.0.0"}');
        const given = {
          env: { ...env, CNI_ARGS: "A=1;B", HOME: "/", XCNI_A: "no" },
          stdin: '{"name":"net"}',
        };
        expect(await scene.call(given)).toEqual({
          status: 0,
          stdout: '{"cniVersion":"1.0.0"}\n',
          stderr: "",
        });
        expect(asked).toHaveLength(1);
        const [variables, stdin] = (asked[0] as string).split("\0\0") as [string, string];
        expect(variables.split("\0").sort()).toEqual([
          "CNI_ARGS=A=1;B",
          "CNI_COMMAND=ADD",
          "CNI_CONTAINERID=c1",
          "CNI_IFNAME=eth0",
          "CNI_PATH=/opt/cni/bin",
        ]);
        expect(stdin).toBe('{"name":"net"}');
      });

      test("every status, without output and with", async () => {
        for (const status of [0, 1, 5, 9]) {
          answering(String(status));
          expect(await scene.call({ env })).toEqual({ status, stdout: "", stderr: "" });
          opened.splice(0).forEach((server) => server.close());
          answering(`${status}x`);
          expect(await scene.call({ env })).toEqual({ status, stdout: "x\n", stderr: "" });
          opened.splice(0).forEach((server) => server.close());
        }
      });

      test("the descriptor of CNI_NETNS comes with it, opened where the launcher is", async () => {
        const seen: unknown[] = [];
        agent((line, connection) => {
          using descriptor = connection.takeDescriptor();
          seen.push([
            decodeRequest(line)?.environment.CNI_NETNS,
            descriptor && fstatSync(descriptor.number).ino,
          ]);
          connection.reply("0");
          connection.end();
        });
        // Only the node has this mount.
        await scene.node.addPod("there");
        const path = "/run/netns/there";
        const inode = statSync(scene.node.netnsPath("there")).ino;
        expect((await scene.call({ env: { ...env, CNI_NETNS: path }, stdin: "{}" })).status).toBe(0);
        expect((await scene.call({ env: { ...env, CNI_NETNS: "" }, stdin: "{}" })).status).toBe(0);
        expect(
          (await scene.call({ env: { ...env, CNI_NETNS: path }, stdin: "x".repeat(1 << 20) })).status,
        ).toBe(0);
        expect(seen).toEqual([
          [path, inode],
          [undefined, undefined],
          [path, inode],
        ]);
      });

      test("line feeds become blanks, in standard input and in variables", async () => {
        const asked = answering("0");
        const stdin = '\n{\r\n\t"a":\n1}\r\n\n';
        await scene.call({ env: { ...env, CNI_ARGS: "\na\r\nb\n" }, stdin });
        expect(decodeRequest(asked[0] as string)).toEqual({
          environment: { ...env, CNI_ARGS: " a  b " },
          stdin: stdin.replaceAll(/[\r\n]/g, " "),
        });
      });

      test("standard input: none, every byte, a MiB, and in pieces with pauses", async () => {
        const asked = answering("0");
        await scene.call({ env });
        const bytes = Uint8Array.from({ length: 256 }, (_, index) => index);
        await scene.call({ env, stdin: bytes });
        const long = `{"a":"${"x".repeat(2 ** 20)}"}`;
        await scene.call({ env, stdin: long });
        const child = scene.start({ env }, { stdin: "pipe", stdout: "pipe" });
        for (const piece of ['{"na', 'me":', "\n", '"net"', "}"]) {
          child.stdin.write(piece);
          await child.stdin.flush();
          await Bun.sleep(30);
        }
        await child.stdin.end();
        expect(await child.exited).toBe(0);
        const stdins = asked.map((line) => decodeRequest(line)?.stdin);
        const every = Buffer.from(bytes.map((byte) => (byte === 10 || byte === 13 ? 32 : byte))).toString();
        expect(stdins).toEqual(["", every, long, '{"name": "net"}']);
      });

      test("the agent is not kept waiting by a slow caller", async () => {
        answering("0");
        const [server] = opened as [LineServer];
        const child = scene.start({ env }, { stdin: "pipe", stdout: "pipe" });
        child.stdin.write("{");
        await child.stdin.flush();
        await Bun.sleep(100);
        expect(server.connections).toBe(0);
        await child.stdin.end();
        expect(await child.exited).toBe(0);
      });

      test("an answer of 3 MiB to a slow reader is complete", async () => {
        const long = "y".repeat(3 * 2 ** 20);
        answering(`0${long}`);
        const child = scene.start({ env }, { stdin: "ignore", stdout: "pipe" });
        let text = "";
        for await (const chunk of child.stdout as ReadableStream<Uint8Array>) {
          text += Buffer.from(chunk).toString();
          await Bun.sleep(1);
        }
        expect(await child.exited).toBe(0);
        expect(text === `${long}\n`).toBe(true);
      });

      test("standard input and output that do not wait (O_NONBLOCK) are waited for", async () => {
        const long = "z".repeat(2 ** 20);
        const asked = answering(`0${long}`);
        await scene.node.must(`mkfifo ${scene.folder}/in ${scene.folder}/out`);
        const [input, output] = [scene.outside(`${scene.folder}/in`), scene.outside(`${scene.folder}/out`)];
        const { O_RDONLY, O_RDWR, O_WRONLY, O_NONBLOCK } = constants;
        // What the launcher gets; whoever starts programs makes these ends wait, so it is undone once it runs.
        const ends = [openSync(input, O_RDONLY | O_NONBLOCK), openSync(output, O_RDWR | O_NONBLOCK)] as const;
        const writer = openSync(input, O_WRONLY);
        const command = `kill -STOP $$; exec ${[...(runner ?? []), scene.launcher].join(" ")}`;
        const child = Bun.spawn(scene.inside(["sh", "-c", command]), {
          env: { ...env, PATH: process.env["PATH"] },
          stdin: ends[0],
          stdout: ends[1],
        });
        while (!/\) T /.test(readFileSync(`/proc/${child.pid}/stat`, "utf8"))) await Bun.sleep(1);
        for (const end of ends) libc.fcntl(end, F_SETFL, O_NONBLOCK);
        child.kill("SIGCONT");
        await Bun.sleep(50);
        writeFileSync(writer, '{"late":1}');
        closeSync(writer);
        while (asked.length === 0) await Bun.sleep(1);
        await Bun.sleep(50);
        const reader = Bun.spawn(["head", "-c", String(long.length + 1), output], { stdout: "pipe" });
        expect([await child.exited, (await reader.stdout.text()) === `${long}\n`]).toEqual([0, true]);
        expect(decodeRequest(asked[0] as string)?.stdin).toBe('{"late":1}');
        for (const end of ends) closeSync(end);
      });

      test("being stopped and continued while it waits changes nothing", async () => {
        // A socket with a timeout fails with EINTR after SIGCONT, also without a handler (signal(7)).
        const waiting: LineConnection[] = [];
        agent((_line, connection) => waiting.push(connection));
        const child = scene.start({ env }, { stdin: Buffer.from("{}"), stdout: "pipe" });
        while (waiting.length === 0) await Bun.sleep(1);
        for (let times = 0; times < 3; times++) {
          child.kill("SIGSTOP");
          await Bun.sleep(20);
          child.kill("SIGCONT");
          await Bun.sleep(20);
        }
        waiting[0]?.reply("3done");
        waiting[0]?.end();
        expect([await child.exited, await child.stdout.text(), waiting.length]).toEqual([3, "done\n", 1]);
      });

      test("being stopped and continued while it sends loses nothing and repeats nothing", async () => {
        const parts: Buffer[] = [];
        const sockets: Bun.Socket<undefined>[] = [];
        const listener = Bun.listen({
          unix: scene.socketPath,
          socket: {
            open(socket) {
              socket.pause();
              sockets.push(socket);
            },
            data(socket, chunk) {
              parts.push(Buffer.from(chunk));
              if (chunk.at(-1) === 10) socket.end("0\n");
            },
          },
        });
        opened.push({ close: () => listener.stop(true) });
        const stdin = Array.from({ length: 300_000 }, (_, index) => `"${index}",`).join("");
        const child = scene.start({ env }, { stdin: Buffer.from(stdin), stdout: "pipe" });
        while (sockets.length === 0) await Bun.sleep(1);
        for (let times = 0; times < 20; times++) {
          await Bun.sleep(10);
          child.kill("SIGSTOP");
          await Bun.sleep(1);
          child.kill("SIGCONT");
          // A little is read in between, so that the next call is interrupted as well.
          sockets[0]?.resume();
          await Bun.sleep(0);
          sockets[0]?.pause();
        }
        sockets[0]?.resume();
        expect([await child.exited, sockets.length]).toEqual([0, 1]);
        expect(decodeRequest(Buffer.concat(parts).toString().trimEnd())?.stdin === stdin).toBe(true);
      });

      test("100 at once get each its own answer", async () => {
        agent((line, connection) => {
          const { environment, stdin } = decodeRequest(line) ?? { environment: {}, stdin: "" };
          connection.reply(`1${environment.CNI_CONTAINERID} ${stdin}`);
          connection.end();
        });
        const outcomes = await Promise.all(
          Array.from({ length: 100 }, (_, index) =>
            scene.call({ env: { ...env, CNI_CONTAINERID: `c${index}` }, stdin: `{"n":${index}}` }),
          ),
        );
        expect(outcomes).toEqual(
          outcomes.map((_, index) => ({ status: 1, stdout: `c${index} {"n":${index}}\n`, stderr: "" })),
        );
      });

      test("a hostile environment: 10,000 variables, values of 100 KB, names that look like ours", async () => {
        const asked = answering("0");
        const padding = Object.fromEntries(
          Array.from({ length: 10_000 }, (_, index) => [`PAD${index}`, "CNI_NETNS=/x"]),
        );
        const value = "v".repeat(100_000);
        const hostile = {
          CNI_: value,
          CNI: "x",
          CNI_COMMANDER: "VERSION",
          CNI_ARGS: value,
          CNI_NETNS_OVERRIDE: "1",
        };
        expect(await scene.call({ env: { ...padding, ...env, ...hostile }, stdin: "{}" })).toMatchObject({
          status: 0,
        });
        expect(decodeRequest(asked[0] as string)).toEqual({
          environment: { ...env, CNI_ARGS: value, CNI_NETNS_OVERRIDE: "1" },
          stdin: "{}",
        });
        expect((asked[0] as string).length).toBeLessThan(201_000);
      });

      test("variables that are too long for a question are the full executable's, with standard input untouched", async () => {
        answering("0");
        // More than 2 MiB pass execve only with a large stack (execve(2)).
        const command = [...(runner ?? []), scene.launcher].join(" ");
        const fill = `ulimit -s unlimited; v=$(head -c 100000 /dev/zero | tr '\\0' v); for i in $(seq 50); do export CNI_$i=$v; done; exec ${command}`;
        const child = Bun.spawn(scene.inside(["bash", "-c", fill]), {
          env: { ...env, PATH: process.env["PATH"] },
          stdin: Buffer.from("a\nb"),
          stdout: "pipe",
          stderr: "ignore",
        });
        expect([await child.stdout.text(), await child.exited]).toEqual([byFull("a\nb").stdout, 7]);
      });

      test("no command, an empty one, and VERSION are the full executable's, with arguments, environment and input", async () => {
        const asked = answering("0");
        const padding = Object.fromEntries(Array.from({ length: 10_000 }, (_, index) => [`PAD${index}`, ""]));
        const { CNI_COMMAND: _, ...without } = env;
        for (const command of [undefined, "", "VERSION"]) {
          const outcome = await scene.call({
            env: { ...padding, ...without, ...(command !== undefined && { CNI_COMMAND: command }) },
            args: ["status", "--json"],
            stdin: "line\r\nline\n",
          });
          expect(outcome).toEqual({
            status: 7,
            stdout: `full ${scene.launcher}-full 2 status\nline\r\nline\n`,
            stderr: "10000\n",
          });
        }
        expect(asked).toEqual([]);
        const others = ["VERSIONS", "version", "VERSIO", "X"];
        for (const command of others) await scene.call({ env: { ...env, CNI_COMMAND: command } });
        expect(asked.map((line) => decodeRequest(line)?.environment.CNI_COMMAND)).toEqual(others);
      });

      test("without an agent, or with a socket that nobody answers on, the full executable gets all of standard input", async () => {
        expect(await scene.call({ env, stdin: "{ }" })).toMatchObject(byFull("{ }"));
        expect(await scene.call({ env })).toMatchObject(byFull(""));
        const left = `Bun.listen({unix: "/run/causeway/cni.sock", socket: {data() {}}}); process.kill(process.pid, 9)`;
        Bun.spawnSync(scene.inside([process.execPath, "-e", left]));
        expect(await scene.node.must("test -S /run/causeway/cni.sock && echo there")).toBe("there\n");
        expect(await scene.call({ env, stdin: "{ }" })).toMatchObject(byFull("{ }"));
        await scene.node.must("rm /run/causeway/cni.sock");
      });

      test("a namespace that cannot be opened is the full executable's, which finds the reason", async () => {
        const asked = answering("0");
        expect(
          await scene.call({ env: { ...env, CNI_NETNS: "/run/netns/gone" }, stdin: "a\nb" }),
        ).toMatchObject(byFull("a\nb"));
        expect(asked).toEqual([]);
      });

      test("an agent that dies in mid-call: while it reads, before it answers, in its answer", async () => {
        const long = `{"a":"${"x".repeat(3 * 2 ** 20)}"}`;
        for (const [bytes, words, stdin] of [
          [1, "", long],
          [1_000_000, "", long],
          [MOST_REQUEST_BYTES - 2 ** 20, "", long],
          [10, "", "{}"],
          [10, "0{", "{}"],
          [10, "0", "{}"],
          [10, "\n", "{}"],
          [10, "x\n", "{}"],
          [10, "/\n", "{}"],
          [10, ":\n", "{}"],
          [10, "-1\n", "{}"],
        ] as const) {
          dying(bytes, words);
          const outcome = await scene.call({ env, stdin });
          expect([bytes, words, outcome.status, outcome.stdout === byFull(stdin).stdout]).toEqual([
            bytes,
            words,
            7,
            true,
          ]);
          opened.splice(0).forEach((server) => server.close());
        }
      });

      test("a call above the limit goes to the full executable in one piece, also when it comes slowly", async () => {
        const asked = answering("0");
        const variables = Object.entries(env).reduce(
          (sum, [name, value]) => sum + name.length + value.length + 2,
          1,
        );
        // Variables, standard input and line feed; at the limit there is no byte left by which its end could be seen.
        const most = MOST_REQUEST_BYTES - variables - 1;
        expect((await scene.call({ env, stdin: "x".repeat(most - 1) })).status).toBe(0);
        expect(asked.map((line) => line.length)).toEqual([MOST_REQUEST_BYTES - 2]);
        for (const length of [most, most + 1, 5 * 2 ** 20, 11 * 2 ** 20]) {
          const stdin = "x".repeat(length);
          const outcome = await scene.call({ env, stdin });
          expect([length, outcome.status, outcome.stdout === byFull(stdin).stdout]).toEqual([
            length,
            7,
            true,
          ]);
        }
        const child = scene.start({ env }, { stdin: "pipe", stdout: "pipe" });
        for (let pieces = 0; pieces < 5; pieces++) {
          child.stdin.write("w".repeat(2 ** 20));
          await child.stdin.flush();
          await Bun.sleep(20);
        }
        await child.stdin.end();
        const stdout = await child.stdout.text();
        expect([await child.exited, stdout === byFull("w".repeat(5 * 2 ** 20)).stdout]).toEqual([7, true]);
        expect(asked).toHaveLength(1);
      });

      test("with the full executable missing there is an error object, and status 1", async () => {
        scene.placeFull("nothing");
        for (const call of [{ env, stdin: "{}" }, { env: {} }, { env: { CNI_COMMAND: "VERSION" } }]) {
          const { status, stdout } = await scene.call(call);
          expect([status, JSON.parse(stdout)]).toMatchObject([1, { cniVersion: "1.0.0", code: 11 }]);
          expect(stdout.trimEnd().split("\n")).toHaveLength(1);
        }
      });

      test("a launcher that was replaced while it ran finds the full executable", async () => {
        const waiting: LineConnection[] = [];
        agent((_line, connection) => waiting.push(connection));
        const child = scene.start({ env }, { stdin: Buffer.from("{}"), stdout: "pipe" });
        while (waiting.length === 0) await Bun.sleep(1);
        const path = scene.outside(scene.launcher);
        writeFileSync(`${path}.new`, launcherFor(architecture) as Uint8Array, { mode: 0o755 });
        renameSync(`${path}.new`, path);
        waiting[0]?.end();
        expect([await child.exited, await child.stdout.text()]).toEqual([7, byFull("{}").stdout]);
      });

      test("descriptors: closed ones are not mistaken, and none is left to the full executable", async () => {
        answering("0out");
        const shell = (words: string) =>
          Bun.spawnSync(scene.inside(["sh", "-c", words]), { env: { ...env, PATH: process.env["PATH"] } });
        const command = [...(runner ?? []), scene.launcher].join(" ");
        // Standard input closed: the socket would become descriptor 0; so the full executable is asked, which has none either.
        expect(shell(`${command} <&- 2>/dev/null`).stdout.toString()).toBe(byFull("").stdout);
        expect(shell(`${command} >&- <&- 2>/dev/null`).exitCode).toBe(7);
        expect(shell(`${command} >&- </dev/null 2>/dev/null`).exitCode).toBe(7);
        await scene.node.addPod("left");
        const netns = "CNI_NETNS=/run/netns/left";
        expect(shell(`${netns} ${command} >&- </dev/null 2>/dev/null`).exitCode).toBe(7);
        writeFileSync(scene.outside(`${scene.launcher}-full`), "#!/bin/sh\nls /proc/self/fd\n");
        opened.splice(0).forEach((server) => server.close());
        const open = (await scene.call({ env: { ...env, CNI_NETNS: "/run/netns/left" }, stdin: "{}" }))
          .stdout;
        // 3 is the folder that ls reads, 10 the script that the shell reads.
        expect(
          open
            .trim()
            .split("\n")
            .filter((number) => number !== "10"),
        ).toEqual(["0", "1", "2", "3"]);
      });

      test("a reader of standard output that is gone ends it as it ends any program", async () => {
        answering(`0${"x".repeat(2 ** 20)}`);
        const command = [...(runner ?? []), scene.launcher].join(" ");
        const child = Bun.spawn({
          cmd: scene.inside(["bash", "-c", `${command} </dev/null | true; echo \${PIPESTATUS[0]}`]),
          env: { ...env, PATH: process.env["PATH"] },
          stdout: "pipe",
        });
        expect(await child.stdout.text()).toBe(`${128 + 13}\n`);
      });
    },
  );
}
