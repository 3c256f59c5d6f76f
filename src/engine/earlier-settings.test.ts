import { expect, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EarlierSettings } from "./earlier-settings.ts";

test("the next one knows what the one before noted, until nothing is left", () => {
  const folder = mkdtempSync(join(tmpdir(), "causeway-settings-"));
  const file = join(folder, "settings.json");
  try {
    const first = new EarlierSettings(file);
    first.set("net/ipv4/ip_forward", "0");
    first.set("net/ipv6/conf/all/forwarding", "0");
    const second = new EarlierSettings(file);
    expect([...second]).toEqual([...first]);
    expect([second.delete("net/ipv4/ip_forward"), second.delete("net/ipv4/ip_forward")]).toEqual([
      true,
      false,
    ]);
    expect([...new EarlierSettings(file)]).toEqual([["net/ipv6/conf/all/forwarding", "0"]]);
    second.delete("net/ipv6/conf/all/forwarding");
    expect(existsSync(file)).toBe(false);
    for (const text of ["", "null", "[1]", "half {", '{"a":1}']) {
      writeFileSync(file, text);
      expect([...new EarlierSettings(file)]).toEqual([]);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});
