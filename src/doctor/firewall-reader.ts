/** Reads this node's firewall by the tools that keep it, and its place in the mesh. Runs in the namespace of the process. */
import { Nftables, Rtnetlink } from "../netlink/mod.ts";
import { readText, run, which } from "../sys/mod.ts";
import { type Firewall, ZONE } from "./firewall.ts";
import { parseIptablesSave } from "./iptables-save.ts";
import { type NftListing, nftTables, ownTable, parseNftListing } from "./nft-listing.ts";
import type { Table } from "./packet.ts";
import { type KernelView, type Place, placeOf } from "./place.ts";

/** FirewallView is what was read together. */
export interface FirewallView {
  readonly firewall: Firewall;
  readonly kernel: KernelView;
  /** Absent where this node has no overlay addresses. */
  readonly place?: Place;
}

/** A tool waits for others that hold its lock. */
const TOOL_MS = 20_000;

/** Tables of our own: they refuse what must be refused. */
const OWN = /^causeway/;

/** Tables that iptables-nft keeps (iptables/nft.c), as nft has them too. */
const IPTABLES_TABLES = new Set(["filter", "nat", "mangle", "raw", "security"]);

/** readFirewall returns what judges packets on this node. */
export async function readFirewall(): Promise<FirewallView> {
  const kernel = readKernel();
  const unread: string[] = [];
  const listing = listRuleset(unread);
  const saved = [
    ...(await savedTables("iptables-nft", "ip", { listing, unread })),
    ...(await savedTables("iptables-nft", "ip6", { listing, unread })),
    ...(await savedTables("iptables-legacy", "ip", { listing, unread })),
    ...(await savedTables("iptables-legacy", "ip6", { listing, unread })),
  ];
  const firewalld = await readFirewalld();
  const byOthers = (family: string, name: string) =>
    OWN.test(name) ||
    saved.some((table) => table.backend === "iptables-nft" && table.family === family && table.name === name);
  const native = nftTables(listing, byOthers).map((table): Table =>
    table.name === "firewalld" && firewalld ? { ...table, backend: "firewalld" } : table,
  );
  const place = placeOf(kernel, ownTable(listing));
  return {
    firewall: { tables: [...saved, ...native], unread, ...(firewalld && { firewalld }) },
    kernel,
    ...(place && { place }),
  };
}

function readKernel(): KernelView {
  using route = Rtnetlink.open();
  return { links: route.links(), addresses: route.addresses(), routes: route.routes() };
}

function listRuleset(unread: string[]): NftListing {
  try {
    using nftables = Nftables.open();
    return parseNftListing(nftables.json("list ruleset"));
  } catch (error) {
    unread.push((error as Error).message);
    return { chains: [], rules: [] };
  }
}

interface Reading {
  readonly listing: NftListing;
  readonly unread: string[];
}

/** Tools are run only where they have tables: iptables-legacy makes them, and loads modules, when it is asked. */
async function savedTables(
  backend: "iptables-nft" | "iptables-legacy",
  family: "ip" | "ip6",
  { listing, unread }: Reading,
): Promise<readonly Table[]> {
  const exists =
    backend === "iptables-nft"
      ? listing.chains.some((chain) => chain.family === family && IPTABLES_TABLES.has(chain.table))
      : (readText(`/proc/net/${family}_tables_names`) ?? "").trim() !== "";
  if (!exists) return [];
  const tool = `${family === "ip6" ? "ip6tables" : "iptables"}${backend.slice("iptables".length)}-save`;
  if (which(tool) === undefined) {
    if (backend === "iptables-legacy") unread.push(`${tool} is not installed, and its tables judge packets`);
    // Without the tool, tables of this name are nft's own.
    return [];
  }
  const { status, stdout, stderr } = await run([tool], { timeoutMs: TOOL_MS });
  if (status === 0)
    return parseIptablesSave(stdout, { backend, family }).filter(
      ({ name }) => !stdout.includes(`Table \`${name}' is incompatible`),
    );
  unread.push(`${tool}: ${stderr.trim()}`);
  return [];
}

async function readFirewalld(): Promise<Firewall["firewalld"]> {
  if (which("firewall-cmd") === undefined) return undefined;
  const { status, stdout } = await run(["firewall-cmd", "--permanent", "--get-zones"], {
    timeoutMs: TOOL_MS,
  });
  if (status !== 0) return undefined;
  const state = await run(["firewall-cmd", "--state"], { timeoutMs: TOOL_MS });
  return state.status === 0 ? { zone: stdout.split(/\s+/).includes(ZONE) } : undefined;
}
