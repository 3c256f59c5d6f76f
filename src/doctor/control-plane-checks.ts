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
    const foreign = hosts.filter((host) => {
      const address = tryParseIp(host);
      // The loopback and "any" are no network that others would be told.
      return (
        address !== undefined &&
        !own.some((one) => ipEqual(one, address)) &&
        !NOT_HOSTS.some((prefix) => prefixContains(prefix, address))
      );
    });
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

const ANEW =
  "causeway kube prepare kubeadm --control-plane --endpoint HOST:6443 writes the names; move apiserver.crt and apiserver.key away, kubeadm init phase certs apiserver --config /etc/causeway/kubeadm.yaml, and restart the API server";

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
  const told = `set ${own} in these manifests, flags and probes; the kubelet follows (of an etcd that runs first: etcdctl member update ID --peer-urls=…; its certificates: kubeadm init phase certs etcd-server, etcd-peer)`;
  return {
    found: [...flags, ...names].join("; "),
    fix: [...(flags.length > 0 ? [told] : []), ...(names.length > 0 ? [ANEW] : [])].join("; "),
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
