/** One call of the plugin, checked: environment and configuration become values, or an error with the code that the specification wants. */
import { parseArguments } from "./arguments.ts";
import { type Call, type Container, parseCall, parseContainer } from "./call.ts";
import { type Configuration, parseCollection, parseConfiguration, parseName } from "./configuration.ts";
import type { Attachment } from "../ipam/mod.ts";
import type { Fd } from "../sys/mod.ts";
import type { Reader } from "./json.ts";
import type { PluginRequest } from "./protocol.ts";
import { isVpc, parseVpcConfiguration, parseVpcName } from "./vpc-configuration.ts";

export { answerVersion, interfaceNameProblem } from "./call.ts";

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

/** Passed is what comes with a call beside its text. */
export interface Passed {
  readonly request: PluginRequest;
  /** That of CNI_NETNS. */
  readonly descriptor: Fd | undefined;
}

/** attachmentOf returns what a call is about. */
export function attachmentOf(call: AttachedCall | DeleteCall): Attachment {
  return { network: call.configuration.name, containerId: call.containerId, ifname: call.ifname };
}

/** CniRequest is a valid call. */
export type CniRequest = AttachedCall | DeleteCall | NetworkCall;

/** DEL must not fail for anything that it does not need (D2), nor GC, nor anything but ADD for what only ADD uses. */
function configurationOf(
  command: Call["command"],
  reader: Reader,
  environment: PluginRequest["environment"],
): Configuration {
  const vpc = isVpc(reader);
  if (command === "DEL") return vpc ? parseVpcName(reader) : parseName(reader);
  if (command === "GC") return { ...parseCollection(reader), ...(vpc && parseVpcName(reader)) };
  const args = command === "ADD" ? parseArguments(environment.CNI_ARGS ?? "") : undefined;
  return vpc ? parseVpcConfiguration(reader, args) : parseConfiguration(reader, args);
}

/** parseRequest checks a call of our network, identifiers last. Throws CniError. */
export function parseRequest(request: PluginRequest): CniRequest {
  const { environment } = request;
  const { command, reader } = parseCall(request);
  const configuration = configurationOf(command, reader, environment);
  if (command === "STATUS" || command === "GC") return { command, configuration };
  const container = parseContainer(environment);
  if (command === "DEL") return { command, configuration, ...container };
  const netns = environment.CNI_NETNS as string;
  return { command, configuration, ...container, netns };
}
