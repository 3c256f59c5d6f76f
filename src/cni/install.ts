/**
 * The plugin's two files on a node: the executable in the runtime's plugin folder, and a network configuration. Other people's files are
 * never read, changed or removed; which configuration a runtime uses is decided by the order of their names, so ours begins with 10.
 */
import { join } from "node:path";
import { copyAtomic, ensureDirectory, executablePath, exists, removeTree, writeAtomic } from "../sys/mod.ts";

/** InstallOptions say where the container runtime looks. */
export interface InstallOptions {
  /** Plugins; usually /opt/cni/bin. */
  readonly binDir: string;
  /** Network configurations; usually /etc/cni/net.d. */
  readonly confDir: string;
  /** What is installed; default this executable. */
  readonly executable?: string;
}

/**
 * The base is 1.0.0, because containerd 1.6 and podman 4.3 refuse results of 1.1.0; runtimes that know `cniVersions` take the
 * highest of them that they know.
 */
const configuration = {
  cniVersion: "1.0.0",
  cniVersions: ["0.4.0", "1.0.0", "1.1.0"],
  name: "causeway",
  plugins: [{ type: "causeway", capabilities: { ips: true, mac: true, dns: true } }],
};

/** installCni puts both files in place, each by rename, and returns their paths. Running plugins are not disturbed. */
export function installCni(options: InstallOptions): string[] {
  const { plugin, list } = paths(options);
  if (!exists(options.binDir)) ensureDirectory(options.binDir);
  if (!exists(options.confDir)) ensureDirectory(options.confDir);
  // The configuration comes last: a runtime that sees it finds the plugin.
  copyAtomic(options.executable ?? executablePath(), plugin, 0o755);
  writeAtomic(list, `${JSON.stringify(configuration, null, 2)}\n`, 0o644);
  return [plugin, list];
}

/** uninstallCni removes what installCni wrote; not being there is not an error. */
export function uninstallCni(options: InstallOptions): void {
  const { plugin, list } = paths(options);
  removeTree(list);
  removeTree(plugin);
}

function paths({ binDir, confDir }: InstallOptions): { plugin: string; list: string } {
  return { plugin: join(binDir, "causeway"), list: join(confDir, "10-causeway.conflist") };
}
