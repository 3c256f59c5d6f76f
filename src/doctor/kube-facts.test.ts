import { afterAll, expect, test } from "bun:test";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { readControlPlane } from "./control-plane-facts.ts";
import { readCni, readKube } from "./kube-facts.ts";
import { readPlugins } from "./plugin-facts.ts";

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

test("a chain calls its plugins and their IPAM; ours numbers pods by itself", () => {
  const folder = "/chains/etc/cni/net.d";
  const bridge = { type: "bridge", ipam: { type: "host-local" } };
  put(`${folder}/02-multus.conf`, '{"type":"multus","delegates":[{"type":"causeway"}]}');
  put(`${folder}/03-chain.conflist`, JSON.stringify({ plugins: [bridge, { type: "tuning" }, null] }));
  put(`${folder}/04-ours.conf`, '{"type":"causeway","ipam":{"type":"host-local"}}');
  put(`${folder}/05-broken.conf`, "{");
  const calls = readCni(join(root, "chains"), "kubeadm").files.map(({ calls }) => calls);
  expect(calls).toEqual([["multus", "causeway"], ["bridge", "host-local", "tuning"], ["causeway"], []]);
});

test("plugins are looked for where containerd's configuration says, in either of its forms", () => {
  const cni = readCni(root, "kubeadm");
  const read = () => readPlugins(root, { cni, distribution: "kubeadm" });
  expect(read().folders).toContain(join(root, "/opt/cni/bin"));
  put("/etc/containerd/config.toml", '# bin_dir = "/no"\n  bin_dir = "/usr/lib/cni"\n');
  expect(read().folders).toEqual([join(root, "/usr/lib/cni")]);
  put("/etc/containerd/config.toml", "  bin_dir = ''\n  bin_dirs = [\n    '/a',\n    '/b',\n  ]\n");
  expect(read().folders).toEqual([join(root, "/a"), join(root, "/b")]);
  put("/a/bridge", "");
  put("/b/tuning", "");
  chmodSync(join(root, "/b/tuning"), 0o755);
  expect(read().there).toEqual(["tuning"]);
});

test("the manifests of kubeadm's control plane", () => {
  expect(readControlPlane(root)).toBeUndefined();
  const manifests = "/etc/kubernetes/manifests";
  put(`${manifests}/kube-apiserver.yaml`, "    - kube-apiserver\n    - --advertise-address=10.90.0.2\n");
  put(
    `${manifests}/etcd.yaml`,
    "    - --initial-cluster=a=https://10.90.0.2:2380,b=https://10.90.0.3:2380\n    - --listen-client-urls=https://127.0.0.1:2379,https://[fd01::2]:2379\n    - --listen-metrics-urls=http://127.0.0.1:2381\n",
  );
  put("/etc/kubernetes/admin.conf", "clusters: [{ cluster: { server: https://api.example.com:6443 } }]\n");
  put("/etc/kubernetes/pki/apiserver.crt", "no certificate");
  const flags = readControlPlane(root)?.flags.map(({ flag, hosts }) => [flag, ...hosts]);
  expect(flags).toEqual([
    ["advertise-address", "10.90.0.2"],
    ["listen-client-urls", "127.0.0.1", "fd01::2"],
  ]);
  // One that is alone is asked by nobody else.
  put(
    `${manifests}/etcd.yaml`,
    "    - --initial-cluster=a=https://10.90.0.2:2380\n    - --listen-client-urls=https://192.168.1.5:2379\n",
  );
  expect(readControlPlane(root)?.flags.map(({ flag }) => flag)).toEqual(["advertise-address"]);
  expect(readControlPlane(root)).toMatchObject({
    certificate: { path: "/etc/kubernetes/pki/apiserver.crt" },
    endpoint: { host: "api.example.com" },
  });
});
