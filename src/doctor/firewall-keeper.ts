/**
 * Puts our rules back into the node's firewall when somebody loaded it anew, where `causeway doctor --fix` was asked for that.
 *
 * nf_tables tells of every change (nft and iptables-nft). Legacy iptables tells nobody, so where it has tables they are looked at every
 * LEGACY_MS. A firewall that changes all the time, as kube-proxy's does, is looked at no more often than every REST_MS.
 */
import { NftablesMonitor, type NftablesTransaction } from "../netlink/mod.ts";
import { after, every, monotonicMs, readText } from "../sys/mod.ts";
import { insertions, refusalsOf } from "./firewall.ts";
import { readFirewall } from "./firewall-reader.ts";
import { isKept } from "./gather.ts";
import { runAll } from "./run-all.ts";

/** How long rules of iptables-legacy may be gone. */
const LEGACY_MS = 30_000;
/** SOON_MS lets what belongs together come together: a reload is several transactions. */
const SOON_MS = 100;
const REST_MS = 5_000;

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
  #working = false;
  #again = false;

  constructor(options: KeeperOptions) {
    this.#options = options;
    this.#monitor = NftablesMonitor.open({
      onTransaction: (transaction) => this.#heard(transaction),
      onOverrun: () => this.#soon(),
    });
    this.#poll = every(options.pace?.legacyMs ?? LEGACY_MS, () => {
      if (isKept(options.state) && hasLegacy()) this.#soon();
    });
    this.#soon();
  }

  #heard({ tables }: NftablesTransaction): void {
    if (tables.some(({ name }) => !name.startsWith("causeway"))) this.#soon();
  }

  #soon(): void {
    if (this.#waiting !== undefined || !isKept(this.#options.state)) return;
    this.#waiting = after(
      Math.max(SOON_MS, this.#lastMs + (this.#options.pace?.restMs ?? REST_MS) - monotonicMs()),
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
    try {
      await this.#putBack();
    } finally {
      this.#working = false;
      if (this.#again) this.#soon();
      this.#again = false;
    }
  }

  async #putBack(): Promise<void> {
    if (!isKept(this.#options.state)) return;
    const { firewall, place } = await readFirewall();
    const refusals = place === undefined ? [] : refusalsOf(firewall, place);
    // firewalld puts its zones in by itself.
    const commands = insertions(
      refusals.filter(({ table }) => table.backend !== "firewalld"),
      firewall,
    );
    if (commands.length === 0) return;
    const failed = await runAll(commands);
    if (failed !== undefined) throw new Error(`Cannot put the firewall's rules back: ${failed}`);
    this.#options.onPutBack(commands.length);
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
