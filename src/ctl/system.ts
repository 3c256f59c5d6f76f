/** Commands about the installation on this machine: agent, cni, version. */
import { runAgent, VERSION } from "../agent/mod.ts";
import { installCni, uninstallCni } from "../cni/mod.ts";
import { type Command, withJson } from "./command.ts";
import { printJson, printText, progress } from "./output.ts";

export const agent: Command = {
  name: "agent",
  about: "Run the agent of this node, in the foreground (as a service does)",
  more: `State is kept in /var/lib/causeway, sockets in /run/causeway. Start it
before init and join, which talk to it. Stopping it does not touch traffic.`,
  options: {
    tunnel: {
      about: "WireGuard of the kernel or of a user program (default auto)",
      value: "WHICH",
      choices: ["auto", "kernel", "user"],
    },
  },
  examples: ["causeway agent", "causeway agent --tunnel user"],
  async run(given) {
    await runAgent({ tunnel: (given.value("tunnel") ?? "auto") as "auto" | "kernel" | "user" });
    return 0;
  },
};

const folders = withJson({
  "bin-dir": { about: "where the runtime looks for plugins (default /opt/cni/bin)", value: "DIR" },
  "conf-dir": { about: "where it looks for configurations (default /etc/cni/net.d)", value: "DIR" },
});

export const cni: Command = {
  name: "cni",
  about: "Install or remove the CNI plugin for the container runtime",
  more: "The container runtime calls the executable with CNI_COMMAND set; you do not.",
  commands: [
    {
      name: "install",
      about: "Copy this executable, write 10-causeway.conflist; other files stay",
      options: folders,
      examples: ["causeway cni install", "causeway cni install --bin-dir /var/lib/rancher/k3s/data/cni"],
      async run(given) {
        const made = installCni({
          binDir: given.value("bin-dir") ?? "/opt/cni/bin",
          confDir: given.value("conf-dir") ?? "/etc/cni/net.d",
        });
        if (given.flag("json")) return printJson({ wrote: made });
        for (const path of made) progress(`wrote ${path}`);
        return 0;
      },
    },
    {
      name: "uninstall",
      about: "Remove what install wrote",
      options: folders,
      async run(given) {
        uninstallCni({
          binDir: given.value("bin-dir") ?? "/opt/cni/bin",
          confDir: given.value("conf-dir") ?? "/etc/cni/net.d",
        });
        if (given.flag("json")) return printJson({ removed: true });
        progress("removed");
        return 0;
      },
    },
  ],
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
