/** Commands about this executable: agent, version. */
import { portMappingModes, runAgent, VERSION } from "../agent/mod.ts";
import { type TlsMode, tlsModes } from "../mesh/mod.ts";
import { type TunnelWish, tunnelWishes } from "../tunnel/mod.ts";
import { parseProxy } from "../tunnel/tls/mod.ts";
import { type Command, withJson } from "./command.ts";
import { printJson, printText } from "./output.ts";

export const agent: Command = {
  name: "agent",
  about: "Run the agent of this node, in the foreground (as a service does)",
  more: `State is kept in /var/lib/causeway, sockets in /run/causeway. Start it
before init and join, which talk to it. Stopping it does not touch traffic.

WHICH runs the tunnel: the kernel's WireGuard, Causeway's own engine in user
space (user), or the program wireguard-go.`,
  options: {
    tunnel: {
      about: "which WireGuard (default auto: kernel, else user)",
      value: "WHICH",
      choices: tunnelWishes,
    },
    "port-mapping": {
      about: "ask the router to let the tunnel's port in (default auto)",
      value: "WHEN",
      choices: portMappingModes,
    },
    tls: {
      about: "reach hubs by TLS where UDP is blocked (default never)",
      value: "WHEN",
      choices: tlsModes,
    },
    "tls-proxy": { about: "HTTP proxy for TLS: http://[USER:PASSWORD@]HOST:PORT", value: "URL" },
  },
  examples: ["causeway agent", "causeway agent --tunnel user", "causeway agent --tls auto"],
  async run(given) {
    const tlsProxy = given.value("tls-proxy");
    if (tlsProxy !== undefined) parseProxy(tlsProxy);
    await runAgent({
      tunnel: (given.value("tunnel") ?? "auto") as TunnelWish,
      portMapping: (given.value("port-mapping") ?? "auto") as (typeof portMappingModes)[number],
      tls: (given.value("tls") ?? "never") as TlsMode,
      tlsProxy,
    });
    return 0;
  },
};

export const version: Command = {
  name: "version",
  about: "Print the version",
  options: withJson(),
  async run(given) {
    if (given.flag("json")) return printJson({ version: VERSION });
    printText(`causeway ${VERSION}\n`);
    return 0;
  },
};
