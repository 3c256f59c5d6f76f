/** Failures of a node as a tutorial's readers met them, made in a namespace and found by the doctor. Firewalls are in doctor-firewall.test.ts. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { spawn } from "node:child_process";
import { chmodSync, copyFileSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import type { Diagnosis } from "../../src/doctor/mod.ts";
import { kernelHasWireguard } from "../../src/netlink/mod.ts";
import { run as runProcess } from "../../src/sys/mod.ts";
import { DoctorWorld } from "../support/doctor-world.ts";
import { lacksTool, notRoot } from "../support/scratch.ts";

setDefaultTimeout(60_000);
const why = notRoot ?? lacksTool("ip") ?? lacksTool("ping") ?? lacksTool("openssl");
const run = why === undefined ? test : test.skip;
const note = why === undefined ? "" : ` (skipped: ${why})`;

/** The API's answer for this node, by TLS and a token, in the node's namespace. */
function api(world: DoctorWorld, node: object): Disposable {
  const made = Bun.spawnSync(
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=api -addext subjectAltName=IP:127.0.0.1 -keyout key.pem -out ca.pem".split(
      " ",
    ),
    { cwd: world.state, stderr: "pipe" },
  );
  if (!made.success) throw new Error(`openssl: ${made.stderr}`);
  const file = (name: string) => Bun.file(join(world.state, name));
  const { server } = world.node.run(() => ({
    server: Bun.serve({
      ...{ hostname: "127.0.0.1", port: 0 },
      tls: { cert: file("ca.pem"), key: file("key.pem") },
      fetch: ({ url }) =>
        new URL(url).pathname === `/api/v1/nodes/${(hostname().split(".")[0] ?? "").toLowerCase()}`
          ? Response.json(node)
          : new Response("", { status: 404 }),
    }),
  }));
  world.put(
    "/etc/kubernetes/kubelet.conf",
    `current-context: c
contexts: [{ name: c, context: { cluster: c, user: u } }]
clusters: [{ name: c, cluster: { server: "https://127.0.0.1:${server.port}", certificate-authority: ${world.state}/ca.pem } }]
users: [{ name: u, user: { token: t } }]
`,
  );
  return { [Symbol.dispose]: () => void server.stop(true) };
}

/** A kubelet as the process table has it. */
function kubelet(world: DoctorWorld, ...args: readonly string[]): Disposable {
  const path = join(world.state, "kubelet");
  copyFileSync("/bin/sh", path);
  chmodSync(path, 0o755);
  const words = ["-c", "read line", "kubelet", ...args];
  const child = world.node.run((): ReturnType<typeof spawn> =>
    spawn(path, words, { stdio: ["pipe", "ignore", "ignore"] }),
  );
  return { [Symbol.dispose]: () => void child.kill("SIGKILL") };
}

const manager = (pods: string) => `spec:
  containers:
    - command:
        - kube-controller-manager
        - --cluster-cidr=${pods}
        - --service-cluster-ip-range=10.96.0.0/12
`;

describe(`the doctor on a node${note}`, () => {
  run(
    "Kubernetes on the LAN, two pod networks, two CNIs, flannel on the wrong interface, overlapping networks, a wrong way",
    async () => {
      using world = new DoctorWorld();
      world.put("/etc/default/kubelet", "KUBELET_EXTRA_ARGS=--node-ip=192.168.1.5\n");
      world.put("/etc/kubernetes/manifests/kube-controller-manager.yaml", manager("10.240.0.0/16"));
      world.put("/run/flannel/subnet.env", "FLANNEL_NETWORK=10.245.0.0/16\n");
      world.put("/etc/cni/net.d/05-flannel.conflist", '{"plugins":[{"type":"flannel"}]}');
      world.put("/etc/cni/net.d/10-causeway.conflist", '{"plugins":[{"type":"causeway"}]}');
      using _api = api(world, {
        spec: { podCIDRs: ["10.240.3.0/24"] },
        status: { addresses: [{ type: "InternalIP", address: "192.168.1.5" }] },
      });
      using _kubelet = kubelet(world, "--node-ip=192.168.1.5");
      for (const line of [
        "link add eth0 type bridge",
        "link set eth0 up",
        "addr add 192.168.1.5/24 dev eth0",
        "link add flannel.1 type vxlan id 1 local 192.168.1.5 dstport 8472",
        "link add docker0 type bridge",
        "link set docker0 up",
        "addr add 10.244.128.1/17 dev docker0",
        // More specific than the mesh's route: packets of nodes leave in plain text.
        "route add 10.90.0.128/25 dev eth0",
      ])
        world.ip(line);
      const checks = await world.checks("look");
      const found = (id: string) => [id, checks[id]?.ok, checks[id]?.found];
      for (const [id, text] of [
        ["node-ip", "--node-ip is 192.168.1.5 (/etc/default/kubelet), this node 10.90.0.2"],
        ["internal-ip", "INTERNAL-IP is 192.168.1.5"],
        ["unit-order", "does not wait"],
        ["cluster-networks", "pods 10.240.0.0/16, the mesh has 10.244.0.0/16"],
        ["cluster-networks", "subnet.env: pods 10.245.0.0/16"],
        ["pod-cidr", "Node.spec.podCIDRs is 10.240.3.0/24, this node's range 10.244.1.0/24"],
        ["cni-folder", "05-flannel.conflist (flannel) before"],
        ["other-network", "flannel.1 uses 192.168.1.5"],
        ["overlap", "pods 10.244.0.0/16 and 10.244.128.0/17 of docker0"],
        ["overlap", "overlay 10.90.0.0/16 and 10.90.0.128/25 of eth0"],
        ["routes", "the overlay (10.90.0.253) goes by eth0"],
      ] as const)
        expect(found(id)).toEqual([id, false, expect.stringContaining(text)]);
    },
  );

  run(
    "what is as `causeway kube prepare` writes it is well; with another pod network out of the way",
    async () => {
      using world = new DoctorWorld();
      world.put("/etc/default/kubelet", "KUBELET_EXTRA_ARGS=--node-ip=10.90.0.2\n");
      world.put("/etc/systemd/system/kubelet.service.d/20-causeway.conf", "[Unit]\nAfter=causeway.service\n");
      world.put("/etc/kubernetes/manifests/kube-controller-manager.yaml", manager("10.244.0.0/16"));
      const multus = '{"type":"multus-shim","clusterNetwork":"/host/etc/cni/net.d/10-causeway.conflist"}';
      world.put("/etc/cni/net.d/00-multus.conf", multus);
      world.put("/etc/cni/net.d/10-causeway.conflist", '{"plugins":[{"type":"causeway"}]}');
      using _api = api(world, {
        spec: { podCIDRs: ["10.244.1.0/24"] },
        status: { addresses: [{ type: "InternalIP", address: "10.90.0.2" }] },
      });
      using _kubelet = kubelet(world, "--node-ip", "10.90.0.2");
      const ids = [
        "node-ip",
        "internal-ip",
        "unit-order",
        "cluster-networks",
        "pod-cidr",
        "cni-folder",
        "routes",
      ];
      const checks = await world.checks("fix", ...ids);
      expect(ids.map((id) => [id, checks[id]?.ok])).toEqual(ids.map((id) => [id, true]));
      expect(world.shell(`ls ${world.root}/etc/cni/net.d`)).toBe("00-multus.conf\n10-causeway.conflist\n");
    },
  );

  run("settings and links are mended, and only those", async () => {
    using world = new DoctorWorld();
    world.shell("sysctl -qw net.ipv4.ip_forward=0; ip link set cw0 mtu 1420; ip link set cw-pods mtu 1500");
    const before = await world.checks("look", "sysctl-forward", "mtu-links");
    expect(Object.values(before).map(({ ok }) => ok)).toEqual([false, false]);
    const after = await world.checks("fix", "mtu-links");
    expect(after["mtu-links"]).toMatchObject({ ok: true, found: "cw0 1420 → cw-pods 1420" });
    expect(world.shell("sysctl -n net.ipv4.ip_forward")).toBe("0\n");
    expect((await world.checks("fix"))["sysctl-forward"]?.ok).toBe(true);
  });

  run("what the kernel lacks is tried, not guessed, and leaves nothing", async () => {
    using world = new DoctorWorld();
    const { "kernel-wireguard": wireguard, "kernel-links": links } = await world.checks("look");
    const text = kernelHasWireguard() ? "WireGuard works" : /^the kernel has no WireGuard|^neither WireGuard/;
    expect(wireguard?.found).toMatch(text);
    expect(links).toMatchObject({ ok: true, found: "bridge, veth, vxlan work" });
    expect(world.shell("nft list tables 2>/dev/null")).not.toContain("probe");
  });

  const withoutModule = why ?? lacksTool("unshare") ?? (kernelHasWireguard() ? "has WireGuard" : undefined);
  (withoutModule === undefined ? test : test.skip)(
    `a kernel without WireGuard is well with /dev/net/tun, and not without${withoutModule === undefined ? "" : ` (skipped: ${withoutModule})`}`,
    async () => {
      using world = new DoctorWorld();
      const look = async (hidden: readonly string[]) => {
        // Mounts of unshare(1) are its own.
        const script = `mount -t tmpfs tmpfs /dev/net; touch ${["/dev/net/none", ...hidden].join(" ")}; exec "$@"`;
        const argv = ["unshare", "-m", "sh", "-ec", script, "sh", ...world.argv("look", "kernel-wireguard")];
        const { stdout, stderr } = await runProcess(argv, { netns: world.node });
        expect(stderr).toBe("");
        return (JSON.parse(stdout) as Diagnosis).checks[0];
      };
      expect(await look(["/dev/net/tun"])).toMatchObject({ ok: true });
      expect(await look([])).toMatchObject({
        ...{ ok: false, found: "neither WireGuard nor /dev/net/tun", fix: "modprobe -a wireguard tun" },
        why: expect.stringContaining("user space"),
      });
    },
  );

  run("a way that loses full packets without a word is found, one that says so is not", async () => {
    using world = new DoctorWorld();
    const ping = async () => JSON.parse((await world.doctor("ping", "10.90.0.3", "1420")).stdout);
    expect(await ping()).toEqual({ peer: "peer", small: true, large: true, largeBytes: 1420 });
    // The far end's MTU: veth drops what is longer (drivers/net/veth.c, is_skb_forwardable), and tells nobody.
    world.ip("link set eth0 mtu 1300", world.tunnel);
    expect(await ping()).toEqual({ peer: "peer", small: true, large: false, largeBytes: 1420 });
    world.ip("route change 10.90.0.0/16 dev cw0 src 10.90.0.2 mtu 1300");
    expect(await ping()).toMatchObject({ small: true, large: true });
  });

  run("a key that was copied with its machine is found, and one that others can read", async () => {
    using world = new DoctorWorld();
    const key = join(world.state, "node.key");
    writeFileSync(key, "x\n", { mode: 0o644 });
    expect((await world.checks("fix", "key")).key?.ok).toBe(true);
    writeFileSync(`${key}.machine`, "02:00:00:00:00:01\n");
    expect((await world.checks("look", "key")).key).toMatchObject({
      ok: false,
      found: expect.stringContaining("this one is a copy"),
    });
    world.ip("link add eth0 address 02:00:00:00:00:01 type bridge");
    expect((await world.checks("look", "key")).key?.ok).toBe(true);
  });
});
