/**
 * sys: the only door to the operating system. FFI, descriptors, namespaces, files, clock, randomness, processes.
 *
 * It leaves meaning to others: what a netlink message says is in `netlink`, what a file holds is its reader's affair.
 *
 * @example
 * ```ts
 * using ns = Netns.open("/run/netns/blue");
 * ns.run(() => writeKernelFile("/proc/sys/net/ipv4/ip_forward", "1"));
 * ```
 */
export * from "./aead-batch.ts";
export * from "./aead-ipsec-mb-1.ts";
export * from "./aead-ipsec-mb-2.ts";
export * from "./aead-libcrypto.ts";
export * from "./aes-gcm.ts";
export * from "./appended-file.ts";
export * from "./arena.ts";
export * from "./arena-calls.ts";
export * from "./blake2s.ts";
export * from "./bpf.ts";
export * from "./bpf-map.ts";
export * from "./build.ts";
export * from "./chacha.ts";
export { wholeChecksums } from "./checksum-offload.ts";
export * from "./clock.ts";
export * from "./connected-udp.ts";
export * from "./core-dump.ts";
export * from "./crypto.ts";
export * from "./database.ts";
export * from "./datagram-socket.ts";
export * from "./environment.ts";
export * from "./errno.ts";
export * from "./fd.ts";
export * from "./fdpass.ts";
export * from "./file.ts";
export * from "./file-lock.ts";
export * from "./followed-texts.ts";
export { forwardingProblem } from "./forwarding.ts";
export * from "./file-set.ts";
export * from "./frame-sender.ts";
export * from "./hop-datagrams.ts";
export * from "./host.ts";
export { inHostMounts, openHostMounts } from "./host-mounts.ts";
export * from "./https.ts";
export * from "./icmp6-link.ts";
export * from "./io-uring.ts";
export * from "./kept-process.ts";
export { libcryptoProblem } from "./libcrypto.ts";
export * from "./libnftables.ts";
export * from "./line-client.ts";
export * from "./lines.ts";
export * from "./link-membership.ts";
export * from "./link-mtu.ts";
export * from "./loopback-datagrams.ts";
export * from "./lossy-writer.ts";
export * from "./memory.ts";
export * from "./netlink-socket.ts";
export * from "./netns.ts";
export * from "./open-files.ts";
export * from "./p256.ts";
export * from "./packet-socket.ts";
export * from "./proc.ts";
export * from "./parallel.ts";
export * from "./password-file.ts";
export * from "./process.ts";
export * from "./replace-process.ts";
export * from "./resident-code.ts";
export * from "./reuseport.ts";
export * from "./shared-memory.ts";
export * from "./socket-filter.ts";
export * from "./socket-pair.ts";
export * from "./raw-sender.ts";
export * from "./raw-socket.ts";
export * from "./source-address.ts";
export * from "./standard.ts";
export * from "./thread.ts";
export * from "./thread-port.ts";
export * from "./traffic.ts";
export * from "./tcp.ts";
export * from "./tcp-exchange.ts";
export * from "./tcp-md5.ts";
export * from "./tcp-socket.ts";
export * from "./tcp-stream.ts";
export * from "./tls.ts";
export * from "./tun.ts";
export * from "./tun-offload.ts";
export * from "./unix.ts";
export * from "./unix-client.ts";
export * from "./unix-listener.ts";
export * from "./watch.ts";
export * from "./x25519-key.ts";
export * from "./xdp-ring.ts";
export * from "./xdp-socket.ts";
export * from "./xdp-unavailable.ts";
export * as libc from "./libc.ts";
