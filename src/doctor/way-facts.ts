/** What other nodes are reached by: the link of each way, echoes of full size, hubs' names. The programs ip and ping are asked. */
import { join } from "node:path";
import { formatIp, type Ip, ipPlus, prefixAddress, tryParseEndpoint } from "../net/mod.ts";
import { readText, resolveHost, run, which } from "../sys/mod.ts";
import type { AgentFacts, Facts, HubName, PeerFacts, PingFacts, WayFacts } from "./facts.ts";
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
): Promise<Pick<Facts, "ways" | "waysProblem">> {
  if (!(await hasIproute())) return { ways: [], waysProblem: "needs the program ip of iproute2" };
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
  return { ways: await Promise.all((wanted.length > 0 ? wanted : overlay).map(readWay)) };
}

/** That of busybox prints no JSON, and none of the options that name a version. */
async function hasIproute(): Promise<boolean> {
  if (which("ip") === undefined) return false;
  const { status, stdout } = await run(["ip", "-V"], { timeoutMs: ASK_MS });
  return status === 0 && stdout.includes("iproute2");
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

/** Of a node that has joined: where its token said that hubs are (agent/member-role.ts). */
const MEMBERSHIP = "member.json";

/** readHubNames looks up the hub's names, as the mesh has them or, without an agent, as the token had: none where there is an address beside them; undefined where this node is no member. */
export async function readHubNames(
  agent: AgentFacts | undefined,
  state: string,
): Promise<readonly HubName[] | undefined> {
  const endpoints = agent?.hubEndpoints ?? joinedBy(state);
  if (agent?.hub === true || endpoints === undefined) return undefined;
  // One address is enough to be reached by.
  if (endpoints.some((one) => tryParseEndpoint(one) !== undefined)) return [];
  const names = endpoints.map((one) => one.slice(0, one.lastIndexOf(":")));
  return Promise.all([...new Set(names)].map(lookUp));
}

function joinedBy(state: string): readonly string[] | undefined {
  try {
    const { endpoints } = JSON.parse(readText(join(state, MEMBERSHIP)) ?? "{}") as {
      readonly endpoints?: unknown;
    };
    const isRead = Array.isArray(endpoints) && endpoints.every((one) => typeof one === "string");
    return isRead ? endpoints : undefined;
  } catch {
    // The agent says that it cannot take it up.
    return undefined;
  }
}

async function lookUp(name: string): Promise<HubName> {
  try {
    return { name, addresses: await resolveHost(name) };
  } catch (error) {
    return { name, addresses: [], problem: (error as Error).message };
  }
}
