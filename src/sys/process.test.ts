import { expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import {
  isAlive,
  onSignal,
  programOf,
  run,
  runSync,
  signal,
  spawnDetached,
  terminate,
  which,
} from "./process.ts";

test("runSync returns status, output and what the program was given", () => {
  expect(runSync(["sh", "-c", "cat; echo no >&2; exit 3"], { input: "yes" })).toEqual({
    status: 3,
    stdout: "yes",
    stderr: "no\n",
  });
});

test("run does the same while other work goes on", async () => {
  const results = await Promise.all(
    [1, 2].map((n) => run(["sh", "-c", `cat; exit ${n}`], { input: `${n}` })),
  );
  expect(results.map((r) => [r.status, r.stdout])).toEqual([
    [1, "1"],
    [2, "2"],
  ]);
});

test("a program that takes too long is killed", async () => {
  expect(runSync(["sleep", "60"], { timeoutMs: 20 }).status).toBe(137);
  expect((await run(["sleep", "60"], { timeoutMs: 20 })).status).toBe(137);
});

test("the environment is ours, changed as asked, without what would change a Bun executable", () => {
  process.env.BUN_BE_BUN = "1";
  try {
    const { stdout } = runSync(["env"], { env: { CW_TEST: "x", HOME: undefined } });
    expect(stdout).toContain("CW_TEST=x\n");
    expect(stdout).not.toMatch(/^(HOME|BUN_BE_BUN)=/m);
  } finally {
    delete process.env.BUN_BE_BUN;
  }
});

test("a missing program is named", () => {
  expect(which("no-such-program")).toBeUndefined();
  expect(which("sh")).toMatch(/^\/.*\/sh$/);
  expect(() => runSync(["no-such-program"])).toThrow(
    "Cannot run no-such-program: it is not in PATH; install it",
  );
});

test("a detached program has its own session and a private log; terminate ends it", async () => {
  const folder = mkdtempSync(`${tmpdir()}/cw-process-`);
  try {
    const stdoutPath = `${folder}/log`;
    let status: number | undefined;
    const pid = spawnDetached(["sh", "-c", "echo started; exec sleep 60"], {
      stdoutPath,
      onExit: (s) => {
        status = s;
      },
    });
    while (!readFileSync(stdoutPath, "utf8").includes("started")) await Bun.sleep(5);
    expect(statSync(stdoutPath).mode & 0o777).toBe(0o600);
    const session = Number(readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ")[3]);
    expect(session).toBe(pid);
    while (programOf(pid) !== "sleep") await Bun.sleep(5);
    expect(isAlive(pid)).toBe(true);
    await terminate(pid);
    expect(isAlive(pid)).toBe(false);
    while (status === undefined) await Bun.sleep(5);
    expect(status).toBe(143);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("terminate kills what ignores SIGTERM", async () => {
  const folder = mkdtempSync(`${tmpdir()}/cw-process-`);
  const stdoutPath = `${folder}/log`;
  const pid = spawnDetached(["sh", "-c", "trap '' TERM; echo ready; sleep 60 & wait; wait"], { stdoutPath });
  while (readFileSync(stdoutPath, "utf8") !== "ready\n") await Bun.sleep(5);
  const child = Number(readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ")[0]);
  await terminate(pid, { graceMs: 30 });
  expect(isAlive(pid)).toBe(false);
  if (child > 1) await terminate(child, { graceMs: 30 });
  rmSync(folder, { recursive: true });
});

test("process ids that mean a group are refused", () => {
  for (const pid of [0, 1, -1, Number.NaN]) expect(() => isAlive(pid)).toThrow("is not the id");
  expect(() => signal(0, "SIGTERM")).toThrow("is not the id");
});

test("onSignal hears signals until it is disposed", async () => {
  const heard: string[] = [];
  {
    using _ = onSignal(["SIGUSR2"], (name) => heard.push(name));
    process.kill(process.pid, "SIGUSR2");
    while (heard.length === 0) await Bun.sleep(2);
  }
  expect(heard).toEqual(["SIGUSR2"]);
});
