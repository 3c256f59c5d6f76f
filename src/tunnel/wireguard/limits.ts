/**
 * Limits of our own choice: every queue, table and rate of the protocol. Where the kernel has the same, its name and file under
 * drivers/net/wireguard stand beside. What the whitepaper fixes is in specification.ts.
 */

/** MAX_PEERS bounds all tables that are kept by peer; each peer has at most five indices. */
export const MAX_PEERS = 65_536;
/** MAX_ALLOWED_IPS bounds the nodes of one family's trie; two are needed for a prefix at most. */
export const MAX_ALLOWED_IPS = 1 << 20;

/** MAX_STAGED_PACKETS wait for a session, per peer; the oldest is dropped (MAX_STAGED_PACKETS, messages.h). */
export const MAX_STAGED_PACKETS = 128;
/** MAX_STAGED_BYTES likewise: packets from a TUN device with offloads are up to 64 KiB long. */
export const MAX_STAGED_BYTES = 256 * 1024;

/** MIN_INITIATION_MS lies between two initiations of a peer that are worked on (INITIATIONS_PER_SECOND 50, messages.h). */
export const MIN_INITIATION_MS = 20;
/** CROSSING_MS: sessions that both sides began and that are not further apart come from initiations that crossed. */
export const CROSSING_MS = 5_000;
/** CROSSING_GRACE_MS is how long packets under the session that loses may still be on their way. */
export const CROSSING_GRACE_MS = 1_000;
/** HOLD_MS is how long packets wait for the peer to take up another identity of ours: its agent looks for that every 50 ms, if it has the time. */
export const HOLD_MS = 1_000;
/** HOLD_AFTER_MS: an identity that was ours for less is nobody's habit. */
export const HOLD_AFTER_MS = 10_000;
/** COOKIE_LATENCY_MS before its end a cookie is not used any more, for the time on the way (COOKIE_SECRET_LATENCY, messages.h). */
export const COOKIE_LATENCY_MS = 5_000;

/** LOAD_BURST handshake messages at once are not load yet: about 30 ms of one core. */
export const LOAD_BURST = 128;
/** LOAD_PER_SECOND handshake messages can go on for ever without being load: about a tenth of one core. */
export const LOAD_PER_SECOND = 500;
/** MAX_BACKLOG handshake messages that wait in the caller's queue are load at once (QueueHandshakeSize / 8, wireguard-go). */
export const MAX_BACKLOG = 128;
/** UNDER_LOAD_MS: load is over when so long nothing was too much (receive.c: one second). */
export const UNDER_LOAD_MS = 1_000;

/** SOURCE_PER_SECOND handshakes are worked on for one source while under load (PACKETS_PER_SECOND, ratelimiter.c). */
export const SOURCE_PER_SECOND = 20;
/** SOURCE_BURST of them at once (PACKETS_BURSTABLE, ratelimiter.c). */
export const SOURCE_BURST = 5;
/** MAX_SOURCES are remembered; while there is no room, new ones are refused (max_entries, ratelimiter.c). */
export const MAX_SOURCES = 8_192;

/** WINDOW_BITS is the size of the bitmap against replays (COUNTER_BITS_TOTAL, messages.h). */
export const WINDOW_BITS = 8_192;
