/** RemoteStations: who else announces a MAC address, from the feed, so that an address that moves here is announced with the right sequence. */
import type { EvpnChange, EvpnHost } from "../evpn/mod.ts";
import type { Mac } from "../../net/mod.ts";

/** RemoteStations owns the index. */
export class RemoteStations {
  readonly #macOf = new Map<number, Mac>();
  readonly #byMac = new Map<Mac, Map<number, EvpnHost>>();

  /** apply takes changes of the feed, and returns the addresses that they are about. */
  apply(changes: readonly EvpnChange[]): ReadonlySet<Mac> {
    const touched = new Set<Mac>();
    for (const change of changes) {
      const before = this.#macOf.get(change.id);
      if (before !== undefined) {
        touched.add(before);
        this.#delete(before, change.id);
      }
      if (change.op === "remove" || change.route.kind !== "host") continue;
      const { mac } = change.route;
      touched.add(mac);
      this.#macOf.set(change.id, mac);
      const routes = this.#byMac.get(mac);
      if (routes === undefined) this.#byMac.set(mac, new Map([[change.id, change.route]]));
      else routes.set(change.id, change.route);
    }
    return touched;
  }

  /** of returns the routes of others for a MAC address. */
  of(mac: Mac): readonly EvpnHost[] {
    return [...(this.#byMac.get(mac)?.values() ?? [])];
  }

  /** clear forgets all. */
  clear(): void {
    this.#macOf.clear();
    this.#byMac.clear();
  }

  #delete(mac: Mac, id: number): void {
    this.#macOf.delete(id);
    const routes = this.#byMac.get(mac);
    routes?.delete(id);
    if (routes?.size === 0) this.#byMac.delete(mac);
  }
}
