import { expect, test } from "bun:test";
import {
  parseEndpoint,
  parsePrefix,
  PrivateKey,
  publicKeyBytes,
  publicKeyFromBytes,
  Secret,
} from "../net/mod.ts";
import { checkSet, decodeGet, encodeSet, isWhole, UapiError } from "./uapi.ts";

const peerKey = publicKeyFromBytes(
  Buffer.from("b85996fecc9c7f1fc6d2572a76eda11d59bcd20be8e543b15ce4bd85a8e75a33", "hex"),
);

// The example of https://www.wireguard.com/xplatform/.
const example = `private_key=e84b5a6d2717c1003a13b431570353dbaca9146cf150c5f8575680feba52027a
listen_port=12912
public_key=b85996fecc9c7f1fc6d2572a76eda11d59bcd20be8e543b15ce4bd85a8e75a33
preshared_key=188515093e952f5f22e865cef3012e72f8b5f0b598ac0309d5dacce3b70fcf52
allowed_ip=192.168.4.4/32
endpoint=[abcd:23::33%2]:51820
public_key=58402e695ba1772b1cc9309755f043251ea77fdcf10fbe63989ceb7e19321376
tx_bytes=38333
rx_bytes=2224
allowed_ip=192.168.4.6/32
persistent_keepalive_interval=111
endpoint=182.122.22.19:3233
public_key=662e14fd594556f522604703340351258903b64f35553763f19426ab2a515c58
endpoint=5.152.198.39:51820
last_handshake_time_sec=1700000000
last_handshake_time_nsec=12345678
allowed_ip=192.168.4.10/32
allowed_ip=192.168.4.11/32
tx_bytes=1212111
rx_bytes=1929999999
protocol_version=1
errno=0

`;

test("the example of the specification is read", () => {
  const state = decodeGet(example);
  expect(state.listenPort).toBe(12912);
  expect(state.publicKey).toBe(
    new PrivateKey(Buffer.from("e84b5a6d2717c1003a13b431570353dbaca9146cf150c5f8575680feba52027a", "hex"))
      .publicKey,
  );
  expect(state.peers).toHaveLength(3);
  expect(state.peers[0]).toEqual({
    publicKey: peerKey,
    endpoint: parseEndpoint("[abcd:23::33]:51820"),
    allowedIps: [parsePrefix("192.168.4.4/32")],
    presharedKey: true,
    rxBytes: 0,
    txBytes: 0,
  });
  expect(state.peers[1]).toMatchObject({
    keepaliveSeconds: 111,
    presharedKey: false,
    rxBytes: 2224,
    txBytes: 38333,
  });
  expect(state.peers[2]?.lastHandshakeMs).toBe(1700000000012);
  expect(JSON.stringify(state, (_, v) => (typeof v === "bigint" ? `${v}` : v))).not.toContain("e84b5a6d");
});

test("a change is written in the order that the protocol asks for", () => {
  const privateKey = new PrivateKey(new Uint8Array(32).fill(7));
  const text = encodeSet({
    privateKey,
    listenPort: 51820,
    peers: [
      {
        publicKey: peerKey,
        updateOnly: true,
        endpoint: parseEndpoint("[2001:db8::1]:51820"),
        allowedIps: [parsePrefix("10.0.0.0/24"), parsePrefix("fd00::/64")],
        keepaliveSeconds: 0,
        presharedKey: new Secret(new Uint8Array(32).fill(9)),
      },
      { publicKey: privateKey.publicKey, remove: true, keepaliveSeconds: 5 },
    ],
  });
  expect(text.split("\n")).toEqual([
    "set=1",
    `private_key=${Buffer.from(privateKey.reveal()).toString("hex")}`,
    "listen_port=51820",
    `public_key=${Buffer.from(publicKeyBytes(peerKey)).toString("hex")}`,
    "update_only=true",
    `preshared_key=${"09".repeat(32)}`,
    "endpoint=[2001:db8::1]:51820",
    "persistent_keepalive_interval=0",
    "replace_allowed_ips=true",
    "allowed_ip=10.0.0.0/24",
    "allowed_ip=fd00::/64",
    `public_key=${Buffer.from(publicKeyBytes(privateKey.publicKey)).toString("hex")}`,
    "remove=true",
    "",
    "",
  ]);
});

test("a peer that is made anew is removed first, in the same request", () => {
  const key = `public_key=${Buffer.from(publicKeyBytes(peerKey)).toString("hex")}`;
  const text = encodeSet({ peers: [{ publicKey: peerKey, anew: true, keepaliveSeconds: 5 }] });
  expect(text.split("\n").slice(1, 5)).toEqual([key, "remove=true", key, "persistent_keepalive_interval=5"]);
});

test("an allowed-ips list that is empty clears; one that is absent changes nothing", () => {
  expect(encodeSet({ peers: [{ publicKey: peerKey, allowedIps: [] }] })).toContain(
    "replace_allowed_ips=true\n\n",
  );
  expect(encodeSet({ peers: [{ publicKey: peerKey }] })).not.toContain("allowed_ip");
});

test("answers: zero is good, anything else is thrown with its number", () => {
  checkSet("errno=0\n\n");
  expect(() => checkSet("errno=-22\n\n")).toThrow(UapiError);
  expect(() => checkSet("\n\n")).toThrow("key=value");
  expect(() => checkSet("errno=0\n")).toThrow("ends in the middle");
  expect(() => checkSet("x=1\n\n")).toThrow("no errno");
  expect(isWhole("errno=0\n")).toBe(false);
});

test("a broken answer is refused without showing what it held", () => {
  for (const broken of ["private_key=e84bSECRET", "private_keySECRET", "listen_port=1SECRET"]) {
    let message = "";
    try {
      decodeGet(`${broken}\nerrno=0\n\n`);
    } catch (error) {
      message = String(error);
    }
    expect(message).toMatch(/not/);
    expect(message).not.toContain("SECRET");
  }
});

test("a new device has no key, no port and no peers", () => {
  expect(decodeGet("listen_port=0\nfwmark=0\nerrno=0\n\n")).toEqual({ listenPort: 0, peers: [] });
});

test("truncated and damaged answers never do worse than throw an Error", () => {
  let seed = 1;
  const random = (below: number) => {
    seed = (seed * 1103515245 + 12345) & 0x7fffffff;
    return seed % below;
  };
  for (let round = 0; round < 2000; round++) {
    const bytes = Buffer.from(example);
    for (let n = random(4); n >= 0; n--) bytes[random(bytes.length)] = random(256);
    try {
      decodeGet(`${bytes.subarray(0, random(bytes.length)).toString("latin1")}\nerrno=0\n\n`);
    } catch (error) {
      expect(error).toBeInstanceOf(Error);
      expect(error).not.toBeInstanceOf(TypeError);
    }
  }
});
