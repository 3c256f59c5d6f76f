/**
 * The way from this node to the hubs: UDP, or TLS where UDP is blocked. It keeps the decision (mesh/uplink.ts) and the process that holds
 * the connections (tunnel/tls); to the rest of the agent it is, on TLS, another endpoint for each hub.
 */
import {
  firstUplink,
  stepUplink,
  type TlsMode,
  type UplinkEffect,
  type UplinkEvent,
  type UplinkState,
} from "../mesh/mod.ts";
import { type Endpoint, parseIp } from "../net/mod.ts";
import { every, monotonicMs } from "../sys/mod.ts";
import type { TlsHub, TlsProcessOptions, TlsStatus } from "../tunnel/tls/mod.ts";
import { info } from "./log.ts";
import { TlsHolder } from "./tls-holder.ts";

const TICK_MS = 250;
const LOOPBACK = parseIp("127.0.0.1");

/** TlsWayOptions say what the node's operator wants, and what the agent does for it. */
export interface TlsWayOptions {
  readonly mode: TlsMode;
  /** The proxy's URL, if TLS goes through one; throws when it cannot be read. */
  readonly proxy: () => string | undefined;
  readonly place: Omit<TlsProcessOptions, "onChange">;
  /** Hubs have other endpoints from now on. */
  readonly changed: () => void;
  /** Ask each hub by UDP, at its own endpoint; `asked` and `answered` tell what comes of it. */
  readonly probe: () => void;
}

/** TlsTargets are the hubs that take TLS, each by its public key, and the tunnel whose datagrams go there. */
export interface TlsTargets {
  readonly tunnelPort: number;
  readonly hubs: readonly TlsHub[];
}

/** TlsWay decides and acts until it is disposed; the connections outlive it. */
export class TlsWay implements Disposable {
  readonly #options: TlsWayOptions;
  readonly #timer: Disposable;
  readonly #held: TlsHolder;
  #targets: TlsTargets;
  #state: UplinkState;
  /** Where the hubs are on loopback, as text. */
  #ports = "";
  #wanted = false;
  #using = false;
  #closed = false;

  constructor(options: TlsWayOptions, targets: TlsTargets) {
    this.#options = options;
    this.#targets = targets;
    this.#held = new TlsHolder({ ...options.place, onChange: () => this.#look() });
    const tlsOpen = this.status?.hubs.some(({ state }) => state === "open") === true;
    const first = firstUplink(options.mode, { nowMs: monotonicMs(), tlsOpen });
    this.#state = first.state;
    this.#do(first.effects);
    // One that runs for nobody is told so.
    if (!this.#wanted) this.#configure();
    this.#timer = every(TICK_MS, () => this.#tell("tick"));
  }

  /** Whether hubs are reached by TLS now. */
  get using(): boolean {
    return this.#using;
  }

  /** What the process says of itself, for people. */
  get status(): TlsStatus | undefined {
    return this.#held.status;
  }

  /** update says which hubs there are; the same again does nothing. */
  update(targets: TlsTargets): void {
    this.#targets = targets;
    this.#configure();
  }

  /** endpoint returns where a hub is for the tunnel and for probes; undefined: at its own endpoint. */
  endpoint(hub: string): Endpoint | undefined {
    if (!this.#using) return undefined;
    const uplink = this.status?.hubs.find(({ name }) => name === hub);
    return uplink === undefined ? undefined : { ip: LOOPBACK, port: uplink.localPort };
  }

  /** asked is called when a hub is asked by UDP, answered when one answers by UDP. What goes over TLS is not told. */
  asked(): void {
    this.#tell("asked");
  }

  answered(): void {
    this.#tell("answered");
  }

  /** moved is called when interfaces, addresses or routes changed. */
  moved(): void {
    this.#tell("moved");
  }

  #tell(kind: UplinkEvent["kind"]): void {
    // Without a hub that takes TLS there is nothing to decide.
    if (this.#closed || (this.#targets.hubs.length === 0 && !this.#wanted)) return;
    const { mode } = this.#options;
    const { state, effects } = stepUplink(this.#state, { kind }, { mode, nowMs: monotonicMs() });
    this.#state = state;
    this.#do(effects);
  }

  #do(effects: readonly UplinkEffect[]): void {
    for (const effect of effects)
      switch (effect) {
        case "open-tls":
        case "close-tls":
          this.#wanted = effect === "open-tls";
          this.#configure();
          break;
        case "use-tls":
        case "use-udp":
          this.#using = effect === "use-tls";
          info(this.#using ? "hubs are reached by TLS: UDP is blocked" : "hubs are reached by UDP again");
          this.#options.changed();
          break;
        case "probe-udp":
          this.#options.probe();
          break;
      }
  }

  #configure(): void {
    const wish = () => {
      const { tunnelPort, hubs } = this.#targets;
      const proxy = this.#wanted ? this.#options.proxy() : undefined;
      return { tunnelPort, hubs: this.#wanted ? hubs : [], ...(proxy === undefined ? {} : { proxy }) };
    };
    this.#held.set(wish, { idle: !this.#wanted });
  }

  /** Learns from the process whether a connection is open, and where hubs are. */
  #look(): void {
    const hubs = this.status?.hubs ?? [];
    const open = hubs.some(({ state }) => state === "open");
    if (open !== this.#state.tlsOpen) this.#tell(open ? "tls-opened" : "tls-lost");
    const ports = hubs.map(({ name, localPort }) => `${name} ${localPort}`).join();
    if (ports === this.#ports) return;
    this.#ports = ports;
    if (this.#using) this.#options.changed();
  }

  /** destroy ends the connections: the node leaves. */
  async destroy(): Promise<void> {
    this[Symbol.dispose]();
    await this.#held.destroy();
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    this.#timer[Symbol.dispose]();
    this.#held[Symbol.dispose]();
  }
}
