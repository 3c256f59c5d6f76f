/**
 * Which VTEPs the routes of a router's namespace lead to: what a VTEP has told by EVPN may stand long after the way to it has gone, since another
 * router has told it on.
 */
import type { RemoteChange, RemoteTable } from "../domain/mod.ts";
import { Monitor, type Rtnetlink } from "../netlink/mod.ts";
import { after, type Netns } from "../sys/mod.ts";

/** Lets changes of one cause come together; each look costs a lookup for each VTEP, about 10 µs. */
const SETTLE_MS = 50;

/** EdgeReachOptions say where, and who is told. */
export interface EdgeReachOptions {
  readonly netns: Netns;
  /** Socket in the namespace. */
  readonly route: Rtnetlink;
  /** Undefined while there is none. */
  readonly table: () => RemoteTable | undefined;
  /** Something of routes, links and addresses may be another. */
  readonly changed: () => void;
  /** What follows for the data plane. */
  readonly hear: (changes: readonly RemoteChange[]) => void;
  readonly onProblem: (error: Error) => void;
}

/** EdgeReach looks whenever routes, links or VTEPs are others than before. */
export class EdgeReach implements Disposable {
  readonly #options: EdgeReachOptions;
  readonly #monitor: Monitor;
  #timer: Disposable | undefined;
  #seen = 0;

  constructor(options: EdgeReachOptions) {
    this.#options = options;
    this.#monitor = Monitor.open({
      netns: options.netns,
      groups: ["route", "link", "address"],
      onEvent: () => this.#soon(),
      onOverrun: () => this.#soon(),
    });
  }

  /** heard is called when EVPN has told something: of a new VTEP nobody knows whether there is a way to it. */
  heard(): void {
    if (this.#options.table()?.vtepsSeen !== this.#seen) this.#soon();
  }

  #soon(): void {
    this.#timer ??= after(SETTLE_MS, () => {
      this.#timer = undefined;
      this.#look();
    });
  }

  #look(): void {
    const { table: tableOf, route, hear, changed, onProblem } = this.#options;
    const table = tableOf();
    try {
      changed();
      if (table === undefined) return;
      this.#seen = table.vtepsSeen;
      hear(table.setLost(table.vteps().filter((vtep) => !route.leadsTo(vtep))));
    } catch (error) {
      onProblem(error as Error);
    }
  }

  [Symbol.dispose](): void {
    this.#timer?.[Symbol.dispose]();
    this.#monitor.close();
  }
}
