/** `causeway tunnel-tls`: the process that the agent starts for networks that let no UDP out. */
import { forbidCoreDumps, onSignal } from "../sys/mod.ts";
import type { Command } from "./command.ts";

/** tunnelTls is the command. */
export const tunnelTls: Command = {
  name: "tunnel-tls",
  about: "Carry the tunnel's datagrams over TLS, until it is ended",
  more: `The agent starts one where TLS is enabled: on a hub it serves TLS in front of
the UDP port, on a node it connects to hubs that UDP does not reach. It is told
what to do on the socket SOCKET.`,
  positionals: ["SOCKET"],
  examples: ["causeway tunnel-tls /run/causeway/tls.sock"],
  async run(given) {
    const { serveTls } = await import("../tunnel/tls/mod.ts");
    forbidCoreDumps();
    const serving = serveTls(given.positionals[0] as string);
    await new Promise<void>((resolve) => onSignal(["SIGTERM", "SIGINT"], () => resolve()));
    serving[Symbol.dispose]();
    return 0;
  },
};
