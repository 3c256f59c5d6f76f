/** The picture of a topology as a tree: from the outermost network inwards, each network and each box once. */
import { formatInterfaceAddress, formatIp, formatPrefix } from "../net/mod.ts";
import { realmsOf } from "./realm.ts";
import { attachedTo, type Box, isNat, type Network, type Topology } from "./topology.ts";

/** Branch is one thing in the picture, with what hangs on it. */
export interface Branch {
  readonly kind: "network" | "node" | "router" | "nat" | "host";
  readonly name: string;
  /** Facts about it, the most important first. */
  readonly facts: readonly string[];
  /** Shown elsewhere already; drawn as a reference. */
  readonly again?: boolean;
  readonly branches: readonly Branch[];
}

/** treeOf returns one tree for each part of the topology that is not connected with the others. */
export function treeOf(topology: Topology): Branch[] {
  const seen = new Set<string>();
  return outermostFirst(topology).flatMap((network) =>
    seen.has(network.name) ? [] : [networkBranch(topology, network, seen)],
  );
}

/** Networks that are inside of no NAT box come first. */
function outermostFirst(topology: Topology): Network[] {
  const realm = realmsOf(topology);
  const inner = new Set(topology.boxes.filter(isNat).map((nat) => realm.get(nat.attachments[0].network)));
  const depth = (network: Network) => Number(inner.has(realm.get(network.name)));
  return [...topology.networks].sort((a, b) => depth(a) - depth(b));
}

function networkBranch(topology: Topology, network: Network, seen: Set<string>): Branch {
  const { name, prefix4, prefix6, lossBasisPoints, delayMs } = network;
  const again = seen.has(name);
  seen.add(name);
  const facts = [
    formatPrefix(prefix4),
    ...(prefix6 === undefined ? [] : [formatPrefix(prefix6)]),
    ...(lossBasisPoints === undefined ? [] : [`loses ${lossBasisPoints / 100}%`]),
    ...(delayMs === undefined ? [] : [`delays ${delayMs} ms`]),
    ...(network.mtuBytes === 1500 ? [] : [`MTU ${network.mtuBytes}`]),
  ];
  if (again) return { kind: "network", name, facts: ["see above"], again, branches: [] };
  const boxes = attachedTo(topology, name).filter(({ box }) => !seen.has(box.name));
  for (const { box } of boxes) seen.add(box.name);
  // Machines first, then what leads further.
  const order = ({ box }: { box: Box }) => Number(box.attachments.length > 1);
  const branches = [...boxes]
    .sort((a, b) => order(a) - order(b))
    .map(({ box, attachment }) => ({
      ...boxFacts(box, formatIp(attachment.address4.ip)),
      branches: box.attachments
        .filter((other) => other.network !== name)
        .flatMap((other) => {
          const next = topology.networks.find((candidate) => candidate.name === other.network);
          if (next === undefined) return [];
          const branch = networkBranch(topology, next, seen);
          return [
            {
              ...branch,
              facts: [...branch.facts, `${box.name} is ${formatInterfaceAddress(other.address4)}`],
            },
          ];
        }),
    }));
  return { kind: "network", name, facts, branches };
}

function boxFacts(box: Box, address: string): Omit<Branch, "branches"> {
  const { name } = box;
  switch (box.kind) {
    case "node": {
      const role = box.role === "none" ? [] : [box.role];
      const pods = box.pods === 0 ? [] : [box.pods === 1 ? "1 pod" : `${box.pods} pods`];
      return {
        kind: "node",
        name,
        facts: [address, ...role, ...pods, ...(box.site === undefined ? [] : [`site ${box.site}`])],
      };
    }
    case "host":
      return { kind: "host", name, facts: [address, "host"] };
    case "speaker":
      return { kind: "router", name, facts: [address, box.daemon] };
    case "router":
      return { kind: "router", name, facts: [address, "router"] };
    default:
      return { kind: "nat", name, facts: [address, `${box.kind} NAT`] };
  }
}
