/** How much of subnets nodes and owners may hold: a node that goes wrong must not take a subnet from all others. */

/** MAX_GRANTS is how many blocks of one family of a subnet a node may hold: 4096 pods. */
export const MAX_GRANTS = 256;
/** MAX_GRANTS_OF_NODE is how many blocks of all subnets a node may hold. */
export const MAX_GRANTS_OF_NODE = 8192;
/** MAX_KNOWN is how many numbers of grants a claim names as known: both families, and as many that are being returned. They fit into a line. */
export const MAX_KNOWN = 4 * MAX_GRANTS;
/** MAX_OWNED is how many addresses of one family of a subnet may belong to owners. */
export const MAX_OWNED = 4096;
/** MAX_CLAIMED_AT_ONCE is how many blocks of a family one claim asks for. */
export const MAX_CLAIMED_AT_ONCE = 64;
/** MAX_TOLD_USES is of how many grants one line says how much of them is used. */
export const MAX_TOLD_USES = 512;
/** MAX_RETURNED_AT_ONCE is how many grants one return names. */
export const MAX_RETURNED_AT_ONCE = 512;
