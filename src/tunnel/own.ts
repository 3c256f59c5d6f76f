/**
 * WireGuard by Causeway's own engine: one data-plane process per link (dataplane/mod.ts), in a session of its own, of the same
 * executable as the agent.
 *
 * ```
 * agent ── /run/wireguard/cw0.sock ──▶ causeway dataplane cw0 ── /dev/net/tun ──▶ link cw0
 * ```
 * The process outlives the agent. An agent of another build starts a successor, which takes over link, sockets and sessions.
 */
import {
  BUILD,
  COMPILED,
  environmentVariable,
  executablePath,
  exists,
  libcryptoProblem,
  unixRequest,
  VERSION,
} from "../sys/mod.ts";
import type { TunnelBackend } from "./backend.ts";
import { type DataplaneStatus, decodeDataplaneStatus, GET_DATAPLANE } from "./dataplane-status.ts";
import { OthersProbes } from "./probe-others.ts";
import { isWhole } from "./uapi-field.ts";
import type { UserProgram } from "./user-program.ts";
import { UserTunnel } from "./user-tunnel.ts";

const TUN = "/dev/net/tun";

/** OwnOptions say which executable is run; default this one. */
export interface OwnOptions {
  /** The program and what stands before `dataplane`. */
  readonly command?: readonly string[];
  /** The build that is to run (UserProgram). */
  readonly build?: string;
}

/** ownProblem says why our engine cannot run on this machine; undefined when it can. */
export function ownProblem(): string | undefined {
  if (!exists(TUN))
    return `there is no ${TUN}; load its module (modprobe tun), or give the container this device`;
  return libcryptoProblem();
}

/** ownBackend returns the back-end of our own engine; ask ownProblem before. */
export function ownBackend(options: OwnOptions = {}): TunnelBackend {
  const program = ownProgram(options);
  return {
    name: "user",
    provider: program.provider,
    linkType: "external",
    open: (link, tunnel) => UserTunnel.open(link, { ...tunnel, program }),
  };
}

function ownProgram(options: OwnOptions): UserProgram {
  const command = options.command ?? ownCommand();
  return {
    provider: `causeway ${VERSION}`,
    command: (link) => [...command, "dataplane", link],
    // With this one it would be a CNI plugin.
    env: { CNI_COMMAND: undefined },
    needs: `${TUN} and a free link name`,
    serves: (socket) => {
      try {
        describe(socket);
        return true;
      } catch {
        // Another program refuses the question or hangs up.
        return false;
      }
    },
    describe,
    tellsNews: true,
    relays: true,
    hears: (socket, probing) => new OthersProbes(socket, probing),
    // From sources, what is started may be an executable of any build.
    build: options.build ?? (COMPILED ? BUILD : undefined),
  };
}

/** This executable; from sources the one that the environment names, or the sources. */
function ownCommand(): readonly string[] {
  if (COMPILED) return [executablePath()];
  const named = environmentVariable("CAUSEWAY_EXECUTABLE");
  return named === undefined ? [executablePath(), new URL("../main.ts", import.meta.url).pathname] : [named];
}

function describe(socket: string): DataplaneStatus {
  return decodeDataplaneStatus(unixRequest(socket, { text: GET_DATAPLANE, complete: isWhole }));
}
