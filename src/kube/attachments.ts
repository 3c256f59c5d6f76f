/**
 * NetworkAttachmentDefinitions (k8s.cni.cncf.io/v1, Network Plumbing Working Group's standard, version 1.3): one for each Subnet and namespace
 * whose pods may use it, so that a pod names it in `k8s.v1.cni.cncf.io/networks` and Multus asks us for it. Values in, values out.
 */
import { type Json, type TenantResources, type Vpc } from "../resources/mod.ts";
import { fieldOf, type Named } from "./metadata.ts";

/** ATTACHMENTS is where the API has all of them. */
export const ATTACHMENTS = "/apis/k8s.cni.cncf.io/v1";

const RESOURCE = "network-attachment-definitions";

/** GENERATED is the label of those that we make: no other one is changed or removed. */
export const GENERATED = "causeway.network/generated";

/** Multus finds in it what is for all namespaces (its `globalNamespaces`); pods elsewhere write `default/NAME`. */
const FOR_ALL = "default";

/** Attachment is a NetworkAttachmentDefinition as it shall be, or is. */
export interface Attachment extends Named {
  readonly namespace: string;
  /** A CNI configuration, as JSON. */
  readonly config: string;
}

/** FoundAttachment is one that is there. */
export interface FoundAttachment extends Attachment {
  readonly uid: string;
  /** We made it. */
  readonly ours: boolean;
}

/** parseAttachment reads one; undefined for what is none. */
export function parseAttachment(object: unknown): FoundAttachment | undefined {
  const metadata = fieldOf(object, "metadata");
  const [name, namespace, uid] = ["name", "namespace", "uid"].map((key) => fieldOf(metadata, key));
  if (typeof name !== "string" || typeof namespace !== "string" || typeof uid !== "string") return undefined;
  const config = fieldOf(fieldOf(object, "spec"), "config");
  const ours = fieldOf(fieldOf(metadata, "labels"), GENERATED) === "true";
  return { name, namespace, uid, ours, config: typeof config === "string" ? config : "" };
}

/** attachmentKey is by what they are told apart. */
export function attachmentKey({ namespace, name }: Pick<Attachment, "namespace" | "name">): string {
  return `${namespace}/${name}`;
}

/** attachmentPath returns where the API has one, or all of a namespace. */
export function attachmentPath(namespace: string, name?: string): string {
  const all = `${ATTACHMENTS}/namespaces/${namespace}/${RESOURCE}`;
  return name === undefined ? all : `${all}/${name}`;
}

/** ALL_ATTACHMENTS is what is listed. */
export const ALL_ATTACHMENTS = `${ATTACHMENTS}/${RESOURCE}`;

/** attachmentManifest is what is created. */
export function attachmentManifest({ namespace, name, config }: Attachment): Json {
  return {
    apiVersion: "k8s.cni.cncf.io/v1",
    kind: "NetworkAttachmentDefinition",
    metadata: { namespace, name, labels: { [GENERATED]: "true" } },
    spec: { config },
  };
}

/** WantedAttachments are those that shall be there, by attachmentKey, and what cannot be. */
export interface WantedAttachments {
  readonly wanted: ReadonlyMap<string, Attachment>;
  readonly problems: readonly string[];
}

/** wantedAttachments returns what the register's Subnets need. Names are those of Subnets, with hyphens for dots, which Multus takes in no name. */
export function wantedAttachments({ VPC, Subnet }: TenantResources): WantedAttachments {
  const wanted = new Map<string, Attachment>();
  const problems: string[] = [];
  for (const subnet of [...Subnet.values()].sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const name = subnet.name.replaceAll(".", "-");
    const config = JSON.stringify({
      ...{ cniVersion: "1.0.0", name, type: "causeway", vpc: subnet.vpc, subnet: subnet.name },
      capabilities: { ips: true, mac: true },
    });
    for (const namespace of namespacesOf(VPC.get(subnet.vpc))) {
      const attachment = { namespace, name, config };
      const key = attachmentKey(attachment);
      if (wanted.has(key))
        problems.push(
          `Subnet "${subnet.name}": NetworkAttachmentDefinition ${key} is of another Subnet by now; choose names that differ in more than dots and hyphens`,
        );
      else wanted.set(key, attachment);
    }
  }
  return { wanted, problems };
}

/** Without `allow` nobody may use it; where no namespace is named, pods of all of them may, and labels tell which. */
function namespacesOf(vpc: Vpc | undefined): readonly string[] {
  if (vpc?.allow === undefined) return [];
  const { namespaces = ["*"] } = vpc.allow;
  return [...new Set(namespaces.map((one) => (one === "*" ? FOR_ALL : one)))];
}
