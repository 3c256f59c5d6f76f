/** Times and bounds of the ladder, in one place because the stated limits (docs, test/sim) follow from them. */

/** ACTIVE_PING_MS between pings of a direct path while the pair talks. */
export const ACTIVE_PING_MS = 1_000;
/** FOLLOWING_SHARE of the controlling side's interval until the controlled side asks itself; so it notices later, and follows. */
export const FOLLOWING_SHARE = 1.3;
/** IDLE_PING_MS between pings of a direct path that talked lately: keeps all NATs' mappings. */
export const IDLE_PING_MS = 5_000;
/** QUIET_PING_MS between pings of a direct path that did not: below the 30 s after which the strictest NATs forget. */
export const QUIET_PING_MS = 20_000;
/** DOUBT_PING_MS between pings once one was not answered. */
export const DOUBT_PING_MS = 150;
/** CALM_PING_MS likewise while nothing is lost by waiting: packets come in from there, or nothing is said. The other agent may be restarting. */
export const CALM_PING_MS = 400;
/** HEARING_MS after a packet more of them are expected. */
export const HEARING_MS = 600;
/** HEARING_PATIENCE_MS is how long pings may go unanswered while packets come in. */
export const HEARING_PATIENCE_MS = 8_000;
/** FOLLOWING_PATIENCE_MS is how long the controlled side must not have heard pings either, lest it acts before the other. */
export const FOLLOWING_PATIENCE_MS = 2_100;
/** SILENT_PATIENCE_MS likewise while nothing is said. */
export const SILENT_PATIENCE_MS = 4_000;
/** LEAST_UNANSWERED pings in a row end a path; on a path that loses more of them, up to MOST_UNANSWERED. */
export const LEAST_UNANSWERED = 5;
/** MOST_UNANSWERED: see LEAST_UNANSWERED. */
export const MOST_UNANSWERED = 12;
/** TALK_MS after the last packet a pair still talks. */
export const TALK_MS = 10_000;
/** QUIET_AFTER_MS without traffic pings become seldom. */
export const QUIET_AFTER_MS = 300_000;
/** REST_AFTER_MS without traffic a pair on demand rests: no probes at all. */
export const REST_AFTER_MS = 300_000;

/** ROUND_AT_MS are the pings of one round to each candidate, from its begin. Both sides overlap, also when one is late. */
export const ROUND_AT_MS: readonly number[] = [0, 200, 600, 1400, 3000];
/** ROUND_MS is one round. */
export const ROUND_MS = 4_000;
/** PACE_MS between pings to different candidates. */
export const PACE_MS = 20;
/** REST_MS after the first, second, … round that did not bring the best rung; the last one repeats. */
export const REST_MS: readonly number[] = [15_000, 30_000, 60_000, 120_000, 300_000, 600_000];
/** ALTERNATIVES_MS between rounds when only candidates of the same rung could be better. */
export const ALTERNATIVES_MS = 600_000;
/** DECIDE_MS: better rungs may still answer. */
export const DECIDE_MS = 150;
/** PROOF_MS is how long a pong proves a candidate. */
export const PROOF_MS = 5_000;
/** NOMINATE_MS between requests to use a candidate, and for how long. */
export const NOMINATE_MS = 200;
/** NOMINATION_MS: see NOMINATE_MS. */
export const NOMINATION_MS = 3_000;
/** REFUSED_MS until a candidate that the peer did not want is proposed again. */
export const REFUSED_MS = 5_000;
/** INVITE_MS at least between invitations. */
export const INVITE_MS = 2_000;

/** SETTLE_MS: a path that was lost must be so long ago, doubled each time, up to MOST_SETTLE_MS. */
export const SETTLE_MS = 5_000;
/** MOST_SETTLE_MS: see SETTLE_MS. */
export const MOST_SETTLE_MS = 160_000;
/** FORGIVE_MS in use, and its losses are forgotten. */
export const FORGIVE_MS = 600_000;
/** A path of the same rung must be faster by both. */
export const FASTER_MS = 15;
/** FASTER_SHARE: see FASTER_MS. */
export const FASTER_SHARE = 0.3;

/** GRACE_MS that the controlled side waits for the other's handshake through a relay: two that cross cost kernel WireGuard 5 s. */
export const GRACE_MS = 500;
/** HANDSHAKE_MS after a handshake was begun, or three round trips, the peer is made anew again: WireGuard itself repeats after 5 s only. */
export const HANDSHAKE_MS: readonly number[] = [700, 900, 1_500, 3_000, 6_000, 12_000];
/** HANDSHAKE_CONTROLLED_MS likewise, by the controlled side: seldom enough to leave the other's alone. */
export const HANDSHAKE_CONTROLLED_MS: readonly number[] = [2_500, 4_000, 8_000, 16_000];
/** POSTPONE_MS that the controlled side waits when something came in meanwhile: the other's handshake, perhaps, under way. */
export const POSTPONE_MS = 1_500;
/** POSTPONE_CONTROLLING_MS likewise the controlling side, once: long enough for a handshake, short enough if two crossed. */
export const POSTPONE_CONTROLLING_MS = 300;
/** GREET_MS after a hub lost its table: the other side has to greet it first. */
export const GREET_MS = 250;
/** MOST_POSTPONED times in a row. */
export const MOST_POSTPONED = 2;
/** HANDSHAKE_KEEPALIVE_SECONDS makes WireGuard begin one by itself. */
export const HANDSHAKE_KEEPALIVE_SECONDS = 5;
/** LOOK_MS: the device may need so long to be read. */
export const LOOK_MS = 50;
/** LOOKS_MS after a move from a relay the endpoint is set again. */
export const LOOKS_MS: readonly number[] = [100, 300, 700];
/** CHOSEN_MS: a pong that says so proves for so long that the peer is on the direct path. */
export const CHOSEN_MS = 1_500;
/** DWELL_MS on a relay before a nearer one is worth a handshake. */
export const DWELL_MS = 30_000;
/** UNHEARD_MS: a conversation that became one-sided for so long gets a new handshake; the controlled side waits longer. */
export const UNHEARD_MS = 3_000;
/** UNHEARD_CONTROLLED_MS: see UNHEARD_MS. */
export const UNHEARD_CONTROLLED_MS = 5_000;
/** RENEW_MS at least between such handshakes, doubled each time up to MOST_RENEW_MS. */
export const RENEW_MS = 15_000;
/** MOST_RENEW_MS: see RENEW_MS. */
export const MOST_RENEW_MS = 480_000;
/** SESSIONLESS_MS: WireGuard sends and has no session; the controlled side waits longer. */
export const SESSIONLESS_MS = 400;
/** SESSIONLESS_CONTROLLED_MS: see SESSIONLESS_MS. */
export const SESSIONLESS_CONTROLLED_MS = 3_000;
/** LOST_CONTROLLED_MS: the device lost its session; the controlling side has one made at once, the other when the first does not, which lost its own too. */
export const LOST_CONTROLLED_MS = 200;
/** CLOCKS_MS: handshakes are told in the wall's clock, and as an age; the same one may seem to move a little. */
export const CLOCKS_MS = 200;
/** SESSION_MS: WireGuard's sessions are dead after this time (REJECT_AFTER_TIME). */
export const SESSION_MS = 180_000;

/** ANSWER_RATE bounds the pings of one peer that are answered. */
export const ANSWER_RATE = { perSecond: 20, burst: 40 };
/** MAX_ATTEMPTS bounds the endpoints of one peer: those that are named (MAX_CANDIDATES), and where it called from. */
export const MAX_ATTEMPTS = 24;
/** REFLEXIVE_MS at least between two of those. */
export const REFLEXIVE_MS = 500;
/** MAX_UNANSWERED pings per endpoint are remembered. */
export const MAX_UNANSWERED = 32;
/** MAX_RELAYS bounds the list. */
export const MAX_RELAYS = 16;
