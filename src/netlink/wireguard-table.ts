/** Layout of WireGuard's messages (include/uapi/linux/wireguard.h). */
import { type Endpoint, ipBytes, ipFromBytes, type Ip } from "../net/mod.ts";
import {
  attributes,
  type Codec,
  DecodeError,
  fixed,
  ip,
  latin1,
  list,
  text,
  u16,
  u32,
  u64,
  u8,
} from "../wire/mod.ts";
import { AF } from "./family.ts";
import { genericMessage } from "./generic.ts";

/** WG_CMD_… */
export const WG_CMD = { get: 0, set: 1 } as const;

/** WGPEER_F_… */
export const PEER_FLAG = { remove: 1, replaceAllowedIps: 2, updateOnly: 4 } as const;

/** struct sockaddr_in (16 bytes) or sockaddr_in6 (28 bytes): family in host order, port in network order. */
export const sockaddr: Codec<Endpoint> = {
  decode(reader) {
    const family = reader.u16();
    const port = reader.be16();
    let address: Ip;
    if (family === AF.inet) address = ipFromBytes(reader.bytes(4));
    else if (family === AF.inet6) {
      reader.skip(4);
      address = ipFromBytes(reader.bytes(16));
    } else throw new DecodeError(`an endpoint of family ${family}`);
    return { ip: address, port };
  },
  encode(writer, { ip: address, port }) {
    if (address.family === 4) writer.u16(AF.inet).be16(port).bytes(ipBytes(address)).zeros(8);
    else writer.u16(AF.inet6).be16(port).zeros(4).bytes(ipBytes(address)).zeros(4);
  },
};

/** struct __kernel_timespec as milliseconds; 0 means never. */
const timespec: Codec<number> = {
  decode: (reader) => Number(reader.i64()) * 1000 + Math.floor(Number(reader.i64()) / 1e6),
  encode: (writer, ms) => {
    writer.i64(BigInt(Math.floor(ms / 1000))).i64(BigInt(ms % 1000) * 1_000_000n);
  },
};

const allowedIp = attributes({ family: [1, u16], address: [2, ip], length: [3, u8] });

/** peer is one peer, or a part of it. */
export const peer = attributes({
  publicKey: [1, fixed(32)],
  presharedKey: [2, fixed(32)],
  flags: [3, u32],
  endpoint: [4, sockaddr],
  keepaliveSeconds: [5, u16],
  lastHandshakeMs: [6, timespec],
  rxBytes: [7, u64],
  txBytes: [8, u64],
  allowedIps: [9, list(allowedIp)],
});

const settings = {
  index: [1, u32],
  name: [2, text],
  privateKey: [3, fixed(32)],
  publicKey: [4, fixed(32)],
  flags: [5, u32],
  listenPort: [6, u16],
  fwmark: [7, u32],
} as const;

/** A device, or a part of it: a long answer or request comes as several. */
export const device = attributes({ ...settings, peers: [8, list(peer)] });

/** The same as it is read: peers as their bytes, because most are as they were the time before. */
export const deviceRead = attributes({ ...settings, peers: [8, list(latin1)] });

/** wireguardMessage is the generic header and a device. */
export const wireguardMessage = genericMessage(device);

/** wireguardAnswer likewise, as it is read. */
export const wireguardAnswer = genericMessage(deviceRead);
