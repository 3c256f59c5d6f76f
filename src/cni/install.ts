/**
 * The plugin's files on a node. What belongs to others is never changed or removed; how we know what is ours:
 *
 * | file | what it is | ours, if |
 * |---|---|---|
 * | `<bin>/causeway-full` | this executable | it has this name |
 * | `<bin>/causeway` | the launcher; this executable where there is none for the machine | it has this name, which configurations call by |
 * | `<bin>/loopback` | a symbolic link to the executable | it is a link to one of the names above |
 * | `<bin>/vxlan` | a symbolic link to the launcher: configurations of private networks may call by this name | as above |
 * | `<conf>/10-causeway.conflist` | a network configuration | a version of ours wrote this text; any other was edited, and stays |
 */
import { join } from "node:path";
import {
  architecture,
  copyAtomic,
  ensureDirectory,
  executablePath,
  exists,
  isExecutable,
  linkAtomic,
  linkTarget,
  readBytes,
  readText,
  realPath,
  removeTree,
  sameContent,
  sha256,
  writeAtomic,
} from "../sys/mod.ts";
import { type Choice, chosenConfiguration } from "./configuration-folder.ts";
import { attempt, isObject } from "./json.ts";
import { launcherFor } from "./launcher/mod.ts";
import { VXLAN } from "./protocol.ts";

/** InstallOptions say where the container runtime looks. */
export interface InstallOptions {
  /** Plugins; usually /opt/cni/bin. */
  readonly binDir: string;
  /** Network configurations; usually /etc/cni/net.d. */
  readonly confDir: string;
  /** What is installed; default this executable. */
  readonly executable?: string;
  /** Only says what it would do. */
  readonly dryRun?: boolean;
}

/** Kept is a file that is not ours to change. */
export interface Kept {
  readonly path: string;
  readonly reason: string;
}

/** InstallReport is what was done, in the order in which it was. */
export interface InstallReport {
  readonly wrote: readonly string[];
  readonly unchanged: readonly string[];
  readonly kept: readonly Kept[];
  /** Which configuration runtimes take now. */
  readonly choice: Choice;
}

/** UninstallReport is what was done. */
export interface UninstallReport {
  readonly removed: readonly string[];
  readonly kept: readonly Kept[];
}

/**
 * The base is 1.0.0, because containerd 1.6 and podman 4.3 refuse results of 1.1.0; runtimes that know `cniVersions` take the
 * highest of them that they know.
 */
const configuration = {
  cniVersion: "1.0.0",
  cniVersions: ["0.4.0", "1.0.0", "1.1.0"],
  name: "causeway",
  plugins: [
    {
      type: "causeway",
      // kube-proxy may lead a pod's call of a Service back to that pod; with bridge-nf-call-iptables inside of the bridge (pods/host-port.ts).
      hairpinMode: true,
      capabilities: { ips: true, mac: true, dns: true, portMappings: true, bandwidth: true },
    },
  ],
};

const LIST = `${JSON.stringify(configuration, null, 2)}\n`;

/** SHA-256 of texts that earlier versions wrote: without portMappings and bandwidth; without hairpinMode. */
const earlier = [
  "94769b98a12d292810925529a274fa64484c3fb47e3c78fa46e4f17a2841d0f6",
  "70d67b5ccf3146ecf04d009d1360d37e513bcb96661e7c82c6b7a535ff3ea6fd",
];

/** One file: `apply` makes it, and is absent when nothing is to be done. */
interface Step {
  readonly path: string;
  readonly apply?: () => void;
  /** Why it is not ours. */
  readonly kept?: string;
}

/** installCni puts the files in place, each by rename: running plugins are not disturbed. What is as it should be is not touched. */
export function installCni(options: InstallOptions): InstallReport {
  const steps = installSteps(options);
  if (options.dryRun !== true) {
    for (const folder of [options.binDir, options.confDir]) if (!exists(folder)) ensureDirectory(folder);
    for (const { apply } of steps) apply?.();
  }
  const { list } = paths(options);
  return {
    wrote: steps.filter(({ apply }) => apply !== undefined).map(({ path }) => path),
    unchanged: steps
      .filter(({ apply, kept }) => apply === undefined && kept === undefined)
      .map(({ path }) => path),
    kept: keptOf(steps),
    choice: chosenConfiguration(list),
  };
}

/** uninstallCni removes what is ours; not being there is not an error. */
export function uninstallCni(options: InstallOptions): UninstallReport {
  const steps = uninstallSteps(options);
  if (options.dryRun !== true) for (const { apply } of steps) apply?.();
  return {
    removed: steps.filter(({ apply }) => apply !== undefined).map(({ path }) => path),
    kept: keptOf(steps),
  };
}

function keptOf(steps: readonly Step[]): Kept[] {
  return steps.flatMap(({ path, kept }) => (kept === undefined ? [] : [{ path, reason: kept }]));
}

/** The configuration comes last: a runtime that sees it finds the plugin, which finds the executable. */
function installSteps(options: InstallOptions): Step[] {
  const executable = options.executable ?? executablePath();
  const { plugin, full, loopback, vxlan, list } = paths(options);
  if (realPath(options.binDir, "causeway") === executable)
    throw new Error(
      `Cannot install into ${options.binDir}: ${plugin} is this program; choose the folder where the runtime looks for plugins`,
    );
  const launcher = launcherFor(architecture());
  const program = (path: string): Step =>
    sameContent(executable, path) && isExecutable(path)
      ? { path }
      : { path, apply: () => copyAtomic(executable, path, 0o755) };
  const links = [
    linkStep(loopback, launcher === undefined ? "causeway" : "causeway-full"),
    linkStep(vxlan, "causeway"),
  ];
  if (launcher === undefined) return [program(plugin), ...links, listStep(list)];
  const isThere =
    linkTarget(plugin) === undefined &&
    isExecutable(plugin) &&
    Buffer.compare(readBytes(plugin), launcher) === 0;
  return [
    program(full),
    isThere ? { path: plugin } : { path: plugin, apply: () => writeAtomic(plugin, launcher, 0o755) },
    ...links,
    listStep(list),
  ];
}

function linkStep(path: string, target: string): Step {
  const found = linkTarget(path);
  if (found === target) return { path };
  if (exists(path) || found !== undefined)
    if (!isOurLink(path)) return { path, kept: "it is there already, from another package" };
  return { path, apply: () => linkAtomic(target, path) };
}

function listStep(path: string): Step {
  const found = readText(path);
  if (found === LIST) return { path };
  if (found === undefined || earlier.includes(digest(found)))
    return { path, apply: () => writeAtomic(path, LIST, 0o644) };
  return { path, kept: "it was edited; remove it and run this again for the one of this version" };
}

/** The configuration goes first: a runtime that sees it still finds the plugin. */
function uninstallSteps(options: InstallOptions): Step[] {
  const { plugin, full, loopback, vxlan, list } = paths(options);
  const remove = (path: string): Step => ({ path, apply: () => removeTree(path) });
  const isThere = (path: string) => exists(path) || linkTarget(path) !== undefined;
  const steps: Step[] = [];
  const text = readText(list);
  if (text !== undefined)
    steps.push(isOurList(text) ? remove(list) : { path: list, kept: "it names no plugin causeway" });
  for (const link of [loopback, vxlan].filter(isThere))
    steps.push(isOurLink(link) ? remove(link) : { path: link, kept: "it is from another package" });
  const own = realPath(options.binDir, "causeway") === (options.executable ?? executablePath());
  if (isThere(plugin)) steps.push(own ? { path: plugin, kept: "it is this program" } : remove(plugin));
  if (isThere(full)) steps.push(remove(full));
  return steps;
}

function isOurLink(path: string): boolean {
  const target = linkTarget(path);
  return target === "causeway" || target === "causeway-full";
}

/** One that was edited is ours as well: without the plugin it would only fail every pod. */
function isOurList(text: string): boolean {
  const value = attempt((): unknown => JSON.parse(text));
  const plugins = isObject(value) ? value.plugins : undefined;
  return Array.isArray(plugins) && plugins.some((plugin) => isObject(plugin) && plugin.type === "causeway");
}

function digest(text: string): string {
  return Buffer.from(sha256(text)).toString("hex");
}

function paths({ binDir, confDir }: InstallOptions) {
  const plugin = join(binDir, "causeway");
  return {
    plugin,
    full: `${plugin}-full`,
    loopback: join(binDir, "loopback"),
    vxlan: join(binDir, VXLAN),
    list: join(confDir, "10-causeway.conflist"),
  };
}
