/**
 * Which pre-shared key a pair uses now. WireGuard mixes it in at the handshake only, so a change disturbs no session; until both ends have the same,
 * handshakes fail, and the session of before goes on for 180 s. One end leads and takes the newest that it has; the other follows:
 * it tries what it has in turn, newest first, until a handshake succeeds.
 *
 * The leader never goes back, so an attacker who blocks packets cannot bring a pair back to an older key or to none. Of a node and a hub
 * the node leads: one that was away and knows of no key yet still gets through, and learns of it.
 */

/** TRY_MS is how long a follower tries one key: WireGuard repeats a handshake every 5 s. */
export const TRY_MS = 11_000;
/** A session this old should have been renewed (REKEY_AFTER_TIME is 120 s); its renewal may be what fails. */
const RENEW_MS = 135_000;

/** NO_KEY stands for no pre-shared key; generations are numbered from 1. */
export const NO_KEY = 0;

/** PskChoice is what one end uses, by generation. */
export interface PskChoice {
  readonly generation: number;
  /** Since when; the wall clock's milliseconds, as WireGuard stamps handshakes. */
  readonly sinceMs: number;
  /** The newest that there was then. */
  readonly newest: number;
}

/** leads tells whether this end leads: the node towards a hub, else the one with the smaller public key. */
export function leads(
  self: { readonly hub: boolean; readonly publicKey: string },
  peer: { readonly hub: boolean; readonly publicKey: string },
): boolean {
  return self.hub === peer.hub ? self.publicKey < peer.publicKey : !self.hub;
}

/** choosePsk returns what to use now; `available` are the generations that this end has, NO_KEY among them where none is allowed. */
export function choosePsk(
  before: PskChoice | undefined,
  now: {
    readonly leader: boolean;
    readonly available: readonly number[];
    readonly lastHandshakeMs: number | undefined;
    readonly wallMs: number;
  },
): PskChoice {
  const { leader, available, lastHandshakeMs = Number.NEGATIVE_INFINITY, wallMs } = now;
  const order = [...new Set(available)].sort((a, b) => b - a);
  const newest = order[0] ?? NO_KEY;
  if (before === undefined || newest !== before.newest || !order.includes(before.generation))
    return { generation: newest, sinceMs: wallMs, newest };
  if (leader) return before;
  const works = lastHandshakeMs >= before.sinceMs && wallMs - lastHandshakeMs < RENEW_MS;
  const tried = wallMs - Math.max(before.sinceMs, lastHandshakeMs + RENEW_MS) >= TRY_MS;
  if (works || (!tried && wallMs >= before.sinceMs)) return before;
  const next = order[(order.indexOf(before.generation) + 1) % order.length] as number;
  return { generation: next, sinceMs: wallMs, newest };
}
