/**
 * What the relay's raw sockets are to see of all UDP packets that come to a hub whose port is the kernel's WireGuard's: handshake messages to that port, and
 * data that has a circuit. Everything else costs a clone without data, and a look into a map.
 *
 * ```
 *   UDP to the port ──▶ type 1 to 3, and as long as such ──▶ whole
 *                  └──▶ type 4, and (source, port, index) is in the map of circuits ──▶ whole
 * ```
 * The map is that of the XDP program (../relay/xdp-program.ts): data that XDP sent on does not come here. The index of data without a circuit is remembered: so it is
 * known which indices are WireGuard's own, which tells nobody. No circuit may take one.
 */
import { XDP_KEY } from "../relay/xdp-program.ts";
import {
  add,
  and,
  assembleBpf,
  type BpfLine,
  call,
  copy,
  exit,
  jump,
  jumpIf,
  label,
  load,
  loadMap,
  move,
  R0,
  R1,
  R10,
  R2,
  R3,
  R4,
  R5,
  R6,
  R7,
  store,
  storeNumber,
  swap16,
} from "../xdp/bpf-assembler.ts";

/** enum bpf_func_id; bpf_skb_load_bytes_relative from the network header on. */
const CALL = { lookup: 1, update: 2, loadBytes: 68 } as const;
const FROM_NETWORK_HEADER = 1;
const WHOLE = 0xffff;
const UDP = 17;
const UDP_BYTES = 8;
const [DATA, COOKIE] = [4, 3];
/** Of the UDP header with messages of type 1, 2 and 3. */
const LENGTHS: readonly (readonly [type: number, bytes: number])[] = [
  [1, UDP_BYTES + 148],
  [2, UDP_BYTES + 92],
  [COOKIE, UDP_BYTES + 64],
];

/** IPv4 without options, IPv6 without extension headers: where protocol and source are, and how long the header is. */
const FAMILY = {
  4: { header: 20, protocol: 9, source: 12, addressBytes: 4 },
  6: { header: 40, protocol: 6, source: 8, addressBytes: 16 },
} as const;

/** On the stack: the packet's headers and the begin of its message, and the key. */
const PACKET = -64;
const KEY = PACKET - XDP_KEY.bytes;

/** OTHER_INDEX is what the map of indices without circuit holds: the index, as it is in a packet. */
export const OTHER_INDEX = { keyBytes: 4, valueBytes: 4 } as const;

/** FilterWish says for which port, and with which maps: of circuits, and of the indices without one. */
export interface FilterWish {
  readonly port: number;
  readonly circuits: number;
  readonly others: number;
}

/** packetFilter returns the program for raw sockets of a family. */
export function packetFilter(family: 4 | 6, { port, circuits, others }: FilterWish): Uint8Array<ArrayBuffer> {
  const { header, protocol, source, addressBytes } = FAMILY[family];
  const udp = PACKET + header;
  const message = udp + UDP_BYTES;
  const lines: BpfLine[] = [
    copy(R6, R1),
    // Headers, then type and receiver index.
    move(R2, 0),
    copy(R3, R10),
    add(R3, PACKET),
    move(R4, header + UDP_BYTES + 8),
    move(R5, FROM_NETWORK_HEADER),
    call(CALL.loadBytes),
    jumpIf(R0, "≠", 0, "none"),
    ...(family === 4 ? [load(R5, 1, R10, PACKET), jumpIf(R5, "≠", 0x45, "none")] : []),
    load(R5, 1, R10, PACKET + protocol),
    jumpIf(R5, "≠", UDP, "none"),
    load(R5, 2, R10, udp + 2),
    swap16(R5),
    jumpIf(R5, "≠", port, "none"),
    // The type, and three zero bytes.
    load(R7, 4, R10, message),
    jumpIf(R7, "=", DATA, "data"),
    load(R5, 2, R10, udp + 4),
    swap16(R5),
    ...LENGTHS.flatMap(([type, bytes]) => [
      jumpIf(R7, "≠", type, `not ${type}`),
      jumpIf(R5, "=", bytes, "whole"),
      label(`not ${type}`),
    ]),
    jump("none"),
    label("data"),
    storeNumber(8, R10, KEY, 0),
    storeNumber(8, R10, KEY + 8, 0),
    ...Array.from({ length: addressBytes / 4 }, (_, i) => [
      load(R5, 4, R10, PACKET + source + 4 * i),
      store(4, R10, KEY + XDP_KEY.address + 4 * i, R5),
    ]).flat(),
    load(R5, 2, R10, udp),
    and(R5, 0xffff),
    store(4, R10, KEY + XDP_KEY.port, R5),
    load(R5, 4, R10, message + 4),
    store(4, R10, KEY + XDP_KEY.index, R5),
    loadMap(R1, circuits),
    copy(R2, R10),
    add(R2, KEY),
    call(CALL.lookup),
    jumpIf(R0, "≠", 0, "whole"),
    loadMap(R1, others),
    copy(R2, R10),
    add(R2, KEY + XDP_KEY.index),
    call(CALL.lookup),
    jumpIf(R0, "≠", 0, "none"),
    loadMap(R1, others),
    copy(R2, R10),
    add(R2, KEY + XDP_KEY.index),
    copy(R3, R2),
    move(R4, 0),
    call(CALL.update),
    jump("none"),
    label("whole"),
    move(R0, WHOLE),
    exit,
    label("none"),
    move(R0, 0),
    exit,
  ];
  return assembleBpf(lines);
}
