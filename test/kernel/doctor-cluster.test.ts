/** What is wrong with a node's part of a cluster: addresses of the control plane, the plugins' executables, names of hubs. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { chmodSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { installCni } from "../../src/cni/mod.ts";
import { DoctorWorld } from "../support/doctor-world.ts";
import { lacksTool, notRoot } from "../support/scratch.ts";

setDefaultTimeout(60_000);
const why = notRoot ?? lacksTool("ip") ?? lacksTool("openssl");
const run = why === undefined ? test : test.skip;
const note = why === undefined ? "" : ` (skipped: ${why})`;

async function look(world: DoctorWorld, id: string) {
  return (await world.checks("look", id))[id];
}

/** As kubeadm writes them, with an address. */
function controlPlane(world: DoctorWorld, address: string): void {
  const manifests = "/etc/kubernetes/manifests";
  const pod = (...words: readonly string[]) =>
    `spec:\n  containers:\n  - command:\n${words.map((word) => `    - ${word}\n`).join("")}`;
  world.put(
    `${manifests}/kube-apiserver.yaml`,
    pod("kube-apiserver", `--advertise-address=${address}`, "--allow-privileged=true"),
  );
  world.put(
    `${manifests}/etcd.yaml`,
    pod(
      "etcd",
      `--advertise-client-urls=https://${address}:2379`,
      `--initial-advertise-peer-urls=https://${address}:2380`,
      `--initial-cluster=node=https://${address}:2380,other=https://10.90.0.3:2380`,
      `--listen-client-urls=https://127.0.0.1:2379,https://${address}:2379`,
      "--listen-metrics-urls=http://127.0.0.1:2381",
      `--listen-peer-urls=https://${address}:2380`,
    ),
  );
}

function certificate(world: DoctorWorld, names: string): void {
  const path = "/etc/kubernetes/pki/apiserver.crt";
  world.put(path, "");
  world.shell(
    `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=kube-apiserver -addext subjectAltName=${names} -keyout ${world.state}/key -out ${world.root}${path} 2>&1`,
  );
}

describe(`the doctor on a node of a cluster${note}`, () => {
  run("an API server and etcd on the LAN, with a certificate for that; then on the overlay", async () => {
    using world = new DoctorWorld();
    world.put(
      "/etc/kubernetes/admin.conf",
      "clusters: [{ name: c, cluster: { server: https://api.example.com:6443 } }]\n",
    );
    controlPlane(world, "192.168.1.5");
    certificate(world, "DNS:kubernetes,IP:10.96.0.1,IP:192.168.1.5");
    const before = await look(world, "api-names");
    expect(before).toMatchObject({ ok: false, why: expect.stringContaining("certificate") });
    for (const text of [
      "--advertise-address is 192.168.1.5 (/etc/kubernetes/manifests/kube-apiserver.yaml)",
      "--advertise-client-urls is 192.168.1.5 (/etc/kubernetes/manifests/etcd.yaml)",
      "--initial-advertise-peer-urls is 192.168.1.5",
      "--listen-client-urls is 192.168.1.5",
      "--listen-peer-urls is 192.168.1.5",
      "apiserver.crt is not for 10.90.0.2 nor api.example.com (/etc/kubernetes/admin.conf)",
    ])
      expect(before?.found).toContain(text);
    for (const text of [
      "set 10.90.0.2 in",
      "etcdctl member update",
      // What the certificate has, it keeps.
      "kube prepare kubeadm --control-plane --endpoint api.example.com:6443 --name 10.96.0.1 --name 192.168.1.5,",
      "kubeadm init phase certs apiserver",
    ])
      expect(before?.fix).toContain(text);
    certificate(world, "DNS:kubernetes,DNS:api.example.com,IP:10.90.0.2");
    expect((await look(world, "api-names"))?.found).not.toContain("apiserver.crt");
    controlPlane(world, "10.90.0.2");
    expect(await look(world, "api-names")).toMatchObject({ ok: true });
  });

  run(
    "a plugin that is missing, of another version, cannot be executed, or is where nobody looks",
    async () => {
      using world = new DoctorWorld();
      const confDir = join(world.root, "/etc/cni/net.d");
      const binDir = join(world.root, "/opt/cni/bin");
      const plugin = join(binDir, "causeway");
      const install = () => installCni({ binDir, confDir });
      install();
      expect(await look(world, "cni-files")).toMatchObject({ ok: true });
      rmSync(plugin);
      expect(await look(world, "cni-files")).toMatchObject({
        ok: false,
        found: expect.stringContaining("10-causeway.conflist calls causeway: no such executable in"),
        fix: `causeway cni install --bin-dir ${binDir} --conf-dir ${confDir}`,
      });
      writeFileSync(plugin, "another", { mode: 0o755 });
      expect((await look(world, "cni-files"))?.found).toBe(`missing, or not of this version: ${plugin}`);
      install();
      expect(await look(world, "cni-files")).toMatchObject({ ok: true });
      chmodSync(plugin, 0o644);
      expect((await look(world, "cni-files"))?.found).toContain("calls causeway: no such executable");
      install();
      const chain = { plugins: [{ type: "bridge", ipam: { type: "host-local" } }, { type: "tuning" }] };
      world.put("/etc/cni/net.d/05-chain.conflist", JSON.stringify(chain));
      for (const name of ["bridge", "tuning"])
        writeFileSync(join(binDir, name), "#!/bin/sh\n", { mode: 0o755 });
      expect(await look(world, "cni-files")).toMatchObject({
        ok: false,
        found: expect.stringContaining("05-chain.conflist calls host-local: no such"),
        fix: expect.stringMatching(/^install host-local into/),
      });
      rmSync(join(confDir, "05-chain.conflist"));
      world.put("/etc/containerd/config.toml", 'bin_dir = "/usr/lib/cni"\n');
      expect(await look(world, "cni-files")).toMatchObject({
        ok: false,
        fix: expect.stringContaining(`--bin-dir ${world.root}/usr/lib/cni`),
      });
    },
  );

  run("a hub's name that has no address", async () => {
    using world = new DoctorWorld();
    expect(await look(world, "hub-name")).toBeUndefined();
    const joined = (...endpoints: readonly string[]) =>
      writeFileSync(join(world.state, "member.json"), JSON.stringify({ name: "node", endpoints }));
    joined("hub.invalid:51820", "192.0.2.1:51820");
    expect(await look(world, "hub-name")).toMatchObject({ ok: true });
    joined("hub.invalid:51820", "localhost:51820");
    expect(await look(world, "hub-name")).toMatchObject({ ok: true });
    joined("hub.invalid:51820");
    expect(await look(world, "hub-name")).toMatchObject({
      ok: false,
      found: expect.stringContaining("hub.invalid has no address"),
      fix: expect.stringContaining("getent hosts hub.invalid"),
    });
    joined("localhost:51820");
    expect(await look(world, "hub-name")).toMatchObject({
      ok: true,
      found: expect.stringContaining("localhost is "),
    });
    joined("192.0.2.1:51820");
    expect(await look(world, "hub-name")).toMatchObject({ ok: true });
  });
});
