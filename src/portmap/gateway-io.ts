/** The sockets and the clock of one gateway's client (gateway-client.ts). */
import { formatIp, type Ip, ipBytes } from "../net/mod.ts";
import {
  after,
  boottimeMs,
  ConnectedUdp,
  exchangeTcp,
  isErrno,
  type Netns,
  openUdp,
  type UdpSocket,
} from "../sys/mod.ts";
import { CONTROL_PORT } from "./control-client.ts";
import type { Gateway } from "./default-routers.ts";
import { GatewayClient, type GatewayEffect, type GatewayEvent } from "./gateway-client.ts";
import { decodeHttp, encodeHttp, type HttpQuestion, MOST_HTTP_BYTES } from "./http-answer.ts";
import type { MappingProtocol, MappingWish } from "./mapping-answer.ts";
import { SSDP_GROUP, SSDP_PORT, ssdpSearches } from "./ssdp.ts";

const HTTP_MS = 4000;
/** A deletion is waited for so long when we leave. */
const MOST_WAIT_MS = 60_000;

/** GatewayIoOptions say whom to ask for what, and who is told. */
export interface GatewayIoOptions {
  readonly gateway: Gateway;
  readonly wish: MappingWish;
  readonly protocols?: readonly MappingProtocol[] | undefined;
  readonly netns?: Netns | undefined;
  readonly onChange: () => void;
}

/** GatewayIo owns them. */
export class GatewayIo implements Disposable {
  readonly client: GatewayClient;
  readonly #options: GatewayIoOptions;
  readonly #exchanges = new Set<Promise<void>>();
  #control: ConnectedUdp | undefined;
  #search: Promise<UdpSocket | undefined> | undefined;
  #timer: Disposable | undefined;
  #left: (() => void) | undefined;
  #closed = false;

  constructor(options: GatewayIoOptions) {
    this.#options = options;
    this.client = new GatewayClient(options.wish, options.protocols);
    this.step({ kind: "start" });
  }

  /** step steps the client, and does what it asks for. */
  step(event: GatewayEvent): void {
    if (this.#closed) return;
    for (const effect of this.client.step(event, boottimeMs())) this.#do(effect);
    if (!this.client.leaving) this.#left?.();
    this.#timer?.[Symbol.dispose]();
    const { dueMs } = this.client;
    if (dueMs === Number.POSITIVE_INFINITY) return;
    const waitMs = Math.max(1, Math.min(MOST_WAIT_MS, dueMs - boottimeMs()));
    this.#timer = after(waitMs, () => this.step({ kind: "due" }));
  }

  #do(effect: GatewayEffect): void {
    switch (effect.kind) {
      case "send":
        this.#send(effect.bytes);
        return;
      case "search":
        void this.#searchAll();
        return;
      case "http": {
        const exchange = this.#exchange(effect.number, effect.question);
        this.#exchanges.add(exchange);
        void exchange.finally(() => this.#exchanges.delete(exchange));
        return;
      }
      case "changed":
        this.#options.onChange();
    }
  }

  #send(bytes: Uint8Array): void {
    try {
      this.#control ??= this.#connect();
      this.#control.send(bytes);
    } catch (error) {
      // Without a way there is no answer either.
      if (!isErrno(error, "ENETUNREACH", "EHOSTUNREACH", "EADDRNOTAVAIL", "EINVAL", "EPERM", "ENODEV"))
        throw error;
    }
  }

  #connect(): ConnectedUdp {
    const { gateway, wish, netns } = this.#options;
    const control = ConnectedUdp.open({
      netns,
      address: ipBytes(gateway.ip),
      port: CONTROL_PORT,
      scope: isLinkLocal(gateway.ip) ? gateway.linkIndex : 0,
      from: ipBytes(wish.local),
      onDatagram: (bytes) => this.step({ kind: "control", bytes }),
      onFailure: () => {
        control[Symbol.dispose]();
        if (this.#control === control) this.#control = undefined;
        this.step({ kind: "unreachable" });
      },
    });
    return control;
  }

  async #searchAll(): Promise<void> {
    const { wish, netns } = this.#options;
    const gateway = formatIp(wish.gateway);
    // From our address there, so that the group is searched on that link (ip(7)).
    this.#search ??= openUdp({
      ...(netns === undefined ? {} : { netns }),
      host: formatIp(wish.local),
      onDatagram: ({ data, host }) => {
        if (host === gateway) this.step({ kind: "found", datagram: data });
      },
      onError: () => {},
    }).catch(() => undefined);
    const socket = await this.#search;
    if (this.#closed) return socket?.close();
    for (const text of ssdpSearches())
      for (const host of [SSDP_GROUP, gateway]) socket?.send(text, host, SSDP_PORT);
  }

  async #exchange(number: number, question: HttpQuestion): Promise<void> {
    const { host, port } = question;
    const bytes = await exchangeTcp({
      netns: this.#options.netns,
      host,
      port,
      request: encodeHttp(question),
      complete: (answer) => decodeHttp(answer, false) !== undefined,
      maxBytes: MOST_HTTP_BYTES,
      timeoutMs: HTTP_MS,
    });
    this.step({ kind: "http", number, answer: bytes === undefined ? undefined : decodeHttp(bytes, true) });
  }

  /** leave deletes the mapping, and resolves when the gateway heard it, or does not answer. */
  async leave(): Promise<void> {
    this.step({ kind: "leave" });
    if (this.client.leaving)
      await new Promise<void>((resolve) => {
        this.#left = resolve;
      });
    await Promise.allSettled(this.#exchanges);
    this[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    this.#timer?.[Symbol.dispose]();
    this.#control?.[Symbol.dispose]();
    void this.#search?.then((socket) => socket?.close());
  }
}

/** fe80::/10 (RFC 4291 section 2.5.6). */
function isLinkLocal({ family, value }: Ip): boolean {
  return family === 6 && value >> 118n === 0x3fan;
}
