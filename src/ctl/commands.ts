/** Where each command is: what is not asked for is not loaded, since most commands ask a process that runs, print and end. */
import type { Command } from "./command.ts";

/** commands loads each command, in the order in which help shows them. */
export const commands: Readonly<Record<string, () => Promise<Command>>> = {
  agent: async () => (await import("./agent.ts")).agent,
  init: async () => (await import("./cluster.ts")).init,
  token: async () => (await import("./cluster.ts")).token,
  join: async () => (await import("./cluster.ts")).join,
  leave: async () => (await import("./cluster.ts")).leave,
  node: async () => (await import("./cluster.ts")).node,
  operator: async () => (await import("./policy.ts")).operator,
  hub: async () => (await import("./hub.ts")).hub,
  mesh: async () => (await import("./cluster.ts")).mesh,
  apply: async () => (await import("./resource.ts")).apply,
  get: async () => (await import("./resource.ts")).get,
  delete: async () => (await import("./resource.ts")).remove,
  convert: async () => (await import("./convert.ts")).convert,
  peer: async () => (await import("./peer.ts")).peer,
  status: async () => (await import("./look.ts")).status,
  peers: async () => (await import("./look.ts")).peers,
  plan: async () => (await import("./look.ts")).plan,
  metrics: async () => (await import("./metrics.ts")).metrics,
  doctor: async () => (await import("./doctor.ts")).doctor,
  cni: async () => (await import("./cni.ts")).cni,
  kube: async () => (await import("./kube.ts")).kube,
  dataplane: async () => (await import("./dataplane.ts")).dataplane,
  "hub-relay": async () => (await import("./hub-relay.ts")).hubRelay,
  "tunnel-tls": async () => (await import("./tunnel-tls.ts")).tunnelTls,
  bgp: async () => (await import("./bgp.ts")).bgp,
  bfd: async () => (await import("./bfd.ts")).bfd,
  gateway: async () => (await import("./gateway.ts")).gateway,
  config: async () => (await import("./config.ts")).config,
  top: async () => (await import("./top.ts")).top,
  vpc: async () => (await import("./vpc.ts")).vpc,
  lab: async () => (await import("./lab.ts")).lab,
  completion: async () => (await import("./completion.ts")).completion,
  version: async () => (await import("./version.ts")).version,
};

const about = {
  name: "causeway",
  about: "One encrypted network for the scattered nodes and pods of a Kubernetes cluster",
  more: `First steps:
  on the hub:      causeway agent &    causeway init --endpoint HOST:51820
                   causeway token create --uses 10
  on every node:   causeway agent &    causeway join TOKEN
  then anywhere:   causeway status, causeway peers`,
};

/** rootFor returns the command `causeway` with the one command of that name, or with all when there is none. */
export async function rootFor(name?: string): Promise<Command> {
  const load = name !== undefined && Object.hasOwn(commands, name) ? commands[name] : undefined;
  const loads = load === undefined ? Object.values(commands) : [load];
  return { ...about, commands: await Promise.all(loads.map((one) => one())) };
}
