/** The register's log in Debian's etcd: three members, mutual TLS, in a namespace of their own. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { runSync } from "../../src/sys/mod.ts";
import { etcdFolder } from "../support/etcd.ts";
import { Scratch } from "../support/scratch.ts";

setDefaultTimeout(300_000);
const { folder, lacks } = etcdFolder();

test.skipIf(lacks !== undefined)(
  `three hubs share a register in etcd: one member lost, writes go on; two, they are refused and reads go on; back, all goes on${lacks === undefined ? "" : ` (skipped: ${lacks})`}`,
  () => {
    using scratch = new Scratch();
    const scenario = new URL("../support/etcd-scenario.ts", import.meta.url).pathname;
    const done = runSync([process.execPath, scenario, folder as string], {
      netns: scratch.netns,
      timeoutMs: 280_000,
    });
    expect(done.stderr).toBe("");
    expect(JSON.parse(done.stdout)).toEqual({
      equal: true,
      revisions: 1,
      wrongCertificate: "etcd and this hub do not accept each other's certificates ",
      wrongAuthority: "etcd and this hub do not accept each other's certificates ",
      plain: expect.stringContaining("etcd"),
      right: "done",
      afterOne: 101,
      caughtUp: true,
      refused: "read-only",
      words: true,
      again: true,
      reads: 101,
      problem: true,
      members: ["3.4.23", "away", "3.4.23"],
    });
  },
);
