/**
 * pods: the default pod network of one node, as desired state. A bridge with the node's own mask; a veth per pod; what a pod sends
 * is only what it may send. Pure: ranges, MTU and pods in, kernel objects out.
 *
 * It leaves the way to other nodes, forwarding, and masquerading to `mesh`, addresses to `ipam`, and the calls of container
 * runtimes to `cni`.
 *
 * @example
 * ```ts
 * const node = { ranges: [parsePrefix("10.244.1.0/24")], mtuBytes: 1420 };
 * engine.set("pods", nodeObjects(node));
 * engine.set(podScope(pod.id), podObjects(pod));
 * ```
 */
export * from "./host-port.ts";
export * from "./host-port-ruleset.ts";
export * from "./bandwidth.ts";
export * from "./confined.ts";
export * from "./identity.ts";
export * from "./node.ts";
export * from "./pod.ts";
export * from "./route.ts";
export * from "./spoofing.ts";
