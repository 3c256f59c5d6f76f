/**
 * What changed of a device since it was asked last: an operation of ours beside `get` and `set` on the same socket, so that an agent can look
 * each second at a device of thousands of peers. It holds no secrets. Programs that are not ours, and older builds, refuse it.
 *
 * ```
 *   news=MARK      mark=MARK (whole=true)? (own_public_key=…)? (own_former_key=…)? listen_port=… (former=PUBLIC-KEY)* (moving=PUBLIC-KEY)*
 *                  (gone=PUBLIC-KEY)* (peer=PUBLIC-KEY RX TX HANDSHAKE-MS KEEPALIVE-S PSK ENDPOINT (PREFIX,…)?)* errno=0
 * ```
 * Asked with 0, or with a mark of another process, it tells everything. Both sides use this file. What a peer does not have is `-`; prefixes
 * are left out where they are as they were. `former`: of the peers that follow, one that is spoken to under the device's former key;
 * `moving`: one that was until now, and has said nothing under the present one yet.
 */
import {
  type Endpoint,
  formatEndpoint,
  formatPrefix,
  parsePrefix,
  parsePublicKey,
  type PeerState,
  type PublicKey,
  samePeer,
} from "../net/mod.ts";
import { tryEndpoint, pairs } from "./uapi-field.ts";
import { checkErrno } from "./uapi.ts";

/** PeerNews is a peer; without `allowedIps` they are as they were. */
export type PeerNews = Omit<PeerState, "allowedIps"> & Partial<Pick<PeerState, "allowedIps">>;

/** DeviceNews is what changed. */
export interface DeviceNews {
  /** What to ask with the next time. */
  readonly mark: number;
  /** All that is not named is no more. */
  readonly whole: boolean;
  readonly publicKey?: PublicKey;
  readonly formerPublicKey?: PublicKey;
  readonly listenPort: number;
  readonly gone: readonly PublicKey[];
  readonly peers: readonly PeerNews[];
}

const ASKED = /^news=(\d{1,15})\n\n$/;
const NONE = "-";

/** askNews returns the request. */
export function askNews(mark: number): string {
  return `news=${mark}\n\n`;
}

/** newsAsked returns the mark of a request; undefined when it asks for something else. */
export function newsAsked(request: string): number | undefined {
  const mark = ASKED.exec(request)?.[1];
  return mark === undefined ? undefined : Number(mark);
}

/** encodeNews returns the answer without its end, `errno`. */
export function encodeNews(news: DeviceNews): string {
  const { mark, whole, publicKey, formerPublicKey, listenPort, gone, peers } = news;
  return [
    `mark=${mark}`,
    ...(whole ? ["whole=true"] : []),
    ...(publicKey === undefined ? [] : [`own_public_key=${publicKey}`]),
    ...(formerPublicKey === undefined ? [] : [`own_former_key=${formerPublicKey}`]),
    `listen_port=${listenPort}`,
    ...peers.flatMap((peer) => (peer.former === true ? [`former=${peer.publicKey}`] : [])),
    ...peers.flatMap((peer) => (peer.moving === true ? [`moving=${peer.publicKey}`] : [])),
    ...gone.map((key) => `gone=${key}`),
    ...peers.map((peer) => `peer=${encodePeer(peer)}`),
  ]
    .map((line) => `${line}\n`)
    .join("");
}

function encodePeer(peer: PeerNews): string {
  const { publicKey, rxBytes, txBytes, lastHandshakeMs, keepaliveSeconds, endpoint, allowedIps } = peer;
  const words = [
    publicKey,
    rxBytes,
    txBytes,
    lastHandshakeMs === undefined ? NONE : Math.max(0, Math.floor(lastHandshakeMs)),
    keepaliveSeconds ?? NONE,
    peer.presharedKey ? 1 : NONE,
    endpoint === undefined ? NONE : formatEndpoint(endpoint),
    ...(allowedIps === undefined ? [] : [allowedIps.map(formatPrefix).join(",")]),
  ];
  return words.join(" ");
}

/** decodeNews reads the answer; throws UapiError for one that says no, and an Error for what is no such answer. */
export function decodeNews(answer: string): DeviceNews {
  const all = pairs(answer);
  checkErrno(all);
  const texts = new Map(all);
  const publicKey = texts.get("own_public_key");
  const formerPublicKey = texts.get("own_former_key");
  const marked = (mark: string) => new Set(all.flatMap(([key, value]) => (key === mark ? [value] : [])));
  const [former, moving] = [marked("former"), marked("moving")];
  // Peers that rest are at one and the same hub.
  const endpoints = new Map<string, Endpoint | undefined>();
  const endpointOf = (text: string) => {
    if (!endpoints.has(text)) endpoints.set(text, tryEndpoint(text));
    return endpoints.get(text);
  };
  return {
    mark: count(texts.get("mark")),
    whole: texts.get("whole") === "true",
    ...(publicKey === undefined ? {} : { publicKey: parsePublicKey(publicKey) }),
    ...(formerPublicKey === undefined ? {} : { formerPublicKey: parsePublicKey(formerPublicKey) }),
    listenPort: count(texts.get("listen_port")),
    gone: all.flatMap(([key, value]) => (key === "gone" ? [parsePublicKey(value)] : [])),
    peers: all.flatMap(([key, value]) => {
      if (key !== "peer") return [];
      const peer = decodePeer(value, endpointOf);
      return [
        {
          ...peer,
          ...(former.has(peer.publicKey) ? { former: true } : {}),
          ...(moving.has(peer.publicKey) ? { moving: true } : {}),
        },
      ];
    }),
  };
}

function decodePeer(text: string, endpointOf: (text: string) => Endpoint | undefined): PeerNews {
  const [key = "", rx, tx, handshake, keepalive, psk, at = NONE, prefixes] = text.split(" ");
  const endpoint = at === NONE ? undefined : endpointOf(at);
  return {
    publicKey: parsePublicKey(key),
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(prefixes === undefined
      ? {}
      : { allowedIps: prefixes.split(",").flatMap((one) => (one === "" ? [] : [parsePrefix(one)])) }),
    ...(keepalive === NONE ? {} : { keepaliveSeconds: count(keepalive) }),
    presharedKey: psk !== NONE,
    ...(handshake === NONE ? {} : { lastHandshakeMs: count(handshake) }),
    rxBytes: count(rx),
    txBytes: count(tx),
  };
}

function count(text: string | undefined): number {
  if (text === undefined || !/^\d{1,16}$/.test(text)) throw new Error("the answer lacks a number");
  return Number(text);
}

/** takeNews brings peers, as a reader knows them, to what was told; one of which nothing is new stays the value that it is. */
export function takeNews(known: Map<PublicKey, PeerState>, { whole, gone, peers }: DeviceNews): void {
  const before = whole ? new Map(known) : known;
  if (whole) known.clear();
  for (const key of gone) known.delete(key);
  for (const peer of peers) {
    const earlier = before.get(peer.publicKey);
    const allowedIps = peer.allowedIps ?? earlier?.allowedIps ?? [];
    known.set(peer.publicKey, keptPeer(earlier, { ...peer, allowedIps }));
  }
}

/** keptPeer returns the value of the reading before, if it says the same. */
export function keptPeer(before: PeerState | undefined, now: PeerState): PeerState {
  return before !== undefined && samePeer(before, now) ? before : now;
}
