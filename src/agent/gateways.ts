/**
 * Gateways of this node, by the register: each is a one of its own, which has its Gateway and Routes as manifests and goes on when the agent ends.
 *
 * ```
 *   register ─▶ gatewayWishes ─▶ NAME.yaml ─▶ causeway gateway run --manifests ─▶ ESP
 *                                                      └─ which routes are up ─▶ VPCs: announced, or not
 * ```
 */
import type { MeshView, RouteFact } from "../hub/mod.ts";
import { ensureDirectory, listDirectory } from "../sys/mod.ts";
import { endGateway, RunningGateway } from "./running-gateway.ts";
import { type GatewayWish, gatewayWishes } from "./gateway-wish.ts";
import { warn } from "./log.ts";
import { GATEWAYS } from "./paths.ts";
import type { Vpcs } from "./vpcs.ts";

/** GatewaysOptions say who hears. */
export interface GatewaysOptions {
  /** The names of VPCs' Routes of this node that lead nowhere now. */
  readonly onDown: (routes: ReadonlySet<string>) => void;
  /** What is told of Routes has changed. */
  readonly onTold?: () => void;
  readonly onProblem: (gateway: string, reason: string) => void;
  /** The node is in no mesh any more. */
  readonly onLeave?: () => void;
}

/** Gateways owns the supervision of all; the processes go on when it is disposed. */
export class Gateways implements Disposable {
  readonly #options: GatewaysOptions;
  readonly #processes = new Map<string, RunningGateway>();
  readonly #problems = new Map<string, string>();
  #down = "";
  #toldText: string | undefined;
  #hasLooked = false;
  /** What ends comes before what begins in its name. */
  #ending: Promise<void> = Promise.resolve();
  #wanted: readonly GatewayWish[] = [];
  /** Nodes of a large mesh tell something new all the time, and hardly ever of gateways. */
  #tenants: MeshView["tenants"] | undefined;
  #closed = false;

  constructor(options: GatewaysOptions) {
    this.#options = options;
  }

  /** beside returns those whose routes a node's VPCs have; they leave the mesh together. */
  static beside(vpcs: Pick<Vpcs, "setTunnels" | "leave">, onTold: () => void): Gateways {
    return new Gateways({
      onTold,
      onDown: (routes) => {
        try {
          vpcs.setTunnels(routes);
        } catch (error) {
          warn("cannot follow gateways", { error });
        }
      },
      onProblem: (object, reason) => warn("a gateway does not run", { object, reason }),
      onLeave: () => vpcs.leave(),
    });
  }

  /** follow makes processes what the register says; the same again changes nothing. */
  follow({ self, tenants }: Pick<MeshView, "self" | "tenants">): void {
    if (self === undefined || tenants === this.#tenants) return;
    const wishes = gatewayWishes(tenants, self.name);
    this.#wanted = wishes;
    if (wishes.length > 0) ensureDirectory(GATEWAYS);
    const names = new Map(wishes.map((wish) => [wish.name, wish]));
    for (const [name, one] of this.#processes) {
      const wish = names.get(name);
      if (wish !== undefined && wish.command.join(" ") === one.wish.command.join(" ")) one.change(wish);
      else this.#end(name, one);
    }
    for (const name of this.#left()) if (!names.has(name)) this.#endSoon(name);
    // What throws before is tried again with the next news.
    this.#tenants = tenants;
    void this.#ending.then(() => this.#begin());
    this.#tellDown();
    this.#tell();
  }

  /** told returns what hubs are told of Routes; undefined while there is nothing. */
  told(): readonly RouteFact[] | undefined {
    const all = [...this.#processes.values()].flatMap(({ wish, routes = [] }) => {
      const problem = this.#problems.get(wish.name);
      if (problem !== undefined) return wish.routes.map((name) => ({ name, up: false, reason: problem }));
      return routes.map(({ id, up, reason, lastError }): RouteFact => {
        const why = reason ?? (up ? undefined : lastError);
        return { name: id, up, ...(why === undefined ? {} : { reason: why }) };
      });
    });
    return all.length === 0 ? undefined : all;
  }

  #tell(): void {
    const text = JSON.stringify(this.told());
    if (text === this.#toldText) return;
    this.#toldText = text;
    this.#options.onTold?.();
  }

  /** What an earlier agent began is looked for once. */
  #left(): string[] {
    if (this.#hasLooked) return [];
    this.#hasLooked = true;
    return listDirectory(GATEWAYS).flatMap((file) => /^(.*)\.yaml$/.exec(file)?.[1] ?? []);
  }

  #end(name: string, one: RunningGateway): void {
    this.#processes.delete(name);
    this.#problems.delete(name);
    one[Symbol.dispose]();
    // One that is just being started is ended too: nobody else would.
    this.#ending = this.#ending.then(() => one.settled());
    this.#endSoon(name);
  }

  #endSoon(name: string): void {
    this.#ending = this.#ending
      .then(() => endGateway(name))
      .catch((error: Error) => this.#options.onProblem(name, `cannot be ended: ${error.message}`));
  }

  #begin(): void {
    if (this.#closed) return;
    for (const wish of this.#wanted)
      try {
        this.#run(wish);
      } catch (error) {
        // Its manifests cannot be written; with the next news it is tried again.
        this.#tenants = undefined;
        this.#problem(wish.name, (error as Error).message);
      }
  }

  #run(wish: GatewayWish): void {
    if (!this.#processes.has(wish.name)) {
      const one = new RunningGateway(wish, {
        onRoutes: () => {
          this.#tellDown();
          this.#tell();
        },
        onProblem: (problem) => this.#problem(wish.name, problem),
      });
      this.#processes.set(wish.name, one);
    }
  }

  #problem(name: string, problem: string | undefined): void {
    if (problem === undefined) this.#problems.delete(name);
    else if (this.#problems.get(name) !== problem) {
      this.#problems.set(name, problem);
      this.#options.onProblem(name, problem);
    }
    this.#tellDown();
    this.#tell();
  }

  /** What is not known counts as up, since an agent that begins finds gateways that go on; of one that does not run, nothing is. */
  #tellDown(): void {
    const down = new Set(
      [...this.#processes.values()].flatMap(({ wish, routes = [] }) => {
        if (wish.vpc === undefined) return [];
        if (this.#problems.has(wish.name)) return wish.routes;
        return routes.flatMap(({ id, up }) => (up ? [] : [id]));
      }),
    );
    const text = [...down].sort().join(" ");
    if (text === this.#down) return;
    this.#down = text;
    this.#options.onDown(down);
  }

  /** leave ends all: the node is in no mesh any more. */
  leave(): void {
    this.#wanted = [];
    for (const [name, one] of this.#processes) this.#end(name, one);
    for (const name of this.#left()) this.#endSoon(name);
    this.#options.onLeave?.();
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    for (const one of this.#processes.values()) one[Symbol.dispose]();
    this.#processes.clear();
  }
}
