/**
 * What an attachment asked for beside its network, as one column of JSON in the store: a new kind of wish is a new key here. What
 * was never asked for is not written.
 */
import { formatIp, parseIp } from "../net/mod.ts";
import type { Bandwidth, HostPort, Pod, PodBridgePort } from "../pods/mod.ts";

/** Extras are the fields of a pod that most pods do not have. */
export type Extras = Pick<Pod, "bridgePort" | "hostPorts" | "bandwidth" | "confined">;

interface Coded {
  readonly bridgePort?: PodBridgePort;
  readonly hostPorts?: readonly (Omit<HostPort, "hostIp"> & { readonly hostIp?: string })[];
  readonly bandwidth?: Bandwidth;
  /** Servers of names. */
  readonly confined?: readonly string[];
}

/** NO_EXTRAS is how a pod without any is stored. */
export const NO_EXTRAS = "{}";

/** encodeExtras returns the column's text. */
export function encodeExtras({ bridgePort, hostPorts = [], bandwidth, confined }: Extras): string {
  const coded: Coded = {
    ...(bridgePort !== undefined && { bridgePort }),
    ...(hostPorts.length > 0 && {
      hostPorts: hostPorts.map(({ hostIp, ...port }) => ({
        ...port,
        ...(hostIp && { hostIp: formatIp(hostIp) }),
      })),
    }),
    ...(bandwidth !== undefined && { bandwidth }),
    ...(confined !== undefined && { confined: confined.dnsServers.map(formatIp) }),
  };
  return JSON.stringify(coded);
}

/** decodeExtras reads what encodeExtras wrote. */
export function decodeExtras(text: string): Extras {
  if (text === NO_EXTRAS) return {};
  const { bridgePort, hostPorts, bandwidth, confined } = JSON.parse(text) as Coded;
  return {
    ...(bridgePort !== undefined && { bridgePort }),
    ...(hostPorts !== undefined && {
      hostPorts: hostPorts.map(({ hostIp, ...port }) => ({
        ...port,
        ...(hostIp && { hostIp: parseIp(hostIp) }),
      })),
    }),
    ...(bandwidth !== undefined && { bandwidth }),
    ...(confined !== undefined && { confined: { dnsServers: confined.map(parseIp) } }),
  };
}
