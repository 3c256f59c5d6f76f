/** What a command needs to know to ask the agent. It loads nothing else of the agent: most commands ask, print and end. */
export { CTL_SOCKET, STATE } from "../paths.ts";

/** MAX_APPLIED is how many characters of JSON one `causeway apply` may have: a command of the register's log holds little more (etcd-log.ts). */
export const MAX_APPLIED = 500_000;
