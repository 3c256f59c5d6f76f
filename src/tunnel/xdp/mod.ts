/**
 * xdp: packets of network interfaces by AF_XDP sockets, past the kernel's network: the source and sink of a site gateway.
 *
 * ```
 * interface ─▶ XDP program (XdpFilter) ─▶ kernel, for all that no list names
 *                     └─▶ queue's socket: XdpPort ─▶ XdpPacketSource, XdpMessages ─▶ steps of ../path
 * interface ◀──────────────────────────── XdpPort ◀─ XdpPacketSink, XdpFrameSink  ◀─┘
 * ```
 * XdpInterface attaches the program, for as long as the process lives. Each queue has one XdpPort, in the thread that works on it, with
 * frames (XdpFrames) that ports of the thread may share: what came by one can leave by another without a copy. Routes, neighbours, ARP,
 * and fragments are others' affair. Where AF_XDP is not there, PacketPort is a port of the same frames by a packet socket.
 *
 * @example
 * ```ts
 * using lan = XdpInterface.open({ ifindex, filter: { etherTypes: [0x0800] } });
 * const frames = new XdpFrames(arena, { frames: 4096 });
 * using port = new XdpPort(frames, { ifindex, queue: 0, zeroCopy: lan.mode === "native" });
 * lan.add(0, port.socket.fd.number);
 * ```
 */
export * from "./bpf-assembler.ts";
export * from "./ethernet.ts";
export * from "./packet-port.ts";
export * from "./xdp-datagrams.ts";
export * from "./xdp-endpoint.ts";
export * from "./xdp-filter.ts";
export * from "./xdp-frames.ts";
export * from "./xdp-interface.ts";
export * from "./xdp-loop.ts";
export * from "./xdp-packets.ts";
export * from "./xdp-port.ts";
