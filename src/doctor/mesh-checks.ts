/** Checks of the mesh: the agent, the tunnel's link, other nodes, the key, and that packets go where they should and fit. */
import { LINK, OVERHEAD_BYTES, PODS_LINK } from "../mesh/mod.ts";
import {
  formatIp,
  formatPrefix,
  ipEqual,
  networkOf,
  type Prefix,
  prefixEqual,
  prefixesOverlap,
} from "../net/mod.ts";
import type { Examination, Finding } from "./check.ts";
import type { Facts } from "./facts.ts";
import { addressesOf, defaultRoute, MAIN_TABLE } from "./place.ts";

const START = "systemctl enable --now causeway";
const JOIN = "causeway join TOKEN (or causeway init)";
const OWNER_ONLY = 0o077;

/** How many are named before the rest is counted. */
const MOST_NAMED = 8;

function named(items: readonly string[]): string {
  const rest = items.length - MOST_NAMED;
  return items.slice(0, MOST_NAMED).join(", ") + (rest > 0 ? ` and ${rest} more` : "");
}

function linkFinding({ agent, view: { kernel } }: Facts): Finding {
  const link = kernel.links.find(({ name }) => name === LINK);
  if (link === undefined)
    return agent?.node === undefined
      ? { skipped: "this node has not joined" }
      : { found: `there is no link ${LINK}`, fix: "systemctl restart causeway" };
  const has = addressesOf(kernel, LINK).map(({ address }) => address.ip);
  const lacks = (agent?.overlay ?? []).filter((address) => !has.some((other) => ipEqual(other, address)));
  if (!link.up) return { found: `${LINK} is down`, commands: [["ip", "link", "set", LINK, "up"]] };
  if (lacks.length > 0)
    return {
      found: `${lacks.map(formatIp).join(" and ")} not on ${LINK}`,
      fix: "systemctl restart causeway",
    };
  return { found: `${LINK} has ${has.map(formatIp).join(", ")}` };
}

/** Links that only this machine's containers see may still take packets that are for the mesh. */
function overlapFinding({ agent, view: { kernel, place } }: Facts): Finding {
  const mesh = agent?.mesh;
  const overlay = mesh?.overlay ?? place?.overlay ?? [];
  const pods = mesh?.pods ?? place?.pods ?? [];
  const services = mesh?.services ?? [];
  const ours: (readonly [string, Prefix])[] = [
    ...overlay.map((prefix) => ["overlay", prefix] as const),
    ...pods.map((prefix) => ["pods", prefix] as const),
    ...services.map((prefix) => ["services", prefix] as const),
  ];
  if (ours.length === 0) return { skipped: "the mesh's networks are not known here" };
  const names = new Map(kernel.links.map(({ index, name }) => [index, name]));
  const foreign = kernel.addresses.flatMap(({ linkIndex, address, scope }) => {
    const link = names.get(linkIndex) ?? "";
    return scope !== 0 || link === LINK || link === PODS_LINK || link === "lo"
      ? []
      : [{ link, network: networkOf(address) }];
  });
  const routed = kernel.routes.flatMap(({ destination, hops, table, type }) => {
    const link = names.get(hops[0]?.linkIndex ?? -1);
    const counts =
      table === MAIN_TABLE &&
      type === "unicast" &&
      destination.length > 0 &&
      link !== undefined &&
      link !== LINK &&
      link !== PODS_LINK;
    return counts ? [{ link, network: destination }] : [];
  });
  const seen = new Map(
    [...foreign, ...routed].map((one) => [`${one.link} ${formatPrefix(one.network)}`, one] as const),
  );
  const among = ours.flatMap(([a, one], index) =>
    ours
      .slice(index + 1)
      .flatMap(([b, other]) =>
        prefixesOverlap(one, other) ? [`${a} ${formatPrefix(one)} and ${b} ${formatPrefix(other)}`] : [],
      ),
  );
  const clashes = [...seen.values()].flatMap(({ link, network }) =>
    ours
      .filter(([, prefix]) => prefixesOverlap(prefix, network))
      .map(([what, prefix]) => `${what} ${formatPrefix(prefix)} and ${formatPrefix(network)} of ${link}`),
  );
  if (among.length + clashes.length === 0) return { found: "the mesh's networks are nobody else's" };
  return {
    found: named([...among, ...clashes]),
    fix: "renumber that link's network (docker0: \"bip\" in /etc/docker/daemon.json); the mesh's own are chosen at causeway init",
  };
}

/** The least MTU that IPv6 may have (RFC 8200, section 5): with less, the kernel takes IPv6 off a link. */
const LEAST_MTU_BYTES = 1280;

/** What the tunnel's link should have: as the agent says; without one, what the link of the default route leaves, by which nodes may not be reached. */
function mtuWish({ agent, view: { kernel } }: Facts) {
  const wished = agent?.tunnel?.mtuBytes;
  if (wished !== undefined) return { bytes: wished, exact: true, by: "the agent" };
  const route = defaultRoute(kernel);
  const below = kernel.links.find(({ index }) => index === route?.hops[0]?.linkIndex);
  const underlay = route?.mtuBytes ?? below?.mtuBytes;
  if (below === undefined || underlay === undefined) return undefined;
  // The least is kept on any underlay; outer packets are fragmented then.
  const bytes = Math.max(underlay - OVERHEAD_BYTES[4], LEAST_MTU_BYTES);
  return { bytes, exact: false, by: `${below.name} (${underlay})` };
}

/** The tunnel's link is the agent's to change; pods' bridge follows it. */
function mtuFinding(facts: Facts): Finding {
  const { kernel } = facts.view;
  const link = kernel.links.find(({ name }) => name === LINK);
  if (link === undefined) return { skipped: `there is no link ${LINK}` };
  const pods = kernel.links.find(({ name }) => name === PODS_LINK);
  const text = `${LINK} ${link.mtuBytes}${pods === undefined ? "" : ` → ${PODS_LINK} ${pods.mtuBytes}`}`;
  const wish = mtuWish(facts);
  if (wish?.exact && link.mtuBytes !== wish.bytes)
    return { found: `${text}; ${wish.by} wants ${wish.bytes}`, fix: "systemctl restart causeway" };
  if (wish !== undefined && link.mtuBytes > wish.bytes)
    return {
      found: `${text}; ${wish.by} takes ${wish.bytes}`,
      fix: `systemctl enable --now causeway finds the right one; if other nodes are reached by ${wish.by}: ip link set ${LINK} mtu ${wish.bytes}`,
    };
  if (pods !== undefined && pods.mtuBytes > Math.max(link.mtuBytes, LEAST_MTU_BYTES))
    return {
      found: `${text}: pods send more than the tunnel takes`,
      commands: [["ip", "link", "set", PODS_LINK, "mtu", String(Math.max(link.mtuBytes, LEAST_MTU_BYTES))]],
    };
  return { found: text };
}

function namesFinding({ hubNames }: Facts): Finding {
  if (hubNames === undefined) return { skipped: "needs a node that has joined as a member" };
  if (hubNames.length === 0) return { found: "hubs are reached by addresses" };
  const found = named(
    hubNames.map(({ name, addresses, problem }) =>
      addresses.length > 0
        ? `${name} is ${addresses.join(", ")}`
        : `${name} has no address (${problem ?? "none is named"})`,
    ),
  );
  if (hubNames.some(({ addresses }) => addresses.length > 0)) return { found };
  return {
    found,
    fix: `try getent hosts ${hubNames[0]?.name}: mend the name's record or /etc/resolv.conf; or put an address into spec.endpoints of the Mesh (causeway mesh apply, on a hub)`,
  };
}

function pingFinding({ pings }: Facts): Finding {
  if (pings === undefined) return { skipped: "needs an agent with peers, and the program ping" };
  const reached = pings.filter(({ small }) => small);
  if (reached.length === 0) return { skipped: "no other node answers an echo" };
  const holes = reached.filter(({ large }) => !large);
  if (holes.length === 0) return { found: `full packets reach ${named(reached.map(({ peer }) => peer))}` };
  const text = holes.map(
    ({ peer, largeBytes }) => `${peer}: a packet of ${largeBytes} bytes is lost, a small one is not`,
  );
  return {
    found: named(text),
    fix: "a link on the way carries less than it says, and its ICMP is dropped: let ICMP `fragmentation needed` and `packet too big` through, or set the mesh's mtu (causeway mesh apply)",
  };
}

function keyFinding({ key }: Facts): Finding {
  if (key === undefined) return { skipped: "there is no key yet: this node has not joined" };
  const { machine, elsewhere } = key;
  if ((key.mode & OWNER_ONLY) !== 0)
    return {
      found: `${key.path} can be read by others (mode ${(key.mode & 0o777).toString(8)})`,
      commands: [["chmod", "600", key.path]],
    };
  if (elsewhere.length > 0)
    return {
      found: `the same key is in ${named(elsewhere)}`,
      fix: "two tunnels with one key take each other's packets: take the other one down (wg-quick down …), and remove its file",
    };
  if (
    machine !== undefined &&
    machine.made.length > 0 &&
    !machine.made.some((mac) => machine.now.includes(mac))
  )
    return {
      found: "the key was made on a machine with other network cards: this one is a copy, or got new ones",
      fix: "if the other machine still runs, give this one a key of its own: causeway leave --force; causeway join TOKEN. If it is gone: causeway node rotate",
    };
  return { found: `${key.path}, for its owner only` };
}

/** meshExaminations are these checks. */
export const meshExaminations: readonly Examination<Facts>[] = [
  {
    id: "agent",
    why: "the agent keeps tunnel, routes and rules as they should be; the kernel goes on without it, but nothing new is learnt",
    look: ({ agent, agentProblem }) => {
      if (agent === undefined) return { found: agentProblem ?? "the agent does not answer", fix: START };
      if (agent.node === undefined) return { found: "this node is in no mesh", fix: JOIN };
      return { found: `it runs, as ${agent.node}` };
    },
  },
  {
    id: "objects",
    why: "what the agent could not make in the kernel is missing",
    look: ({ agent }) =>
      agent === undefined
        ? { skipped: "needs the agent" }
        : agent.failed.length === 0
          ? { found: "all that should be in the kernel is there" }
          : { found: named(agent.failed), fix: "causeway plan shows what is in the way" },
  },
  {
    id: "tunnel-link",
    why: "kubelet does not start with a --node-ip that no link has, and nothing of the mesh is reached",
    look: linkFinding,
  },
  {
    id: "tunnel",
    why: "the process of the tunnel carries every packet between nodes",
    look: ({ agent }) =>
      agent?.tunnel === undefined
        ? { skipped: "needs an agent that has joined" }
        : agent.tunnel.problem === undefined
          ? { found: "it runs" }
          : { found: agent.tunnel.problem, fix: "journalctl -u causeway says more" },
  },
  {
    id: "hub",
    why: "without a hub nodes go on with what they know, and learn nothing of new ones; a second hub goes on when one is away",
    look: ({ agent }) => {
      if (agent?.node === undefined || agent.connected === undefined)
        return { skipped: "needs an agent that has joined as a member" };
      if (agent.connected) return { found: "reached" };
      return {
        found: "no hub is reached",
        fix: "open the hub's UDP port at its firewall and router; causeway peers says what was tried",
      };
    },
  },
  {
    id: "hub-name",
    why: "a name is looked up again each minute, since its address may change; while it has none the last one is used, and after a restart the hub is not found",
    look: namesFinding,
  },
  {
    id: "edge",
    why: "what a router in a fabric lacks, hosts and pods of its VPCs lack, and packets end there",
    look: ({ agent }) => {
      if (agent?.edge === undefined) return { skipped: "this node is no router of a fabric" };
      const { routers, problems } = agent.edge;
      return problems.length === 0
        ? { found: `${routers.join(", ")}: all is as resources say` }
        : { found: named(problems), fix: "each says what to do; causeway bgp has the sessions" };
    },
  },
  {
    id: "peers",
    why: "pods of a node that is not reached do not answer",
    look: ({ agent }) => {
      if (agent?.node === undefined) return { skipped: "needs an agent that has joined" };
      const down = agent.peers.filter((peer) => peer.down);
      if (down.length === 0) return { found: `${agent.peers.length} reached or at rest` };
      return {
        found: named(down.map(({ name, reason }) => `${name} (${reason})`)),
        fix: `causeway peers ${down[0]?.name} says what was tried; a node that is gone for good: causeway node remove`,
      };
    },
  },
  {
    id: "key",
    why: "two machines with one key take each other's packets by turns (a cloned image)",
    look: keyFinding,
  },
  { id: "overlap", why: "an address in two networks is reached in one of them only", look: overlapFinding },
  {
    id: "routes",
    why: "packets of nodes and pods that leave by another link are not encrypted, and are lost behind NAT",
    look: ({ ways, waysProblem }) => {
      if (waysProblem !== undefined) return { skipped: waysProblem };
      if (ways.length === 0) return { skipped: "no other node is known" };
      const wrong = ways.filter(({ link }) => link !== LINK);
      if (wrong.length === 0) return { found: `all go by ${LINK}` };
      return {
        found: named(wrong.map(({ to, address, link }) => `${to} (${address}) goes by ${link ?? "no link"}`)),
        fix: `remove the route or rule that leads there: ip route get ${wrong[0]?.address}; ip rule`,
      };
    },
  },
  {
    id: "mtu-links",
    why: "a link that takes more than the one below carries fragments or drops full packets",
    look: mtuFinding,
  },
  {
    id: "mtu-path",
    why: "where full packets vanish, connections open and then stand still",
    look: pingFinding,
  },
];

/** sameNetworks tells whether two lists name the same networks, in any order. */
export function sameNetworks(a: readonly Prefix[], b: readonly Prefix[]): boolean {
  const covered = (one: readonly Prefix[], other: readonly Prefix[]) =>
    one.every((prefix) => other.some((candidate) => prefixEqual(prefix, candidate)));
  return covered(a, b) && covered(b, a);
}
