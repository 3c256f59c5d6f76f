/**
 * The executable: a CNI plugin when a container runtime calls it, the command line otherwise.
 *
 * The application is imported only when it is needed, since the plugin must start within 4 ms; for the same reason this file and the
 * plugin import single files of `sys`, and nothing that needs `node:fs` (0.8 ms).
 */
import { isPluginCall, runPlugin } from "./cni/plugin.ts";
import { programArguments } from "./sys/environment.ts";

async function commandLine(): Promise<number> {
  const { main } = await import("./ctl/main.ts");
  return main(programArguments());
}

process.exit(isPluginCall() ? await runPlugin() : await commandLine());
