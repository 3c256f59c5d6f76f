/** NetlinkError: what the kernel answered to a request that it refused. */
import { errnoName, errnoText } from "../sys/mod.ts";

/** NetlinkError says what was asked, the error number, and the kernel's own explanation where it gave one. */
export class NetlinkError extends Error {
  override readonly name = "NetlinkError";
  /** Positive error number. */
  readonly errno: number;
  /** Symbolic name: `EEXIST`. */
  readonly code: string;
  /** The kernel's text (NLMSGERR_ATTR_MSG), such as `Nexthop has invalid gateway`. */
  readonly extendedAck?: string;

  constructor(action: string, errno: number, extendedAck?: string) {
    const code = errnoName(errno);
    const reason = extendedAck === undefined ? errnoText(errno) : extendedAck.replace(/\.$/, "");
    super(`Cannot ${action}: ${reason} (${code})`);
    this.errno = errno;
    this.code = code;
    if (extendedAck !== undefined) this.extendedAck = extendedAck;
  }
}
