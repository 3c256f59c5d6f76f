import { afterAll, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { installCni, uninstallCni } from "./install.ts";

const folder = mkdtempSync(join(tmpdir(), "causeway-install-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const executable = join(folder, "new-build");
writeFileSync(executable, "program");
const options = { binDir: join(folder, "bin"), confDir: join(folder, "deep", "net.d"), executable };

test("both files are made, also again over old ones, and a runtime of 1.0.0 can use the list", () => {
  for (const content of ["program", "next program"]) {
    writeFileSync(executable, content);
    const [plugin, list] = installCni(options) as [string, string];
    expect([plugin, list]).toEqual([
      join(options.binDir, "causeway"),
      join(options.confDir, "10-causeway.conflist"),
    ]);
    expect(readFileSync(plugin, "utf8")).toBe(content);
    expect(statSync(plugin).mode & 0o777).toBe(0o755);
    expect(JSON.parse(readFileSync(list, "utf8"))).toMatchObject({
      cniVersion: "1.0.0",
      cniVersions: ["0.4.0", "1.0.0", "1.1.0"],
      name: "causeway",
      plugins: [{ type: "causeway" }],
    });
  }
  expect(readdirSync(options.binDir)).toEqual(["causeway"]);
  expect(readdirSync(options.confDir)).toEqual(["10-causeway.conflist"]);
});

test("other people's files stay, and folders keep their mode", () => {
  mkdirSync(options.binDir, { recursive: true });
  writeFileSync(join(options.binDir, "bridge"), "theirs");
  writeFileSync(join(options.confDir, "05-other.conflist"), "{}");
  installCni(options);
  uninstallCni(options);
  uninstallCni(options);
  expect(readdirSync(options.binDir)).toEqual(["bridge"]);
  expect(readdirSync(options.confDir)).toEqual(["05-other.conflist"]);
});
