/** One call of the plugin, checked: environment and configuration become values, or an error with the code that the specification wants. */
import { parseArguments } from "./arguments.ts";
import {
  type Configuration,
  configuredVersion,
  decodeConfiguration,
  IDENTIFIER,
  parseConfiguration,
  parseName,
} from "./configuration.ts";
import { CniError } from "./error.ts";
import { attempt } from "./json.ts";
import { type CniVersion, type Environment, type PluginRequest, VERSIONS } from "./protocol.ts";

/** Container is which interface of which container a call is about. */
export interface Container {
  readonly containerId: string;
  readonly ifname: string;
}

/** AttachedCall is about an interface in a namespace that must exist. */
export interface AttachedCall extends Container {
  readonly command: "ADD" | "CHECK";
  readonly configuration: Configuration;
  /** The text of CNI_NETNS. */
  readonly netns: string;
}

/** DeleteCall is about an interface whose namespace may be gone; the node's side is enough to remove it. */
export interface DeleteCall extends Container {
  readonly command: "DEL";
  readonly configuration: Configuration;
}

/** NetworkCall is about a network as a whole. */
export interface NetworkCall {
  readonly command: "STATUS" | "GC";
  readonly configuration: Configuration;
}

/** CniRequest is a valid call. */
export type CniRequest = AttachedCall | DeleteCall | NetworkCall;

/** Variables that must be there, and the oldest configuration that the command exists in. */
const commands = {
  ADD: { required: ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"], since: "0.1.0" },
  CHECK: { required: ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"], since: "0.4.0" },
  DEL: { required: ["CNI_CONTAINERID", "CNI_IFNAME"], since: "0.1.0" },
  STATUS: { required: [], since: "1.1.0" },
  GC: { required: [], since: "1.1.0" },
} as const satisfies Record<string, { required: readonly (keyof Environment)[]; since: CniVersion }>;

/** answerVersion returns the version that an answer has to carry, also when the request is wrong otherwise. */
export function answerVersion(stdin: string): CniVersion | undefined {
  return attempt(() => configuredVersion(decodeConfiguration(stdin)));
}

/** parseRequest checks a call in the order of the Go library: variables, configuration, identifiers. Throws CniError. */
export function parseRequest({ environment, stdin }: PluginRequest): CniRequest {
  const command = environment.CNI_COMMAND;
  if (command === undefined || !Object.hasOwn(commands, command))
    throw new CniError(
      "badEnvironment",
      `Cannot serve CNI_COMMAND ${command ?? "(none)"}: there is no such command`,
      {
        details: `CNI_COMMAND is ${JSON.stringify(command ?? "")}`,
      },
    );
  const { required, since } = commands[command as keyof typeof commands];
  const missing = required.filter((name) => environment[name] === undefined);
  if (missing.length > 0)
    throw new CniError("badEnvironment", `required env variables [${missing.join(",")}] missing`, {
      details: `${command} needs ${required.join(", ")}`,
    });
  const reader = decodeConfiguration(stdin);
  const version = configuredVersion(reader);
  if (VERSIONS.indexOf(version) < VERSIONS.indexOf(since))
    throw new CniError(
      "incompatibleVersion",
      `Cannot serve ${command}: it exists from CNI version ${since} on`,
      {
        details: `cniVersion is ${JSON.stringify(version)}`,
      },
    );
  // DEL must not fail for anything that it does not need (D2), nor anything but ADD for what only ADD uses.
  const configuration =
    command === "DEL"
      ? parseName(reader)
      : parseConfiguration(
          reader,
          command === "ADD" ? parseArguments(environment.CNI_ARGS ?? "") : undefined,
        );
  if (command === "STATUS" || command === "GC") return { command, configuration };
  const container = parseContainer(environment);
  if (command === "DEL") return { command, configuration, ...container };
  const netns = environment.CNI_NETNS as string;
  return { command: command as AttachedCall["command"], configuration, ...container, netns };
}

function parseContainer(environment: Environment): Container {
  const containerId = environment.CNI_CONTAINERID ?? "";
  if (!IDENTIFIER.test(containerId))
    throw wrongVariable(
      "CNI_CONTAINERID",
      containerId,
      "it must start with a letter or digit and hold letters, digits, _ . -",
    );
  const ifname = environment.CNI_IFNAME ?? "";
  const problem = interfaceNameProblem(ifname);
  if (problem !== undefined) throw wrongVariable("CNI_IFNAME", ifname, problem);
  return { containerId, ifname };
}

/** interfaceNameProblem says why the kernel would refuse a name (net/core/dev.c, dev_valid_name); undefined when it would not. */
export function interfaceNameProblem(name: string): string | undefined {
  if (name === "" || new TextEncoder().encode(name).length > 15) return "it must have 1 to 15 bytes";
  if (name === "." || name === "..") return "it must not be . or ..";
  if (/[/:\s\0]/.test(name)) return "it must not hold /, : or white space";
  return undefined;
}

function wrongVariable(name: string, value: string, fix: string): CniError {
  return new CniError("badEnvironment", `Cannot use ${name}: ${fix}`, {
    details: `${name} is ${JSON.stringify(value)}`,
  });
}
