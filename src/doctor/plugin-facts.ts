/** The executables that network configurations name: where the runtime looks for them, which are there, and whether ours are of this version. */
import { dirname, join } from "node:path";
import { installCni, PLUGIN_FOLDERS } from "../cni/mod.ts";
import type { Distribution } from "../kube/mod.ts";
import { exists, fileMode, listDirectory, readText } from "../sys/mod.ts";
import type { CniFacts, PluginFacts } from "./facts.ts";

const OWNER_EXECUTES = 0o100;
const RANCHER = "/var/lib/rancher";

/** The runtime's configuration, and where it looks when that does not say. */
const places: Readonly<
  Record<Distribution, { readonly config: string; readonly folders: readonly string[] }>
> = {
  kubeadm: { config: "/etc/containerd/config.toml", folders: PLUGIN_FOLDERS },
  k3s: {
    config: `${RANCHER}/k3s/agent/etc/containerd/config.toml`,
    folders: [`${RANCHER}/k3s/data/cni`, `${RANCHER}/k3s/data/current/bin`],
  },
  rke2: { config: `${RANCHER}/rke2/agent/etc/containerd/config.toml`, folders: ["/opt/cni/bin"] },
};

/** ReadPluginsOptions say whose they are. */
export interface ReadPluginsOptions {
  readonly cni: CniFacts;
  readonly distribution: Distribution | undefined;
}

/** readPlugins looks at what is there; `root` is where the machine's files are. */
export function readPlugins(root: string, { cni, distribution }: ReadPluginsOptions): PluginFacts {
  const { config, folders: usual } = places[distribution ?? "kubeadm"];
  const said = saidFolders(readText(join(root, config)) ?? "");
  const folders = (said.length > 0 ? said : usual).map((folder) => join(root, folder));
  const there = folders.flatMap((folder) =>
    listDirectory(folder).filter((name) => isPlugin(join(folder, name))),
  );
  const binDir = folders.find((folder) => exists(join(folder, "causeway"))) ?? (folders[0] as string);
  return { folders, there: [...new Set(there)], unlike: unlikeOf(binDir, cni.folder) };
}

/** Of containerd: `bin_dir`, since 2.1 `bin_dirs`. */
function saidFolders(config: string): readonly string[] {
  return [...config.matchAll(/^\s*bin_dirs?\s*=\s*(\[[^\]]*\]|.*)$/gm)].flatMap(([, value]) =>
    [...(value as string).matchAll(/["']([^"']+)["']/g)].map(([, folder]) => folder as string),
  );
}

/** A link may lead nowhere. */
function isPlugin(path: string): boolean {
  return exists(path) && (fileMode(path) & OWNER_EXECUTES) !== 0;
}

/** The configuration is another check's. */
function unlikeOf(binDir: string, confDir: string): readonly string[] {
  try {
    return installCni({ binDir, confDir, dryRun: true }).wrote.filter((path) => dirname(path) === binDir);
  } catch {
    // This program is the plugin itself, which is of its own version then.
    return [];
  }
}
