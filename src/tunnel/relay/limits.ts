/** Every bound and rate of the relay, with its reason. Nothing here is configured. */

/** MOST_CLASS is the greatest class of nodes. */
export const MOST_CLASS = 65_535;
/** MOST_ALLOWED pairs of classes are told at once: a few hundred groups of nodes, each with each. */
export const MOST_ALLOWED = 65_536;

/** MOST_NODES is as many as a device has peers (MAX_PEERS of wireguard/limits.ts), and the hub itself. */
export const MOST_NODES = 65_537;
/** MOST_PAIRS that have circuits at a time: 5,000 nodes which talk to 30 each are 75,000. Each has a meter in the shared memory. */
export const MOST_PAIRS = 131_072;
/** MOST_CIRCUITS of all pairs, both directions: while sessions are renewed a pair has four. About 80 MB in the worst case. */
export const MOST_CIRCUITS = 524_288;
/** MOST_CIRCUITS_OF_NODE keeps one node from filling the table: 5,000 pairs, with some in renewal. */
export const MOST_CIRCUITS_OF_NODE = 8_192;

/** MOST_PENDING initiations of a pair wait for their response; the oldest gives way. Both ends may begin, and repeat once. */
export const MOST_PENDING = 4;
/** PENDING_MS: a response that comes later is to a handshake that was begun anew meanwhile (Rekey-Timeout is 5 s). */
export const PENDING_MS = 10_000;
/** MOST_LIVE circuits of a pair, both directions; its own oldest gives way. Where every second response is lost, 18 handshakes fit into a session's life. */
export const MOST_LIVE = 48;
/** LIVE_MS: a session lives Reject-After-Time (180 s) from its handshake, which may have been on its way for a while. */
export const LIVE_MS = 190_000;
/** MOST_ANSWERS to one initiation are believed in: the node gives one, whoever listens on the way may have given others before. */
export const MOST_ANSWERS = 4;

/** INITIATIONS_PER_SECOND of one pair in one direction go through, after INITIATION_BURST: WireGuard begins one in five seconds. */
export const INITIATIONS_PER_SECOND = 1;
/** INITIATION_BURST: a peer that is made anew begins at once. The same budget again is for initiations that were seen before, so that who plays them back takes nothing away. */
export const INITIATION_BURST = 10;

/** SEEN_MS that an initiation is remembered at least: at one a second it takes 3,600 different ones, five days of a session's, to play back as if they were new. */
export const SEEN_MS = 3_600_000;
/** SEEN_BITS of each half, 1 MiB. */
export const SEEN_BITS = 1 << 23;
/** FULL_SEEN initiations in a half: then one in 20 is taken for one that was seen, which costs nothing but its share of the other budget. */
export const FULL_SEEN = 1 << 20;

/** MOST_RECENT destinations of a node are tried first. */
export const MOST_RECENT = 64;
/** MOST_AT_ONCE of them, the latest, are tried for every initiation, without a budget: 32 hashes, some microseconds, no more than receiving it. So a forger of initiations
 *  for nobody cannot use up what the node at that address needs for its own. */
export const MOST_AT_ONCE = 8;
/** RECENT_HASHES_PER_SECOND and RECENT_HASH_BURST of one node, for its recent destinations: 80 to 300 initiations a second. */
export const RECENT_HASHES_PER_SECOND = 20_000;
export const RECENT_HASH_BURST = 20_000;
/** SEARCH_HASHES_PER_SECOND of one node among all others, some thousand microseconds of a core (tags.ts): four first contacts a second in a mesh of 5,000. */
export const SEARCH_HASHES_PER_SECOND = 20_000;
/** SEARCH_HASH_BURST: a node that starts makes 30 first contacts among 5,000. */
export const SEARCH_HASH_BURST = 150_000;
/** HASHES_PER_SECOND of all nodes together: about a twentieth of a core. */
export const HASHES_PER_SECOND = 500_000;
/** HASH_BURST: less than half a second of a core, when all start at once. */
export const HASH_BURST = 3_000_000;
