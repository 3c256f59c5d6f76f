/** `causeway hub-relay`: the process that the agent starts on a hub whose tunnel is the kernel's WireGuard. */
import { forbidCoreDumps } from "../sys/mod.ts";
import type { Command } from "./command.ts";

/** hubRelay is the command. */
export const hubRelay: Command = {
  name: "hub-relay",
  about: "Relay beside the kernel's WireGuard, until it is ended",
  more: `The agent starts one on a hub with --tunnel kernel: it sends WireGuard messages
of nodes that cannot reach each other on, by the UDP port of the link LINK. It
is told what to do on the socket SOCKET.`,
  positionals: ["LINK", "SOCKET"],
  examples: ["causeway hub-relay cw0 /run/causeway/cw0.relay.sock"],
  async run(given) {
    const { serveKernelRelay } = await import("../tunnel/kernel-relay/mod.ts");
    forbidCoreDumps();
    const [link, socket] = given.positionals as readonly [string, string];
    return serveKernelRelay(link, socket);
  },
};
