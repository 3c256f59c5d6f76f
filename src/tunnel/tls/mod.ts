/**
 * The same datagrams over TLS on TCP, for networks that let no UDP out: a loopback endpoint stands for a hub on a node, and for a node on a
 * hub, so that WireGuard, probes and relay notice nothing.
 *
 * ```
 * node                                                        hub
 * WireGuard :51820 ◀─▶ 127.0.0.1:p  uplink ══ TLS ══▶ listener  127.64.x.y:q ◀─▶ :51820 WireGuard, relay
 *                     └─── causeway tunnel-tls ───┘   └── causeway tunnel-tls ──┘
 * ```
 */
export { type Certificate, makeCertificate } from "./certificate.ts";
export { type Keep, parseProxy, type TlsConfig, type TlsHub, type TlsStatus } from "./config.ts";
export { type ListenerStatus, TlsListener } from "./listener.ts";
export { TlsProcess, type TlsProcessOptions } from "./supervision.ts";
export { serveTls } from "./service.ts";
export { TlsUplink, type UplinkStatus } from "./uplink.ts";
