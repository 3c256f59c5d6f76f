/** The one tunnel of this node: chosen once, opened when there is something to carry, taken over after a restart. */
import { LINK } from "../mesh/mod.ts";
import type { PublicKey, WireguardDevice } from "../net/mod.ts";
import {
  chooseBackend,
  type Tunnel,
  type TunnelBackend,
  type TunnelState,
  type TunnelWish,
} from "../tunnel/mod.ts";
import type { Status } from "./api.ts";
import { info, warn } from "./log.ts";
import { RUN } from "./paths.ts";

/** Description is the part of the status that the tunnel itself knows. */
type Description = Omit<NonNullable<Status["tunnel"]>, "listenPort" | "mtuBytes">;

/** TunnelHolder owns the tunnel. */
export class TunnelHolder implements Disposable {
  readonly #wish: TunnelWish;
  readonly #onRunning: () => void;
  #choice: { readonly backend: TunnelBackend; readonly reason: string } | undefined;
  #tunnel: Tunnel | undefined;

  /** `onRunning` is called when a user-space tunnel that had ended runs again: all that was set on it is gone. */
  constructor(wish: TunnelWish, onRunning: () => void) {
    this.#wish = wish;
    this.#onRunning = onRunning;
  }

  /** open opens or takes over the tunnel, on a hub one that `relays` if there is a choice; does nothing when it is open. */
  async open({ relays = false }: { readonly relays?: boolean } = {}): Promise<Tunnel> {
    if (this.#tunnel !== undefined) return this.#tunnel;
    this.#choice = chooseBackend(this.#wish, { relays });
    const { backend, reason } = this.#choice;
    this.#tunnel = await backend.open(LINK, {
      relays,
      logPath: `${RUN}/${LINK}.log`,
      onChange: (state) => {
        const problem = problemOf(state);
        if (problem !== undefined) return warn(problem.text, { reason: problem.reason });
        info("tunnel runs again as it should");
        // What fails here is tried again by the engine's next round; the tunnel itself runs.
        try {
          this.#onRunning();
        } catch (error) {
          warn("cannot set up the tunnel that runs again yet", { error });
        }
      },
    });
    info(`tunnel: ${this.#tunnel.provider}`, { reason });
    return this.#tunnel;
  }

  get tunnel(): Tunnel | undefined {
    return this.#tunnel;
  }

  /** describe says what runs the tunnel and why, for people. */
  describe(): Description | undefined {
    if (this.#choice === undefined) return undefined;
    const { backend, reason } = this.#choice;
    const dataplane = this.#tunnel?.dataplane;
    const problem = this.#tunnel && problemOf(this.#tunnel.state);
    return {
      backend: backend.name,
      provider: this.#tunnel?.provider ?? backend.provider,
      reason,
      ...(problem === undefined ? {} : { problem: `${problem.text}: ${problem.reason}` }),
      ...(dataplane === undefined ? {} : { dataplane }),
    };
  }

  /** Why the tunnel cannot answer to two keys at its one port; undefined when it can. */
  get twoKeysProblem(): string | undefined {
    const backend = this.#choice?.backend;
    if (backend === undefined || backend.name === "user") return undefined;
    return `its tunnel is ${backend.provider}, and such a device has one private key: whoever knows the hub by the one before (tokens, external peers, nodes that are away) would be cut off; start the agent with --tunnel user, or let another machine join as a hub and remove this one`;
  }

  /** answersTo tells whether the device has both keys by now. */
  answersTo(present: PublicKey, former: PublicKey): boolean {
    const state = this.#tunnel?.device.read();
    return state?.publicKey === present && state.formerPublicKey === former;
  }

  /** movePeers speaks to nodes under the device's present key that were spoken to under the one before. */
  movePeers(keys: readonly PublicKey[]): void {
    this.#tunnel?.device.change({
      peers: keys.map((publicKey) => ({ publicKey, updateOnly: true, move: true })),
    });
  }

  /** device is the engine's way to the tunnel; undefined while there is none. */
  device(link: string): WireguardDevice | undefined {
    return link === LINK ? this.#tunnel?.device : undefined;
  }

  /** destroy ends the tunnel and what carries it. */
  async destroy(): Promise<void> {
    const tunnel = this.#tunnel;
    this.#tunnel = undefined;
    await tunnel?.destroy();
  }

  [Symbol.dispose](): void {
    this.#tunnel?.close();
  }
}

function problemOf(state: TunnelState): { readonly text: string; readonly reason: string } | undefined {
  switch (state.kind) {
    case "running":
      return undefined;
    case "outdated":
      return {
        text: "another build's process carries the tunnel, and ours will try again",
        reason: state.reason,
      };
    case "waiting":
      return { text: "tunnel ended and is started again", reason: state.reason };
  }
}
