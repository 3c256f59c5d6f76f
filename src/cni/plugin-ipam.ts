/**
 * Addresses of other people's IPAM plugins, as `whereabouts` in the talk's configurations: loaded only for those. The plugin is run here and
 * not by the agent, because its folders, its environment and its rights are those that the runtime gives to plugins.
 *
 * | command | order |
 * |---|---|
 * | ADD | IPAM, then the agent; if that fails, the IPAM's DEL |
 * | CHECK, STATUS | IPAM, then the agent |
 * | DEL, GC | the agent (it has been asked), then IPAM: nobody gets an address that is still in use |
 */
import { isExecutable } from "../sys/file.ts";
import { runSync } from "../sys/process.ts";
import { CniError, formatError } from "./error.ts";
import { attempt, isObject, type JsonObject, Reader } from "./json.ts";
import type { PluginAnswer, PluginRequest } from "./protocol.ts";
import { answerVersion, parseRequest } from "./request.ts";

/** How long an IPAM plugin may take: whereabouts waits for its lease that long. */
const IPAM_MS = 60_000;

/** withIpam runs the IPAM plugin of the configuration and asks the agent where that has not been done, with what came out. */
export async function withIpam(
  request: PluginRequest,
  ask: (ipamResult: string) => Promise<PluginAnswer>,
): Promise<PluginAnswer> {
  try {
    const { command, configuration } = parseRequest(request);
    const type = configuration.vpc?.ipam;
    if (type === undefined) throw new Error("Cannot run an IPAM plugin: the configuration names none");
    const named = { ...request, stdin: withName(request.stdin, configuration.name) };
    const done = ipam(type, named, command);
    if (done.status !== 0 || command === "DEL" || command === "GC")
      return { status: done.status, output: done.status === 0 ? "" : done.output };
    const answer = await ask(command === "ADD" ? done.output : "{}");
    if (command === "ADD" && answer.status !== 0) ipam(type, named, "DEL");
    return answer;
  } catch (error) {
    const known =
      error instanceof CniError ? error : new CniError("io", (error as Error).message, { cause: error });
    return { status: 1, output: formatError(known, answerVersion(request.stdin)) };
  }
}

/** Plugins of the Go library refuse a network without a name. */
function withName(stdin: string, name: string): string {
  const configuration = JSON.parse(stdin) as JsonObject;
  return new Reader(configuration).value("name") === undefined
    ? JSON.stringify({ ...configuration, name })
    : stdin;
}

/** What an IPAM plugin says of its failure is the answer, if it says anything that runtimes understand. */
function ipam(type: string, { environment, stdin }: PluginRequest, command: string): PluginAnswer {
  const { status, stdout, stderr } = runSync([programOf(type, environment.CNI_PATH)], {
    env: { ...environment, CNI_COMMAND: command },
    input: stdin,
    timeoutMs: IPAM_MS,
  });
  const output = stdout.trim();
  if (status === 0 || isObject(attempt((): unknown => JSON.parse(output))))
    return { status: status === 0 ? 0 : 1, output };
  throw new CniError(
    "tryAgain",
    `Cannot get addresses from the IPAM plugin ${type}: it ends with status ${status}`,
    {
      details: (stderr.trim() || output).slice(0, 500),
    },
  );
}

/** Only where the runtime keeps plugins: who writes the configuration may be a tenant, and must not choose among all programs of the node. */
function programOf(type: string, path = ""): string {
  const folders = path.split(":").filter((folder) => folder.startsWith("/"));
  const found = folders.map((folder) => `${folder}/${type}`).find(isExecutable);
  if (found !== undefined && !/^\.*$/.test(type)) return found;
  throw new CniError(
    "badConfiguration",
    `Cannot run the IPAM plugin ${type}: it is not in CNI_PATH; install it`,
    {
      details: `ipam.type is ${JSON.stringify(type)}, CNI_PATH is ${JSON.stringify(path)}`,
    },
  );
}
