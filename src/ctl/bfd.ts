/** `causeway bfd`: the process that keeps BFD sessions, and what they are. */
import type { BfdSessionStatus } from "../bfd/mod.ts";
import { onSignal } from "../sys/mod.ts";
import { type Command, withJson } from "./command.ts";
import { printJson, printText } from "./output.ts";
import { ago, table } from "./table.ts";

/** Where the agent's process answers. */
const BFD_SOCKET = "/run/causeway/bgp/bfd.sock";

const run: Command = {
  name: "run",
  about: "Keep BFD sessions, until it is ended",
  more: `Started by whoever runs BGP, and outlives it. It is told on the socket SOCKET
which sessions to keep.`,
  positionals: ["SOCKET"],
  examples: ["causeway bfd run /run/causeway/bfd.sock"],
  async run(given) {
    const { serveBfd } = await import("../bfd/mod.ts");
    const serving = serveBfd(given.positionals[0] as string);
    await new Promise<void>((resolve) => onSignal(["SIGTERM", "SIGINT"], () => resolve()));
    serving[Symbol.dispose]();
    return 0;
  },
};

function row(session: BfdSessionStatus): string[] {
  return [
    session.id,
    session.state,
    ago(session.sinceSeconds),
    `${Math.round(session.transmitMs)} ms`,
    `${Math.round(session.detectionMs)} ms`,
    String(session.downs),
    session.problem ?? (session.diagnostic === "none" ? "" : session.diagnostic),
  ];
}

const sessions: Command = {
  name: "sessions",
  about: "Show BFD sessions",
  options: withJson({ socket: { about: `another process's socket; default ${BFD_SOCKET}`, value: "PATH" } }),
  examples: ["causeway bfd sessions", "causeway bfd sessions --json"],
  async run(given) {
    const { bfdStatus } = await import("../bfd/mod.ts");
    const status = bfdStatus(given.value("socket") ?? BFD_SOCKET);
    if (given.flag("json")) return printJson(status ?? { sessions: [] });
    if (status === undefined) {
      printText("No BFD process runs; a neighbor of a BgpRouter with bfd starts it.\n");
      return 0;
    }
    printText(
      table(["SESSION", "STATE", "SINCE", "SENDS", "DETECTS", "DOWNS", "WHY"], status.sessions.map(row)),
    );
    return 0;
  },
};

/** bfd is the command. */
export const bfd: Command = {
  name: "bfd",
  about: "Find failures of links and neighbors in milliseconds (RFC 5880)",
  commands: [sessions, run],
};
