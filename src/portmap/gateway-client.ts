/**
 * One gateway, asked in the protocols that there are, one after the other: PCP or NAT-PMP, which are exact and cheap, then UPnP; pure.
 *
 * A gateway whose external address is private is behind a NAT itself: its mapping helps nobody, is deleted again, and that is said.
 */
import { type Endpoint, formatEndpoint, formatIp } from "../net/mod.ts";
import { ControlClient } from "./control-client.ts";
import type { HttpAnswer, HttpQuestion } from "./http-answer.ts";
import { IgdClient } from "./igd-client.ts";
import { isReachable, type MappingAnswer, type MappingProtocol, type MappingWish } from "./mapping-answer.ts";

/** A second NAT does not go away by asking; somebody may take it out, though. */
const DOUBLE_NAT_RETRY_MS = 1_800_000;
const FIRST_RETRY_MS = 10_000;
const LONGEST_SILENCE_RETRY_MS = 600_000;
/** An announcement, which anybody can send, makes us ask no more often. */
const HINT_PAUSE_MS = 5000;

/** GatewayEvent is what happens to a client. */
export type GatewayEvent =
  | { readonly kind: "start" }
  | { readonly kind: "control"; readonly bytes: Uint8Array }
  | { readonly kind: "unreachable" }
  | { readonly kind: "hint" }
  | { readonly kind: "found"; readonly datagram: Uint8Array }
  | { readonly kind: "http"; readonly number: number; readonly answer: HttpAnswer | undefined }
  | { readonly kind: "due" }
  | { readonly kind: "leave" };

/** GatewayEffect is what it asks for. */
export type GatewayEffect =
  /** To CONTROL_PORT. */
  | { readonly kind: "send"; readonly bytes: Uint8Array<ArrayBuffer> }
  | { readonly kind: "search" }
  | { readonly kind: "http"; readonly number: number; readonly question: HttpQuestion }
  /** The mapping came, changed or went. */
  | { readonly kind: "changed" };

/** GatewayState is what is shown. */
export type GatewayState =
  | { readonly kind: "asking" }
  | { readonly kind: "mapped"; readonly protocol: MappingProtocol; readonly external: Endpoint }
  | { readonly kind: "refused"; readonly reason: string };

/** GatewayClient is the state of one gateway. */
export class GatewayClient {
  readonly wish: MappingWish;
  state: GatewayState = { kind: "asking" };
  readonly #control: ControlClient;
  readonly #igd: IgdClient | undefined;
  readonly #hasControl: boolean;
  #reasons: string[] = [];
  #answered = false;
  #silences = 0;
  #startedMs = Number.NEGATIVE_INFINITY;
  #retryMs = Number.POSITIVE_INFINITY;

  constructor(wish: MappingWish, protocols: readonly MappingProtocol[] = ["pcp", "nat-pmp", "upnp-igd"]) {
    this.wish = wish;
    this.#control = new ControlClient(
      wish,
      protocols.filter((protocol) => protocol !== "upnp-igd"),
    );
    const upnp = protocols.includes("upnp-igd") && wish.gateway.family === 4;
    this.#igd = upnp ? new IgdClient(wish) : undefined;
    this.#hasControl = protocols.some((protocol) => protocol !== "upnp-igd");
  }

  /** Whether a deletion waits for its answer. */
  get leaving(): boolean {
    return this.#control.leaving;
  }

  /** When `due` is to be stepped; infinite when never. */
  get dueMs(): number {
    return Math.min(this.#control.dueMs, this.#igd?.dueMs ?? Number.POSITIVE_INFINITY, this.#retryMs);
  }

  step(event: GatewayEvent, nowMs: number): GatewayEffect[] {
    switch (event.kind) {
      case "start":
        return this.#start(nowMs);
      case "control":
        return this.#take(this.#control.step({ kind: "datagram", bytes: event.bytes }, nowMs), nowMs);
      case "unreachable":
        return this.#take(this.#control.step(event, nowMs), nowMs);
      case "hint":
        // Perhaps it has just come up, and knows now what it refused before.
        if (this.state.kind === "refused") {
          this.#retryMs = Math.min(this.#retryMs, Math.max(nowMs, this.#startedMs + HINT_PAUSE_MS));
          return [];
        }
        return [
          ...this.#take(this.#control.step(event, nowMs), nowMs),
          ...this.#take(this.#igd?.step(event, nowMs) ?? [], nowMs),
        ];
      case "found":
      case "http":
        return this.#take(this.#igd?.step(event, nowMs) ?? [], nowMs);
      case "due":
        if (nowMs >= this.#retryMs) return this.#start(nowMs);
        return [
          ...this.#take(this.#control.step(event, nowMs), nowMs),
          ...this.#take(this.#igd?.step(event, nowMs) ?? [], nowMs),
        ];
      case "leave":
        return this.#leave(nowMs);
    }
  }

  #start(nowMs: number): GatewayEffect[] {
    this.#reasons = [];
    this.#retryMs = Number.POSITIVE_INFINITY;
    this.#startedMs = nowMs;
    this.#answered = false;
    this.state = { kind: "asking" };
    return this.#hasControl
      ? this.#take(this.#control.step({ kind: "start" }, nowMs), nowMs)
      : this.#take(this.#igd?.step({ kind: "start" }, nowMs) ?? [], nowMs);
  }

  #take(
    effects: readonly (GatewayEffect | { readonly kind: "answer"; readonly answer: MappingAnswer })[],
    nowMs: number,
  ): GatewayEffect[] {
    return effects.flatMap((effect) =>
      effect.kind === "answer" ? this.#answer(effect.answer, nowMs) : [effect],
    );
  }

  #answer(answer: MappingAnswer, nowMs: number): GatewayEffect[] {
    const was = this.state;
    if (answer.kind === "mapped") {
      const { external, protocol } = answer;
      if (!isReachable(external.ip)) return this.#useless(external, nowMs);
      this.state = { kind: "mapped", protocol, external };
      this.#silences = 0;
      return [{ kind: "changed" }];
    }
    this.#reasons.push(`${nameOf(answer.protocol)}: ${answer.reason}`);
    if (answer.protocol !== "upnp-igd" && this.#igd !== undefined && was.kind !== "mapped")
      return this.#take(this.#igd.step({ kind: "start" }, nowMs), nowMs);
    this.#answered ||= answer.answered;
    // Who says nothing may not be up yet, as when all start after a power failure.
    const silenceMs = Math.min(
      LONGEST_SILENCE_RETRY_MS,
      FIRST_RETRY_MS * 2 ** Math.min(10, this.#silences++),
    );
    const retryMs = was.kind === "mapped" ? FIRST_RETRY_MS : this.#answered ? answer.retryMs : silenceMs;
    return this.#refused(this.#reasons.join("; "), nowMs + retryMs);
  }

  #refused(reason: string, retryMs: number): GatewayEffect[] {
    const was = this.state;
    this.state = { kind: "refused", reason };
    this.#retryMs = retryMs;
    return was.kind === "mapped" ? [{ kind: "changed" }] : [];
  }

  #useless(external: Endpoint, nowMs: number): GatewayEffect[] {
    return [
      ...this.#end(nowMs),
      ...this.#refused(
        `its own address ${formatIp(external.ip)} is private: it is behind a NAT itself`,
        nowMs + DOUBLE_NAT_RETRY_MS,
      ),
    ];
  }

  #end(nowMs: number): GatewayEffect[] {
    return [
      ...this.#take(this.#control.step({ kind: "leave" }, nowMs), nowMs),
      ...this.#take(this.#igd?.step({ kind: "leave" }, nowMs) ?? [], nowMs),
    ];
  }

  #leave(nowMs: number): GatewayEffect[] {
    this.#retryMs = Number.POSITIVE_INFINITY;
    return this.#end(nowMs);
  }
}

const NAMES = { pcp: "PCP", "nat-pmp": "NAT-PMP", "upnp-igd": "UPnP" } as const;

/** nameOf returns the protocol's name, for people. */
export function nameOf(protocol: MappingProtocol): string {
  return NAMES[protocol];
}

/** describeGateway says in one line what has come of a gateway. */
export function describeGateway({ wish, state }: GatewayClient): string {
  const gateway = formatIp(wish.gateway);
  switch (state.kind) {
    case "asking":
      return `${gateway}: is being asked`;
    case "mapped":
      return `${gateway}: ${formatEndpoint(state.external)} by ${nameOf(state.protocol)}`;
    case "refused":
      return `${gateway}: ${state.reason}`;
  }
}
