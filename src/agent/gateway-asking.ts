/**
 * What a gateway's process says of its routes, asked at each look. One that is busy answers what it was asked first, and nobody asks it twice; what
 * it has said counts until it has been silent for some looks. Looks are counted, not seconds: whoever was stopped together with it heard nothing.
 */
import { isErrno, LineClient } from "../sys/mod.ts";

/** How often one looks. */
const LOOK_MS = 2_000;
/** After so many looks without an answer what was said is old. */
const MOST_SILENT = 5;

/** RouteState is what a gateway says of a route. */
export interface RouteState {
  readonly id: string;
  readonly up: boolean;
  /** Why it is down, or what of it is. */
  readonly reason?: string;
  readonly lastError?: string;
}

/** GatewayAskingOptions say whom, and who hears. */
export interface GatewayAskingOptions {
  readonly socket: string;
  readonly onRoutes: (routes: readonly RouteState[]) => void;
  /** Called at each look as long as it says nothing, or does not run. */
  readonly onSilent: (reason: string) => void;
}

/** GatewayAsking owns the connection; `look` is called each LOOK_MS by whoever has it. */
export class GatewayAsking implements Disposable {
  static readonly LOOK_MS = LOOK_MS;
  readonly #options: GatewayAskingOptions;
  #client: LineClient | undefined;
  #silent = 0;

  constructor(options: GatewayAskingOptions) {
    this.#options = options;
  }

  /** look asks, unless an answer is due. */
  look(): void {
    const { socket, onSilent } = this.#options;
    if (this.#silent++ >= MOST_SILENT)
      onSilent(`its gateway has not answered for ${(MOST_SILENT * LOOK_MS) / 1000} s`);
    if (this.#client !== undefined) return;
    try {
      const client = LineClient.connect(socket, {
        onLine: (line) => this.#hear(line),
        onClosed: () => {
          this.#client = undefined;
        },
      });
      this.#client = client;
      client.send(JSON.stringify({ op: "top", most: 0 }));
    } catch (error) {
      this.#close();
      // What else hinders asking says nothing of the gateway.
      if (isErrno(error, "ENOENT", "ECONNREFUSED")) onSilent("its gateway does not run");
    }
  }

  #hear(line: string): void {
    const answer = JSON.parse(line) as { readonly top?: { readonly routes: readonly RouteState[] } };
    this.#close();
    if (answer.top === undefined) return;
    this.#silent = 0;
    this.#options.onRoutes(answer.top.routes);
  }

  #close(): void {
    this.#client?.[Symbol.dispose]();
    this.#client = undefined;
  }

  [Symbol.dispose](): void {
    this.#close();
  }
}
