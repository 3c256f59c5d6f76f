import { expect, test } from "bun:test";
import { PrivateKey, publicKeyBytes } from "../../net/mod.ts";
import { systemPrimitives as primitives } from "../wireguard/mod.ts";
import {
  changedConfig,
  changeTo,
  NO_RELAY,
  Permissions,
  type RelayChange,
  type RelayConfig,
} from "./policy.ts";
import { Relay } from "./relay.ts";
import { imageChange, imageCircuits, relayImage } from "./relay-image.ts";
import { decodeRelay, encodeRelay, isXdpAttached, relayCounters, relayStatus } from "./relay-text.ts";

const [a, b, c] = [PrivateKey.random(), PrivateKey.random(), PrivateKey.random()].map(
  ({ publicKey }) => publicKey,
) as [ReturnType<typeof key>, ReturnType<typeof key>, ReturnType<typeof key>];
const key = () => PrivateKey.random().publicKey;
const hex = (of: typeof a) => Buffer.from(publicKeyBytes(of)).toString("hex");

test("a change is read as it was written", () => {
  const changes: RelayChange[] = [
    { enabled: true },
    { enabled: false, allow: "same", bytesPerSecond: "unlimited", replaceClasses: true },
    { allow: [] },
    { xdpLinks: [] },
    { xdpLinks: ["eth0", "bond0.7"] },
    {
      allow: [
        [1, 2],
        [3, 3],
      ],
      bytesPerSecond: 125_000_000,
    },
    {
      classes: new Map<typeof a, number | "none">([
        [a, 0],
        [b, 65_535],
        [c, "none"],
      ]),
    },
  ];
  for (const change of changes) expect(decodeRelay(encodeRelay(change))).toEqual({ change });
});

test("what is not about the relay is left as it was, and nothing of a request that is not", () => {
  const plain = `set=1\nlisten_port=5\npublic_key=${hex(a)}\nendpoint=192.0.2.1:5\n\n`;
  expect(decodeRelay(plain)).toEqual({ rest: plain });
  expect(decodeRelay("get=1\n\n")).toEqual({ rest: "get=1\n\n" });
  const mixed = `set=1\nlisten_port=5\nrelay=true\npublic_key=${hex(a)}\nrelay_class=3\nendpoint=192.0.2.1:5\npublic_key=${hex(b)}\nupdate_only=true\nrelay_class=4\n\n`;
  expect(decodeRelay(mixed)).toEqual({
    change: {
      enabled: true,
      classes: new Map([
        [a, 3],
        [b, 4],
      ]),
    },
    rest: plain,
  });
});

test("what cannot be read is refused, without its value", () => {
  const peer = `public_key=${hex(a)}\n`;
  for (const line of [
    "relay=yes",
    "relay=",
    "relay_rate=-1",
    "relay_rate=x",
    "relay_allow=1",
    "relay_allow=1:2:3",
    "relay_allow=-1:2",
    "replace_relay_classes=false",
    `${peer}relay_class=x`,
    `${peer}relay_class=-1`,
    "public_key=zz\nrelay_class=1",
  ]) {
    const name = (line.split("\n").at(-1) as string).split("=")[0] as string;
    expect(() => decodeRelay(`set=1\n${line}\n\n`)).toThrow(
      line.startsWith("public_key=zz") ? "public_key" : name,
    );
  }
  // Of the device, not of a peer, and the other way round: the rest is not what a device knows.
  expect(decodeRelay("set=1\nrelay_class=1\n\n").rest).toContain("relay_class");
  expect(decodeRelay(`set=1\n${peer}relay=true\n\n`).rest).toContain("relay=true");
});

test("changes lead from any configuration to any other", () => {
  const configs: RelayConfig[] = [
    NO_RELAY,
    {
      enabled: true,
      classes: new Map([
        [a, 1],
        [b, 1],
      ]),
    },
    {
      enabled: true,
      classes: new Map([
        [b, 2],
        [c, 1],
      ]),
      allow: [[1, 2]],
      bytesPerSecond: 5000,
    },
    { enabled: false, classes: new Map([[c, 9]]), allow: [], xdpLinks: ["eth0"] },
  ];
  for (const before of configs)
    for (const after of configs) {
      expect(changedConfig(before, changeTo(after, before))).toEqual(after);
      expect(changedConfig(before, changeTo(after, undefined))).toEqual(after);
      const { change } = decodeRelay(encodeRelay(changeTo(after, before)));
      expect(changedConfig(before, change as RelayChange)).toEqual(after);
    }
});

test("classes may talk as it is said, in either order", () => {
  const same = new Permissions(undefined);
  expect([same.allow(1, 1), same.allow(1, 2)]).toEqual([true, false]);
  const some = new Permissions([
    [2, 1],
    [65_535, 0],
  ]);
  expect([some.allow(1, 2), some.allow(2, 1), some.allow(0, 65_535), some.allow(1, 1)]).toEqual([
    true,
    true,
    true,
    false,
  ]);
  expect(new Permissions([]).allow(1, 1)).toBe(false);
});

test("an image has the configuration and the circuits, whatever numbers nodes have then", () => {
  const relay = new Relay({ primitives, isOwnIndex: () => false });
  relay.configure({
    enabled: true,
    classes: new Map([
      [a, 1],
      [b, 1],
      [c, 2],
    ]),
    allow: [[1, 1]],
    bytesPerSecond: 7,
  });
  const keys = { mac1: new Uint8Array(32), cookie: new Uint8Array(32) };
  const numbers = new Map([
    [a, 11],
    [b, 12],
  ]);
  for (const [publicKey, number] of numbers) relay.peer(number, { publicKey, macKeys: keys }, 0);
  relay.restore(
    [
      { source: 11, index: 2 ** 32 - 1, to: 12, expiresMs: 5000.5 },
      { source: 12, index: 0, to: 11, expiresMs: 6000 },
    ],
    0,
  );
  const image = JSON.parse(JSON.stringify(relayImage(relay, (node) => (node === 11 ? a : b))));
  const other = new Relay({ primitives, isOwnIndex: () => false });
  other.configure(imageChange(image));
  expect(other.config).toEqual(relay.config);
  expect(imageCircuits(image, (of) => (of === a ? 1 : of === b ? 2 : undefined))).toEqual([
    { source: 1, index: 2 ** 32 - 1, to: 2, expiresMs: 5000.5 },
    { source: 2, index: 0, to: 1, expiresMs: 6000 },
  ]);
  expect(imageCircuits(image, (of) => (of === a ? 1 : undefined))).toEqual([]);
});

test("a status is read from counters, and the lines of interfaces", () => {
  const status = { nodes: 3, liveNodes: 2, circuits: 4, pairs: 1, handshakes: 9, drops: { unknown: 5 } };
  const counters = { ...relayCounters(status), relayed: 100, relayed_bytes: 1000, forged: 3 };
  expect(relayStatus(counters)).toEqual({ ...status, datagrams: 100, bytes: 1000, xdpLinks: [] });
  const more = { ...counters, relay_xdp_circuits: 2, relayed_xdp: 7, relayed_xdp_bytes: 70 };
  expect(relayStatus(more, ["pid=5", "relay_xdp=eth0: native"])).toMatchObject({
    xdp: { circuits: 2, datagrams: 7, bytes: 70 },
    xdpLinks: ["eth0: native"],
  });
});

test("of an interface's line it is told whether the program runs there", () => {
  for (const line of ["eth0: native", "eth0: generic", "eth0: generic (not native: EOPNOTSUPP)"])
    expect(isXdpAttached(line)).toBe(true);
  for (const line of [
    "eth0: not tried yet",
    "native: there is no such interface",
    "eth0: ",
    "eth0: nativeless",
  ])
    expect(isXdpAttached(line)).toBe(false);
});
