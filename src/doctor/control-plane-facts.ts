/** The API server and etcd of this node, as kubeadm sets them up: static pods whose flags stand in manifests, and a certificate. */
import { join } from "node:path";
import { parse } from "yaml";
import { namesOfCertificate, readText } from "../sys/mod.ts";
import type { ControlPlaneFacts } from "./facts.ts";

const CERTIFICATE = "/etc/kubernetes/pki/apiserver.crt";
const KUBECONFIG = "/etc/kubernetes/admin.conf";
const API = "/etc/kubernetes/manifests/kube-apiserver.yaml";
const ETCD = "/etc/kubernetes/manifests/etcd.yaml";

/** Without the first the API server takes the address of the default route; etcd's have defaults on the loopback. */
const flags = [
  { path: API, flag: "advertise-address", required: true },
  { path: ETCD, flag: "advertise-client-urls" },
  { path: ETCD, flag: "initial-advertise-peer-urls" },
  { path: ETCD, flag: "listen-client-urls" },
  { path: ETCD, flag: "listen-peer-urls" },
] as const;

/** readControlPlane returns undefined where there is no API server. */
export function readControlPlane(root: string): ControlPlaneFacts | undefined {
  const read = (path: string) => attempt(() => readText(join(root, path)));
  const pem = read(CERTIFICATE);
  const host = attempt(() => hostOf(serverOf(parse(read(KUBECONFIG) ?? ""))));
  if (pem === undefined && read(API) === undefined) return undefined;
  // Nobody else asks an etcd that is alone: its API server does so by the loopback.
  const isAlone = !/--initial-cluster=[^\s"']*,/.test(read(ETCD) ?? "");
  const names = pem === undefined ? undefined : attempt(() => namesOfCertificate(pem));
  return {
    ...(pem !== undefined && { certificate: { path: CERTIFICATE, ...(names && { names }) } }),
    ...(host !== undefined && { endpoint: { path: KUBECONFIG, host } }),
    flags: flags.flatMap(({ path, flag, ...more }) => {
      const text = path === ETCD && isAlone ? undefined : read(path);
      const value = new RegExp(`--${flag}=([^\\s"']+)`).exec(text ?? "")?.[1];
      if (text === undefined || (value === undefined && !("required" in more))) return [];
      return [{ path, flag, hosts: (value?.split(",") ?? []).flatMap((one) => hostOf(one) ?? []) }];
    }),
  };
}

function attempt<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch {
    // A file that cannot be read says nothing.
    return undefined;
  }
}

function serverOf(config: unknown): string | undefined {
  const { clusters } = (config ?? {}) as {
    readonly clusters?: readonly { readonly cluster?: { readonly server?: string } }[];
  };
  return clusters?.[0]?.cluster?.server;
}

/** Of a URL or an address. */
function hostOf(text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  const host = text.includes("://") ? attempt(() => new URL(text).hostname) : text;
  return host?.replace(/^\[(.*)\]$/, "$1");
}
