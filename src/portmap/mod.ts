/**
 * portmap: asks home routers to let the tunnel's UDP port in: by PCP (RFC 6887), NAT-PMP (RFC 6886) and UPnP (Internet Gateway Device 1 and 2).
 *
 * Clients are pure (`step(event, now)` returns what to do); gateway-io.ts has their sockets. Nothing that a network says is believed further than
 * its sender: control answers come from the router asked, a description from that router only, and all have bounds.
 * It leaves to others what the endpoints are good for, and when to ask at all.
 *
 * @example
 * ```ts
 * using route = Rtnetlink.open();
 * using mapper = PortMapper.start({
 *   listenPort: 51820,
 *   secret,
 *   gateways: () => defaultRouters(route.routes({ table: 254 })),
 *   onMapped: (endpoints) => console.log(endpoints.map(formatEndpoint)),
 * });
 * ```
 */
export { defaultRouters, type Gateway } from "./default-routers.ts";
export type { MappingProtocol } from "./mapping-answer.ts";
export { PortMapper, type PortMapperOptions } from "./port-mapper.ts";
