/** Checks of Kubernetes on this node: that it uses the overlay's addresses and the mesh's networks, and takes its pod network from us. */
import { LINK } from "../mesh/mod.ts";
import {
  formatIp,
  formatPrefix,
  ipEqual,
  parsePrefix,
  type Prefix,
  prefixContains,
  tryParseInterfaceAddress,
  tryParseIp,
} from "../net/mod.ts";
import type { LinkInfo } from "../netlink/mod.ts";
import { type Examination, type Finding, shellText } from "./check.ts";
import type { CniFacts, Facts, KubeFacts } from "./facts.ts";
import { sameNetworks } from "./mesh-checks.ts";

const NO_KUBE = "no Kubernetes on this node";
const NOT_JOINED = "this node has no overlay addresses";

function prepare({ distribution }: KubeFacts): string {
  return `causeway kube prepare ${distribution ?? "kubeadm"}`;
}

/** A list of addresses as kubelet takes them, all of the overlay? */
function allOwn({ view: { place } }: Facts, text: string): boolean {
  const addresses = text.split(",").map((one) => tryParseIp(one.trim()));
  return addresses.every(
    (address) => address !== undefined && place?.own.some((own) => ipEqual(own, address)),
  );
}

function ownText({ view: { place } }: Facts): string {
  return (place?.own ?? []).map(formatIp).join(",");
}

/** What a check of Kubernetes needs, or why it cannot be made. */
function withKube(facts: Facts, look: (kube: KubeFacts) => Finding): Finding {
  if (facts.kube === undefined) return { skipped: NO_KUBE };
  if (facts.view.place === undefined) return { skipped: NOT_JOINED };
  return look(facts.kube);
}

function nodeIpFinding(facts: Facts, kube: KubeFacts): Finding {
  const fix = `${prepare(kube)}, then restart the unit`;
  const { nodeIp, running } = kube;
  if (nodeIp === undefined && running?.nodeIp === undefined)
    return { found: "no --node-ip: the kubelet takes the address of the default route", fix };
  if (nodeIp !== undefined && !allOwn(facts, nodeIp.value))
    return { found: `--node-ip is ${nodeIp.value} (${nodeIp.path}), this node ${ownText(facts)}`, fix };
  if (running !== undefined && (running.nodeIp === undefined || !allOwn(facts, running.nodeIp)))
    return {
      found: `the kubelet runs with --node-ip=${running.nodeIp ?? "(none)"}`,
      fix: "systemctl restart kubelet",
    };
  return { found: `--node-ip is ${nodeIp?.value ?? running?.nodeIp}` };
}

function registeredFinding(facts: Facts, kube: KubeFacts): Finding {
  if (kube.registered === undefined) return { skipped: kube.apiProblem ?? "the API was not asked" };
  const wrong = kube.registered.internal.filter((address) => !allOwn(facts, address));
  if (wrong.length === 0) return { found: `INTERNAL-IP is ${kube.registered.internal.join(", ")}` };
  return {
    found: `INTERNAL-IP is ${wrong.join(", ")}, not of the overlay (${ownText(facts)})`,
    fix: `${prepare(kube)}, then restart the kubelet`,
  };
}

/** Networks out of a text with commas; undefined where it is none. */
function networks(text: string): readonly Prefix[] | undefined {
  const parts = text.split(",").map((one) => one.trim());
  return parts.some((part) => tryParseInterfaceAddress(part) === undefined)
    ? undefined
    : parts.map((part) => parsePrefix(part));
}

function networksFinding(facts: Facts, kube: KubeFacts): Finding {
  const { agent, view } = facts;
  if (kube.networks.length === 0) return { skipped: "no file of a control plane or a pod network here" };
  const pods =
    numberedByOther(facts) === undefined ? (agent?.mesh?.pods ?? view.place?.pods ?? []) : undefined;
  const mesh = { pods, services: agent?.mesh?.services };
  const wrong = kube.networks.flatMap(({ path, kind, value }) => {
    const ours = mesh[kind];
    const said = attempt(() => networks(value));
    if (ours === undefined || (said !== undefined && sameNetworks(said, ours))) return [];
    return [`${path}: ${kind} ${value}, the mesh has ${ours.map(formatPrefix).join(",") || "none"}`];
  });
  if (wrong.length === 0)
    return { found: kube.networks.map(({ kind, value }) => `${kind} ${value}`).join(", ") };
  return {
    found: wrong.join("; "),
    fix: `before the cluster is made: ${prepare(kube)} --control-plane; a cluster that runs keeps its networks: make the mesh with them (causeway init --pods4 …), and restart pods that have old addresses`,
  };
}

function attempt<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch {
    // No network: it differs from ours then.
    return undefined;
  }
}

function podCidrFinding(facts: Facts, kube: KubeFacts): Finding {
  const other = numberedByOther(facts);
  if (other !== undefined) return { skipped: other };
  const { agent, view } = facts;
  if (kube.registered === undefined) return { skipped: kube.apiProblem ?? "the API was not asked" };
  const { podCidrs } = kube.registered;
  const ours = agent?.node === undefined ? (view.place?.ownPods ?? []) : agent.pods;
  if (podCidrs.length === 0) return { found: "Node.spec.podCIDRs is not set; nobody else numbers pods" };
  const said = attempt(() => podCidrs.map((text) => parsePrefix(text)));
  if (said !== undefined && sameNetworks(said, ours)) return { found: podCidrs.join(", ") };
  return {
    found: `Node.spec.podCIDRs is ${podCidrs.join(", ")}, this node's range ${ours.map(formatPrefix).join(", ") || "none"}`,
    fix: `the controller manager numbers nodes too: set allocate-node-cidrs: false (${prepare(kube)} --control-plane), then delete and register the Node`,
  };
}

/** isOurs tells whether runtimes that take a configuration come to our plugin. */
export function isOurs(file: CniFacts["files"][number]): boolean {
  return file.types.includes("causeway") || file.delegatesToUs;
}

/** Files before ours are taken instead; one that hands pods on to us is Multus. */
function cniFinding(facts: Facts, cni: CniFacts): Finding {
  const [first, ...others] = cni.files;
  if (first === undefined) return { found: `${cni.folder} is empty`, fix: "causeway cni install" };
  const rest = others.filter((file) => !isOurs(file)).map(({ path }) => path);
  const unused = rest.length === 0 ? "" : `; not used, since it comes after: ${rest.join(", ")}`;
  if (isOurs(first)) return { found: `runtimes take ${first.path}${unused}` };
  const ours = cni.files.findIndex(isOurs);
  const taken = `runtimes take ${first.path} (${first.types.join(", ") || "not readable"})`;
  const other = numberedByOther(facts);
  if (other !== undefined) return { found: `${taken}; ${other}` };
  if (ours < 0) return { found: `${taken}, and nothing of ours is there`, fix: "causeway cni install" };
  const aside = cni.files.slice(0, ours).map(({ path }) => ["mv", "-n", path, `${path}.not-used`]);
  return {
    found: `${taken} before ${cni.files[ours]?.path}`,
    fix: `one pod network at a time: take the other out of the cluster first, if pods use it; then ${shellText(aside)}`,
  };
}

const OVERLAYS = /^(?:flannel|vxlan\.calico|flannel-v6)/;

function othersOf({ view: { kernel } }: Facts) {
  return kernel.links.filter(({ name, vxlan }) => OVERLAYS.test(name) && vxlan?.local !== undefined);
}

function isByOverlay({ view: { place } }: Facts, { vxlan }: LinkInfo): boolean {
  return place?.overlay.some((prefix) => vxlan?.local && prefixContains(prefix, vxlan.local)) ?? false;
}

/** Links of another pod network that goes by the overlay, where nothing of ours is installed: then it numbers the pods, and that is well. */
function numberedByOther(facts: Facts): string | undefined {
  const others = othersOf(facts);
  const hasOurs = facts.cni?.files.some(isOurs) ?? false;
  if (hasOurs || others.length === 0 || !others.every((link) => isByOverlay(facts, link))) return undefined;
  return `pods have the network of ${others.map(({ name }) => name).join(", ")}, by the overlay`;
}

/** VXLAN of other pod networks, whose address is that of the interface that they took. */
function otherNetworkFinding(facts: Facts): Finding {
  const found = othersOf(facts);
  if (found.length === 0) return { skipped: "no flannel or Calico on this node" };
  if (facts.view.place === undefined) return { skipped: NOT_JOINED };
  const wrong = found.filter((link) => !isByOverlay(facts, link));
  const text = (links: typeof found) =>
    links.map(({ name, vxlan }) => `${name} uses ${formatIp(vxlan?.local as never)}`).join(", ");
  if (wrong.length === 0) return { found: text(found) };
  return {
    found: `${text(wrong)}, which is not of the overlay`,
    fix: `flannel: --iface=${LINK}; Calico: IP_AUTODETECTION_METHOD=interface=${LINK}; or use Causeway's pod network: causeway cni install`,
  };
}

/** kubeExaminations are these checks. */
export const kubeExaminations: readonly Examination<Facts>[] = [
  {
    id: "node-ip",
    why: "a kubelet without --node-ip takes the address of the default route, which other nodes cannot reach; it must be set on every node, the control plane included",
    look: (facts) => withKube(facts, (kube) => nodeIpFinding(facts, kube)),
  },
  {
    id: "internal-ip",
    why: "the API reaches the kubelet at its INTERNAL-IP: for logs, exec and port-forward",
    look: (facts) => withKube(facts, (kube) => registeredFinding(facts, kube)),
  },
  {
    id: "unit-order",
    why: "a kubelet that starts before its --node-ip is on a link ends at once",
    look: (facts) =>
      withKube(facts, (kube) =>
        kube.ordered
          ? { found: "the unit waits for the overlay" }
          : { found: "the unit does not wait for the overlay", fix: prepare(kube) },
      ),
  },
  {
    id: "cluster-networks",
    why: "two ideas of the pod network break DNS first: Services answer from addresses that nobody routes",
    look: (facts) => withKube(facts, (kube) => networksFinding(facts, kube)),
  },
  {
    id: "pod-cidr",
    why: "Kubernetes and the pods' network must agree which addresses are this node's",
    look: (facts) => withKube(facts, (kube) => podCidrFinding(facts, kube)),
  },
  {
    id: "cni-folder",
    why: "container runtimes take the first configuration by name, and only that",
    look: (facts) =>
      facts.cni === undefined || (facts.kube === undefined && facts.cni.files.length === 0)
        ? { skipped: NO_KUBE }
        : cniFinding(facts, facts.cni),
  },
  {
    id: "other-network",
    why: "another pod network takes the interface of the default route: its packets go around the tunnel, unencrypted, and are lost behind NAT",
    look: otherNetworkFinding,
  },
];
