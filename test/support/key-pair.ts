/** Two keepers of keys that hear each other at once. */
import { type KeeperEffect, KeyKeeper } from "../../src/gateway/keys/mod.ts";
import type { Endpoint } from "../../src/net/mod.ts";
import { keyRoutes, type RouteEnds } from "./key-routes.ts";

/** Ends are where a datagram comes from and goes to. */
export interface Ends {
  readonly from: Endpoint;
  readonly to: Endpoint;
}

/** Pair is two keepers on a wire without delay, of which a test sees every effect. */
export class Pair {
  readonly keepers = [new KeyKeeper(), new KeyKeeper()] as const;
  nowMs = 0;
  /** A datagram goes on only if this says so. */
  onDatagram: (bytes: Uint8Array) => boolean = () => true;
  /** What NATs make of addresses on the way. */
  translate: (ends: Ends) => Ends = (ends) => ends;
  readonly seen: [KeeperEffect[], KeeperEffect[]] = [[], []];

  /** Lets one keeper step, and carries datagrams until there are none; returns what else the first was asked for. */
  step(side: 0 | 1, event: Parameters<KeyKeeper["step"]>[0]): readonly KeeperEffect[] {
    const effects = this.keepers[side].step(event, this);
    this.seen[side].push(...effects);
    const others = effects.filter(({ kind }) => kind !== "send");
    const other = side === 0 ? 1 : 0;
    for (const effect of effects)
      if (effect.kind === "send" && this.onDatagram(effect.bytes)) {
        const { queue, bytes } = effect;
        this.step(other, {
          kind: "datagram",
          queue,
          ...this.translate({ from: effect.from, to: effect.to }),
          bytes,
        });
      }
    return others;
  }

  /** Time passes. */
  pass(ms: number): void {
    const endMs = this.nowMs + ms;
    for (;;) {
      const [a = Infinity, b = Infinity] = this.keepers.map(({ nextMs }) => nextMs);
      if (Math.min(a, b) > endMs) break;
      this.nowMs = Math.max(this.nowMs, Math.min(a, b));
      this.step(a <= b ? 0 : 1, { kind: "due" });
    }
    this.nowMs = endMs;
  }

  kinds(side: 0 | 1): string[] {
    return this.seen[side].map(({ kind }) => kind).filter((kind) => kind !== "send" && kind !== "news");
  }

  forget(): void {
    this.seen[0].length = 0;
    this.seen[1].length = 0;
  }
}

/** joined returns two keepers that have agreed. */
export function joined(options: Partial<RouteEnds> & Pick<RouteEnds, "protocol">): Pair {
  const pair = new Pair();
  const routes = keyRoutes(options);
  pair.step(1, { kind: "configure", routes: [routes[1]] });
  pair.step(0, { kind: "configure", routes: [routes[0]] });
  pair.pass(6000);
  pair.forget();
  return pair;
}
