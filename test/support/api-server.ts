/** A real kube-apiserver with Debian's etcd behind it, on loopback; run inside a network namespace of the test's own. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { kubernetesProgram } from "../../tools/kubernetes.ts";
import type { KubeAccess } from "../../src/kube/access.ts";
import { kubeGet } from "../../src/kube/client.ts";
import { type KubernetesVersion, parseKubernetesVersion } from "../../src/kube/kubeadm-config.ts";
import { until } from "../../src/lab/wait.ts";
import { httpsGet, which } from "../../src/sys/mod.ts";
import { EtcdCluster, etcdFolder } from "./etcd.ts";

/** apiServerNeeds returns what an ApiServer is made of, or the reason why there is none. */
export function apiServerNeeds():
  | { readonly program: string; readonly etcd: string; readonly lacks?: undefined }
  | { readonly lacks: string; readonly program?: undefined; readonly etcd?: undefined } {
  const program = kubernetesProgram("kube-apiserver");
  if (program.lacks !== undefined) return { lacks: program.lacks };
  const etcd = etcdFolder();
  if (etcd.lacks !== undefined) return { lacks: etcd.lacks };
  return { program: program.path, etcd: etcd.folder };
}

const PORT = 6443;

/** It makes them by itself, a moment after it is ready. */
const NAMESPACES = ["default", "kube-system", "kube-public"];

/** An event of the audit log (audit.k8s.io/v1), as much as is read. */
interface Audited {
  readonly verb: string;
  readonly objectRef?: {
    readonly apiGroup?: string;
    readonly resource: string;
    readonly subresource?: string;
  };
  readonly responseStatus?: { readonly code: number };
}

/** What users do is written down, and nothing of all else. */
function auditPolicy(users: readonly string[]): string {
  const rules = [...(users.length > 0 ? [{ level: "Metadata", users }] : []), { level: "None" }];
  return JSON.stringify({
    apiVersion: "audit.k8s.io/v1",
    kind: "Policy",
    omitStages: ["RequestReceived"],
    rules,
  });
}

/** ApiServer is one API server; its users come by token: `admin` may do all, others what they are given. */
export class ApiServer implements AsyncDisposable {
  readonly #etcd: EtcdCluster;
  readonly #program: string;
  readonly #options: readonly string[];
  #process: Bun.Subprocess | undefined;

  constructor(program: string, etcdRoot: string, users: readonly string[] = []) {
    this.#program = program;
    this.#etcd = new EtcdCluster(etcdRoot, { addresses: ["127.0.0.1"] });
    this.#etcd.start(0);
    const { authority } = this.#etcd;
    const serving = authority.sign("apiserver", "IP:127.0.0.1,IP:10.96.0.1,DNS:kubernetes");
    const tokens = join(this.#etcd.folder, "tokens.csv");
    const lines = users.map((user) => `token-of-${user},${user},${user}`);
    writeFileSync(tokens, ["token-of-admin,admin,admin,system:masters", ...lines, ""].join("\n"));
    mkdirSync(join(this.#etcd.folder, "run"));
    const policy = join(this.#etcd.folder, "audit.yaml");
    writeFileSync(policy, auditPolicy(users));
    const options = {
      "audit-policy-file": policy,
      "audit-log-path": this.#auditLog,
      "audit-log-mode": "blocking",
      "etcd-servers": "https://127.0.0.1:2379",
      "etcd-cafile": authority.ca,
      "etcd-certfile": serving.certificate,
      "etcd-keyfile": serving.key,
      "bind-address": "127.0.0.1",
      "advertise-address": "127.0.0.1",
      "secure-port": String(PORT),
      "cert-dir": join(this.#etcd.folder, "run"),
      "tls-cert-file": serving.certificate,
      "tls-private-key-file": serving.key,
      "client-ca-file": authority.ca,
      "token-auth-file": tokens,
      "service-account-issuer": "https://kubernetes.default.svc",
      "service-account-key-file": serving.certificate,
      "service-account-signing-key-file": serving.key,
      "service-cluster-ip-range": "10.96.0.0/16",
      "authorization-mode": "RBAC",
      // There is no controller manager that would make service accounts' tokens.
      "disable-admission-plugins": "ServiceAccount",
    };
    this.#options = Object.entries(options).map(([name, value]) => `--${name}=${value}`);
  }

  get #auditLog(): string {
    return join(this.#etcd.folder, "audit.log");
  }

  /** asked returns what users (but for the admin) were allowed to do: `get apps/daemonsets`, `patch nodes/status`. */
  asked(): ReadonlySet<string> {
    const lines = readFileSync(this.#auditLog, "utf8").split("\n").filter(Boolean);
    return new Set(
      lines.flatMap((line) => {
        const { verb, objectRef: of, responseStatus: answer } = JSON.parse(line) as Audited;
        if (of === undefined || answer?.code === 403) return [];
        const group = of.apiGroup === undefined ? "" : `${of.apiGroup}/`;
        return [`${verb} ${group}${of.resource}${of.subresource === undefined ? "" : `/${of.subresource}`}`];
      }),
    );
  }

  /** access is that of a user; default the one who may do all. */
  access(user = "admin"): KubeAccess {
    return {
      server: `https://127.0.0.1:${PORT}`,
      tls: { ca: readFileSync(this.#etcd.authority.ca, "utf8") },
      token: () => `token-of-${user}`,
    };
  }

  /** version asks which release it is: definitions and pods are written for one. */
  async version(): Promise<KubernetesVersion> {
    const { gitVersion } = JSON.parse(await kubeGet(this.access(), "/version")) as { gitVersion: string };
    const version = parseKubernetesVersion(gitVersion);
    if (version === undefined) throw new Error(`kube-apiserver says that its release is "${gitVersion}"`);
    return version;
  }

  /** kubeconfig is what a user's file says. */
  kubeconfig(user: string): object {
    const { server, tls, token } = this.access(user);
    const ca = Buffer.from(tls.ca).toString("base64");
    return {
      ...{ apiVersion: "v1", kind: "Config", "current-context": "here" },
      clusters: [{ name: "here", cluster: { server, "certificate-authority-data": ca } }],
      users: [{ name: user, user: { token: token?.() } }],
      contexts: [{ name: "here", context: { cluster: "here", user } }],
    };
  }

  /** start starts it, new or with what it had, and waits until it serves, and has made the namespaces that each cluster has. */
  async start(): Promise<void> {
    // It ends when we end, however that happens.
    const leash = which("setpriv");
    const argv = [...(leash === undefined ? [] : [leash, "--pdeathsig", "KILL"]), this.#program];
    const log = Bun.file(join(this.#etcd.folder, "apiserver.log"));
    this.#process = Bun.spawn([...argv, ...this.#options], { stdout: "ignore", stderr: log });
    const { server, tls } = this.access();
    const missing = (path: string) => async () => {
      if (this.#process?.exitCode !== null) throw new Error(`kube-apiserver ended: ${await this.#end(log)}`);
      const asked = { url: `${server}${path}`, tls, timeoutMs: 5000, maxBytes: 100_000 };
      const headers = { authorization: "Bearer token-of-admin" };
      return await httpsGet({ ...asked, headers }).then(
        ({ status, text }) => (status === 200 ? undefined : text),
        (error: Error) => error.message,
      );
    };
    for (const path of ["/readyz", ...NAMESPACES.map((name) => `/api/v1/namespaces/${name}`)])
      await until(missing(path), { what: `kube-apiserver to have ${path}`, deadlineMs: 240_000 });
  }

  async #end(log: Bun.BunFile): Promise<string> {
    return (await log.text()).trim().split("\n").slice(-5).join("\n");
  }

  /** kill ends it without a farewell. */
  async kill(): Promise<void> {
    this.#process?.kill("SIGKILL");
    await this.#process?.exited;
    this.#process = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    await this.#etcd[Symbol.asyncDispose]();
  }
}
