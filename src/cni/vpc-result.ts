/** The result of an ADD into a private network: bridge, the node's end of the link, the container's. */
import { formatIp } from "../net/mod.ts";
import type { PodRoute } from "../pods/mod.ts";
import type { Dns } from "./configuration.ts";
import type { AttachedCall } from "./request.ts";
import { type Result, type ResultInterface, type ResultRoute, SCOPES } from "./result.ts";
import type { VpcAttached } from "./vpc-network.ts";

/** vpcResult lists what was made; `routes` are those that were made beside the network's own. */
export function vpcResult(call: AttachedCall, attached: VpcAttached, routes: readonly PodRoute[]): Result {
  const { mac, mtuBytes, addresses, gateways } = attached;
  const container = { name: call.ifname, mac, mtuBytes, sandbox: call.netns };
  const interfaces = [...nodeInterfaces(attached), container];
  const dns = vpcDns(attached, call.configuration.dns);
  return {
    interfaces,
    addresses: addresses.map((address) => {
      const gateway = gateways.find(({ family }) => family === address.ip.family);
      return { address, interface: interfaces.length - 1, ...(gateway !== undefined && { gateway }) };
    }),
    routes: [...attached.routes, ...routes].map(resultRoute),
    ...(dns !== undefined && { dns }),
  };
}

/** vpcDns returns what a container is told of names: what its configuration and its runtime say, else the Subnet's servers. */
export function vpcDns(
  { dnsServers }: Pick<VpcAttached, "dnsServers">,
  given: Dns | undefined,
): Dns | undefined {
  const nameservers = dnsServers.map(formatIp);
  const dns = { ...(nameservers.length > 0 && { nameservers }), ...given };
  return Object.keys(dns).length === 0 ? undefined : dns;
}

function nodeInterfaces({ bridge, bridgeMac, hostLink, hostMac, mtuBytes }: VpcAttached): ResultInterface[] {
  const port = { name: hostLink, mtuBytes, ...(hostMac !== undefined && { mac: hostMac }) };
  if (bridge === undefined) return [port];
  return [{ name: bridge, ...(bridgeMac !== undefined && { mac: bridgeMac }) }, port];
}

function resultRoute({ scope, onlink: _onlink, source: _source, ...route }: PodRoute): ResultRoute {
  return { ...route, ...(scope !== undefined && { scope: SCOPES[scope] }) };
}
