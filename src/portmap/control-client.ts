/**
 * Asking a gateway by PCP, or by NAT-PMP where it speaks no PCP (RFC 6887, appendix A); pure. Both have one port, and one way of life:
 *
 * ```
 * idle ─▶ asking ─answer─▶ mapped ─half of the lifetime, or the gateway restarted─▶ asking ─▶ …
 *           └── nothing, or a refusal ──▶ idle; what was mapped is kept until it expires
 * ```
 */
import { endpointEqual, type Endpoint, ip, type Ip } from "../net/mod.ts";
import { continues, type EpochSample } from "./epoch.ts";
import { type MappingAnswer, mappingNonce, type MappingWish } from "./mapping-answer.ts";
import { decodeNatPmp, encodeNatPmpMapping, NAT_PMP_ADDRESS, natPmpResult } from "./nat-pmp-message.ts";
import { decodePcp, encodePcp, isPcp, pcpResult } from "./pcp-message.ts";

/** CONTROL_PORT is where gateways listen (RFC 6886 section 1, RFC 6887 section 19.1). */
export const CONTROL_PORT = 5351;

/** What RFC 6886 section 3.3 recommends. */
const LIFETIME_SECONDS = 7200;
const SHORTEST_LIFETIME_SECONDS = 60;
const LONGEST_LIFETIME_SECONDS = 86_400;
const FIRST_WAIT_MS = 250;
const MOST_TRIES = 3;
/** A renewal that failed is repeated after half of what is left, and not more often. */
const LEAST_PAUSE_MS = 30_000;
const RETRY_MS = 300_000;
const SHORTEST_RETRY_MS = 30_000;
const LONGEST_RETRY_MS = 1_800_000;
/** An announcement, which anybody can send, makes us ask no more often. */
const HINT_PAUSE_MS = 5000;

type Version = "pcp" | "nat-pmp";

/** ControlEvent is what happens to a client. */
export type ControlEvent =
  | { readonly kind: "start" }
  /** From the gateway's port, and no other. */
  | { readonly kind: "datagram"; readonly bytes: Uint8Array }
  /** Nobody listens there. */
  | { readonly kind: "unreachable" }
  /** The gateway may have restarted. */
  | { readonly kind: "hint" }
  | { readonly kind: "due" }
  | { readonly kind: "leave" };

/** ControlEffect is what it asks for. */
export type ControlEffect =
  | { readonly kind: "send"; readonly bytes: Uint8Array<ArrayBuffer> }
  | { readonly kind: "answer"; readonly answer: MappingAnswer };

interface Mapping {
  readonly external: Endpoint;
  readonly expiresMs: number;
}

/** ControlClient is the state of one gateway's mapping. */
export class ControlClient {
  readonly #wish: MappingWish;
  readonly #versions: readonly Version[];
  readonly #nonce: Uint8Array;
  #version: Version;
  #phase: "idle" | "asking" | "mapped" | "leaving" = "idle";
  #tries = 0;
  #nextMs = Number.POSITIVE_INFINITY;
  #mapping: Mapping | undefined;
  #sample: EpochSample | undefined;
  #askedMs = Number.NEGATIVE_INFINITY;
  /** NAT-PMP answers in two parts. */
  #address: Ip | undefined;
  #port: { readonly externalPort: number; readonly lifetimeSeconds: number } | undefined;

  constructor(wish: MappingWish, versions: readonly Version[] = ["pcp", "nat-pmp"]) {
    this.#wish = wish;
    // NAT-PMP has no IPv6.
    this.#versions = versions.filter((version) => version === "pcp" || wish.gateway.family === 4);
    this.#version = this.#versions[0] ?? "pcp";
    this.#nonce = mappingNonce(wish);
  }

  /** Whether a deletion waits for its answer. */
  get leaving(): boolean {
    return this.#phase === "leaving";
  }

  /** When `due` is to be stepped; infinite when never. */
  get dueMs(): number {
    return this.#nextMs;
  }

  step(event: ControlEvent, nowMs: number): ControlEffect[] {
    switch (event.kind) {
      case "start":
        return this.#versions.length === 0 ? [] : this.#ask(this.#versions[0] as Version, nowMs);
      case "datagram":
        return this.#hear(event.bytes, nowMs);
      case "unreachable":
        if (this.#phase === "leaving") this.#rest();
        return this.#phase === "asking" ? this.#fail("nothing listens there", RETRY_MS, nowMs) : [];
      case "hint":
        if (this.#phase === "mapped") this.#nextMs = Math.max(nowMs, this.#askedMs + HINT_PAUSE_MS);
        return [];
      case "due":
        return this.#due(nowMs);
      case "leave":
        return this.#leave(nowMs);
    }
  }

  #due(nowMs: number): ControlEffect[] {
    if (nowMs < this.#nextMs) return [];
    if (this.#phase === "mapped") return this.#ask(this.#version, nowMs);
    if (this.#phase === "idle") return [];
    if (this.#tries < MOST_TRIES) return this.#send(nowMs);
    if (this.#phase === "leaving") {
      this.#rest();
      return [];
    }
    const next = this.#versions[this.#versions.indexOf(this.#version) + 1];
    // A renewal is in the version that the gateway spoke.
    if (next !== undefined && this.#mapping === undefined) return this.#ask(next, nowMs);
    return this.#fail("no answer", RETRY_MS, nowMs);
  }

  #ask(version: Version, nowMs: number): ControlEffect[] {
    this.#version = version;
    this.#phase = "asking";
    this.#tries = 0;
    this.#address = undefined;
    this.#port = undefined;
    return this.#send(nowMs);
  }

  #send(nowMs: number): ControlEffect[] {
    this.#nextMs = nowMs + FIRST_WAIT_MS * 2 ** this.#tries++;
    this.#askedMs = nowMs;
    const seconds = this.#phase === "leaving" ? 0 : LIFETIME_SECONDS;
    return this.#requests(seconds).map((bytes) => ({ kind: "send", bytes }));
  }

  #requests(lifetimeSeconds: number): Uint8Array<ArrayBuffer>[] {
    const { port, local } = this.#wish;
    const external = this.#mapping?.external ?? { ip: ip(local.family, 0n), port };
    if (this.#version === "pcp")
      return [encodePcp({ local, nonce: this.#nonce, port, lifetimeSeconds, external })];
    const externalPort = lifetimeSeconds === 0 ? 0 : external.port;
    const mapping = encodeNatPmpMapping({ port, externalPort, lifetimeSeconds });
    return lifetimeSeconds === 0 ? [mapping] : [NAT_PMP_ADDRESS, mapping];
  }

  #hear(bytes: Uint8Array, nowMs: number): ControlEffect[] {
    if (this.#phase === "leaving" && this.#isDeletion(bytes)) this.#rest();
    if (this.#phase !== "asking") return [];
    if (this.#version === "nat-pmp") return this.#hearNatPmp(bytes, nowMs);
    if (isPcp(bytes)) return this.#hearPcp(bytes, nowMs);
    // Another version: the gateway says so in its own form.
    if (bytes[0] === 0 && bytes.length >= 8 && this.#versions.includes("nat-pmp"))
      return this.#ask("nat-pmp", nowMs);
    return [];
  }

  /** An answer to our deletion, success or not: the gateway has nothing more to say of it. */
  #isDeletion(bytes: Uint8Array): boolean {
    const { port } = this.#wish;
    if (this.#version === "pcp") return decodePcp(bytes, { nonce: this.#nonce, port }) !== undefined;
    const answer = decodeNatPmp(bytes);
    return answer?.kind === "mapping" && (answer.result !== 0 || answer.port === port);
  }

  #hearPcp(bytes: Uint8Array, nowMs: number): ControlEffect[] {
    const answer = decodePcp(bytes, { nonce: this.#nonce, port: this.#wish.port });
    if (answer === undefined) return [];
    if (answer.result !== 0)
      return this.#fail(pcpResult(answer.result), answer.lifetimeSeconds * 1000, nowMs);
    return this.#succeed(answer, nowMs);
  }

  #hearNatPmp(bytes: Uint8Array, nowMs: number): ControlEffect[] {
    const answer = decodeNatPmp(bytes);
    if (answer === undefined) return [];
    if (answer.result !== 0) return this.#fail(natPmpResult(answer.result), RETRY_MS, nowMs);
    if (answer.kind === "address") this.#address = answer.address;
    else if (answer.port === this.#wish.port) this.#port = answer;
    if (this.#address === undefined || this.#port === undefined) return [];
    const external = { ip: this.#address, port: this.#port.externalPort };
    const { lifetimeSeconds } = this.#port;
    return this.#succeed({ external, lifetimeSeconds, epochSeconds: answer.epochSeconds }, nowMs);
  }

  #succeed(
    answer: {
      readonly external: Endpoint;
      readonly lifetimeSeconds: number;
      readonly epochSeconds: number;
    },
    nowMs: number,
  ): ControlEffect[] {
    const { external, lifetimeSeconds, epochSeconds } = answer;
    if (external.port === 0 || lifetimeSeconds === 0) return this.#fail("it gave no port", RETRY_MS, nowMs);
    const before = this.#sample;
    this.#sample = { epochSeconds, heardMs: nowMs };
    const seconds = Math.min(LONGEST_LIFETIME_SECONDS, Math.max(SHORTEST_LIFETIME_SECONDS, lifetimeSeconds));
    const was = this.#mapping;
    this.#mapping = { external, expiresMs: nowMs + seconds * 1000 };
    // It restarted between our requests: what it says now may be from before it remembered us.
    if (was !== undefined && before !== undefined && !continues(before, this.#sample))
      return this.#ask(this.#version, nowMs);
    this.#phase = "mapped";
    this.#nextMs = nowMs + seconds * 500;
    if (was !== undefined && endpointEqual(was.external, external)) return [];
    return [{ kind: "answer", answer: { kind: "mapped", protocol: this.#version, external } }];
  }

  #fail(reason: string, retryMs: number, nowMs: number): ControlEffect[] {
    const mapping = this.#mapping;
    const refused = reason !== "no answer" && reason !== "nothing listens there";
    if (mapping !== undefined && mapping.expiresMs > nowMs && !refused) {
      this.#phase = "mapped";
      const pauseMs = Math.max(LEAST_PAUSE_MS, (mapping.expiresMs - nowMs) / 2);
      this.#nextMs = Math.min(nowMs + pauseMs, mapping.expiresMs);
      return [];
    }
    this.#rest();
    const bounded = Math.min(LONGEST_RETRY_MS, Math.max(SHORTEST_RETRY_MS, retryMs));
    const answer = {
      kind: "refused",
      protocol: this.#version,
      reason,
      answered: refused,
      retryMs: bounded,
    } as const;
    return [{ kind: "answer", answer }];
  }

  #leave(nowMs: number): ControlEffect[] {
    if (this.#phase !== "mapped" && this.#phase !== "asking") {
      this.#rest();
      return [];
    }
    this.#phase = "leaving";
    this.#tries = 0;
    return this.#send(nowMs);
  }

  #rest(): void {
    this.#phase = "idle";
    this.#mapping = undefined;
    this.#sample = undefined;
    this.#nextMs = Number.POSITIVE_INFINITY;
  }
}
