/** How the API is reached and who we are to it: the service account of a pod, or a kubeconfig. Programs that make credentials are not run. */
import { dirname, isAbsolute, join } from "node:path";
import { parse } from "yaml";
import { environmentVariable, readText, type TlsIdentity, type HttpsTrust } from "../sys/mod.ts";

/** KubeAccess is one API server and one identity. */
export interface KubeAccess {
  /** `https://10.96.0.1:443`, without a slash at the end. */
  readonly server: string;
  readonly tls: TlsIdentity | HttpsTrust;
  /** Read before each request, because it is renewed in its file (bound tokens live for an hour); absent with a client certificate. */
  readonly token?: () => string;
}

/** SERVICE_ACCOUNT is where a pod finds its own. */
const SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount";

/** inCluster returns the access of the pod that this process runs in; throws where it runs in none. */
export function inCluster(folder = SERVICE_ACCOUNT): KubeAccess {
  const host = environmentVariable("KUBERNETES_SERVICE_HOST");
  const port = environmentVariable("KUBERNETES_SERVICE_PORT") ?? "443";
  if (host === undefined)
    throw new Error("Cannot reach the Kubernetes API: KUBERNETES_SERVICE_HOST is not set; name a kubeconfig");
  const at = host.includes(":") ? `[${host}]` : host;
  const token = () => required(join(folder, "token")).trim();
  token();
  return { server: `https://${at}:${port}`, tls: { ca: required(join(folder, "ca.crt")) }, token };
}

/** Config is as much of a kubeconfig as is read. */
interface Config {
  readonly [field: string]: unknown;
}

/** kubeconfigAccess returns what the current context of a kubeconfig file says; throws for what it says that cannot be done. */
export function kubeconfigAccess(path: string): KubeAccess {
  const problem = (field: string, why: string) => new Error(`Cannot use kubeconfig ${path}: ${field} ${why}`);
  const config = objectOf(parse(required(path)));
  const current = config?.["current-context"];
  if (config === undefined || typeof current !== "string")
    throw problem("current-context", "is missing; set one with kubectl config use-context");
  const named = (list: string, name: unknown, field: string): Config => {
    const entries = Array.isArray(config[list]) ? (config[list] as unknown[]) : [];
    const found = entries.map(objectOf).find((entry) => entry?.name === name)?.[field];
    const object = objectOf(found);
    if (object === undefined) throw problem(list, `has no ${String(name)}`);
    return object;
  };
  const context = named("contexts", current, "context");
  const cluster = named("clusters", context.cluster, "cluster");
  const user = named("users", context.user, "user");
  const folder = dirname(path);
  const server = textOf(cluster.server)?.replace(/\/+$/, "");
  if (server?.startsWith("https://") !== true) throw problem("server", "is no https:// address");
  if (cluster["insecure-skip-tls-verify"] === true)
    throw problem(
      "insecure-skip-tls-verify",
      "is not supported: anybody could answer; give certificate-authority",
    );
  for (const field of ["exec", "auth-provider", "username"])
    if (user[field] !== undefined)
      throw problem(field, "is not supported; use a token or a client certificate of a service account");
  const pem = (holder: Config, field: string) => pemOf(holder, field, folder);
  const ca = pem(cluster, "certificate-authority");
  if (ca === undefined) throw problem("certificate-authority", "is missing");
  const [certificate, key] = [pem(user, "client-certificate"), pem(user, "client-key")];
  const token = tokenOf(user, folder);
  if (token === undefined && (certificate === undefined || key === undefined))
    throw problem("users", "has neither a token nor a client certificate with its key");
  const tls = certificate !== undefined && key !== undefined ? { ca, certificate, key } : { ca };
  return { server, tls, ...(token !== undefined && { token }) };
}

/** A PEM text stands in the file itself as base64, or in a file of its own. */
function pemOf(holder: Config, field: string, folder: string): string | undefined {
  const data = textOf(holder[`${field}-data`]);
  if (data !== undefined) return Buffer.from(data, "base64").toString("utf8");
  const file = textOf(holder[field]);
  return file === undefined ? undefined : required(isAbsolute(file) ? file : join(folder, file));
}

function tokenOf(user: Config, folder: string): (() => string) | undefined {
  const file = textOf(user.tokenFile);
  if (file !== undefined) return () => required(isAbsolute(file) ? file : join(folder, file)).trim();
  const token = textOf(user.token);
  return token === undefined ? undefined : () => token;
}

function required(path: string): string {
  const text = readText(path);
  if (text === undefined) throw new Error(`Cannot reach the Kubernetes API: there is no file ${path}`);
  return text;
}

function objectOf(value: unknown): Config | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Config) : undefined;
}

function textOf(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}
