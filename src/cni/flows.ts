/**
 * What connection tracking remembers of flows outlives the rules that they were made by: a flow that was there first is never translated
 * anew. So flows that a new host port would miss, and those of a pod that is gone, are forgotten.
 */
import { type Ip, ipEqual } from "../net/mod.ts";
import { Conntrack, type FlowRemover, type Rtnetlink } from "../netlink/mod.ts";
import { type HostPort, hostPortKeys, type Pod, type Transport } from "../pods/mod.ts";
import { isErrno, type Netns } from "../sys/mod.ts";

/** IP protocol numbers of what has no connection to begin: a TCP flow begins anew with each SYN, whatever was there before. */
const connectionless: { readonly [protocol in Transport]?: number } = { udp: 17, sctp: 132 };

/** forgetFlows forgets, soon and in the background, the flows of a pod that is gone; the next pod of its addresses gets none of them. */
export function forgetFlows(pod: Pick<Pod, "addresses">, flows: FlowRemover | undefined): void {
  flows?.remove(pod.addresses);
}

/** NodeSockets are the node's namespace and a socket in it. */
export interface NodeSockets {
  readonly netns?: Netns | undefined;
  readonly route: Rtnetlink;
}

/**
 * forgetStrays forgets the flows to a pod's new UDP and SCTP host ports that were there before: clients that went on sending while nobody, or a
 * pod that is gone, had the port. It costs one walk of the kernel over its table per protocol and family, 13 ms with 100,000 flows.
 */
export function forgetStrays(pod: Pod, { netns, route }: NodeSockets): void {
  const ports = (pod.hostPorts ?? []).filter(({ protocol }) => connectionless[protocol] !== undefined);
  if (ports.length === 0) return;
  const local = route.addresses().map(({ address }) => address.ip);
  try {
    using conntrack = Conntrack.open(netns === undefined ? {} : { netns });
    if (conntrack.count() === 0) return;
    const wanted = ports.flatMap((port) => hostPortKeys(port).map(({ family }) => ({ family, port })));
    for (const group of Map.groupBy(wanted, ({ family, port }) => `${family} ${port.protocol}`).values()) {
      const { family, port: first } = group[0] as (typeof wanted)[number];
      const byPort = Map.groupBy(group, ({ port }) => port.hostPort);
      conntrack.flush(
        {
          ...{ family, protocol: connectionless[first.protocol] as number },
          ...(byPort.size === 1 && { destinationPort: first.hostPort }),
        },
        ({ original: { destination, destinationPort = 0 } }) =>
          byPort.get(destinationPort)?.some(({ port }) => concerns(port, destination, local)) === true,
      );
    }
  } catch (error) {
    // A kernel without connection tracking translates nothing and has nothing to forget.
    if (!isErrno(error, "EINVAL", "EOPNOTSUPP", "EPROTONOSUPPORT")) throw error;
  }
}

/** Flows to other machines have the same ports, and are none of our business. */
function concerns({ hostIp }: HostPort, destination: Ip, local: readonly Ip[]): boolean {
  if (hostIp !== undefined && hostIp.value !== 0n) return ipEqual(hostIp, destination);
  // All of 127.0.0.0/8 is the node's.
  if (destination.family === 4 && destination.value >> 24n === 127n) return true;
  return local.some((address) => ipEqual(address, destination));
}
