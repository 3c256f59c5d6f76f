/**
 * What the plugin and the agent say to each other on cni.sock: one line asks, one line answers.
 *
 * ```
 * question   CNI_COMMAND=ADD␀CNI_NETNS=/run/netns/x␀…␀ ␀ {"cniVersion":"1.0.0",…} ␊
 * answer     0{"cniVersion":"1.0.0","interfaces":…} ␊
 * ```
 * The question is the variables as the kernel keeps them, an empty one, and standard input, in which line feeds have become blanks; so
 * the launcher (launcher/relay.ts) can make it without understanding any of it. The answer is the exit status, one digit, and standard
 * output. The descriptor of the container's network namespace is attached to the question, because its path may mean nothing in the
 * agent's mount or PID namespace. An answer `D` says that an IPAM plugin is to be run first (plugin-ipam.ts): the launcher takes it for none and
 * becomes the full executable, which runs it where the runtime wants it run and asks again, with what came out. Both sides are of one build or of two neighbouring ones: entries are only ever added, unknown ones ignored.
 */

/** CNI_SOCKET is where the agent answers plugins: 0600, root only. */
export const CNI_SOCKET = "/run/causeway/cni.sock";

/** MOST_REQUEST_BYTES is the longest question, line feed included. Runtimes send a few KB, or megabytes in a GC with all attachments. */
export const MOST_REQUEST_BYTES = 4 * 2 ** 20;

/** MOST_ANSWER_BYTES is the longest answer: more than a question whose bytes are no UTF-8 grows to when they are replaced. */
export const MOST_ANSWER_BYTES = 16 * 2 ** 20;

/** TOMBSTONES is the folder of deletions that wait for the agent. */
export const TOMBSTONES = "/var/lib/causeway/tombstones";

/** The environment variables of the specification (section 2, "Parameters"), and the library's override of its namespace check. */
export const variables = [
  "CNI_COMMAND",
  "CNI_CONTAINERID",
  "CNI_NETNS",
  "CNI_IFNAME",
  "CNI_ARGS",
  "CNI_PATH",
  "CNI_NETNS_OVERRIDE",
] as const;

/** Environment holds the variables that are set and not empty. */
export type Environment = { readonly [name in (typeof variables)[number]]?: string };

/** PluginRequest is what a container runtime asked. */
export interface PluginRequest {
  readonly environment: Environment;
  readonly stdin: string;
  /** Why CNI_NETNS could not be opened. */
  readonly netnsProblem?: string;
  /** The result of the IPAM plugin, or `{}` where there is none: the executable sees to it. */
  readonly ipamResult?: string;
}

/** PluginAnswer is what the plugin does. */
export interface PluginAnswer {
  /** Exit status. */
  readonly status: number;
  /** For standard output: a result, an error object, or nothing. */
  readonly output: string;
}

/** VERSIONS are those of the specification that we speak, oldest first. */
export const VERSIONS = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] as const;

/** CniVersion is a version of the specification. */
export type CniVersion = (typeof VERSIONS)[number];

/** VXLAN is the plugin's other name, for configurations of private networks by number. */
export const VXLAN = "vxlan";

/** DELEGATE is the answer to a call whose configuration names an IPAM plugin that has not been run. */
export const DELEGATE = "D";

/** Ours, beside the variables: they cannot come from the environment, of which only CNI_… is taken. */
const NETNS_PROBLEM = "netns-problem";
const IPAM_RESULT = "ipam-result";

/** The separators, when they stand in a text. Raw line feeds are only white space in JSON. */
const flat = (text: string) => text.replaceAll(/[\r\n]/g, " ");

/** encodeRequest returns the question without the line feed that ends it. */
export function encodeRequest({ environment, stdin, netnsProblem, ipamResult }: PluginRequest): string {
  const entries = Object.entries({
    ...environment,
    ...(netnsProblem !== undefined && { [NETNS_PROBLEM]: netnsProblem }),
    ...(ipamResult !== undefined && { [IPAM_RESULT]: ipamResult }),
  });
  return flat(
    `${entries.map(([name, value]) => `${name}=${value.replaceAll("\0", " ")}\0`).join("")}\0${stdin}`,
  );
}

/** decodeRequest returns what a question says, or undefined for what is none. The first entry of a name counts, as for getenv(3). */
export function decodeRequest(line: string): PluginRequest | undefined {
  const found = new Map<string, string>();
  let at = 0;
  for (;;) {
    const end = line.indexOf("\0", at);
    if (end < 0) return undefined;
    if (end === at) break;
    const entry = line.slice(at, end);
    at = end + 1;
    const equals = entry.indexOf("=");
    const [name, value] = [entry.slice(0, equals), entry.slice(equals + 1)];
    if (equals > 0 && value !== "" && !found.has(name)) found.set(name, value);
  }
  const [netnsProblem, ipamResult] = [found.get(NETNS_PROBLEM), found.get(IPAM_RESULT)];
  return {
    environment: Object.fromEntries(
      variables.flatMap((name) => (found.has(name) ? [[name, found.get(name)]] : [])),
    ),
    stdin: line.slice(at + 1),
    ...(netnsProblem !== undefined && { netnsProblem }),
    ...(ipamResult !== undefined && { ipamResult }),
  };
}

/** encodeAnswer returns the answer without the line feed that ends it; RangeError for a status that is no digit. */
export function encodeAnswer({ status, output }: PluginAnswer): string {
  if (!Number.isInteger(status) || status < 0 || status > 9)
    throw new RangeError(`Cannot answer with exit status ${status}: it must be a digit`);
  return flat(`${status}${output}`);
}

/** decodeAnswer returns what an answer says, or undefined for what is none. */
export function decodeAnswer(line: string): PluginAnswer | undefined {
  const status = line.charCodeAt(0) - 48;
  return status >= 0 && status <= 9 ? { status, output: line.slice(1) } : undefined;
}
