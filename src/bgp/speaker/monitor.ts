/** What happens, as it happens: sessions that change and best routes that come and go, for whoever watches. Nothing is made when nobody does. */
import { familyName, attributesOf, decodeNlri, printNlriWithRd } from "../wire/mod.ts";
import type { RibTable } from "../rib/table.ts";
import { formatIp } from "../../net/mod.ts";
import type { Speaker } from "./speaker.ts";

/** MonitorEvent is one line of `causeway bgp monitor`. */
export type MonitorEvent =
  | {
      readonly kind: "log";
      readonly router: string;
      readonly event: string;
      readonly [field: string]: string | number;
    }
  | {
      readonly kind: "route";
      readonly router: string;
      readonly family: string;
      readonly route: string;
      readonly change: "new" | "changed" | "gone";
      readonly nextHop?: string | undefined;
    };

/** Monitor passes events on. */
export class Monitor {
  readonly #watchers = new Set<(event: MonitorEvent) => void>();

  watch(watcher: (event: MonitorEvent) => void): Disposable {
    this.#watchers.add(watcher);
    return { [Symbol.dispose]: () => void this.#watchers.delete(watcher) };
  }

  /** tell passes an event to all who watch. */
  tell(event: MonitorEvent): void {
    for (const watcher of this.#watchers) watcher(event);
  }

  /** follow tells of a speaker's best routes. */
  follow(speaker: Speaker): void {
    for (const family of speaker.rib.tables.keys())
      speaker.rib.onBest(family, (table, destination, had) => {
        if (this.#watchers.size > 0) this.tell(bestEvent(speaker, table, { destination, had }));
      });
  }
}

function bestEvent(
  { router, rib }: Speaker,
  table: RibTable,
  { destination, had }: { readonly destination: number; readonly had: boolean },
): MonitorEvent {
  const path = table.bestOf(destination);
  const extra = path === 0 ? undefined : rib.extras.copyOf(table.paths.extra[path] as number);
  const attributes =
    path === 0 ? undefined : attributesOf(rib.store.copyOf(table.paths.accepted[path] as number));
  return {
    kind: "route",
    router: router.name,
    family: familyName(table.family),
    route: printNlriWithRd(decodeNlri(table.family, table.keys.copyOf(destination), extra)),
    change: path === 0 ? "gone" : had ? "changed" : "new",
    nextHop: attributes?.nextHop && formatIp(attributes.nextHop.address),
  };
}
