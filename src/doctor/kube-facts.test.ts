import { afterAll, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { readCni, readKube } from "./kube-facts.ts";

const root = mkdtempSync(join(tmpdir(), "causeway-kube-facts-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

function put(path: string, text: string): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), text);
}

test("an agent of k3s with all its settings in its unit", async () => {
  mkdirSync(join(root, "/var/lib/rancher/k3s/agent"), { recursive: true });
  put(
    "/etc/systemd/system/k3s-agent.service",
    "[Service]\nExecStartPre=-/sbin/modprobe overlay\nExecStart=/usr/local/bin/k3s \\\n    agent \\\n\t'--node-ip' \\\n\t'10.90.0.2' \\\n\n",
  );
  const facts = await readKube(root);
  expect([facts?.distribution, facts?.nodeIp?.value]).toEqual(["k3s", "10.90.0.2"]);
  // A file of the folder counts less.
  put("/etc/rancher/k3s/config.yaml", "node-ip: 192.168.1.5\n");
  expect((await readKube(root))?.nodeIp?.value).toBe("10.90.0.2");
});

test("Multus in either form hands pods on to us", () => {
  const folder = "/etc/cni/net.d";
  put(
    `${folder}/00-multus.conf`,
    '{"type":"multus-shim","clusterNetwork":"/host/etc/cni/net.d/10-causeway.conflist"}',
  );
  put(`${folder}/01-multus.conf`, '{"type":"multus","delegates":[{"type":"causeway"}]}');
  put(
    `${folder}/02-multus.conf`,
    '{"type":"multus-shim","clusterNetwork":"/host/etc/cni/net.d/10-calico.conflist"}',
  );
  const files = readCni(root, "kubeadm").files;
  expect(files.map(({ delegatesToUs }) => delegatesToUs)).toEqual([true, true, false]);
});
