/** Two hubs on a register in etcd are the route reflectors of a laboratory of real agents. */
import { afterAll, beforeAll, describe, setDefaultTimeout } from "bun:test";
import { mkdirSync, rmSync } from "node:fs";
import type { Results } from "../../src/agent/mod.ts";
import { Lab, until } from "../../src/lab/mod.ts";
import { EtcdCluster, etcdFolder } from "../support/etcd.ts";
import { executable, labLacks } from "../support/lab-needs.ts";
import { reflectorSuite } from "../support/reflector-suite.ts";

const root = `/run/causeway-test/${process.pid}-vpc-hubs`;
/** Guards against hanging only. */
const DEADLINE_MS = 90_000;
setDefaultTimeout(300_000);
const { folder, lacks } = etcdFolder();
const skip = labLacks ?? lacks;

const manifest = `apiVersion: causeway.network/v1alpha1
kind: Lab
metadata: { name: vpc-hubs }
spec:
  networks:
    - { name: wire, prefix4: 203.0.113.0/24 }
  nodes:
    - { name: hub1, role: hub, networks: [{ name: wire, address4: 203.0.113.11 }] }
    - { name: a, networks: [wire], endpoint: auto }
    - { name: b, networks: [wire], endpoint: auto }
    - { name: hub2, role: none, networks: [{ name: wire, address4: 203.0.113.12 }] }
    - { name: e1, role: none, networks: [{ name: wire, address4: 203.0.113.31 }] }
`;

describe.skipIf(skip !== undefined)(
  `hubs that reflect${skip === undefined ? "" : ` (skipped: ${skip})`}`,
  () => {
    let lab: Lab;
    let etcd: EtcdCluster;
    beforeAll(async () => {
      mkdirSync(root, { recursive: true });
      await Lab.remove("vpc-hubs", { root });
      lab = await Lab.up(manifest, { root, executable });
      etcd = new EtcdCluster(folder as string, {
        addresses: ["203.0.113.31"],
        command: (_, argv) => lab.command("e1", argv),
      });
      etcd.startAll();
      const migrated = async () => {
        const done = await lab.causeway("hub1", ["hub", "migrate", ...etcd.hubOptions("hub1")]);
        return done.status === 0 ? undefined : done.stderr;
      };
      await until(migrated, { what: "etcd to take the register", deadlineMs: DEADLINE_MS });
      const { token } = await lab.causewayJson<Results["token-create"]>("hub1", [
        ...["token", "create", "--role", "hub"],
      ]);
      await lab.startAgent("hub2");
      const join = [
        "join",
        "-",
        "--name",
        "hub2",
        "--endpoint",
        "203.0.113.12:51820",
        ...etcd.hubOptions("hub2"),
      ];
      await lab.causewayJson("hub2", join, token);
      await lab.settled({ nodes: ["hub1", "hub2", "a", "b"], deadlineMs: DEADLINE_MS });
    });
    afterAll(async () => {
      await etcd?.[Symbol.asyncDispose]();
      await Lab.remove("vpc-hubs", { root });
      rmSync(root, { recursive: true, force: true });
    });

    reflectorSuite({ lab: () => lab, reflectors: ["hub1", "hub2"], hub: "hub1" });
  },
);
