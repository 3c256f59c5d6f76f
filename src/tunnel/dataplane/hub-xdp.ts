/** The relay in the kernel (../relay/xdp-relay.ts) as the control thread has it: only where it was asked for, and only as far as the kernel lets it. */
import { linkIndex, SOCKET_ADDRESS } from "../../sys/mod.ts";
import { ENDPOINT } from "../path/mod.ts";
import { type RelayStep, type XdpPlace, XdpRelay } from "../relay/mod.ts";
import { familyOf, type Place } from "./place.ts";

/** What could not be attached is tried again so often: a predecessor may have it, or the interface is not there yet. */
const RETRY_MS = 1000;
/** The address of ours in a control message behind its header: `ipi_spec_dst` of struct in_pktinfo, `ipi6_addr` of struct in6_pktinfo. */
const LOCAL = { 4: ENDPOINT.control + 16 + 4, 6: ENDPOINT.control + 16 } as const;

/** HubXdp owns the program while interfaces are wanted. */
export class HubXdp {
  /** Any socket in the namespace of the interfaces. */
  readonly #socket: () => number;
  #relay: XdpRelay | undefined;
  #links: readonly string[] = [];
  #error: string | undefined;
  #triedMs = 0;

  constructor(socket: () => number) {
    this.#socket = socket;
  }

  get isOn(): boolean {
    return this.#relay !== undefined;
  }

  /** follow makes these the interfaces; `all` tells what a program that is new has to know. */
  follow(links: readonly string[], all: () => void): void {
    this.#links = links;
    this.#error = undefined;
    if (links.length === 0) {
      this.#relay?.[Symbol.dispose]();
      this.#relay = undefined;
      return;
    }
    try {
      if (this.#relay === undefined) {
        this.#relay = XdpRelay.open({ indexOf: (name) => linkIndex(this.#socket(), name) });
        all();
      }
      this.#relay.attach(links);
    } catch (error) {
      this.#error = error instanceof Error ? error.message : String(error);
    }
  }

  /** hear takes a step; of a node's with its place. */
  hear(step: RelayStep, place: Place | undefined): void {
    this.#relay?.hear(step, place === undefined ? undefined : xdpPlace(place));
  }

  /** move takes a peer's place, which may be what it was. */
  move(peer: number, place: Place): void {
    this.#relay?.move(peer, xdpPlace(place));
  }

  /** listen tells the port. */
  listen(port: number): void {
    this.#relay?.listen(port);
  }

  /** tick tries again. */
  tick(nowMs: number): void {
    if (this.#relay?.isIncomplete !== true || nowMs - this.#triedMs < RETRY_MS) return;
    this.#triedMs = nowMs;
    this.#relay.retry();
  }

  /** Lines for get_dataplane: what became of each interface. */
  get lines(): readonly string[] {
    if (this.#relay === undefined)
      return this.#links.map((link) => `relay_xdp=${link}: ${this.#error ?? ""}`);
    return xdpLines(this.#relay);
  }

  /** Numbers for get_dataplane. */
  get counters(): Record<string, number> {
    if (this.#relay === undefined) return {};
    return xdpCounters(this.#relay);
  }
}

/** xdpLines says what became of each interface, for get_dataplane. */
export function xdpLines(relay: XdpRelay): readonly string[] {
  return relay.interfaces.map((state) => {
    const native = "nativeError" in state ? ` (not native: ${state.nativeError})` : "";
    return `relay_xdp=${state.link}: ${"error" in state ? state.error : `${state.mode}${native}`}`;
  });
}

/** xdpCounters are numbers for get_dataplane. */
export function xdpCounters(relay: XdpRelay): Record<string, number> {
  const { datagrams, bytes, circuits } = relay.counts;
  return { relayed_xdp: datagrams, relayed_xdp_bytes: bytes, relay_xdp_circuits: circuits };
}

/** xdpPlace returns a place as the program's maps take it. */
export function xdpPlace(place: Place): XdpPlace {
  const view = new DataView(place.buffer, place.byteOffset);
  const family = familyOf(place);
  const bytes = family === 4 ? 4 : 16;
  const at = ENDPOINT.address + (family === 4 ? SOCKET_ADDRESS.address4 : SOCKET_ADDRESS.address6);
  // Of one that was configured it is the system's choice, which is not known.
  const hasLocal = view.getInt32(ENDPOINT.controlBytes, true) > 0;
  return {
    address: place.slice(at, at + bytes),
    port: view.getUint16(ENDPOINT.address + SOCKET_ADDRESS.port),
    local: hasLocal ? place.slice(LOCAL[family], LOCAL[family] + bytes) : new Uint8Array(0),
  };
}
