/** The TLS connection of a machine that joins: to one hub of its token at a time. The member takes it over, with the hub's endpoint as it is. */
import type { EnrolWay } from "../hub/mod.ts";
import { type Endpoint, parseIp } from "../net/mod.ts";
import { monotonicMs, sleep } from "../sys/mod.ts";
import { TlsProcess } from "../tunnel/tls/mod.ts";
import { TLS_PLACE } from "./tls-holder.ts";
import { proxyOf, type TlsWish } from "./tls-wish.ts";
import { hostOf } from "./ways.ts";

/** An attempt of the process ends sooner (uplink.ts). */
const OPEN_MS = 15_000;
const LOOK_MS = 20;
const LOOPBACK = parseIp("127.0.0.1");

/** TlsJoining holds the process while the machine joins; disposing lets go of it. */
export class TlsJoining implements Disposable {
  /** Whether the last way went through it. */
  using = false;
  readonly #wish: TlsWish;
  readonly #tunnelPort: number;
  #held: TlsProcess | undefined;

  constructor(wish: TlsWish, tunnelPort: number) {
    this.#wish = wish;
    this.#tunnelPort = tunnelPort;
  }

  /** open connects to a hub and returns its endpoint on loopback; rejects with the reason when there is no connection. */
  async open({ hub, tls, turn }: EnrolWay): Promise<Endpoint> {
    const hosts = [...new Set(hub.endpoints.map(hostOf))];
    const host = hosts[turn % hosts.length] as string;
    const { port, pin } = tls as NonNullable<typeof tls>;
    const proxy = proxyOf(this.#wish);
    this.#held ??= await TlsProcess.open(TLS_PLACE);
    this.#held.configure({
      tunnelPort: this.#tunnelPort,
      hubs: [{ name: hub.key, host, port, ...(pin === undefined ? {} : { pin }) }],
      ...(proxy === undefined ? {} : { proxy }),
    });
    for (const end = monotonicMs() + OPEN_MS; ; await sleep(LOOK_MS)) {
      const uplink = TlsProcess.running(TLS_PLACE.socket)?.hubs.find(({ name }) => name === hub.key);
      if (uplink?.state === "open") return { ip: LOOPBACK, port: uplink.localPort };
      if (uplink?.state === "waiting" || monotonicMs() > end)
        throw new Error(
          `no TLS connection to ${host}, port ${port}: ${uplink?.reason ?? "the process for TLS does not answer"}`,
        );
    }
  }

  /** destroy ends the process: nobody goes by TLS. */
  async destroy(): Promise<void> {
    await this.#held?.destroy();
    this.#held = undefined;
  }

  [Symbol.dispose](): void {
    this.#held?.close();
  }
}
