/**
 * The header before each packet of a TUN device with IFF_VNET_HDR: what of the packet was left to do, or was done.
 *
 * ```
 *  0       1          2            4              6                8                 10
 *  | flags | gso type | header len | segment size | checksum start | checksum offset | packet …
 * ```
 * All in the machine's order (struct virtio_net_hdr, include/uapi/linux/virtio_net.h; TUNSETVNETLE is not used). All zero: a plain packet.
 */

/** VIRTIO_HEADER is the length of the header. */
export const VIRTIO_HEADER = 10;

/** VIRTIO has the places of the fields. */
export const VIRTIO = {
  flags: 0,
  type: 1,
  headerBytes: 2,
  segmentBytes: 4,
  checksumStart: 6,
  checksumOffset: 8,
} as const;

/** NEEDS_CHECKSUM: from `checksum start` to the end is still to be summed; the field has the sum of the pseudo header. */
export const NEEDS_CHECKSUM = 1;

/** GSO types: how one packet stands for many. ECN is a flag: the first segment carries CWR. */
export const GSO = { none: 0, tcp4: 1, tcp6: 4, udp: 5, ecn: 0x80 } as const;
