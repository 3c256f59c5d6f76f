/** `causeway kube prepare` and `kube wait` beside a real agent: what they write is this node's, and the unit's wait ends when the overlay is there. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parse } from "yaml";
import { Lab } from "../../src/lab/mod.ts";
import { executable, labLacks as skip } from "../support/lab-needs.ts";

const root = `/run/causeway-test/${process.pid}-kube`;
/** Where all nodes see the same. */
const image = mkdtempSync(join(tmpdir(), "causeway-kube-"));
const DEADLINE_MS = 180_000;

const manifest = `apiVersion: causeway.network/v1alpha1
kind: Lab
metadata: { name: kube }
spec:
  networks:
    - { name: wire, prefix4: 192.0.2.0/24, prefix6: "2001:db8:1::/64" }
  nodes:
    - { name: hub, role: hub, networks: [wire] }
    - { name: one, networks: [wire] }
    - { name: spare, role: none, networks: [wire] }
`;

describe.skipIf(skip !== undefined)(`causeway kube${skip === undefined ? "" : ` (${skip})`}`, () => {
  let lab: Lab;
  beforeAll(async () => {
    mkdirSync(root, { recursive: true });
    await Lab.remove("kube", { root });
    lab = await Lab.up(manifest, { root, executable });
  }, DEADLINE_MS);
  afterAll(async () => {
    await Lab.remove("kube", { root });
    for (const folder of [root, image]) rmSync(folder, { recursive: true, force: true });
  }, DEADLINE_MS);

  async function said(node: string, ...args: string[]): Promise<{ status: number; text: string }> {
    const done = await lab.causeway(node, args);
    return { status: done.status, text: done.stdout + done.stderr };
  }

  test("a worker's kubelet gets the overlay's address, and all of it goes again", async () => {
    const { node } = (await lab.status("one")) as { node: { overlay4: string; overlay6: string } };
    const dry = await said("one", "kube", "prepare", "k3s", "--root", image, "--dry-run");
    expect(dry.text).toContain("write /etc/rancher/k3s/config.yaml.d/50-causeway.yaml");
    expect(existsSync(`${image}/etc`)).toBe(false);
    const done = await said("one", "kube", "prepare", "k3s", "--root", image);
    expect([done.status, done.text]).toEqual([0, expect.stringContaining("systemctl daemon-reload")]);
    const config = parse(readFileSync(`${image}/etc/rancher/k3s/config.yaml.d/50-causeway.yaml`, "utf8"));
    expect(config["node-ip"].split(",")[0]).toBe(node.overlay4);
    expect((await said("one", "kube", "prepare", "k3s", "--root", image)).text).toContain("nothing to do");
    expect((await said("one", "kube", "prepare", "--undo", "--root", image)).status).toBe(0);
    expect(existsSync(`${image}/etc/rancher/k3s/config.yaml.d/50-causeway.yaml`)).toBe(false);
  });

  test("the wait ends at once where the overlay is, and says what is missing where it is not", async () => {
    expect(await said("one", "kube", "wait", "--timeout", "30s")).toEqual({ status: 0, text: "" });
    const spare = await said("spare", "kube", "wait", "--timeout", "1s");
    expect([spare.status, spare.text]).toEqual([
      1,
      expect.stringContaining("The agent does not run on this node"),
    ]);
  });

  test("a mistake is a sentence", async () => {
    for (const [args, sentence] of [
      [["prepare"], "which Kubernetes is missing: one of kubeadm, k3s, rke2"],
      [["prepare", "minikube"], '"minikube" is not one of kubeadm, k3s, rke2'],
      [["prepare", "kubeadm", "--endpoint", "api"], '--endpoint "api" is not HOST:PORT'],
      [["prepare", "kubeadm", "--kubernetes-version", "new"], "write it like v1.30"],
    ] as const)
      expect((await said("one", "kube", ...args)).text).toContain(sentence);
    const spare = await said("spare", "kube", "prepare", "kubeadm", "--root", image);
    expect([spare.status, spare.text]).toEqual([
      1,
      expect.stringContaining("The agent does not run on this node"),
    ]);
  });
});
