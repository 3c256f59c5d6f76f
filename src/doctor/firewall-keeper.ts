/**
 * Puts our rules back into the node's firewall when somebody loaded it anew, where `causeway doctor --fix` was asked for that.
 *
 * nf_tables tells of every change (nft and iptables-nft). Legacy iptables tells nobody, so where it has tables they are looked at every
 * LEGACY_MS. A firewall that changes all the time, as kube-proxy's does, is looked at no more often than every REST_MS.
 */
import { LINK, PODS_LINK } from "../mesh/mod.ts";
import { formatInterfaceAddress } from "../net/mod.ts";
import { NftablesMonitor, type NftablesTransaction, Rtnetlink } from "../netlink/mod.ts";
import { after, every, monotonicMs, readText } from "../sys/mod.ts";
import { insertions, keyOf, lostOf, type Refusal, refusalsOf } from "./firewall.ts";
import { judgesPackets, readFirewall } from "./firewall-reader.ts";
import { hasKept, readKept } from "./gather.ts";
import { addressesOf } from "./place.ts";
import { runAll } from "./run-all.ts";

/** How long rules of iptables-legacy may be gone. */
const LEGACY_MS = 30_000;
/** SOON_MS lets what belongs together come together: a reload is several transactions. */
const SOON_MS = 100;
const REST_MS = 5_000;
/** A look that takes long is followed by a rest this many times as long: with large firewalls it takes no more than 5 % of a processor. */
const REST_FOR_WORK = 20;

/** KeeperOptions say where the wish is kept, and who hears. */
export interface KeeperOptions {
  /** Folder of the agent's state. */
  readonly state: string;
  readonly onPutBack: (rules: number) => void;
  readonly onProblem: (error: unknown) => void;
  /** Other times than LEGACY_MS and REST_MS, for tests. */
  readonly pace?: { readonly legacyMs: number; readonly restMs: number };
}

/** FirewallKeeper listens until it is disposed, in the namespace of the process. */
export class FirewallKeeper implements Disposable {
  readonly #options: KeeperOptions;
  readonly #monitor: NftablesMonitor;
  readonly #poll: Disposable;
  #waiting: Disposable | undefined;
  #lastMs = Number.NEGATIVE_INFINITY;
  #addresses = "";
  #restMs = 0;
  #working = false;
  #again = false;
  #overruled: ReadonlySet<string> = new Set();

  constructor(options: KeeperOptions) {
    this.#options = options;
    this.#monitor = NftablesMonitor.open({
      onTransaction: (transaction) => this.#heard(transaction),
      onOverrun: () => this.#soon(),
    });
    this.#poll = every(options.pace?.legacyMs ?? LEGACY_MS, () => this.#compare());
    this.#soon();
  }

  /** What nobody tells of. */
  #compare(): void {
    if (!hasKept(this.#options.state)) return;
    try {
      if (this.#hasMoved() || hasLegacy()) this.#soon();
    } catch (error) {
      this.#options.onProblem(error);
    }
  }

  /** Whether addresses of our links are others than at the last poll: then rules with the old ones are no longer right. */
  #hasMoved(): boolean {
    using route = Rtnetlink.open();
    const view = { links: route.links(), addresses: route.addresses(), routes: [] };
    const held = [LINK, PODS_LINK].flatMap((link) => addressesOf(view, link));
    const now = held.map(({ address }) => formatInterfaceAddress(address)).join(" ");
    const moved = now !== this.#addresses;
    this.#addresses = now;
    return moved;
  }

  #heard({ tables }: NftablesTransaction): void {
    if (tables.some(({ name }) => judgesPackets(name))) this.#soon();
  }

  #soon(): void {
    if (this.#waiting !== undefined || !hasKept(this.#options.state)) return;
    this.#waiting = after(
      Math.max(
        SOON_MS,
        this.#lastMs + (this.#options.pace?.restMs ?? Math.max(REST_MS, this.#restMs)) - monotonicMs(),
      ),
      () => {
        this.#waiting = undefined;
        this.#lastMs = monotonicMs();
        this.#look().catch((error: unknown) => this.#options.onProblem(error));
      },
    );
  }

  /** One look at a time: what changed meanwhile is seen by the next. */
  async #look(): Promise<void> {
    if (this.#working) {
      this.#again = true;
      return;
    }
    this.#working = true;
    const beganMs = monotonicMs();
    try {
      await this.#putBack();
    } finally {
      this.#working = false;
      this.#restMs = (monotonicMs() - beganMs) * REST_FOR_WORK;
      if (this.#again) this.#soon();
      this.#again = false;
    }
  }

  async #putBack(): Promise<void> {
    const kept = readKept(this.#options.state);
    if (kept.size === 0) return;
    const { firewall, place } = await readFirewall({ firewalld: false });
    const { lost, overruled } = lostOf(place === undefined ? [] : refusalsOf(firewall, place), kept);
    this.#tell(overruled);
    // firewalld puts its zones in by itself.
    const commands = insertions(
      lost.filter(({ table }) => table.backend !== "firewalld"),
      firewall,
    );
    if (commands.length === 0) return;
    const failed = await runAll(commands);
    if (failed !== undefined) throw new Error(`Cannot put the firewall's rules back: ${failed}`);
    this.#options.onPutBack(commands.length);
  }

  /** What somebody else decided is told once, until it is gone, and left. */
  #tell(overruled: readonly Refusal[]): void {
    const keys = new Set(overruled.map(({ table, chain, accept }) => keyOf(table, chain, accept.about)));
    const news = [...keys].filter((key) => !this.#overruled.has(key));
    this.#overruled = keys;
    if (news.length === 0) return;
    const what = `Packets are refused though our rules are there: ${news.join(", ")}`;
    this.#options.onProblem(new Error(`${what}; look with: causeway doctor firewall-input firewall-forward`));
  }

  [Symbol.dispose](): void {
    this.#waiting?.[Symbol.dispose]();
    this.#poll[Symbol.dispose]();
    this.#monitor[Symbol.dispose]();
  }
}

function hasLegacy(): boolean {
  return ["ip", "ip6"].some((family) => (readText(`/proc/net/${family}_tables_names`) ?? "").trim() !== "");
}
