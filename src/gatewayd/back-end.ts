/**
 * What carries a gateway's packets, whoever that is: AF_XDP in user space (xdp-back-end.ts), or the kernel. It is told which queues there are to
 * be and what each does (GatewayOrder), and tells what becomes of them.
 *
 * What cannot be now, such as a queue whose interface is missing, is told as `down` with the reason; `look` tries it again.
 */
import type { GatewayConfig } from "../gateway/mod.ts";
import type { Prefix } from "../net/mod.ts";
import type { GatewayNews, GatewayOrder, GatewayReport } from "../tunnel/gateway/mod.ts";
import type { QueuePlan } from "./queue-plan.ts";

/** BackEndKind is who carries packets. */
export type BackEndKind = "kernel" | "user";

/** BackEndNews is what a back-end tells. After `down` a queue has nothing any more: no route and no association; after `up`, not yet. */
export type BackEndNews =
  | { readonly kind: "up"; readonly queue: number; readonly by: string }
  | { readonly kind: "down"; readonly queue: number; readonly reason: string }
  /** It runs, and nothing can pass as things are, or not all as it should (`passes`); without a reason it can again. Routes and associations stay. */
  | { readonly kind: "hindered"; readonly queue: number; readonly reason?: string; readonly passes?: boolean }
  /** Something could not be done that nobody waits for, and is tried again; told once. */
  | { readonly kind: "failed"; readonly reason: string }
  /** Who carries packets from now on, and why. */
  | { readonly kind: "chosen"; readonly by: BackEndKind; readonly reason: string }
  | { readonly kind: "news"; readonly queue: number; readonly news: GatewayNews };

/** CarriedNext is what will be to carry: queues, and the prefixes of all routes. */
export interface CarriedNext {
  readonly plans: readonly QueuePlan[];
  readonly prefixes: readonly Prefix[];
}

/** GatewayBackEnd owns what carries the packets. */
export interface GatewayBackEnd extends Disposable {
  /** claim makes sure that packets could be carried as a configuration says; throws who is in the way of that. */
  claim?(wish: GatewayConfig["backend"]): void;
  /**
   * choose says who is to carry packets, before `set`. What carried them before is down, after the other has protected what it will carry. Throws
   * who or what is in the way; then nothing has changed.
   */
  choose?(wish: GatewayConfig["backend"], next?: CarriedNext): void;
  /** prepare protects prefixes before there are queues, as those that will be need it; throws where that cannot be. */
  prepare?(next: CarriedNext): void;
  /**
   * protect says of which prefixes nothing may leave in the plain, all of them, whether or not their routes can work now. Absent: nothing passes by
   * another way anyway.
   */
  protect?(prefixes: readonly Prefix[]): void;
  /** set says which queues there are from now on; those that stay as they are notice nothing. */
  set(plans: readonly QueuePlan[]): void;
  /** look tries again what could not be: something has changed on the machine. */
  look(): void;
  /** obey resolves when the queue's data path has the order; rejects with the reason, and then nothing has changed. */
  obey(queue: number, order: GatewayOrder): Promise<void>;
  /** detour has a queue's packets of a route leave by another queue; without one by itself again. Resolves when it is so, or will be once the kernel takes it, and rejects where it cannot be. */
  detour(queue: number, route: string, by: number | undefined): Promise<void>;
  /** report returns what each queue that is up, and answers, has carried; it takes a few seconds at most. Moments are of `boottimeMs`. */
  report(): Promise<ReadonlyMap<number, GatewayReport>>;
  /** close ends all queues, and resolves when nothing of them is left. Unless it is for good, what is protected stays so. */
  close(forGood?: boolean): Promise<void>;
}

/** Tell hears of a back-end, between its steps: it may give orders. */
export type Tell = (news: BackEndNews) => void;
