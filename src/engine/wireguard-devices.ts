/** WireGuard devices, open and remembered between reads: back-ends emit no events, so the engine says when to read again. */
import type { DeviceChange, PublicKey, WireguardDevice } from "../net/mod.ts";
import type { Work } from "./kind.ts";
import { weather } from "./weather.ts";
import { type DeviceView, emptyView, noteChange, renewView } from "./wireguard-view.ts";

type WireguardWork = Extract<Work, { via: "wireguard" }>;

/** WireguardDevices owns the devices that it opened. */
export class WireguardDevices implements Disposable {
  readonly #open: (link: string) => WireguardDevice | undefined;
  readonly #devices = new Map<string, WireguardDevice>();
  readonly #views = new Map<string, DeviceView>();
  /** Links whose device is to be read again. */
  readonly #stale = new Set<string>();
  /** By link that was ever asked for: peers of which a reading said something new, until `changes` is asked. */
  readonly #changed = new Map<string, Set<PublicKey>>();

  constructor(open: (link: string) => WireguardDevice | undefined) {
    this.#open = open;
  }

  /** view returns a device's state, read at the first question; undefined while the device does not answer. */
  view(link: string): DeviceView | undefined {
    const known = this.#views.get(link);
    if (known !== undefined && !this.#stale.has(link)) return known;
    const before = this.#changed.get(link) ?? new Set();
    this.#changed.set(link, before);
    try {
      const device = this.#device(link);
      if (device === undefined) return undefined;
      const view = known ?? emptyView();
      for (const key of renewView(view, device.read())) before.add(key);
      this.#views.set(link, view);
      this.#stale.delete(link);
      return view;
    } catch {
      // A device that vanishes or a back-end that starts just now: asked again at the next try.
      this.close(link);
      return undefined;
    }
  }

  /** forget makes the next question read again. */
  forget(): void {
    for (const link of this.#views.keys()) this.#stale.add(link);
  }

  /** changes reads what is forgotten, and returns of each device the peers of which anything is new since it was asked last. */
  changes(): { readonly link: string; readonly peers: readonly PublicKey[] }[] {
    return [...this.#changed.keys()].map((link) => {
      this.view(link);
      const peers = [...(this.#changed.get(link) ?? [])];
      this.#changed.set(link, new Set());
      return { link, peers };
    });
  }

  /** execute changes each device with one request; when that is refused, with one per peer, so that a bad one stops no other. */
  execute(works: readonly WireguardWork[]): (Error | undefined)[] {
    const results = new Array<Error | undefined>(works.length).fill(undefined);
    for (const [link, indexes] of Map.groupBy(works.keys(), (index) => works[index]?.link ?? "")) {
      const chosen = indexes.map((index) => works[index] as WireguardWork);
      if (this.#change(link, merge(chosen)) === undefined) continue;
      for (const [at, index] of indexes.entries())
        results[index] = this.#change(link, merge([chosen[at] as WireguardWork]));
    }
    return results;
  }

  #change(link: string, change: DeviceChange): Error | undefined {
    try {
      const device = this.#device(link);
      if (device === undefined) throw new Error(`Cannot set WireGuard device ${link}: it does not answer`);
      device.change(change);
      const view = this.#views.get(link);
      if (view !== undefined) noteChange(view, change);
      return undefined;
    } catch (error) {
      this.close(link);
      return error instanceof Error ? error : new Error(String(error));
    }
  }

  #device(link: string): WireguardDevice | undefined {
    const known = this.#devices.get(link);
    if (known !== undefined) return known;
    const device = this.#open(link);
    if (device !== undefined) this.#devices.set(link, device);
    return device;
  }

  /** close gives up a device, because its link went or it failed. */
  close(link: string): void {
    this.#views.delete(link);
    this.#stale.delete(link);
    const device = this.#devices.get(link) as Partial<Disposable> | undefined;
    this.#devices.delete(link);
    try {
      device?.[Symbol.dispose]?.();
    } catch (error) {
      // It is given up, in order or not.
      weather(error);
    }
  }

  [Symbol.dispose](): void {
    for (const link of [...this.#devices.keys()]) this.close(link);
  }
}

function merge(works: readonly WireguardWork[]): DeviceChange {
  const peers = works.flatMap((work) => (work.peer === undefined ? [] : [work.peer]));
  return { ...Object.assign({}, ...works.map((work) => work.device)), ...(peers.length > 0 && { peers }) };
}
