/** What other nodes are reached by: the link of each way, and echoes of full size. The programs ip and ping are asked. */
import { formatIp, type Ip, ipPlus, prefixAddress } from "../net/mod.ts";
import { run, which } from "../sys/mod.ts";
import type { AgentFacts, PeerFacts, PingFacts, WayFacts } from "./facts.ts";
import type { Place } from "./place.ts";

/** MOST_PEERS limits how many nodes are tried: a mesh may have thousands. */
const MOST_PEERS = 16;
const ASK_MS = 10_000;
/** IP and ICMP before an echo's data, by family. */
const ECHO_HEADERS = { 4: 28, 6: 48 } as const;

/** readWays asks the kernel's routing; without an agent, for any address of the overlay. */
export async function readWays(
  peers: readonly PeerFacts[],
  place: Place | undefined,
): Promise<readonly WayFacts[]> {
  const wanted = peers
    .slice(0, MOST_PEERS)
    .flatMap(({ name, overlay, pods }) => [
      ...overlay.map((address) => ({ to: name, address })),
      ...pods.map((prefix) => ({ to: `pods of ${name}`, address: ipPlus(prefixAddress(prefix), 2n) })),
    ]);
  const overlay = (place?.overlay ?? []).map((prefix) => ({
    to: "the overlay",
    address: ipPlus(prefixAddress(prefix), 0xfdn),
  }));
  return Promise.all((wanted.length > 0 ? wanted : overlay).map(readWay));
}

async function readWay({ to, address }: { readonly to: string; readonly address: Ip }): Promise<WayFacts> {
  const text = formatIp(address);
  const { status, stdout } = await run(["ip", "-j", "route", "get", text], { timeoutMs: ASK_MS });
  const [route] = status === 0 ? (JSON.parse(stdout) as readonly { readonly dev?: string }[]) : [];
  return { to, address: text, ...(route?.dev !== undefined && { link: route.dev }) };
}

/** readPings sends two echoes of each size to nodes that are not down; undefined where that cannot be. */
export async function readPings(agent: AgentFacts | undefined): Promise<readonly PingFacts[] | undefined> {
  const mtuBytes = agent?.tunnel?.mtuBytes;
  if (agent === undefined || mtuBytes === undefined || which("ping") === undefined) return undefined;
  const reached = agent.peers.filter(({ down }) => !down).slice(0, MOST_PEERS);
  return Promise.all(reached.map((peer) => pingPeer(peer, mtuBytes)));
}

/** pingPeer tries one. A full packet that this node itself is told to make smaller is no hole: the senders are told as well. */
export async function pingPeer(
  { name, overlay, mtuBytes }: Pick<PeerFacts, "name" | "overlay" | "mtuBytes">,
  tunnelBytes: number,
): Promise<PingFacts> {
  const [address] = overlay as readonly [Ip];
  const largeBytes = Math.min(mtuBytes ?? tunnelBytes, tunnelBytes);
  const [small, large] = await Promise.all([echo(address, 64), echo(address, largeBytes)]);
  return { peer: name, small, large, largeBytes };
}

async function echo(address: Ip, packetBytes: number): Promise<boolean> {
  const size = String(packetBytes - ECHO_HEADERS[address.family]);
  const words = ["ping", "-n", "-c", "2", "-i", "0.2", "-W", "2", "-M", "do", "-s", size, formatIp(address)];
  const { status, stdout, stderr } = await run(words, { timeoutMs: ASK_MS });
  return status === 0 || /message too long|frag needed|too big/i.test(stdout + stderr);
}
