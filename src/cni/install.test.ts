import { afterAll, beforeEach, expect, test } from "bun:test";
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { installCni, uninstallCni } from "./install.ts";
import { launcherFor } from "./launcher/mod.ts";

const root = mkdtempSync(join(tmpdir(), "causeway-install-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

let folder: string;
let serial = 0;
beforeEach(() => {
  folder = join(root, String(serial++));
  mkdirSync(folder);
  writeFileSync(join(folder, "build"), "program");
});

const bin = (name = "") => join(folder, "bin", name);
const conf = (name = "") => join(folder, "deep", "net.d", name);
const options = () => ({ binDir: bin(), confDir: conf(), executable: join(folder, "build") });
const LIST = "10-causeway.conflist";

const launcher = launcherFor(process.arch);
/** Where the executable itself is, and what is made. */
const full = launcher === undefined ? "causeway" : "causeway-full";
const programs = launcher === undefined ? ["causeway"] : ["causeway-full", "causeway"];
const all = () => [...[...programs, "loopback", "vxlan"].map(bin), conf(LIST)];

/** Every file of both folders as text. */
function state(): string[] {
  return [bin(), conf()].flatMap((path) =>
    readdirSync(path)
      .sort()
      .map((name) => {
        const { ino, mtimeNs } = lstatSync(join(path, name), { bigint: true });
        return `${name} ${ino} ${mtimeNs}`;
      }),
  );
}

test("all files are made, in an order in which each finds what it needs, and a runtime of 1.0.0 can use the list", () => {
  const report = installCni(options());
  expect(report).toEqual({
    wrote: all(),
    unchanged: [],
    kept: [],
    choice: { taken: conf(LIST), before: [], after: [] },
  });
  expect(readFileSync(bin(full), "utf8")).toBe("program");
  if (launcher !== undefined) expect(Buffer.compare(readFileSync(bin("causeway")), launcher)).toBe(0);
  for (const name of programs) expect(statSync(bin(name)).mode & 0o777).toBe(0o755);
  expect(readlinkSync(bin("loopback"))).toBe(full);
  expect(readlinkSync(bin("vxlan"))).toBe("causeway");
  expect(JSON.parse(readFileSync(conf(LIST), "utf8"))).toEqual({
    cniVersion: "1.0.0",
    cniVersions: ["0.4.0", "1.0.0", "1.1.0"],
    name: "causeway",
    plugins: [
      {
        type: "causeway",
        hairpinMode: true,
        capabilities: { ips: true, mac: true, portMappings: true, bandwidth: true, dns: true },
      },
    ],
  });
  expect(readdirSync(bin()).sort()).toEqual([...programs, "loopback", "vxlan"].sort());
  expect(readdirSync(conf())).toEqual([LIST]);
});

test("a second run changes nothing and says so; a new build replaces the executable by rename, and nothing else", () => {
  installCni(options());
  const before = state();
  const { wrote, unchanged } = installCni(options());
  expect([wrote, unchanged]).toEqual([[], all()]);
  expect(state()).toEqual(before);
  const inode = statSync(bin(full)).ino;
  writeFileSync(join(folder, "build"), "Program");
  expect(installCni(options()).wrote).toEqual([bin(full)]);
  expect(readFileSync(bin("loopback"), "utf8")).toBe("Program");
  expect(statSync(bin(full)).ino).not.toBe(inode);
});

test("--dry-run says what would be done and does nothing, not even folders", () => {
  const planned = installCni({ ...options(), dryRun: true });
  expect([planned.wrote, planned.choice.taken]).toEqual([all(), conf(LIST)]);
  expect(readdirSync(folder)).toEqual(["build"]);
  installCni(options());
  const before = state();
  expect(uninstallCni({ ...options(), dryRun: true }).removed).toHaveLength(all().length);
  expect(state()).toEqual(before);
});

test("another package's loopback stays, whatever it is, with and after us", () => {
  for (const make of [
    (path: string) => writeFileSync(path, "theirs"),
    (path: string) => symlinkSync("/usr/lib/cni/loopback", path),
    (path: string) => symlinkSync("absent", path),
  ]) {
    mkdirSync(bin(), { recursive: true });
    make(bin("loopback"));
    const before = lstatSync(bin("loopback")).ino;
    const reason = "it is there already, from another package";
    expect(installCni(options()).kept).toEqual([{ path: bin("loopback"), reason }]);
    expect(uninstallCni(options()).kept).toEqual([
      { path: bin("loopback"), reason: "it is from another package" },
    ]);
    expect(lstatSync(bin("loopback")).ino).toBe(before);
    rmSync(bin("loopback"));
  }
});

test("another package's vxlan stays", () => {
  mkdirSync(bin(), { recursive: true });
  writeFileSync(bin("vxlan"), "theirs");
  const kept = { path: bin("vxlan"), reason: "it is there already, from another package" };
  expect(installCni(options()).kept).toEqual([kept]);
  expect(uninstallCni(options()).kept).toEqual([{ ...kept, reason: "it is from another package" }]);
  expect(readFileSync(bin("vxlan"), "utf8")).toBe("theirs");
});

test("our own loopback is known by its target, also one of a build without a launcher", () => {
  installCni(options());
  rmSync(bin("loopback"));
  symlinkSync(full === "causeway" ? "causeway-full" : "causeway", bin("loopback"));
  expect(installCni(options())).toMatchObject({ wrote: [bin("loopback")], kept: [] });
  expect(readlinkSync(bin("loopback"))).toBe(full);
  expect(readlinkSync(bin("vxlan"))).toBe("causeway");
});

test("a configuration that was edited stays; one that an earlier version wrote is renewed", () => {
  installCni(options());
  const written = readFileSync(conf(LIST), "utf8");
  const edited = written.replace('"type": "causeway"', '"type": "causeway", "mtu": 1400');
  writeFileSync(conf(LIST), edited);
  expect(installCni(options())).toMatchObject({
    wrote: [],
    kept: [{ path: conf(LIST), reason: expect.stringContaining("it was edited; remove it") }],
  });
  expect(readFileSync(conf(LIST), "utf8")).toBe(edited);
  const list = JSON.parse(written);
  const [{ type, capabilities }] = list.plugins;
  for (const before of [
    { type, capabilities: { ips: true, mac: true, dns: true } },
    { type, capabilities },
  ]) {
    writeFileSync(conf(LIST), `${JSON.stringify({ ...list, plugins: [before] }, null, 2)}\n`);
    expect(installCni(options()).wrote).toEqual([conf(LIST)]);
    expect(readFileSync(conf(LIST), "utf8")).toBe(written);
  }
});

test("runtimes take the first configuration by name, in the order of bytes, of the kinds they know", () => {
  installCni(options());
  for (const name of [
    "99-z.conf",
    "10-calico.conflist",
    "100-x.json",
    "05-notes.txt",
    "10-causeway.conf",
    "Z.json",
  ])
    writeFileSync(conf(name), "{}");
  expect(installCni(options()).choice).toEqual({
    taken: conf("10-calico.conflist"),
    before: [conf("10-calico.conflist"), conf("10-causeway.conf")],
    after: [conf("100-x.json"), conf("99-z.conf"), conf("Z.json")],
  });
  expect(readFileSync(conf("10-calico.conflist"), "utf8")).toBe("{}");
});

test("uninstall removes what is ours, an edited configuration too, and leaves the rest; again it does nothing", () => {
  mkdirSync(bin(), { recursive: true });
  mkdirSync(conf(), { recursive: true });
  writeFileSync(bin("bridge"), "theirs");
  writeFileSync(conf("05-other.conflist"), "{}");
  installCni(options());
  writeFileSync(conf(LIST), '{"plugins":[{"type":"causeway","mtu":1400}]}');
  expect(uninstallCni(options())).toEqual({
    removed: [
      conf(LIST),
      ...["loopback", "vxlan", "causeway", ...(launcher === undefined ? [] : [full])].map(bin),
    ],
    kept: [],
  });
  expect(readdirSync(bin())).toEqual(["bridge"]);
  expect(readdirSync(conf())).toEqual(["05-other.conflist"]);
  expect(uninstallCni(options())).toEqual({ removed: [], kept: [] });
});

test("a list of our name that another wrote stays", () => {
  mkdirSync(conf(), { recursive: true });
  for (const text of ['{"plugins":[{"type":"bridge"}]}', "torn {"]) {
    writeFileSync(conf(LIST), text);
    expect(installCni(options()).kept.map(({ path }) => path)).toEqual([conf(LIST)]);
    expect(uninstallCni(options()).kept.map(({ path }) => path)).toEqual([conf(LIST)]);
    expect(readFileSync(conf(LIST), "utf8")).toBe(text);
  }
});

test("the program that runs is not replaced by its launcher, nor removed, also through a link to its folder", () => {
  mkdirSync(bin(), { recursive: true });
  const own = bin("causeway");
  writeFileSync(own, "program");
  symlinkSync(bin(), join(folder, "link"));
  for (const binDir of [bin(), join(folder, "link")]) {
    const here = { ...options(), binDir, executable: own };
    expect(() => installCni(here)).toThrow(`${join(binDir, "causeway")} is this program`);
    expect(uninstallCni(here)).toEqual({
      removed: [],
      kept: [{ path: join(binDir, "causeway"), reason: "it is this program" }],
    });
  }
  expect(readdirSync(bin())).toEqual(["causeway"]);
});
