/**
 * What is the same in calls of every plugin: variables, version, names. Nothing of a configuration but its version and name is looked at.
 * The plugin `loopback` loads this file and no more, so it stays light.
 */
import { CniError } from "./error.ts";
import { attempt, isObject, Reader } from "./json.ts";
import { type CniVersion, type Environment, type PluginRequest, VERSIONS } from "./protocol.ts";

/** Container is which interface of which container a call is about. */
export interface Container {
  readonly containerId: string;
  readonly ifname: string;
}

/** Network is what every configuration says. */
export interface Network {
  readonly version: CniVersion;
  /** Name of the network. */
  readonly name: string;
}

/** What names of networks and containers look like: section 3.1 and 3.2 of the specification. */
const IDENTIFIER = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;

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

/** Call is a call whose variables and version are right; nothing else of its configuration has been looked at. */
export interface Call {
  readonly command: keyof typeof commands;
  readonly reader: Reader;
}

/** parseCall checks a call in the order of the Go library, up to the version of its configuration. Throws CniError. */
export function parseCall({ environment, stdin }: PluginRequest): Call {
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
  return { command: command as Call["command"], reader };
}

/** decodeConfiguration decodes standard input; code 6 for what is not an object. */
function decodeConfiguration(stdin: string): Reader {
  let value: unknown;
  let cause: unknown;
  try {
    value = JSON.parse(stdin);
  } catch (error) {
    cause = error;
  }
  if (!isObject(value))
    throw new CniError(
      "decoding",
      "Cannot decode the network configuration: standard input is not a JSON object",
      {
        details: cause instanceof Error ? cause.message : `standard input is ${stdin.slice(0, 100)}`,
        cause,
      },
    );
  return new Reader(value);
}

/** configuredVersion returns the version of a configuration; none means 0.1.0, and one we do not speak is code 1. */
function configuredVersion(reader: Reader): CniVersion {
  const text = reader.string("cniVersion") ?? "0.1.0";
  const version = VERSIONS.find((candidate) => candidate === text);
  if (version === undefined)
    throw new CniError("incompatibleVersion", `Cannot use a configuration of CNI version ${text}`, {
      details: `config is ${JSON.stringify(text)}, plugin supports ${JSON.stringify(VERSIONS)}`,
    });
  return version;
}

/** parseNetwork checks the version and the name of a configuration; `unnamed` is the name of one that has none. */
export function parseNetwork(reader: Reader, unnamed?: string): Network {
  const version = configuredVersion(reader);
  const name = reader.string("name") ?? unnamed;
  if (name === undefined || !IDENTIFIER.test(name)) throw reader.wrong("name", "a network's name");
  return { version, name };
}

/** parseContainer checks the identifiers of a call. */
export function parseContainer(environment: Environment): Container {
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
