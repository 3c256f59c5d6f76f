/** UDP ports that VXLAN may have. On each node the guard takes such a port from everybody else. */
import type { Mesh } from "../resources/mod.ts";

/** VXLAN_PORT is the usual one (RFC 7348 section 5). */
export const VXLAN_PORT = 4789;

/** Kubernetes' range of NodePorts. */
const NODE_PORTS = { first: 30_000, last: 32_767 } as const;

/** vxlanPortProblem says why a port cannot be used; undefined when it can. */
export function vxlanPortProblem(port: number, { listenPort }: Pick<Mesh, "listenPort">): string | undefined {
  if (port === listenPort) return "it is the tunnel's";
  if (port < 1024) return "it is a well-known one";
  if (port >= NODE_PORTS.first && port <= NODE_PORTS.last) return "it is a NodePort";
  return undefined;
}
