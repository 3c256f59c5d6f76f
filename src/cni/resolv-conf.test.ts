import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { dnsOf, parseResolvConf } from "./resolv-conf.ts";

const folder = mkdtempSync(join(tmpdir(), "causeway-resolv-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const configuration = { version: "1.0.0", name: "net", addresses: [] } as const;

test("resolv.conf(5): comments, several lines, white space", () => {
  expect(
    parseResolvConf(
      `# by hand
;nameserver 192.0.2.9
nameserver 192.0.2.1
nameserver\t2001:db8::1 trailing
search first
 search a.example b.example
domain example
options ndots:5
options timeout:1 rotate
sortlist 130.155.160.0
nameserverx 192.0.2.8`,
    ),
  ).toEqual({
    nameservers: ["192.0.2.1", "2001:db8::1"],
    domain: "example",
    search: ["a.example", "b.example"],
    options: ["ndots:5", "timeout:1", "rotate"],
  });
  expect(parseResolvConf("")).toEqual({});
});

test("what the configuration or the runtime says comes before the file, field by field", () => {
  const path = join(folder, "resolv.conf");
  writeFileSync(path, "nameserver 192.0.2.1\nsearch a\n");
  expect(dnsOf({ ...configuration, resolvConf: path })).toEqual({
    nameservers: ["192.0.2.1"],
    search: ["a"],
  });
  expect(dnsOf({ ...configuration, resolvConf: path, dns: { nameservers: ["192.0.2.2"] } })).toEqual({
    nameservers: ["192.0.2.2"],
    search: ["a"],
  });
  expect(dnsOf({ ...configuration, dns: { domain: "x" } })).toEqual({ domain: "x" });
  writeFileSync(path, "# nothing\n");
  expect(dnsOf({ ...configuration, resolvConf: path })).toBeUndefined();
});

test("a file that cannot be read is code 5", () => {
  for (const resolvConf of [join(folder, "absent"), folder])
    try {
      dnsOf({ ...configuration, resolvConf });
      expect.unreachable();
    } catch (error) {
      expect(error).toMatchObject({ code: 5, details: `ipam.resolvConf is ${JSON.stringify(resolvConf)}` });
    }
});
