/** The container's network namespace, from the descriptor that the plugin passed. */
import { type Fd, isNetworkNamespace, Netns } from "../sys/mod.ts";
import { CniError } from "./error.ts";
import type { PluginRequest } from "./protocol.ts";

/** NetnsOptions say what came with a request. */
export interface NetnsOptions {
  /** CNI_NETNS, for messages and results. */
  readonly path: string;
  readonly request: PluginRequest;
  readonly descriptor: Fd | undefined;
  /** Inode of the node's own namespace. */
  readonly home: number;
}

/** containerNetns takes over the descriptor; throws code 8 for what is not the namespace of a container. */
export function containerNetns({ path, request, descriptor, home }: NetnsOptions): Netns {
  const refuse = (problem: string) =>
    new CniError("badNetns", `Cannot use CNI_NETNS ${path}: ${problem}`, {
      details: `CNI_NETNS is ${JSON.stringify(path)}`,
    });
  if (descriptor === undefined) throw refuse(request.netnsProblem ?? "the plugin could not open it");
  if (!isNetworkNamespace(descriptor)) throw refuse("it is not a network namespace");
  const netns = Netns.adopt(descriptor.release(), path);
  const override = ["1", "true"].includes(request.environment.CNI_NETNS_OVERRIDE?.toLowerCase() ?? "");
  if (netns.inode !== home || override) return netns;
  netns.close();
  throw refuse("it is the node's own namespace, not a container's");
}
