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
import { after, every, monotonicMs } from "../sys/mod.ts";
import { type TlsHub, TlsProcess, type TlsProcessOptions, type TlsStatus } from "../tunnel/tls/mod.ts";
import { info, warn } from "./log.ts";

const TICK_MS = 250;
/** A process that could not be started is started again after this time. */
const RETRY_MS = 5000;
const LOOPBACK = parseIp("127.0.0.1");

/** TlsWayOptions say what the node's operator wants, and what the agent does for it. */
export interface TlsWayOptions {
  readonly mode: TlsMode;
  readonly proxy?: string;
  readonly place: Omit<TlsProcessOptions, "onChange">;
  /** Hubs have other endpoints from now on. */
  readonly changed: () => void;
  /** Ask each hub by UDP, at its own endpoint; `asked` and `answered` tell what comes of it. */
  readonly probe: () => void;
}

/** TlsTargets are the hubs that take TLS, and the tunnel whose datagrams go there. */
export interface TlsTargets {
  readonly tunnelPort: number;
  readonly hubs: readonly TlsHub[];
}

/** TlsWay decides and acts until it is disposed; the connections outlive it. */
export class TlsWay implements Disposable {
  readonly #options: TlsWayOptions;
  readonly #timer: Disposable;
  #targets: TlsTargets = { tunnelPort: 0, hubs: [] };
  #state: UplinkState;
  #process: TlsProcess | undefined;
  /** What a process of an earlier agent said. */
  readonly #found: TlsStatus | undefined;
  #opening: Promise<void> | undefined;
  #retry: Disposable | undefined;
  #wanted = false;
  #using = false;
  #closed = false;

  constructor(options: TlsWayOptions, targets: TlsTargets) {
    this.#options = options;
    this.#targets = targets;
    this.#found = TlsProcess.running(options.place.socket);
    const tlsOpen = this.#found?.hubs.some(({ state }) => state === "open") === true;
    const first = firstUplink(options.mode, { nowMs: monotonicMs(), tlsOpen });
    this.#state = first.state;
    this.#do(first.effects);
    // One that runs for nobody is told so.
    if (this.#found !== undefined && !this.#wanted) this.#open();
    this.#timer = every(TICK_MS, () => this.#tell("tick"));
  }

  /** Whether hubs are reached by TLS now. */
  get using(): boolean {
    return this.#using;
  }

  /** What the process says of itself, for people. */
  get status(): TlsStatus | undefined {
    return this.#process?.status ?? this.#found;
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
          this.#wanted = true;
          this.#open();
          break;
        case "close-tls":
          this.#wanted = false;
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

  #open(): void {
    if (this.#process !== undefined) return this.#configure();
    this.#opening ??= TlsProcess.open({ ...this.#options.place, onChange: () => this.#look() })
      .then((started) => {
        this.#process = started;
        if (this.#closed) started.close();
        else this.#configure();
      })
      .catch((error: unknown) => {
        warn("cannot start the process for TLS", { error });
        this.#retry = after(RETRY_MS, () => this.#open());
      })
      .finally(() => {
        this.#opening = undefined;
      });
  }

  #configure(): void {
    const { proxy } = this.#options;
    const { tunnelPort, hubs } = this.#targets;
    try {
      this.#process?.configure({
        tunnelPort,
        hubs: this.#wanted ? hubs : [],
        ...(proxy === undefined ? {} : { proxy }),
      });
      this.#look();
    } catch (error) {
      warn("cannot configure TLS", { error });
    }
  }

  /** Learns from the process whether a connection is open. */
  #look(): void {
    const open = this.status?.hubs.some(({ state }) => state === "open") === true;
    if (open !== this.#state.tlsOpen) this.#tell(open ? "tls-opened" : "tls-lost");
  }

  /** destroy ends the connections: the node leaves. */
  async destroy(): Promise<void> {
    this[Symbol.dispose]();
    await this.#opening;
    await this.#process?.destroy();
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    this.#retry?.[Symbol.dispose]();
    this.#timer[Symbol.dispose]();
    this.#process?.close();
  }
}
