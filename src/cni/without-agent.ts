/** What the plugin answers when the agent is away: loaded only then. */
import { CniError, formatError } from "./error.ts";
import { type PluginAnswer, type PluginRequest, TOMBSTONES } from "./protocol.ts";
import { answerVersion, parseRequest } from "./request.ts";
import { writeTombstone } from "./tombstone.ts";

export interface WithoutAgentOptions {
  readonly socketPath: string;
  /** Why there is no answer. */
  readonly problem: string;
  /** The agent was not asked, because it takes no call of this size. */
  readonly tooLong?: boolean;
  /** Default TOMBSTONES. */
  readonly tombstones?: string;
}

/**
 * withoutAgent makes DEL succeed by writing it down, and all else fail at once: ADD and CHECK with code 11 (try again), STATUS with
 * 50. A call that is wrong in itself is refused as the agent would refuse it.
 */
export function withoutAgent(request: PluginRequest, options: WithoutAgentOptions): PluginAnswer {
  const { socketPath, problem, tooLong = false, tombstones = TOMBSTONES } = options;
  try {
    const parsed = parseRequest(request);
    if (parsed.command === "DEL") {
      const { containerId, ifname, configuration } = parsed;
      const vpc = configuration.vpc === undefined ? {} : { vpc: true };
      writeTombstone(tombstones, { network: configuration.name, containerId, ifname, ...vpc });
      return { status: 0, output: "" };
    }
    if (tooLong)
      throw new CniError(
        "badConfiguration",
        `Cannot serve ${parsed.command}: variables and network configuration are too long; shorten them`,
        { details: problem },
      );
    throw new CniError(
      parsed.command === "STATUS" ? "notAvailable" : "tryAgain",
      `Cannot serve ${parsed.command}: the Causeway agent does not answer; start it with systemctl start causeway`,
      { details: `${socketPath}: ${problem}` },
    );
  } catch (error) {
    const known =
      error instanceof CniError
        ? error
        : new CniError("io", `Cannot write the deletion down: ${(error as Error).message}`, { cause: error });
    return { status: 1, output: formatError(known, answerVersion(request.stdin)) };
  }
}

/** leavesIpam tells whether the IPAM plugin of a deletion that was written down is to be run: that needs no agent. */
export function leavesIpam(request: PluginRequest, { status }: PluginAnswer): boolean {
  return status === 0 && parseRequest(request).configuration.vpc?.ipam !== undefined;
}
