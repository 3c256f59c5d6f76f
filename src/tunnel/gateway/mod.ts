/**
 * gateway: the data path of a site gateway in user space: packets of a site become ESP for other sites, and back, as in Vita.
 *
 * ```
 *   site ═ private port ─▶ OutboundStep (TTL, RouteBook, MTU, EspFraming, AeadBatch) ─▶ public port ═ other sites
 *   site ═ private port ◀─ InboundStep  (SPI, AeadBatch, window, route's prefixes, TTL) ◀─ public port ═
 *             └── Host: ARP, ND, ICMP ──┘                                               └── Host, Exchange
 * ```
 * A packet stays in the frame that it came in. IPv4 without options that can be forwarded goes by loops over a turn's packets that call nothing
 * (`#plain`, SealPass, OpenPass); every other packet is looked at by itself. A turn of up to 64 is sorted by association and sealed by one
 * call each; nothing is allocated.
 * GatewayPath is one queue: it obeys orders (GatewayOrder) and gives news (GatewayNews) and reports, all plain values. GatewayQueue runs one on
 * AF_XDP or packet sockets, for a thread. Nothing is shared between queues; each has associations of its own.
 *
 * It leaves to others: agreement on keys and the life of associations (orders), which routes there are, and which threads run it. It makes no
 * fragments and puts none together.
 *
 * @example
 * ```ts
 * const path = new GatewayPath({ provider, privatePort, publicPort, private: lan, public: wan, mtuBytes: 1440, tell });
 * path.obey({ kind: "route", route: { name: "tokyo", prefixes: [parsePrefix("172.32.0.0/16")] } });
 * path.obey({ kind: "outbound", association: { route: "tokyo", spi, algorithm: "aes-128-gcm", keyMaterial, to, next: 1 } });
 * path.obey({ kind: "move-outbound", route: "tokyo", spi });
 * ```
 */
export * from "./counters.ts";
export * from "./detour.ts";
export * from "./exchange.ts";
export * from "./frame-port.ts";
export * from "./gateway-path.ts";
export * from "./gateway-queue.ts";
export * from "./gateway-report.ts";
export * from "./order.ts";
export * from "./queue-ports.ts";
export * from "./sender-budget.ts";
export * from "./side.ts";
