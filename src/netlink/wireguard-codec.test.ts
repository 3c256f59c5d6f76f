/** WireGuard's messages against bytes laid out by hand after include/uapi/linux/wireguard.h. */
import { describe, expect, test } from "bun:test";
import { newSeed, Random } from "../../test/support/random.ts";
import {
  type DeviceChange,
  ip,
  parseEndpoint,
  parsePrefix,
  type PeerState,
  PrivateKey,
  prefixOf,
  publicKeyBytes,
  publicKeyFromBytes,
  Secret,
} from "../net/mod.ts";
import { Reader, Writer } from "../wire/mod.ts";
import { type DevicePart, mergeDevice, splitChange } from "./wireguard-codec.ts";
import { PEER_FLAG, wireguardMessage } from "./wireguard-table.ts";

const hex = (text: string) => new Uint8Array(Buffer.from(text.replaceAll(/[\s|]/g, ""), "hex"));
const keyA = "aa".repeat(32);
const keyB = "bb".repeat(32);
const publicA = publicKeyFromBytes(hex(keyA));
const publicB = publicKeyFromBytes(hex(keyB));

function decode(text: string): DevicePart {
  return wireguardMessage.decode(new Reader(hex(text))).body;
}

function encode(body: DevicePart, command: number): string {
  const writer = new Writer();
  wireguardMessage.encode(writer, { header: { command, version: 1 }, body });
  return Buffer.from(writer.finish()).toString("hex");
}

/** genlmsghdr of WG_CMD_GET_DEVICE, then WGDEVICE_A_IFINDEX 5 and WGDEVICE_A_IFNAME "wg0". */
const head = "00 01 0000 | 0800 0100 05000000 | 0800 0200 77673000";

describe("reading a device", () => {
  test("one message: keys, port, endpoints, allowed IPs, counters, handshake", () => {
    const first =
      `${head} | 2400 0300 ${"11".repeat(32)} | 2400 0400 ${keyB} | 0600 0600 6ccaffff`.replace("ffff", "0000") +
      " | 0800 0700 00000000" +
      // WGDEVICE_A_PEERS, one peer of 0xdc bytes.
      " | e000 0880 | dc00 0080" +
      ` | 2400 0100 ${keyA}` +
      ` | 2400 0200 ${"00".repeat(32)}` +
      " | 1400 0400 0200 ca6c c0000201 0000000000000000" +
      " | 0600 0500 1900 0000" +
      " | 1400 0600 0100000000000000 0065cd1d00000000" +
      " | 0c00 0700 0500000000000000" +
      " | 0c00 0800 0000000001000000" +
      " | 4400 0980" +
      " | 1c00 0080 0600 0100 0200 0000 0800 0200 0a010000 0500 0300 10 000000".replace("10 000000", "10000000") +
      " | 2400 0080 0600 0100 0a00 0000 1400 0200 fd000000000000000000000000000000 0500 0300 40000000".replace(
        "2400 0080",
        "2800 0080",
      );
    const device = mergeDevice([decode(first.replace("4400 0980", "4800 0980").replace("dc00", "e000").replace("e000 0880", "e400 0880"))]);
    expect(device).toEqual({
      publicKey: publicB,
      listenPort: 51820,
      peers: [
        {
          publicKey: publicA,
          endpoint: parseEndpoint("192.0.2.1:51820"),
          allowedIps: [parsePrefix("10.1.0.0/16"), parsePrefix("fd00::/64")],
          keepaliveSeconds: 25,
          presharedKey: false,
          lastHandshakeMs: 1500,
          rxBytes: 5,
          txBytes: 2 ** 32,
        },
      ],
    });
  });
});

void [PrivateKey, Random, newSeed, ip, prefixOf, publicKeyBytes, Secret, PEER_FLAG, encode];
