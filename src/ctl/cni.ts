/** `causeway cni`: the plugin's files for the container runtime. */
import { installCni, type InstallOptions, type InstallReport, type Kept, uninstallCni } from "../cni/mod.ts";
import { type Command, type Given, withJson } from "./command.ts";
import { printJson, progress } from "./output.ts";

const options = withJson({
  "bin-dir": { about: "where the runtime looks for plugins (default /opt/cni/bin)", value: "DIR" },
  "conf-dir": { about: "where it looks for configurations (default /etc/cni/net.d)", value: "DIR" },
  "dry-run": { about: "only say what would be done" },
});

function optionsOf(given: Given): InstallOptions {
  return {
    binDir: given.value("bin-dir") ?? "/opt/cni/bin",
    confDir: given.value("conf-dir") ?? "/etc/cni/net.d",
    dryRun: given.flag("dry-run"),
  };
}

function tell(verb: readonly [done: string, would: string], paths: readonly string[], given: Given): void {
  for (const path of paths) progress(`${given.flag("dry-run") ? `would ${verb[1]}` : verb[0]} ${path}`);
}

function tellKept(kept: readonly Kept[]): void {
  for (const { path, reason } of kept) progress(`kept ${path}: ${reason}`);
}

function tellChoice({ before, after, taken }: InstallReport["choice"]): void {
  if (before.length > 0)
    progress(
      `Warning: container runtimes take ${taken}, since it comes first by name; to use Causeway, move ${before.join(", ")} away`,
    );
  else progress(`container runtimes take ${taken}, the first by name`);
  for (const path of after) progress(`${path} comes after it, and is not used`);
}

export const cni: Command = {
  name: "cni",
  about: "Install or remove the CNI plugin for the container runtime",
  more: `The container runtime calls the plugin with CNI_COMMAND set; you do not.
What it does, and all that a configuration can say: docs/cni.md`,
  commands: [
    {
      name: "install",
      about: "Copy the plugins, write 10-causeway.conflist",
      more: `The plugins are causeway, loopback and vxlan. What is there already as it
should be is not touched; files of others, a loopback or vxlan too, and a
configuration that you edited stay as they are.`,
      options,
      examples: [
        "causeway cni install",
        "causeway cni install --dry-run",
        "causeway cni install --bin-dir /var/lib/rancher/k3s/data/cni",
      ],
      async run(given) {
        const report = installCni(optionsOf(given));
        if (given.flag("json")) return printJson(report);
        tell(["wrote", "write"], report.wrote, given);
        if (report.wrote.length === 0) progress("nothing to do");
        tellKept(report.kept);
        tellChoice(report.choice);
        return 0;
      },
    },
    {
      name: "uninstall",
      about: "Remove what install wrote; files of others stay",
      options,
      examples: ["causeway cni uninstall"],
      async run(given) {
        const { removed, kept } = uninstallCni(optionsOf(given));
        if (given.flag("json")) return printJson({ removed, kept });
        tell(["removed", "remove"], removed, given);
        if (removed.length === 0) progress("nothing to do");
        tellKept(kept);
        return 0;
      },
    },
  ],
};
