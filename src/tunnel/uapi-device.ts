/** A user-space WireGuard device, reached by its socket. Every call is one connection: nothing to keep, nothing to lose. */
import type { DeviceChange, DeviceState, PeerState, PublicKey, WireguardDevice } from "../net/mod.ts";
import { errnoName, errnoText, unixRequest } from "../sys/mod.ts";
import { askNews, decodeNews, type DeviceNews, keptPeer, takeNews } from "./device-news.ts";
import { checkSet, decodeGet, encodeSet, GET, isWhole, UapiError } from "./uapi.ts";

/** Peers of one request: its answer comes when all of it is done, and is waited for only so long. */
const PEERS_AT_ONCE = 256;

/** UapiDevice reads and changes the device behind one socket. */
export class UapiDevice implements WireguardDevice {
  readonly socketPath: string;
  readonly #tellsNews: boolean;
  /** As they were read last. */
  #peers = new Map<PublicKey, PeerState>();
  #mark = 0;

  /** `tellsNews`: the program may be asked for what changed (device-news.ts). */
  constructor(socketPath: string, options: { readonly tellsNews?: boolean } = {}) {
    this.socketPath = socketPath;
    this.#tellsNews = options.tellsNews ?? false;
  }

  read(): DeviceState {
    return this.#explain("read", () => this.#readNews() ?? this.#readAll());
  }

  #ask(text: string): string {
    return unixRequest(this.socketPath, { text, complete: isWhole });
  }

  #readAll(): DeviceState {
    const state = decodeGet(this.#ask(GET));
    this.#peers = new Map(
      state.peers.map((peer) => [peer.publicKey, keptPeer(this.#peers.get(peer.publicKey), peer)]),
    );
    return { ...state, peers: [...this.#peers.values()] };
  }

  #readNews(): DeviceState | undefined {
    if (!this.#tellsNews) return undefined;
    let news: DeviceNews;
    try {
      news = decodeNews(this.#ask(askNews(this.#mark)));
    } catch (error) {
      // An older build, until a successor has taken over from it.
      if (error instanceof UapiError) return undefined;
      throw error;
    }
    takeNews(this.#peers, news);
    this.#mark = news.mark;
    const { publicKey, formerPublicKey, listenPort } = news;
    return {
      ...(publicKey === undefined ? {} : { publicKey }),
      ...(formerPublicKey === undefined ? {} : { formerPublicKey }),
      listenPort,
      peers: [...this.#peers.values()],
    };
  }

  change(change: DeviceChange): void {
    // wireguard-go closes and opens its sockets for a port that is the same, too; packets on the way would be lost.
    const same = change.listenPort !== undefined && this.read().listenPort === change.listenPort;
    const { listenPort, ...rest } = change;
    const wanted = listenPort === undefined || same ? rest : { ...rest, listenPort };
    for (const part of partsOf(wanted))
      this.#explain("change", () =>
        checkSet(unixRequest(this.socketPath, { text: encodeSet(part), complete: isWhole })),
      );
  }

  #explain<T>(action: string, work: () => T): T {
    try {
      return work();
    } catch (error) {
      const cause =
        error instanceof UapiError
          ? `${errnoText(error.errno)} (${errnoName(error.errno)})`
          : error instanceof Error
            ? error.message
            : String(error);
      throw new Error(`Cannot ${action} the WireGuard device at ${this.socketPath}: ${cause}`, {
        cause: error,
      });
    }
  }
}

function partsOf(change: DeviceChange): DeviceChange[] {
  const { peers = [] } = change;
  if (peers.length <= PEERS_AT_ONCE) return [change];
  const parts: DeviceChange[] = [{ ...change, peers: peers.slice(0, PEERS_AT_ONCE) }];
  for (let i = PEERS_AT_ONCE; i < peers.length; i += PEERS_AT_ONCE)
    parts.push({ peers: peers.slice(i, i + PEERS_AT_ONCE) });
  return parts;
}
