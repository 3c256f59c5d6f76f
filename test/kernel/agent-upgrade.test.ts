/** The documented upgrade on nodes whose tunnel our own engine carries: another executable in the old one's place, a new agent. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import type { Results, Status } from "../../src/agent/mod.ts";
import { Lab, until } from "../../src/lab/mod.ts";
import { formatIp, type Ip } from "../../src/net/mod.ts";
import { isAlive } from "../../src/sys/mod.ts";
import { executable, labLacks } from "../support/lab-needs.ts";
import { ownLacks } from "../support/own-needs.ts";
import { lostPings } from "../support/lost-pings.ts";
import { installOther } from "../support/other-build.ts";

const root = `/run/causeway-test/${process.pid}-upgrade`;
/** Outside /run, which each node has for itself. */
let folder: string | undefined;
let installed = "";
const skip = labLacks ?? ownLacks;

/** Guards against hanging only. */
const DEADLINE_MS = 180_000;

const manifest = `apiVersion: causeway.network/v1alpha1
kind: Lab
metadata: { name: upgrade }
spec:
  mesh: { tunnel: user }
  networks:
    - { name: wire, prefix4: 192.0.2.0/24 }
  nodes:
    - { name: hub, role: hub, networks: [wire], pods: 1 }
    - { name: one, networks: [wire], pods: 1 }
`;

describe.skipIf(skip !== undefined)(`an upgrade${skip === undefined ? "" : ` (${skip})`}`, () => {
  let lab: Lab;
  beforeAll(async () => {
    mkdirSync(root, { recursive: true });
    folder = mkdtempSync(`${tmpdir()}/causeway-upgrade-`);
    installed = `${folder}/causeway`;
    copyFileSync(executable, installed);
    await Lab.remove("upgrade", { root });
    lab = await Lab.up(manifest, { root, executable: installed });
  }, DEADLINE_MS);
  afterAll(async () => {
    await Lab.remove("upgrade", { root });
    rmSync(root, { recursive: true, force: true });
    if (folder !== undefined) rmSync(folder, { recursive: true });
  }, DEADLINE_MS);

  const tunnel = async () => ((await lab.status("one")) as Status).tunnel as NonNullable<Status["tunnel"]>;

  test(
    "the new agent has the data plane succeeded by one of its own build; pods notice nothing",
    async () => {
      const before = await tunnel();
      expect(before).toMatchObject({ backend: "user", reason: "asked for" });
      expect(before.provider).toMatch(/^causeway \S+, ChaCha20-Poly1305 by \S/);
      const first = before.dataplane as NonNullable<typeof before.dataplane>;
      const target = formatIp(lab.pod("hub-p1").ip4 as Ip);
      const flow = lab.exec("one-p1", ["ping", "-n", "-i", "0.02", "-c", "300", "-W", "20", target]);
      const build = installOther(installed, first.build);
      await lab.killAgent("one", { gently: true });
      await lab.startAgent("one");
      await until(
        async () => ((await tunnel()).dataplane?.build === build ? undefined : "the old build answers"),
        { what: "the successor", deadlineMs: DEADLINE_MS },
      );
      expect(lostPings((await flow).stdout)).toEqual([]);
      const after = await tunnel();
      expect(after.problem).toBeUndefined();
      expect(after.dataplane?.pid).not.toBe(first.pid);
      expect(isAlive(first.pid)).toBe(false);
      const { steps } = await lab.causewayJson<Results["plan"]>("one", ["plan"]);
      expect(steps).toEqual([]);
    },
    DEADLINE_MS,
  );
});
