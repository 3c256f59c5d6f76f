import { describe, expect, test } from "bun:test";
import { newSeed, Random } from "../../../test/support/random.ts";
import {
  type DeviceChange,
  formatPrefix,
  ip,
  parseEndpoint,
  parsePrefix,
  type PeerChange,
  PrivateKey,
  prefixOf,
  publicKeyBytes,
  Secret,
} from "../../net/mod.ts";
import { decodeGet, encodeSet } from "../uapi.ts";
import { configurationOf } from "./configuration.ts";
import { Device } from "./device.ts";
import { decodeRequest, encodeErrno, encodeState } from "./uapi.ts";

const clock = { nowMs: 0, wallMs: 1_700_000_000_000 };
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

/** A device that was told what a text says. */
function told(...texts: string[]): Device {
  const device = new Device();
  for (const text of texts) {
    const request = decodeRequest(text);
    if (request.kind === "set")
      device.step({ kind: "configure", configuration: request.configuration }, clock);
  }
  return device;
}

const answer = (device: Device) => encodeState(device.read(), device.secrets());

// The example of https://www.wireguard.com/xplatform/.
const example = `set=1
private_key=e84b5a6d2717c1003a13b431570353dbaca9146cf150c5f8575680feba52027a
fwmark=0
listen_port=12912
replace_peers=true
public_key=b85996fecc9c7f1fc6d2572a76eda11d59bcd20be8e543b15ce4bd85a8e75a33
preshared_key=188515093e952f5f22e865cef3012e72f8b5f0b598ac0309d5dacce3b70fcf52
replace_allowed_ips=true
allowed_ip=192.168.4.4/32
endpoint=[abcd:23::33%2]:51820
public_key=58402e695ba1772b1cc9309755f043251ea77fdcf10fbe63989ceb7e19321376
replace_allowed_ips=true
allowed_ip=192.168.4.6/32
persistent_keepalive_interval=111
endpoint=182.122.22.19:3233
public_key=662e14fd594556f522604703340351258903b64f35553763f19426ab2a515c58
endpoint=5.152.198.39:51820
replace_allowed_ips=true
allowed_ip=192.168.4.10/32
allowed_ip=192.168.4.11/32
public_key=e818b58db5274087fcc1be5dc728cf53d3b5726b4cef6b9bab8f8f8c2452c25c
remove=true

`;

describe("the specification's example", () => {
  test("is understood", () => {
    using device = told(example);
    const state = device.read();
    expect(state.listenPort).toBe(12912);
    expect(state.peers.map(({ publicKey }) => hex(publicKeyBytes(publicKey)).slice(0, 4))).toEqual([
      "b859",
      "5840",
      "662e",
    ]);
    expect(state.peers.map(({ allowedIps }) => allowedIps.map(formatPrefix))).toEqual([
      ["192.168.4.4/32"],
      ["192.168.4.6/32"],
      ["192.168.4.10/32", "192.168.4.11/32"],
    ]);
    expect(state.peers.map(({ presharedKey, keepaliveSeconds }) => [presharedKey, keepaliveSeconds])).toEqual(
      [
        [true, undefined],
        [false, 111],
        [false, undefined],
      ],
    );
  });

  test("is answered line by line", () => {
    using device = told(example);
    expect(answer(device).split("\n").slice(0, 14)).toEqual([
      "private_key=e84b5a6d2717c1003a13b431570353dbaca9146cf150c5f8575680feba52027a",
      "listen_port=12912",
      "public_key=b85996fecc9c7f1fc6d2572a76eda11d59bcd20be8e543b15ce4bd85a8e75a33",
      "preshared_key=188515093e952f5f22e865cef3012e72f8b5f0b598ac0309d5dacce3b70fcf52",
      "protocol_version=1",
      "endpoint=[abcd:23::33]:51820",
      "last_handshake_time_sec=0",
      "last_handshake_time_nsec=0",
      "tx_bytes=0",
      "rx_bytes=0",
      "persistent_keepalive_interval=0",
      "allowed_ip=192.168.4.4/32",
      "public_key=58402e695ba1772b1cc9309755f043251ea77fdcf10fbe63989ceb7e19321376",
      `preshared_key=${"0".repeat(64)}`,
    ]);
    expect(answer(device).endsWith("\nerrno=0\n\n")).toBe(true);
  });
});

test("keys of zeros are none, host bits are cut off, a minus takes a prefix away", () => {
  const peer = "public_key=662e14fd594556f522604703340351258903b64f35553763f19426ab2a515c58\n";
  using device = told(
    example,
    `set=1\nprivate_key=${"0".repeat(64)}\n${peer}preshared_key=${"0".repeat(64)}\nallowed_ip=10.1.2.3/8\nallowed_ip=-192.168.4.10/32\nprotocol_version=1\n\n`,
  );
  expect(device.read().publicKey).toBeUndefined();
  expect(device.read().peers.at(-1)?.allowedIps.map(formatPrefix)).toEqual(["10.0.0.0/8", "192.168.4.11/32"]);
});

test("prefixes are values without host bits from here on", () => {
  const peer = "public_key=662e14fd594556f522604703340351258903b64f35553763f19426ab2a515c58\n";
  const request = decodeRequest(`set=1\n${peer}allowed_ip=10.1.2.3/8\nallowed_ip=-fd00::1/64\n\n`);
  expect(request.kind === "set" ? request.configuration.peers?.[0]?.allowedIps : []).toEqual([
    { prefix: parsePrefix("10.0.0.0/8") },
    { prefix: parsePrefix("fd00::/64"), remove: true },
  ]);
});

test("a new device answers with nothing but that all is well", () => {
  using device = new Device();
  expect(answer(device)).toBe("errno=0\n\n");
  expect(decodeGet(answer(device))).toEqual({ listenPort: 0, peers: [] });
  expect(decodeRequest("get=1\n\n")).toEqual({ kind: "get" });
  expect([encodeErrno(0), encodeErrno(22)]).toEqual(["errno=0\n\n", "errno=-22\n\n"]);
});

test("what cannot be read is refused as a whole, and no value is shown", () => {
  const good = "public_key=662e14fd594556f522604703340351258903b64f35553763f19426ab2a515c58\n";
  for (const [text, reason] of [
    ["", "ends in the middle"],
    ["\n\n", "key=value"],
    ["get=2\n\n", "begins with"],
    ["put=1\n\n", "begins with"],
    ["get=1\nx=1\n\n", "begins with"],
    ["set=1\nSECRET=1\n\n", "not known"],
    ["set=1\nprivate_key=SECRET\n\n", "private_key is not a key"],
    ["set=1\nlisten_port=65536\n\n", "listen_port is not a number from 0 to 65535"],
    ["set=1\nlisten_port=-1\n\n", "listen_port is not a number"],
    ["set=1\nfwmark=4294967296\n\n", "fwmark is not a number"],
    ["set=1\nreplace_peers=SECRET\n\n", "replace_peers is not true"],
    ["set=1\nallowed_ip=10.0.0.0/8\n\n", "nothing that a device can be told"],
    [`set=1\n${good}listen_port=1\n\n`, "nothing that a peer can be told"],
    [`set=1\n${good}endpoint=SECRET:1\n\n`, "endpoint is not an address and a port"],
    [`set=1\n${good}endpoint=192.0.2.1:0\n\n`, "endpoint is not"],
    [`set=1\n${good}allowed_ip=10.0.0.0/33\n\n`, "allowed_ip is not"],
    [`set=1\n${good}persistent_keepalive_interval=65536\n\n`, "persistent_keepalive_interval is not"],
    [`set=1\n${good}protocol_version=2\n\n`, "protocol_version is not"],
    [`set=1\n${good}preshared_key=SECRET\n\n`, "preshared_key is not a key"],
  ] as const) {
    let message = "";
    try {
      decodeRequest(text);
    } catch (error) {
      message = (error as Error).message;
    }
    expect([text, message]).toEqual([text, expect.stringContaining(reason)]);
    expect(message).not.toContain("SECRET");
  }
});

const seed = newSeed();
describe(`seed ${seed}`, () => {
  test("what our own client writes is understood, and what we answer our own client reads", () => {
    const random = new Random(seed);
    for (let round = 0; round < 60; round++) {
      const peers: PeerChange[] = Array.from({ length: random.below(6) }, () => ({
        publicKey: PrivateKey.random().publicKey,
        ...(random.chance(0.5)
          ? { endpoint: parseEndpoint(random.chance(0.5) ? "192.0.2.7:77" : "[2001:db8::7]:77") }
          : {}),
        ...(random.chance(0.5) ? { keepaliveSeconds: random.below(65_536) } : {}),
        ...(random.chance(0.5) ? { presharedKey: Secret.random() } : {}),
        allowedIps: Array.from({ length: random.below(5) }, () =>
          prefixOf(ip(4, BigInt(random.u32())), random.below(33)),
        ),
      }));
      const change: DeviceChange = {
        privateKey: PrivateKey.random(),
        listenPort: random.below(65_536),
        peers,
      };
      using byText = told(encodeSet(change));
      using byValue = new Device();
      byValue.step({ kind: "configure", configuration: configurationOf(change) }, clock);
      const plain = (device: Device) =>
        device.read().peers.map((peer) => ({ ...peer, allowedIps: peer.allowedIps.map(formatPrefix) }));
      expect(plain(byText)).toEqual(plain(byValue));
      expect(decodeGet(answer(byText))).toEqual(byText.read());
    }
  });

  test("mutated requests are read or refused with a plain Error", () => {
    const random = new Random(seed);
    for (let round = 0; round < 5000; round++) {
      const text = Buffer.from(random.mutate(Buffer.from(example))).toString("latin1");
      try {
        decodeRequest(text);
      } catch (error) {
        expect((error as Error).constructor).toBe(Error);
      }
    }
  });
});
