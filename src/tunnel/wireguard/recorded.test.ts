/**
 * Handshakes and packets recorded between this implementation and Debian's wireguard-go 0.0.20220316, in both roles, with a
 * pre-shared key. Our random numbers were the ones below, so our messages are known byte by byte, and wireguard-go believed them.
 */
import { describe, expect, test } from "bun:test";
import { chacha20Poly1305Open } from "../../sys/mod.ts";
import { parseEndpoint, parsePrefix, PrivateKey, Secret } from "../../net/mod.ts";
import { Device } from "./device.ts";
import { type Primitives, systemPrimitives } from "../../noise/mod.ts";
import { act, receiveDatagram, sendPacket } from "./slow-path.ts";

const hex = (bytes: Uint8Array | undefined) => Buffer.from(bytes ?? []).toString("hex");
const unhex = (text: string) => new Uint8Array(Buffer.from(text, "hex"));

const primitives: Primitives = {
  ...systemPrimitives,
  random: (length) => Uint8Array.from({ length }, (_, i) => (i * 7 + length) & 255),
};
const ours = new PrivateKey(new Uint8Array(32).fill(0x11));
const theirs = new PrivateKey(new Uint8Array(32).fill(0x22));
const presharedKey = new Secret(new Uint8Array(32).fill(0x33));
const from = parseEndpoint("192.0.2.2:51820");

const asInitiator = {
  wallMs: 1795238584537,
  initiation:
    "0100000019120b04c1c318eeeead11778e566a24a8cb04b9b431eb84cfa623c6a682c7ee56c8e206d9f4dc6fcac0bc6c49062dab7347bcda1993a337712f260810bbddabd9fc434def6a6febd9b8ef5e4e31765ee9598ee3992a8d35c20f0dc19ab995d0ad72810d767de85633c2a827c72eaff90ce4824ad172751ff426cb8466aebd6300000000000000000000000000000000",
  response:
    "02000000fbdaa1c219120b04b5d47218d3c173365df0b318a3c5cc1c8d40487871fa2eed95b6ca9457ac4d5b4208c2d1b8e01bdbefd742b0f5d57e32ca159e9dca9f5be63b48d869a31714b700000000000000000000000000000000",
  sent: "04000000fbdaa1c20000000000000000e481e12e6250f23124b8f4e5f51f0c8c425093bb845a748dcb5947700494edebf8c78c1198fb956e1008f07f557c0a048bcf9bcbe9889e2e03c3e3347c82367f7bb0aec9edd9be095d8867c2008de2159d2e638fc3623736fe5e4a87640c3b62dc5e545761faeca9e5438064da125994",
  came: "0400000019120b040000000000000000f59531f629fb1a454cff0625b39325726fc97532a0e90126fd4e258e215df12b140b8a9fe7b626efcb47590069476c68c9c7c7abf1eed3e2d00f52ca675aafd1f104dbcc51d6b0a27fb1ed7510f681d54a902463ef71b756d548c36d2ad2494a4d898d5f118dfe8841c552e11594dea5",
};

const asResponder = {
  initiation:
    "01000000d31dbf778d361ba70b33f88defc6f44e4625d223960b1c06106dbd9454717b2eefaa410f085363a99cac5bc96128a5fbf699902ffe317a4431c558b8b5d9d081e46d76eb37c64fe61251be1955cdb9d651565f79d832dbf871a35cddb05d2256249a5595f66ccec19246d5bc0938bef1e38d80fe67fdf25fdfc421c34185debc00000000000000000000000000000000",
  response:
    "0200000019120b04d31dbf77c1c318eeeead11778e566a24a8cb04b9b431eb84cfa623c6a682c7ee56c8e206bdf25a31fd9750f199bf36522eb5608276af63797e8bdf7b657e7b8f8d38e70800000000000000000000000000000000",
  came: "0400000019120b04000000000000000018a27ff367235f5ae47c0952d0f6ee4b2956fd28a8a79c0fc581faf964b5b701a533d50cee8da66ac4aaa33cc50bc2f780cdb3fe542859d5bab31879469eeb13910e713ea92952a692ab8ce2f873f8397ee112d852a545f72004758fd5273d4a153da91c7558ba927d59ca44a63b23f9",
  sent: "04000000d31dbf7700000000000000000b5832600ecbf2a45690b756b22c8dc391267eb2ff6ff88965f99af2f2477405a8122eb4cd10b0f4d2d2c153d8b0f09920cbece864382d14d5b31aecb40662061371d8702f9a48d655b99c3597b38d3df58e9b59a44f15dce851105c1fd16b4911fa9617379f6ad131ec6182f6716750",
};

/** A device as it was then, at a moment. */
function device(wallMs: number) {
  const made = new Device({ primitives });
  const clock = { nowMs: 1000, wallMs };
  const allowedIps = ["10.9.0.2/32", "fd09::2/128"].map((text) => ({ prefix: parsePrefix(text) }));
  const peers = [{ publicKey: theirs.publicKey, presharedKey, allowedIps }];
  act(made, { kind: "configure", configuration: { privateKey: ours, peers } }, clock);
  return { made, clock, arrival: { ...clock, from } };
}

/** An echo request or reply of ping(8), 84 bytes. */
function isPing(packet: Uint8Array | undefined, type: "request" | "reply"): void {
  expect(packet).toHaveLength(84);
  expect([packet?.[0], packet?.[9], packet?.[20]]).toEqual([0x45, 1, type === "request" ? 8 : 0]);
}

/** What we sealed once, opened again with our own key. */
function opened(sealed: string, key: Uint8Array): Uint8Array {
  const bytes = unhex(sealed);
  const nonce = new Uint8Array(12);
  nonce.set(bytes.subarray(8, 16), 4);
  return chacha20Poly1305Open(bytes.subarray(16), { key, nonce })?.subarray(0, 84) as Uint8Array;
}

describe("wireguard-go", () => {
  test("answered our initiation", () => {
    const { made, clock, arrival } = device(asInitiator.wallMs);
    using _ = made;
    const endpoint = { publicKey: theirs.publicKey, endpoint: from };
    act(made, { kind: "configure", configuration: { peers: [endpoint] } }, clock);
    const any = new Uint8Array(84);
    any.set([0x45, 0, 0, 84]);
    any.set([10, 9, 0, 1, 10, 9, 0, 2], 12);
    expect(hex(sendPacket(made, any, clock).datagrams[0]?.bytes)).toBe(asInitiator.initiation);
    // What was sent then is taken from the record: the waiting packet here is another one, and goes as the first.
    expect(receiveDatagram(made, unhex(asInitiator.response), arrival).datagrams).toHaveLength(1);
    const session = made.peer(1)?.keypairs.current;
    const ping = opened(asInitiator.sent, session?.sendKey as Uint8Array);
    isPing(ping, "request");
    (session?.sendCounter as Int32Array)[0] = 0;
    expect(hex(sendPacket(made, ping, clock).datagrams[0]?.bytes)).toBe(asInitiator.sent);
    isPing(receiveDatagram(made, unhex(asInitiator.came), arrival).packets[0], "reply");
  });

  test("was answered by us", () => {
    const { made, clock, arrival } = device(0);
    using _ = made;
    expect(
      receiveDatagram(made, unhex(asResponder.initiation), arrival).datagrams.map(({ bytes }) => hex(bytes)),
    ).toEqual([asResponder.response]);
    isPing(receiveDatagram(made, unhex(asResponder.came), arrival).packets[0], "request");
    const reply = opened(asResponder.sent, made.peer(1)?.keypairs.current?.sendKey as Uint8Array);
    isPing(reply, "reply");
    expect(hex(sendPacket(made, reply, clock).datagrams[0]?.bytes)).toBe(asResponder.sent);
  });
});
