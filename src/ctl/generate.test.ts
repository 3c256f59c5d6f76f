import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runSync } from "../sys/mod.ts";

const base = mkdtempSync(join(tmpdir(), "causeway-generate-"));
const wg = join(base, "wg");
beforeEach(() => rmSync(wg, { recursive: true, force: true }));
afterAll(() => rmSync(base, { recursive: true, force: true }));

/** The command alone, in a process of its own: what it prints is looked at. */
const script = `
  import { parseGiven } from "${import.meta.dir}/command.ts";
  import { generate } from "${import.meta.dir}/generate.ts";
  try {
    await generate.run(parseGiven(generate, "causeway mesh generate", process.argv.slice(1)));
  } catch (error) {
    process.stderr.write(error.message);
    process.exitCode = 1;
  }`;

function run(...args: string[]) {
  return runSync([process.execPath, "-e", script, "--", ...args], { timeoutMs: 30_000 });
}
const made = (...args: string[]) => {
  const done = run("--output", wg, ...args);
  expect(done.stderr).not.toContain("Cannot");
  expect(done.status).toBe(0);
  return done;
};
const first = ["10.6.0.0/24", "--endpoint", "hub.example.com:15220", "--peer", "a", "--peer", "b"];
const files = () =>
  (readdirSync(wg, { recursive: true, encoding: "utf8" }) as string[])
    .filter((name) => /\.conf$|json$/.test(name))
    .sort();
const contents = () =>
  Object.fromEntries(files().map((name) => [name, readFileSync(join(wg, name), "utf8")]));
const times = () => Object.fromEntries(files().map((name) => [name, statSync(join(wg, name)).mtimeMs]));

describe("the folder", () => {
  test("files are the owner's alone; a second run writes nothing", () => {
    const { stdout, stderr } = made(...first);
    expect(stdout).toBe("+ hub/wg0.conf\n+ a/wg0.conf\n+ b/wg0.conf\n");
    expect(stderr).toContain("1 hub, 2 machines; written");
    expect(files()).toEqual(["a/wg0.conf", "b/wg0.conf", "hub/wg0.conf", "mesh.json"]);
    for (const name of ["", "a", "hub"]) expect(statSync(join(wg, name)).mode & 0o777).toBe(0o700);
    for (const name of files()) expect(statSync(join(wg, name)).mode & 0o777).toBe(0o600);
    const before = times();
    const again = made();
    expect([again.stdout, again.stderr]).toEqual(["", expect.stringContaining("nothing changes")]);
    expect(times()).toEqual(before);
  });

  test("one more, one less, one with a new key: only its file and the hub's are written", () => {
    made(...first);
    const before = times();
    const own = readFileSync(join(wg, "a/wg0.conf"), "utf8");
    expect(made("--peer", "c", "--remove", "b").stdout).toBe(
      "~ hub/wg0.conf\n    peer c added\n    peer b removed\n+ c/wg0.conf\n- b/wg0.conf\n",
    );
    expect(files()).toEqual(["a/wg0.conf", "c/wg0.conf", "hub/wg0.conf", "mesh.json"]);
    expect(times()["a/wg0.conf"]).toBe(before["a/wg0.conf"] as number);
    expect(made("--rotate", "c").stdout).toBe(
      "~ hub/wg0.conf\n    peer c: new key\n~ c/wg0.conf\n    new key\n",
    );
    expect(readFileSync(join(wg, "a/wg0.conf"), "utf8")).toBe(own);
  });

  test("a dry run writes nothing and tells the same; nothing that is printed is a secret", () => {
    expect(run("--output", wg, ...first, "--psk", "--dry-run").stdout).toContain("+ hub/wg0.conf");
    expect(existsSync(wg)).toBe(false);
    const { stdout, stderr } = made(...first, "--psk", "--json");
    const before = contents();
    const dry = JSON.parse(made("--remove", "b", "--dry-run", "--json").stdout);
    expect([dry.written, dry.changes]).toEqual([
      false,
      [
        { machine: "hub", path: "hub/wg0.conf", action: "change", details: ["peer b removed"] },
        { machine: "b", path: "b/wg0.conf", action: "remove", details: [] },
      ],
    ]);
    expect(contents()).toEqual(before);
    const secrets = Object.values(before).flatMap((text) =>
      [...text.matchAll(/(?:PrivateKey|PresharedKey) = (\S+)|"(?:privateKey|pairSeed)": "([^"]+)"/g)].map(
        (m) => (m[1] ?? m[2]) as string,
      ),
    );
    expect(new Set(secrets).size).toBe(3 + 2 + 1);
    for (const secret of secrets) expect(stdout + stderr).not.toContain(secret);
    expect(JSON.parse(stdout).machines[1]).toMatchObject({
      name: "a",
      hub: false,
      site: "hub",
      addresses: ["10.6.0.2"],
      file: "a/wg0.conf",
    });
  });

  test("a file that is lost comes again with the same keys; one that was edited by hand is not overwritten unasked", () => {
    made(...first);
    const before = contents();
    rmSync(join(wg, "a"), { recursive: true });
    expect(made().stdout).toBe("+ a/wg0.conf\n    was missing\n");
    expect(contents()).toEqual(before);
    writeFileSync(join(wg, "b/wg0.conf"), "mine\n");
    const refused = run("--output", wg, "--peer", "c");
    expect([refused.status, refused.stderr]).toEqual([
      1,
      expect.stringContaining("b/wg0.conf was not written by causeway, or edited since"),
    ]);
    expect(files()).not.toContain("c/wg0.conf");
    expect(made("--overwrite").stdout).toBe("~ b/wg0.conf\n    what was written by hand is lost\n");
    expect(contents()).toEqual(before);
  });

  test("another name of the interface moves all files", () => {
    made(...first);
    made("--interface", "wg9");
    expect(files()).toEqual(["a/wg9.conf", "b/wg9.conf", "hub/wg9.conf", "mesh.json"]);
    made("--interface", "wg9");
  });
});

describe("what is wrong leaves no trace", () => {
  const wrong: [string, string[]][] = [
    ["too small", ["10.6.0.0/31", "--endpoint", "a.example:1"]],
    ["has bits set after its length; write 10.6.0.0/24", ["10.6.0.1/24", "--endpoint", "a.example:1"]],
    ["is not a network", ["10.6.0", "--endpoint", "a.example:1"]],
    ["no endpoint is given", ["10.6.0.0/24"]],
    ["is not host:port", ["10.6.0.0/24", "--endpoint", "a.example"]],
    ["is given twice", ["10.6.0.0/24", "--endpoint", "a.example:1", "--peer", "x", "--peer", "x"]],
    ["no network is given", ["--endpoint", "a.example:1"]],
    ['--topology "ring" is not one of hub, full, sites', ["10.6.0.0/24", "--topology", "ring"]],
    ['--mtu "big" is not a whole number', ["10.6.0.0/24", "--mtu", "big"]],
    ['"x" is not an IP address', ["10.6.0.0/24", "--endpoint", "a.example:1", "--dns", "x"]],
  ];
  for (const [message, args] of wrong)
    test(message, () => {
      const done = run("--output", wg, ...args);
      expect([done.status, done.stdout, done.stderr]).toEqual([1, "", expect.stringContaining(message)]);
      expect(readdirSync(base)).toEqual([]);
    });

  test("and a mesh that is there stays as it was", () => {
    made(...first);
    const before = contents();
    for (const args of [
      ["10.7.0.0/24"],
      ["--remove", "x"],
      ["--peers", "1"],
      ["--peer", "hub"],
      ["--topology", "full", "--endpoint", "z=z.example:1"],
    ]) {
      expect(run("--output", wg, ...args).status).toBe(1);
      expect(contents()).toEqual(before);
    }
  });

  test("a folder of somebody else is left alone", () => {
    const theirs = join(base, "theirs");
    mkdirSync(theirs);
    writeFileSync(join(theirs, "x"), "");
    expect(run("--output", theirs, ...first).stderr).toContain("holds other files and no mesh.json");
    expect(statSync(theirs).mode & 0o777).not.toBe(0o700);
    writeFileSync(join(theirs, "mesh.json"), "{}");
    expect(run("--output", theirs, ...first).stderr).toContain("mesh.json: version is damaged");
    rmSync(theirs, { recursive: true });
  });
});
