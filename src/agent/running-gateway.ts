/** RunningGateway runs one gateway as the register says: its manifests, its process, and what it tells of its routes. */
import {
  after,
  every,
  KeptProcess,
  type KeptState,
  readText,
  removeTree,
  terminate,
  unixPeer,
  writeAtomic,
} from "../sys/mod.ts";
import { GatewayAsking, type RouteState } from "./gateway-asking.ts";
import { type GatewayWish, manifestsOf } from "./gateway-wish.ts";
import { GATEWAYS } from "./paths.ts";

/** What does not start is tried again. */
const RETRY_MS = 5_000;
/** A gateway that says goodbye has so long; it takes 3 s at most itself. */
const END_MS = 6_000;

/** RunningGatewayOptions say who hears. */
export interface RunningGatewayOptions {
  /** What it says of its routes has changed, or it says nothing any more. */
  readonly onRoutes: () => void;
  /** It cannot be started, or runs again (undefined). */
  readonly onProblem: (problem: string | undefined) => void;
}

const socketOf = (name: string) => `${GATEWAYS}/${name}.sock`;

/** The words of the gateway that answers, from `gateway` on; undefined where none does. */
function runningAt(name: string): { readonly pid: number; readonly words: readonly string[] } | undefined {
  try {
    const { pid } = unixPeer(socketOf(name));
    const words = (readText(`/proc/${pid}/cmdline`) ?? "").split("\0").slice(0, -1);
    return { pid, words: words.slice(words.indexOf("gateway")) };
  } catch {
    return undefined;
  }
}

/** endGateway ends a gateway that this node's agent has begun, for good, and forgets its manifests. One that was begun by others goes on. */
export async function endGateway(name: string): Promise<void> {
  const running = runningAt(name);
  // Goodbye to other gateways, and nothing stays blocked.
  if (running?.words.includes(manifestsOf(name)) === true)
    await terminate(running.pid, { by: "SIGINT", graceMs: END_MS });
  removeTree(manifestsOf(name));
}

/** RunningGateway owns the supervision, and not the process, which goes on when the agent ends. */
export class RunningGateway implements Disposable {
  readonly #options: RunningGatewayOptions;
  #wish: GatewayWish;
  #kept: KeptProcess | undefined;
  #retry: Disposable | undefined;
  readonly #asking: GatewayAsking;
  readonly #timer: Disposable;
  #opening: Promise<void>;
  #routes: readonly RouteState[] | undefined;
  #closed = false;

  constructor(wish: GatewayWish, options: RunningGatewayOptions) {
    this.#options = options;
    this.#wish = wish;
    writeAtomic(manifestsOf(wish.name), wish.manifests);
    this.#asking = new GatewayAsking({
      socket: socketOf(wish.name),
      onRoutes: (routes) => this.#tell(routes),
      onSilent: (reason) => this.#tell(this.#down(reason)),
    });
    this.#timer = every(GatewayAsking.LOOK_MS, () => this.#look());
    this.#opening = this.#open();
  }

  get wish(): GatewayWish {
    return this.#wish;
  }

  /** routes is what it said last; undefined while it is not known. */
  get routes(): readonly RouteState[] | undefined {
    return this.#routes;
  }

  /** change gives the process other manifests; it follows them. */
  change(wish: GatewayWish): void {
    if (wish.manifests !== this.#wish.manifests) writeAtomic(manifestsOf(wish.name), wish.manifests);
    this.#wish = wish;
  }

  async #open(): Promise<void> {
    const { name, command } = this.#wish;
    try {
      const kept = await KeptProcess.open({
        ...{ command, socket: socketOf(name), tellsSocket: false, logPath: `${GATEWAYS}/${name}.log` },
        // Of another version it goes on: traffic does not depend on the agent's.
        build: command.join(" "),
        describe: () => this.#running(),
        onState: (state) => this.#follow(state),
      });
      if (this.#closed) return kept.close();
      this.#kept = kept;
      this.#options.onProblem(undefined);
      this.#look();
    } catch (error) {
      if (this.#closed) return;
      this.#options.onProblem((error as Error).message);
      this.#retry = after(RETRY_MS, () => {
        this.#opening = this.#open();
      });
    }
  }

  #running(): { readonly build: string; readonly pid: number } | undefined {
    const { name } = this.#wish;
    const running = runningAt(name);
    if (running === undefined) return undefined;
    if (!running.words.includes(manifestsOf(name)))
      throw new Error(
        `Cannot run Gateway "${name}": process ${running.pid} runs one with this name (${running.words.join(" ")}); end that, or name it otherwise`,
      );
    return { build: running.words.join(" "), pid: running.pid };
  }

  /** What it said before it ended is not said of the next one. */
  #follow(state: KeptState): void {
    const isWaiting = state.kind === "waiting";
    if (isWaiting) this.#routes = this.#down("its gateway begins anew");
    this.#options.onProblem(isWaiting ? state.reason : undefined);
    if (!isWaiting) this.#look();
  }

  #down(reason: string): RouteState[] {
    return this.#wish.routes.map((id) => ({ id, up: false, reason }));
  }

  #look(): void {
    if (!this.#closed && this.#kept !== undefined) this.#asking.look();
  }

  #tell(routes: readonly RouteState[]): void {
    this.#routes = routes;
    if (!this.#closed) this.#options.onRoutes();
  }

  /** settled resolves when no start of its process is under way; once it is disposed, none begins any more. */
  async settled(): Promise<void> {
    await this.#opening;
    await this.#kept?.settled();
  }

  /** Lets go of it; it goes on. */
  [Symbol.dispose](): void {
    this.#closed = true;
    this.#timer[Symbol.dispose]();
    this.#asking[Symbol.dispose]();
    this.#retry?.[Symbol.dispose]();
    this.#kept?.close();
  }
}
