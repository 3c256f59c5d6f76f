/**
 * Chains of other people's plugins, called as a runtime calls them (specification sections 2 to 4): for links of a node's edge that a network
 * configuration list makes. What a plugin is told is what libcni tells it.
 *
 * | command | order | `prevResult` |
 * |---|---|---|
 * | ADD | as written | what the plugin before has returned |
 * | CHECK | as written | the result of ADD |
 * | DEL | from the last to the first | the result of ADD, where there is one |
 */
import { inHostMounts, isExecutable, type Netns, run } from "../sys/mod.ts";
import { isObject, type JsonObject } from "./json.ts";

/** PLUGIN_FOLDERS is where plugins are: upstream's folder, Debian's, Fedora's. */
export const PLUGIN_FOLDERS: readonly string[] = ["/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni"];

/** How long one plugin may take: a DHCP server that is not there costs the plugin's own patience. */
const CALL_MS = 60_000;

/** ChainAttachment is one interface that a chain makes. */
export interface ChainAttachment {
  /** A network configuration list of CNI 1.0.0 or later. */
  readonly config: JsonObject;
  /** Told to plugins that have the capability. */
  readonly runtime: JsonObject;
  readonly containerId: string;
  readonly ifName: string;
  /** Path of the namespace; empty where it is gone, and with it what plugins have made there. */
  readonly netns: string;
}

/** ChainOptions say how plugins are called. */
export interface ChainOptions {
  /** Default PLUGIN_FOLDERS. */
  readonly folders?: readonly string[];
  /** Namespace that plugins are called in, the host's; default ours. */
  readonly home?: Netns;
  /** Where plugins of type dhcp find their daemon, unless the configuration says it. */
  readonly dhcpSocket?: string;
  /** Told of each plugin that is started. */
  readonly onStart?: (plugin: { readonly pid: number; readonly type: string }) => void;
}

interface Plugin extends JsonObject {
  readonly type: string;
}

/** PluginError is what a plugin, or its absence, has said. */
export class PluginError extends Error {
  override readonly name = "PluginError";
  /** As the plugin has answered; absent: it has not answered with an error as the specification has it. */
  readonly code: number | undefined;

  constructor(message: string, code?: number) {
    super(message);
    this.code = code;
  }
}

/**
 * checkPlugins throws PluginError for a plugin of a chain, or one that gives it addresses, that is not installed: without it what others of the chain
 * have made could not be removed.
 */
export function checkPlugins(config: JsonObject, { folders = PLUGIN_FOLDERS }: ChainOptions): void {
  for (const { type, ipam } of pluginsOf({ config })) {
    programOf(type, folders);
    // Without a type there is none.
    if (isObject(ipam) && typeof ipam.type === "string" && ipam.type !== "") programOf(ipam.type, folders);
  }
}

/** addChain makes the interface, and returns the last plugin's result. Throws PluginError; what was made until then is taken back by delChain. */
export async function addChain(attachment: ChainAttachment, options: ChainOptions): Promise<JsonObject> {
  let result: JsonObject | undefined;
  for (const plugin of pluginsOf(attachment)) {
    const call = { ...attachment, plugin, prevResult: result };
    const text = await callPlugin("ADD", call, options);
    result = objectIn(text);
    if (result === undefined)
      throw new PluginError(`plugin ${plugin.type} has answered ADD with no result: ${text.slice(0, 200)}`);
  }
  return result as JsonObject;
}

/** checkChain throws PluginError where a plugin finds that the interface is not as it was made. */
export async function checkChain(
  attachment: ChainAttachment,
  result: JsonObject,
  options: ChainOptions,
): Promise<void> {
  if (attachment.config.disableCheck === true) return;
  for (const plugin of pluginsOf(attachment))
    await callPlugin("CHECK", { ...attachment, plugin, prevResult: result }, options);
}

/** delChain removes the interface; one that is not there is not an error. Throws PluginError for the first plugin that refuses. */
export async function delChain(
  attachment: ChainAttachment,
  result: JsonObject | undefined,
  options: ChainOptions,
): Promise<void> {
  for (const plugin of [...pluginsOf(attachment)].reverse())
    await callPlugin("DEL", { ...attachment, plugin, prevResult: result }, options);
}

/** chainNeedsDhcp tells whether a plugin of a chain gets its address from the daemon of the plugin dhcp that we keep. */
export function chainNeedsDhcp(config: JsonObject): boolean {
  return pluginsOf({ config }).some(usesOurDhcp);
}

/** isLeased tells whether an address of a chain is leased by the plugin dhcp, whoever's daemon keeps it. */
export function isLeased(config: JsonObject): boolean {
  return pluginsOf({ config }).some(usesDhcp);
}

/** pluginProgram returns the path of a plugin by its type; undefined where no folder has it. A type with a slash names none. */
export function pluginProgram(type: string, folders: readonly string[]): string | undefined {
  if (type.includes("/") || /^\.*$/.test(type)) return undefined;
  return folders
    .filter((folder) => folder.startsWith("/"))
    .map((folder) => `${folder}/${type}`)
    .find(isExecutable);
}

function pluginsOf({ config }: Pick<ChainAttachment, "config">): readonly Plugin[] {
  return config.plugins as readonly Plugin[];
}

function usesDhcp({ ipam }: Plugin): boolean {
  return isObject(ipam) && ipam.type === "dhcp";
}

function usesOurDhcp(plugin: Plugin): boolean {
  return usesDhcp(plugin) && (plugin.ipam as JsonObject).daemonSocketPath === undefined;
}

function programOf(type: string, folders: readonly string[]): string {
  const program = inHostMounts((() => pluginProgram(type, folders)) as () => never) as string | undefined;
  if (program !== undefined) return program;
  throw new PluginError(`there is no plugin ${JSON.stringify(type)} in ${folders.join(", ")}; install it`);
}

interface Call extends ChainAttachment {
  readonly plugin: Plugin;
  readonly prevResult: JsonObject | undefined;
}

async function callPlugin(command: string, call: Call, options: ChainOptions): Promise<string> {
  const { type } = call.plugin;
  const { folders = PLUGIN_FOLDERS } = options;
  const done = await run([programOf(type, folders)], {
    env: {
      ...{ CNI_COMMAND: command, CNI_CONTAINERID: call.containerId, CNI_IFNAME: call.ifName },
      ...{ CNI_NETNS: call.netns, CNI_PATH: folders.join(":"), CNI_ARGS: "" },
    },
    input: JSON.stringify(configOf(call, options)),
    timeoutMs: CALL_MS,
    hostMounts: true,
    ...(options.home === undefined ? {} : { netns: options.home }),
    onStart: (pid) => options.onStart?.({ pid, type }),
  });
  if (done.status === 0) return done.stdout;
  const { code } = objectIn(done.stdout) ?? {};
  const words = `plugin ${type} has refused ${command}: ${wordsOf(done)}`;
  throw new PluginError(words, typeof code === "number" ? code : undefined);
}

/** What libcni writes to a plugin's standard input (buildOneConfig and InjectConf). */
function configOf({ config, runtime, plugin, prevResult }: Call, { dhcpSocket }: ChainOptions): JsonObject {
  const capabilities = isObject(plugin.capabilities) ? plugin.capabilities : {};
  const told = Object.entries(runtime).filter(([capability]) => capabilities[capability] === true);
  const ours = dhcpSocket !== undefined && usesOurDhcp(plugin);
  return {
    ...plugin,
    ...{ name: config.name, cniVersion: config.cniVersion },
    ...(ours ? { ipam: { ...(plugin.ipam as JsonObject), daemonSocketPath: dhcpSocket } } : {}),
    ...(told.length === 0 ? {} : { runtimeConfig: Object.fromEntries(told) }),
    ...(prevResult === undefined ? {} : { prevResult }),
  };
}

function objectIn(text: string): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** An error of the specification's section 2, "Error", or what else a plugin has said. */
function wordsOf({
  status,
  stdout,
  stderr,
}: {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}): string {
  const { msg, details } = objectIn(stdout) ?? {};
  if (typeof msg === "string" && msg !== "")
    return typeof details === "string" && details !== "" ? `${msg}: ${details}` : msg;
  const words = (stderr.trim() || stdout.trim()).slice(0, 500);
  return (
    words || (status === 137 ? `it was ended after ${CALL_MS / 1000} s` : `it ends with status ${status}`)
  );
}
