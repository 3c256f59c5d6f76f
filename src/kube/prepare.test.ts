import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { parse, parseAllDocuments } from "yaml";
import { parsePrefix } from "../net/mod.ts";
import { type Mesh, parseManifest } from "../resources/mod.ts";
import { clusterWish } from "./cluster-wish.ts";
import { nodeIpOf, withNodeIp, withoutNodeIp } from "./kubelet-arguments.ts";
import { parseKubernetesVersion } from "./kubeadm-config.ts";
import { Preparation } from "./preparation.ts";
import { type Distribution, prepared, type PrepareWish } from "./prepare.ts";

const node = { name: "paris-1", overlay4: "10.90.0.3", overlay6: "fd00:99::3" };

function mesh(change: Partial<Mesh> = {}): Mesh {
  const made: Pick<Mesh, "name" | "overlay4" | "overlay6" | "pods4" | "pods6" | "services"> = {
    name: "home",
    overlay4: parsePrefix("10.90.0.0/16"),
    overlay6: parsePrefix("fd00:99::/64"),
    pods4: parsePrefix("10.244.0.0/16"),
    pods6: parsePrefix("fd00:244::/56"),
    services: [parsePrefix("10.96.0.0/12"), parsePrefix("fd00:96::/112")],
  };
  return { ...(made as Mesh), ...change };
}

const wish = (distribution: Distribution, change: Partial<PrepareWish> = {}): PrepareWish => ({
  distribution,
  controlPlane: true,
  cluster: clusterWish({ mesh: mesh(), node, names: [], endpoint: "api.example.com:6443" }),
  version: { major: 1, minor: 30 },
  sysconfig: false,
  executable: "/usr/bin/causeway",
  ...change,
});

function textOf(asked: PrepareWish, ending: string): string {
  const file = prepared(asked).files.find(({ path }) => path.endsWith(ending));
  return typeof file?.text === "function" ? file.text("") : (file?.text ?? `no file ${ending}`);
}

describe("the kubelet's arguments", () => {
  test.each([
    ["", 'KUBELET_EXTRA_ARGS="--node-ip=10.0.0.1"\n'],
    ["KUBELET_EXTRA_ARGS=\n", 'KUBELET_EXTRA_ARGS="--node-ip=10.0.0.1"\n'],
    ["KUBELET_EXTRA_ARGS=--v=2\n", 'KUBELET_EXTRA_ARGS="--v=2 --node-ip=10.0.0.1"\n'],
    [
      "A=1\nKUBELET_EXTRA_ARGS='--node-ip 192.168.1.2 --v=2'",
      'A=1\nKUBELET_EXTRA_ARGS="--v=2 --node-ip=10.0.0.1"\n',
    ],
    [
      'KUBELET_EXTRA_ARGS=--a\n# b\nKUBELET_EXTRA_ARGS="--c"\n',
      'KUBELET_EXTRA_ARGS=--a\n# b\nKUBELET_EXTRA_ARGS="--c --node-ip=10.0.0.1"\n',
    ],
    ['KUBELET_EXTRA_ARGS="--node-ip=10.0.0.1"\n', 'KUBELET_EXTRA_ARGS="--node-ip=10.0.0.1"\n'],
  ])("%j gets the node's address", (before, after) => {
    expect(withNodeIp(before, "10.0.0.1")).toBe(after);
    expect(nodeIpOf(after)).toBe("10.0.0.1");
  });

  test("ours is taken out again, another's stays", () => {
    expect(withoutNodeIp('KUBELET_EXTRA_ARGS="--v=2 --node-ip=10.0.0.1 --x"\n', "10.0.0.1")).toBe(
      'KUBELET_EXTRA_ARGS="--v=2 --x"\n',
    );
    const other = "KUBELET_EXTRA_ARGS=--node-ip=10.0.0.9\n";
    expect(withoutNodeIp(other, "10.0.0.1")).toBe(other);
  });

  test("a value that cannot be read is refused, not rewritten", () => {
    expect(() => withNodeIp('KUBELET_EXTRA_ARGS="--x=\\"a b\\""\n', "10.0.0.1")).toThrow(
      "write it as one quoted text",
    );
  });
});

describe("what Kubernetes shall know", () => {
  test("the first service network's family comes first everywhere", () => {
    expect(clusterWish({ mesh: mesh(), node, names: ["api"] })).toEqual({
      nodeAddresses: ["10.90.0.3", "fd00:99::3"],
      pods: ["10.244.0.0/16", "fd00:244::/56"],
      services: ["10.96.0.0/12", "fd00:96::/112"],
      endpoint: "10.90.0.3:6443",
      names: ["10.90.0.3", "fd00:99::3", "paris-1", "api"],
    });
    const six = clusterWish({ mesh: mesh({ services: [parsePrefix("fd00:96::/112")] }), node, names: [] });
    expect([six.nodeAddresses[0], six.pods[0], six.endpoint]).toEqual([
      "fd00:99::3",
      "fd00:244::/56",
      "[fd00:99::3]:6443",
    ]);
  });

  const { pods4: _4, pods6: _6, ...withoutPods } = mesh();
  const { pods6: _, ...onlyFour } = mesh();
  test.each([
    [withoutPods as Mesh, "there is no network for pods"],
    [onlyFour as Mesh, "spec.services has fd00:96::/112, and its pods have no IPv6"],
    [mesh({ services: [] }), "spec.services is empty"],
  ])("what cannot work is refused with the way out (%#)", (wrong, message) => {
    expect(() => clusterWish({ mesh: wrong, node, names: [] })).toThrow(message);
  });

  test("releases are read as people and kubeadm write them", () => {
    expect(parseKubernetesVersion("v1.30.2\n")).toEqual({ major: 1, minor: 30 });
    expect(parseKubernetesVersion("1.20")).toEqual({ major: 1, minor: 20 });
    expect(parseKubernetesVersion("newest")).toBeUndefined();
  });
});

describe("files", () => {
  test("kubeadm's: the format that the release reads", () => {
    for (const [minor, format] of [
      [20, "v1beta2"],
      [22, "v1beta3"],
      [31, "v1beta4"],
    ] as const) {
      const text = textOf(wish("kubeadm", { version: { major: 1, minor } }), "kubeadm.yaml");
      const [init, cluster] = parseAllDocuments(text).map((document) => document.toJS());
      expect([init.apiVersion, init.kind, cluster.kind]).toEqual([
        `kubeadm.k8s.io/${format}`,
        "InitConfiguration",
        "ClusterConfiguration",
      ]);
      expect(init.localAPIEndpoint.advertiseAddress).toBe("10.90.0.3");
      expect(init.nodeRegistration.kubeletExtraArgs).toEqual(
        format === "v1beta4"
          ? [{ name: "node-ip", value: "10.90.0.3,fd00:99::3" }]
          : { "node-ip": "10.90.0.3,fd00:99::3" },
      );
      expect(cluster.networking).toEqual({
        podSubnet: "10.244.0.0/16,fd00:244::/56",
        serviceSubnet: "10.96.0.0/12,fd00:96::/112",
      });
      expect(cluster.controlPlaneEndpoint).toBe("api.example.com:6443");
      expect(cluster.apiServer.certSANs).toContain("api.example.com");
      expect(cluster.featureGates).toEqual(minor === 20 ? { IPv6DualStack: true } : undefined);
    }
    expect(() => prepared(wish("kubeadm", { version: { major: 1, minor: 9 } }))).toThrow("1.15");
  });

  test("a worker's: only its own address", () => {
    const { files } = prepared(wish("kubeadm", { controlPlane: false }));
    expect(files.map(({ path }) => path)).toEqual([
      "/etc/default/kubelet",
      "/etc/systemd/system/kubelet.service.d/20-causeway.conf",
      "/etc/sysctl.d/60-causeway-kube.conf",
      "/etc/modules-load.d/causeway-kube.conf",
    ]);
    expect(parse(textOf(wish("k3s", { controlPlane: false }), "50-causeway.yaml"))).toEqual({
      "node-ip": "10.90.0.3,fd00:99::3",
    });
    expect(prepared(wish("rke2", { controlPlane: false })).files[1]?.path).toContain("rke2-agent.service.d");
  });

  test("k3s' and rke2's: no other pod network beside ours", () => {
    expect(parse(textOf(wish("k3s"), "50-causeway.yaml"))).toMatchObject({
      "advertise-address": "10.90.0.3",
      "cluster-cidr": "10.244.0.0/16,fd00:244::/56",
      "flannel-backend": "none",
      "disable-network-policy": true,
    });
    expect(parse(textOf(wish("rke2"), "50-causeway.yaml"))).toMatchObject({ cni: "none" });
  });
});

describe("a preparation", () => {
  let root = "";
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), "causeway-kube-"));
  });
  afterEach(() => rmSync(root, { recursive: true }));

  const put = (path: string, text: string, mode = 0o644) => {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text, { mode });
  };
  const read = (path: string) => readFileSync(join(root, path), "utf8");
  const files = () =>
    readdirSync(root, { recursive: true, encoding: "utf8" }).filter((name) =>
      statSync(join(root, name)).isFile(),
    );
  const prepare = (asked: PrepareWish) => {
    const preparation = new Preparation(root);
    const steps = preparation.plan(prepared(asked).files);
    preparation.apply(steps);
    return steps;
  };
  const undo = () => {
    const preparation = new Preparation(root);
    const steps = preparation.planUndo();
    preparation.apply(steps);
    return steps;
  };

  test("is done once, and taken back to what was there, modes too", () => {
    put("etc/default/kubelet", "KUBELET_EXTRA_ARGS=--v=2\n", 0o600);
    expect(prepare(wish("kubeadm")).length).toBe(5);
    expect(prepare(wish("kubeadm"))).toEqual([]);
    expect(read("etc/default/kubelet")).toBe('KUBELET_EXTRA_ARGS="--v=2 --node-ip=10.90.0.3,fd00:99::3"\n');
    // Another address: what was there first is still what comes back.
    const moved = { ...wish("kubeadm").cluster, nodeAddresses: ["10.90.0.4"] };
    prepare(wish("kubeadm", { cluster: moved }));
    expect(nodeIpOf(read("etc/default/kubelet"))).toBe("10.90.0.4");
    undo();
    expect(files()).toEqual(["etc/default/kubelet"]);
    expect(read("etc/default/kubelet")).toBe("KUBELET_EXTRA_ARGS=--v=2\n");
    expect(statSync(join(root, "etc/default/kubelet")).mode & 0o777).toBe(0o600);
    expect(undo()).toEqual([]);
  });

  test("leaves alone what others changed since, but for its own argument", () => {
    prepare(wish("kubeadm"));
    put("etc/default/kubelet", `${read("etc/default/kubelet").replace('"\n', ' --v=4"\n')}OTHER=1\n`);
    put("etc/sysctl.d/60-causeway-kube.conf", "net.ipv4.ip_forward = 0\n");
    const kept = undo().filter(({ does }) => does === "keep");
    expect(kept.map(({ path, reason }) => [path, reason])).toEqual([
      ["/etc/sysctl.d/60-causeway-kube.conf", "it was changed since; take it away by hand"],
    ]);
    expect(read("etc/default/kubelet")).toBe('KUBELET_EXTRA_ARGS="--v=4"\nOTHER=1\n');
    expect(existsSync(join(root, "etc/causeway/kubeadm.yaml"))).toBe(false);
  });

  test("of another distribution takes the one before back", () => {
    prepare(wish("kubeadm"));
    prepare(wish("k3s"));
    expect(files().filter((name) => /kubelet|kubeadm/.test(name))).toEqual([]);
    expect(existsSync(join(root, "etc/systemd/system/k3s.service.d/20-causeway.conf"))).toBe(true);
  });

  test("does not write over what it cannot read", () => {
    put("etc/default/kubelet", 'KUBELET_EXTRA_ARGS="\\"\n');
    expect(() => prepare(wish("kubeadm"))).toThrow("/etc/default/kubelet: KUBELET_EXTRA_ARGS");
    expect(files()).toEqual(["etc/default/kubelet"]);
    put("var/lib/causeway/kube-prepare.json", "{");
    expect(() => new Preparation(root)).toThrow("is damaged");
  });
});

test("a mesh as people write it has networks that Kubernetes can have", () => {
  const { resources, problems } = parseManifest(`apiVersion: causeway.network/v1alpha1
kind: Mesh
metadata: { name: home }
spec: { endpoints: ["hub.example.com:51820"] }
`);
  const [made] = resources;
  if (made?.kind !== "Mesh") throw new Error(JSON.stringify(problems));
  expect(clusterWish({ mesh: made.value, node, names: [] }).services).toEqual(["10.96.0.0/12"]);
});
