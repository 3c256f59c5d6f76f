/**
 * What the plugin and the agent say to each other on cni.sock: one line of JSON asks, one answers. The descriptor of the
 * container's network namespace is attached to the question, because its path may mean nothing in the agent's mount or PID
 * namespace. Both sides are of one build or of two neighbouring ones: fields are only ever added.
 */

/** CNI_SOCKET is where the agent answers plugins: 0600, root only. */
export const CNI_SOCKET = "/run/causeway/cni.sock";

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
