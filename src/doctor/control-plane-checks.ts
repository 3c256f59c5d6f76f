/** The check of an API server on this node: that it and etcd are told the overlay's addresses, and its certificate is for those who ask there. */
import { formatIp, type Ip, ipEqual, NOT_HOSTS, prefixContains, tryParseIp } from "../net/mod.ts";
import type { Examination, Finding } from "./check.ts";
import type { ControlPlaneFacts, Facts } from "./facts.ts";

/** Whether a name of a certificate is a host's (RFC 6125, section 6.4; RFC 2818 for addresses). */
function isFor(name: string, host: string): boolean {
  const [a, b] = [tryParseIp(name), tryParseIp(host)];
  if (a !== undefined || b !== undefined) return a !== undefined && b !== undefined && ipEqual(a, b);
  const [pattern, text] = [name.toLowerCase(), host.toLowerCase()];
  return pattern === text || (pattern.startsWith("*.") && pattern.slice(1) === text.slice(text.indexOf(".")));
}

/** What is said with the overlay's addresses known; a problem each. Names in URLs are not judged. */
function flagProblems({ flags }: ControlPlaneFacts, own: readonly Ip[]): readonly string[] {
  return flags.flatMap(({ path, flag, hosts }) => {
    if (hosts.length === 0) return [`no --${flag} (${path}): that of the default route is taken`];
    const isOwn = (address: Ip) => own.some((one) => ipEqual(one, address));
    // The loopback and "any" are no network that others would be told.
    const isNowhere = (address: Ip) => NOT_HOSTS.some((prefix) => prefixContains(prefix, address));
    const addresses = hosts.flatMap((host) => tryParseIp(host) ?? []);
    // To listen elsewhere too hurts nobody.
    if (flag.startsWith("listen-") && addresses.some(isOwn)) return [];
    const foreign = addresses.filter((address) => !isOwn(address) && !isNowhere(address)).map(formatIp);
    return foreign.length === 0 ? [] : [`--${flag} is ${foreign.join(", ")} (${path})`];
  });
}

/** Of a node with two overlay addresses the API is asked at one. */
function certificateProblems(
  { certificate, endpoint }: ControlPlaneFacts,
  own: readonly Ip[],
): readonly string[] {
  if (certificate === undefined) return [];
  const { path, names } = certificate;
  if (names === undefined) return [`${path} is no certificate`];
  const isNamed = (host: string) => names.some((name) => isFor(name, host));
  const texts = own.map(formatIp);
  const lacks = [
    ...(texts.some(isNamed) ? [] : texts.slice(0, 1)),
    ...(endpoint === undefined || isNamed(endpoint.host) ? [] : [`${endpoint.host} (${endpoint.path})`]),
  ];
  return lacks.length === 0 ? [] : [`${path} is not for ${[...new Set(lacks)].join(" nor ")}`];
}

/** A new certificate has to be for all that the old one was for, or those who ask there refuse it. */
function anew({ certificate, endpoint }: ControlPlaneFacts): string {
  const kept = (certificate?.names ?? []).filter(
    (name) => !/^kubernetes(\.|$)/.test(name) && name !== endpoint?.host,
  );
  const names = kept.map((name) => ` --name ${name}`).join("");
  return `certificate: keep a copy of /etc/kubernetes/pki; causeway kube prepare kubeadm --control-plane --endpoint ${endpoint?.host ?? "HOST"}:6443${names}, which writes names and service networks into /etc/causeway/kubeadm.yaml: look at them; with ca.key in that folder move apiserver.crt and apiserver.key away, kubeadm init phase certs apiserver --config /etc/causeway/kubeadm.yaml, and restart the API server; without it whoever has the CA signs one for these names`;
}

function apiFinding({ kube, view: { place } }: Facts): Finding {
  const controlPlane = kube?.controlPlane;
  if (controlPlane === undefined) return { skipped: "no API server of kubeadm on this node" };
  if (place === undefined) return { skipped: "this node has no overlay addresses" };
  const [flags, names] = [
    flagProblems(controlPlane, place.own),
    certificateProblems(controlPlane, place.own),
  ];
  const own = place.own.map(formatIp).join(" or ");
  if (flags.length + names.length === 0) return { found: `API server and etcd are told ${own}` };
  const told = `set ${own} in these manifests, flags and probes; the kubelet follows`;
  const etcd =
    "of etcd one member at a time, after etcdctl snapshot save: move pki/etcd/server.* and peer.* away, kubeadm init phase certs etcd-server, then etcd-peer, each with --config of this node's addresses; etcdctl member update ID --peer-urls=…; then its manifest";
  const isEtcd = flags.some((flag) => /--(listen|advertise-client|initial)-/.test(flag));
  return {
    found: [...flags, ...names].join("; "),
    fix: [
      ...(names.length > 0 ? [anew(controlPlane)] : []),
      ...(isEtcd ? [etcd] : []),
      ...(flags.length > 0 ? [told] : []),
    ].join("; "),
  };
}

/** controlPlaneExaminations are this check. */
export const controlPlaneExaminations: readonly Examination<Facts>[] = [
  {
    id: "api-names",
    why: "nodes that only see the overlay cannot reach an API server or an etcd that tells them another address, and refuse a certificate that is not for the one they asked",
    look: apiFinding,
  },
];
