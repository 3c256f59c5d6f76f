/** What the command line and a gateway's process say to each other on its socket: lines of JSON. */
import type { ConfigRequest } from "../gateway/mod.ts";
import type { Rates, Span } from "./history.ts";

/** GATEWAYS is where sockets of gateways are; `NAME.sock` each. */
export const GATEWAYS = "/run/causeway/gateway";

/** socketOf returns the socket of a gateway by its name. */
export function socketOf(name: string, folder: string = GATEWAYS): string {
  return `${folder}/${name}.sock`;
}

/** isGatewayName tells what a gateway can be called: it becomes a part of file names. */
export function isGatewayName(name: string): boolean {
  return /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$/.test(name);
}

/** GatewayRequest is one line to the gateway. */
export type GatewayRequest =
  | { readonly op: "config"; readonly request: ConfigRequest }
  /** From now on, lines are ListenLine; nobody else writes until the connection ends. */
  | { readonly op: "listen" }
  | { readonly op: "top"; readonly span?: Span; readonly most?: number }
  | { readonly op: "metrics" }
  | { readonly op: "public-key" };

/** ListenLine is more of what somebody sends, or its end; it is answered by lines with `text`. */
export type ListenLine = { readonly more: string } | { readonly end: true };

/** GatewayAnswer is a line back; an `error` is in words for people. */
export type GatewayAnswer =
  | { readonly text: string; readonly warnings?: readonly string[] }
  | { readonly top: Top }
  | { readonly error: string };

/** Counted is what was carried so far. Where the kernel carries packets it drops for no queue, and what leaves nowhere for no route: that is absent. */
export interface Counted {
  readonly rxpackets: number;
  readonly rxbytes: number;
  readonly rxdrop?: number;
  readonly txpackets: number;
  readonly txbytes: number;
  readonly txdrop?: number;
}

/** Top is a look at a gateway; it holds no secret. */
export interface Top {
  readonly gateway: string;
  /** Where the configuration comes from, and what is wrong with it there. */
  readonly configuration: { readonly source: string; readonly problems: readonly string[] };
  /** None where nothing counts frames: no queue is up, or the kernel carries packets. */
  readonly interfaces: readonly (Counted & { readonly side: "private" | "public" })[];
  readonly queues: readonly (Counted & {
    readonly queue: number;
    readonly up: boolean;
    /** Why it is down, or what it encrypts with. */
    readonly about: string;
    readonly cpu?: number;
  })[];
  readonly routes: readonly (Counted & {
    readonly id: string;
    readonly up: boolean;
    /** Why it is down, or that queues of it are. */
    readonly reason?: string;
    readonly gateway?: string;
    readonly lastError?: string;
    readonly roundTripMicroseconds?: number;
    readonly silentSeconds?: number;
    readonly rekeys: number;
    /** What rxdrop and txdrop come to, by reason; those that there were none of are absent. */
    readonly drops: Readonly<Record<string, number>>;
  })[];
  readonly associations: readonly {
    readonly direction: "inbound" | "outbound";
    readonly queue: number;
    readonly spi: number;
    readonly route?: string;
    readonly algorithm?: string;
    readonly use?: string;
    readonly packets: number;
    readonly bytes: number;
    readonly errors: number;
    readonly ageSeconds?: number;
    readonly secondsLeft?: number;
  }[];
  /** Of the whole gateway, oldest first. */
  readonly history: readonly Rates[];
}
