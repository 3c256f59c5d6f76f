import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { replayTombstones, type Tombstone, writeTombstone } from "./tombstone.ts";
import { withoutAgent } from "./without-agent.ts";

const folder = mkdtempSync(join(tmpdir(), "causeway-tombstones-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const tombstones = join(folder, "tombstones");
const call = (command: string, more: object = {}) =>
  withoutAgent(
    {
      environment: {
        CNI_COMMAND: command,
        CNI_CONTAINERID: "c1",
        CNI_NETNS: "/run/netns/x",
        CNI_IFNAME: "eth0",
      },
      stdin: JSON.stringify({ cniVersion: "1.1.0", name: "net", ...more }),
    },
    { socketPath: "/s", problem: "gone", tombstones },
  );
const code = (answer: { output: string }) => JSON.parse(answer.output).code as number;

test("ADD and CHECK are code 11, STATUS 50 (S2), a wrong call its own code", () => {
  expect(
    [call("ADD"), call("CHECK"), call("GC"), call("STATUS"), call("ADD", { name: "" })].map(code),
  ).toEqual([11, 11, 11, 50, 7]);
  expect(JSON.parse(call("ADD").output)).toMatchObject({ cniVersion: "1.1.0", details: "/s: gone" });
});

test("DEL succeeds and is written down once, privately; replay removes it", () => {
  expect(call("DEL")).toEqual({ status: 0, output: "" });
  call("DEL");
  const [name, ...more] = readdirSync(tombstones);
  expect(more).toEqual([]);
  expect(JSON.parse(readFileSync(join(tombstones, name as string), "utf8"))).toEqual({
    network: "net",
    containerId: "c1",
    ifname: "eth0",
  });
  expect(statSync(tombstones).mode & 0o777).toBe(0o700);
  const seen: Tombstone[] = [];
  expect(replayTombstones(tombstones, (tombstone) => void seen.push(tombstone))).toEqual([]);
  expect(seen).toEqual([{ network: "net", containerId: "c1", ifname: "eth0" }]);
  expect(readdirSync(tombstones)).toEqual([]);
});

test("a deletion that fails stays, the others go, and nonsense is swept", () => {
  for (const containerId of ["a", "b", "c"])
    writeTombstone(tombstones, { network: "net", containerId, ifname: "eth0" });
  writeFileSync(join(tombstones, "half.json"), '{"network":');
  const errors = replayTombstones(tombstones, ({ containerId }) => {
    if (containerId === "b") throw new Error("no");
  });
  expect(errors.map(({ cause }) => (cause as Error).message)).toEqual(["no"]);
  expect(readdirSync(tombstones)).toHaveLength(1);
});

test("no folder is no tombstones", () => {
  expect(replayTombstones(join(folder, "absent"), () => {})).toEqual([]);
});

test("a call that is too long for the agent is refused for that, and DEL is written down", () => {
  const answer = (command: string) =>
    withoutAgent(
      {
        environment: { CNI_COMMAND: command, CNI_CONTAINERID: "long", CNI_NETNS: "/n", CNI_IFNAME: "eth0" },
        stdin: JSON.stringify({ cniVersion: "1.1.0", name: "net" }),
      },
      { socketPath: "/s", problem: "5 MB", tooLong: true, tombstones },
    );
  expect(JSON.parse(answer("ADD").output)).toMatchObject({ code: 7, details: "5 MB" });
  const before = readdirSync(tombstones).length;
  expect(answer("DEL")).toEqual({ status: 0, output: "" });
  expect(readdirSync(tombstones)).toHaveLength(before + 1);
});
