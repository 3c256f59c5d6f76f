/** Reads this node's firewall by the tools that keep it, and its place in the mesh. Runs in the namespace of the process. */
import { Nftables, Rtnetlink } from "../netlink/mod.ts";
import { readText, run, which } from "../sys/mod.ts";
import { type Firewall, ZONE } from "./firewall.ts";
import { parseIptablesSave } from "./iptables-save.ts";
import { isJudging, type NftListing, nftTables, ownTable, parseNftListing } from "./nft-listing.ts";
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

/** Tables of our own refuse what must be refused; kube-proxy's (its nftables mode) only Services without endpoints, by a chain for each of thousands. */
const PASSED_OVER = /^causeway|^kube-proxy$/;

/** Tables that iptables keeps and that have INPUT or FORWARD, without NAT's: nft lists them as well. */
const IPTABLES_TABLES = new Set(["filter", "mangle", "security"]);

/** ReadOptions say what is left out. */
export interface ReadOptions {
  /** Whether firewalld is asked, by firewall-cmd; default true. */
  readonly firewalld?: boolean;
}

/** judgesPackets tells whether a table of nf_tables may matter, so that its change may. */
export function judgesPackets(name: string): boolean {
  return name !== "nat" && !PASSED_OVER.test(name);
}

/** readFirewall returns what judges packets on this node. Only tables that do are listed: those of NAT may have ten thousands of rules. */
export async function readFirewall({ firewalld: asks = true }: ReadOptions = {}): Promise<FirewallView> {
  const kernel = readKernel();
  const unread: string[] = [];
  const { chains } = listed("chains", unread);
  const saved = [
    ...(await savedTables("iptables-nft", "ip", { chains, unread })),
    ...(await savedTables("iptables-nft", "ip6", { chains, unread })),
    ...(await savedTables("iptables-legacy", "ip", { chains, unread })),
    ...(await savedTables("iptables-legacy", "ip6", { chains, unread })),
  ];
  const firewalld = asks ? await readFirewalld() : undefined;
  const native = nativeTables({ chains, unread }, saved).map((table): Table =>
    table.name === "firewalld" && firewalld ? { ...table, backend: "firewalld" } : table,
  );
  const place = placeOf(kernel, ownTable(ownListing({ chains, unread })));
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

function listed(what: string, unread: string[]): NftListing {
  try {
    using nftables = Nftables.open();
    return parseNftListing(nftables.json(`list ${what}`));
  } catch (error) {
    unread.push((error as Error).message);
    return { chains: [], rules: [] };
  }
}

interface Reading {
  readonly chains: NftListing["chains"];
  readonly unread: string[];
}

/** Base chains that no tool of iptables printed, with their tables' other chains, to which they may jump. */
function nativeTables({ chains, unread }: Reading, saved: readonly Table[]): readonly Table[] {
  const printed = new Set(
    saved
      .filter(({ backend }) => backend === "iptables-nft")
      .flatMap((table) => table.chains.map(({ name }) => `${table.family} ${table.name} ${name}`)),
  );
  const isPrinted = (family: string, table: string, chain: string) =>
    printed.has(`${family} ${table} ${chain}`);
  const names = new Set(
    chains
      .filter((chain) => isJudging(chain) && !PASSED_OVER.test(chain.table))
      .filter(({ family, table, name }) => !isPrinted(family, table, name))
      .map(({ family, table }) => `${family} ${table}`),
  );
  return [...names].flatMap((name) => nftTables(listed(`table ${name}`, unread), isPrinted));
}

/** The two chains by which the node's own table tells of it. */
function ownListing({ chains, unread }: Reading): NftListing {
  const parts = chains
    .filter(({ family, table }) => family === "inet" && table === "causeway")
    .filter(({ name }) => name === "cluster_ports" || name === "prerouting")
    .map(({ name }) => listed(`chain inet causeway ${name}`, unread));
  return { chains: [], rules: parts.flatMap(({ rules }) => rules) };
}

/** Tools are run only for tables that are there: they make those that they are asked for, and load modules. */
async function savedTables(
  backend: "iptables-nft" | "iptables-legacy",
  family: "ip" | "ip6",
  { chains, unread }: Reading,
): Promise<readonly Table[]> {
  const there =
    backend === "iptables-nft"
      ? chains.filter((chain) => chain.family === family && isJudging(chain)).map(({ table }) => table)
      : (readText(`/proc/net/${family}_tables_names`) ?? "").split("\n");
  const names = [...new Set(there)].filter((name) => IPTABLES_TABLES.has(name));
  if (names.length === 0) return [];
  const tool = `${family === "ip6" ? "ip6tables" : "iptables"}${backend.slice("iptables".length)}-save`;
  if (which(tool) === undefined) {
    if (backend === "iptables-legacy") unread.push(`${tool} is not installed, and its tables judge packets`);
    // Without the tool, tables of this name are nft's own.
    return [];
  }
  const saved = await Promise.all(names.map((name) => run([tool, "-t", name], { timeoutMs: TOOL_MS })));
  return saved.flatMap(({ status, stdout, stderr }) => {
    if (status === 0 && isPrintedWhole(stdout)) return parseIptablesSave(stdout, { backend, family });
    if (status !== 0) unread.push(`${tool}: ${stderr.trim()}`);
    return [];
  });
}

/** A table with base chains of nft's own is left out, or (iptables 1.8.8 and later) printed without them (iptables/xtables-save.c). */
function isPrintedWhole(text: string): boolean {
  return !/^# Table `[^']*' is incompatible/m.test(text);
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
