/**
 * Asking a gateway by UPnP (Internet Gateway Device 1 and 2); pure.
 *
 * ```
 * idle ─▶ searching ─▶ describing ─▶ address ─▶ adding ─▶ mapped ─every ten minutes─▶ adding ─▶ …
 *             └───────────┴────────────┴──────────┴── nothing, or a refusal ──▶ idle
 * ```
 * There is no sign of a gateway's restart as in PCP, so what is there is added again and again, which changes nothing.
 */
import { type Endpoint, endpointEqual, formatIp, type Ip, tryParseIp } from "../net/mod.ts";
import type { HttpAnswer, HttpQuestion } from "./http-answer.ts";
import { type IgdService, parseDescription } from "./igd-description.ts";
import { parseSoap, soapQuestion, type SoapResult } from "./igd-soap.ts";
import { isReachable, type MappingAnswer, mappingNonce, type MappingWish } from "./mapping-answer.ts";
import { type Location, parseSsdpAnswer } from "./ssdp.ts";

const LEASE_SECONDS = 3600;
const AGAIN_MS = 600_000;
const HINT_PAUSE_MS = 5000;
const FIRST_WAIT_MS = 1500;
const MOST_SEARCHES = 2;
const ANSWER_MS = 5000;
const MOST_LOCATIONS = 4;
const MOST_PORTS = 6;
const RETRY_MS = 300_000;
const FIRST_PORT = 1024;

/** Errors of AddPortMapping (WANIPConnection:1, section 2.4.16). */
const CONFLICT = new Set([718, 727]);
const ONLY_PERMANENT = 725;
const UNKNOWN_ACTION = new Set([401, 602]);

/** IgdEvent is what happens to a client. */
export type IgdEvent =
  | { readonly kind: "start" }
  /** A datagram from the gateway to the socket that searched. */
  | { readonly kind: "found"; readonly datagram: Uint8Array }
  /** The answer to the question of that number; absent when there was none. */
  | { readonly kind: "http"; readonly number: number; readonly answer: HttpAnswer | undefined }
  /** The gateway may have restarted. */
  | { readonly kind: "hint" }
  | { readonly kind: "due" }
  | { readonly kind: "leave" };

/** IgdEffect is what it asks for. */
export type IgdEffect =
  | { readonly kind: "search" }
  | { readonly kind: "http"; readonly number: number; readonly question: HttpQuestion }
  | { readonly kind: "answer"; readonly answer: MappingAnswer };

type Phase = "idle" | "searching" | "describing" | "address" | "adding" | "mapped";

/** IgdClient is the state of one gateway's mapping. */
export class IgdClient {
  readonly #wish: MappingWish;
  #phase: Phase = "idle";
  #nextMs = Number.POSITIVE_INFINITY;
  #addedMs = Number.NEGATIVE_INFINITY;
  #searches = 0;
  #number = 0;
  #locations: Location[] = [];
  #service: IgdService | undefined;
  #address: Ip | undefined;
  #ports: number[] = [];
  #leaseSeconds = LEASE_SECONDS;
  #any = false;
  #external: Endpoint | undefined;

  constructor(wish: MappingWish) {
    this.#wish = wish;
  }

  /** When `due` is to be stepped; infinite when never. */
  get dueMs(): number {
    return this.#nextMs;
  }

  step(event: IgdEvent, nowMs: number): IgdEffect[] {
    switch (event.kind) {
      case "start":
        this.#searches = 0;
        this.#locations = [];
        return this.#search(nowMs);
      case "found":
        return this.#found(event.datagram, nowMs);
      case "http":
        return event.number === this.#number ? this.#hear(event.answer, nowMs) : [];
      case "hint":
        if (this.#phase === "mapped") this.#nextMs = Math.max(nowMs, this.#addedMs + HINT_PAUSE_MS);
        return [];
      case "due":
        return nowMs < this.#nextMs ? [] : this.#due(nowMs);
      case "leave":
        return this.#leave();
    }
  }

  #due(nowMs: number): IgdEffect[] {
    if (this.#phase === "mapped") return this.#add(nowMs);
    if (this.#phase === "searching" && this.#searches < MOST_SEARCHES) return this.#search(nowMs);
    if (this.#phase === "idle") return [];
    return this.#fail(this.#phase === "searching" ? "no gateway found" : "no answer");
  }

  #search(nowMs: number): IgdEffect[] {
    this.#phase = "searching";
    this.#searches++;
    this.#nextMs = nowMs + FIRST_WAIT_MS;
    return [{ kind: "search" }];
  }

  #found(datagram: Uint8Array, nowMs: number): IgdEffect[] {
    const location = parseSsdpAnswer(datagram, this.#wish.gateway);
    const known = ({ port, path }: Location) => port === location?.port && path === location.path;
    if (location === undefined || this.#locations.length >= MOST_LOCATIONS || this.#locations.some(known))
      return [];
    if (this.#phase !== "searching" && this.#phase !== "describing") return [];
    this.#locations.push(location);
    return this.#phase === "searching" ? this.#describe(location, nowMs) : [];
  }

  #describe({ port, path }: Location, nowMs: number): IgdEffect[] {
    this.#phase = "describing";
    return this.#exchange({ host: formatIp(this.#wish.gateway), port, path }, nowMs);
  }

  #exchange(question: HttpQuestion, nowMs: number): IgdEffect[] {
    this.#nextMs = nowMs + ANSWER_MS;
    return [{ kind: "http", number: ++this.#number, question }];
  }

  #act(name: string, args: Readonly<Record<string, string>>, nowMs: number): IgdEffect[] {
    const { gateway } = this.#wish;
    const service = this.#service as IgdService;
    return this.#exchange(soapQuestion({ gateway, service }, { name, args }), nowMs);
  }

  #hear(answer: HttpAnswer | undefined, nowMs: number): IgdEffect[] {
    if (this.#phase === "describing") return this.#described(answer, nowMs);
    if (answer === undefined) return this.#fail("no answer");
    if (this.#phase === "address") return this.#addressed(answer, nowMs);
    if (this.#phase === "adding") return this.#added(answer, nowMs);
    return [];
  }

  #described(answer: HttpAnswer | undefined, nowMs: number): IgdEffect[] {
    const location = this.#locations.shift();
    const found =
      answer?.status === 200 && location !== undefined
        ? parseDescription(answer.body, { ...location, gateway: this.#wish.gateway })
        : [];
    this.#service = found[0];
    if (this.#service !== undefined) {
      this.#phase = "address";
      return this.#act("GetExternalIPAddress", {}, nowMs);
    }
    const next = this.#locations[0];
    return next === undefined ? this.#fail("no service that maps ports") : this.#describe(next, nowMs);
  }

  #addressed(answer: HttpAnswer, nowMs: number): IgdEffect[] {
    const result = parseSoap(answer, "GetExternalIPAddress");
    if (result.kind === "error") return this.#fail(errorText(result));
    this.#address = tryParseIp(result.values.NewExternalIPAddress ?? "");
    if (this.#address?.family !== 4 || this.#address.value === 0n)
      return this.#fail("it has no external address");
    // What cannot be reached needs no port either; who decides what that means is told the address.
    if (!isReachable(this.#address)) return this.#mapped(this.#wish.port);
    this.#ports = this.#wishedPorts();
    this.#leaseSeconds = LEASE_SECONDS;
    this.#any = this.#service?.anyPort === true;
    return this.#add(nowMs);
  }

  /** Our own port first; others differ from node to node, and are the same each time. */
  #wishedPorts(): number[] {
    const bytes = mappingNonce(this.#wish);
    const others = Array.from({ length: MOST_PORTS - 1 }, (_, i) => {
      const number = ((bytes[2 * i] as number) << 8) | (bytes[2 * i + 1] as number);
      return FIRST_PORT + (number % (65_536 - FIRST_PORT));
    });
    return [this.#external?.port ?? this.#wish.port, ...others];
  }

  #add(nowMs: number): IgdEffect[] {
    this.#phase = "adding";
    const { port, local } = this.#wish;
    const args = {
      NewRemoteHost: "",
      NewExternalPort: `${this.#ports[0]}`,
      NewProtocol: "UDP",
      NewInternalPort: `${port}`,
      NewInternalClient: formatIp(local),
      NewEnabled: "1",
      NewPortMappingDescription: "causeway",
      NewLeaseDuration: `${this.#leaseSeconds}`,
    };
    return this.#act(this.#any ? "AddAnyPortMapping" : "AddPortMapping", args, nowMs);
  }

  #added(answer: HttpAnswer, nowMs: number): IgdEffect[] {
    const result = parseSoap(answer, this.#any ? "AddAnyPortMapping" : "AddPortMapping");
    if (result.kind === "error") return this.#notAdded(result, nowMs);
    const given = this.#any ? (result.values.NewReservedPort ?? "") : `${this.#ports[0]}`;
    if (!/^\d{1,5}$/.test(given) || Number(given) < 1 || Number(given) > 65_535)
      return this.#fail("it gave no port");
    const port = Number(given);
    this.#ports = [port, ...this.#ports.filter((other) => other !== port)];
    this.#nextMs = nowMs + AGAIN_MS;
    this.#addedMs = nowMs;
    return this.#mapped(port);
  }

  #notAdded(result: Extract<SoapResult, { readonly kind: "error" }>, nowMs: number): IgdEffect[] {
    if (this.#any && UNKNOWN_ACTION.has(result.code)) {
      this.#any = false;
      return this.#add(nowMs);
    }
    if (result.code === ONLY_PERMANENT && this.#leaseSeconds > 0) {
      this.#leaseSeconds = 0;
      return this.#add(nowMs);
    }
    if (CONFLICT.has(result.code) && this.#ports.length > 1) {
      this.#ports.shift();
      return this.#add(nowMs);
    }
    return this.#fail(errorText(result));
  }

  #mapped(port: number): IgdEffect[] {
    this.#phase = "mapped";
    const external = { ip: this.#address as Ip, port };
    const was = this.#external;
    this.#external = external;
    if (!isReachable(external.ip)) this.#nextMs = Number.POSITIVE_INFINITY;
    if (was !== undefined && endpointEqual(was, external)) return [];
    return [{ kind: "answer", answer: { kind: "mapped", protocol: "upnp-igd", external } }];
  }

  #fail(reason: string): IgdEffect[] {
    const answered = this.#phase !== "searching";
    this.#reset();
    return [
      {
        kind: "answer",
        answer: { kind: "refused", protocol: "upnp-igd", reason, answered, retryMs: RETRY_MS },
      },
    ];
  }

  #leave(): IgdEffect[] {
    const external = this.#external;
    const effects =
      external === undefined || this.#service === undefined || !isReachable(external.ip)
        ? []
        : this.#act(
            "DeletePortMapping",
            { NewRemoteHost: "", NewExternalPort: `${external.port}`, NewProtocol: "UDP" },
            0,
          );
    this.#reset();
    return effects;
  }

  #reset(): void {
    this.#phase = "idle";
    this.#external = undefined;
    this.#nextMs = Number.POSITIVE_INFINITY;
    // Answers to what was asked before mean nothing any more.
    this.#number++;
  }
}

function errorText({ code, text }: Extract<SoapResult, { readonly kind: "error" }>): string {
  return code === 0 ? text : `${text === "" ? "refused" : text} (${code})`;
}
