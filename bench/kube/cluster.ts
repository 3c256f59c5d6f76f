/** A cluster's API server with thousands of Nodes and pods in it, as kubelets and a scheduler would have made them. */
import type { KubeAccess } from "../../src/kube/access.ts";
import type { KubernetesVersion } from "../../src/kube/kubeadm-config.ts";
import { kubeManifests, manifestPath } from "../../src/kube/manifests.ts";
import { inParallel } from "../../src/sys/mod.ts";
import type { Json } from "../../src/resources/mod.ts";

/** As many at a time as an API server lets one user have by default, and leave room (--max-mutating-requests-inflight 200). */
const AT_ONCE = 32;

/** Cluster writes by one set of connections. */
export class Cluster {
  readonly #access: KubeAccess;

  constructor(access: KubeAccess) {
    this.#access = access;
  }

  /** send makes one request; throws what the API says when it refuses. */
  async send(method: string, path: string, body?: Json, type = "application/json"): Promise<void> {
    const { server, tls, token } = this.#access;
    const answer = await fetch(`${server}${path}`, {
      method,
      headers: { authorization: `Bearer ${token?.()}`, "content-type": type },
      ...(body !== undefined && { body: JSON.stringify(body) }),
      tls: { ca: tls.ca },
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
  }

  /** merge changes fields of an object (RFC 7386). */
  merge(path: string, body: Json): Promise<void> {
    return this.send("PATCH", path, body, "application/merge-patch+json");
  }

  /** define makes our definitions and roles, as an API server of that release knows them. */
  async define(version: KubernetesVersion): Promise<void> {
    for (const manifest of kubeManifests(version)) {
      const query = "?fieldManager=bench&force=true";
      await this.send("PATCH", `${manifestPath(manifest)}${query}`, manifest, "application/apply-patch+yaml");
    }
  }

  /** node makes a Node as a kubelet does, of the size that one has. */
  node(name: string, address: string): Promise<void> {
    const conditions = ["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"].map((type) => ({
      ...{ type, status: type === "Ready" ? "True" : "False", reason: `KubeletHas${type}` },
      message: `kubelet says so of ${type} on this node, in a sentence of about this length`,
    }));
    const images = Array.from({ length: 30 }, (_, i) => ({
      names: [`registry.example.com/image-${i}@sha256:${String(i).padStart(64, "0")}`],
      sizeBytes: 100_000_000 + i,
    }));
    return this.send("POST", "/api/v1/nodes", {
      ...{ apiVersion: "v1", kind: "Node" },
      metadata: { name, labels: { "kubernetes.io/hostname": name, "kubernetes.io/os": "linux" } },
      status: { addresses: [{ type: "InternalIP", address }], conditions, images },
    });
  }

  /** heartbeat is what kubelet writes each five minutes where nothing changes (--node-status-report-frequency). */
  heartbeat(name: string): Promise<void> {
    const at = new Date().toISOString().replace(/\.\d+Z$/, "Z");
    const conditions = [{ type: "Ready", status: "True", reason: "KubeletReady", lastHeartbeatTime: at }];
    return this.merge(`/api/v1/nodes/${name}/status`, { status: { conditions } });
  }

  namespace(name: string): Promise<void> {
    return this.send("POST", "/api/v1/namespaces", {
      ...{ apiVersion: "v1", kind: "Namespace" },
      metadata: { name },
    });
  }

  /** pod makes a pod that is on a node. */
  pod(namespace: string, name: string, node: string): Promise<void> {
    return this.send("POST", `/api/v1/namespaces/${namespace}/pods`, {
      ...{ apiVersion: "v1", kind: "Pod" },
      metadata: { name, labels: { app: name, tier: "web" } },
      spec: {
        nodeName: node,
        containers: [{ name: "app", image: "registry.example.com/app:1", env: [{ name: "A", value: "b" }] }],
      },
    });
  }

  /** all does the same for each, many at a time. */
  async all<T>(values: readonly T[], work: (value: T) => Promise<void>): Promise<void> {
    await inParallel(values, AT_ONCE, work);
  }
}
