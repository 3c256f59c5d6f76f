/** No message, however broken, makes a parser throw anything but a DecodeError, or run without end. */
import { describe, expect, test } from "bun:test";
import { newSeed, Random } from "../../test/support/random.ts";
import {
  PrivateKey,
  parseEndpoint,
  parseInterfaceAddress,
  parseIp,
  parseMac,
  parsePrefix,
} from "../net/mod.ts";
import { type Codec, DecodeError, Reader, Writer } from "../wire/mod.ts";
import { addAddress } from "./address.ts";
import { conntrackMessage } from "./conntrack-table.ts";
import { decodeConntrack } from "./conntrack.ts";
import { decodeEvent } from "./event.ts";
import { addFdb } from "./fdb.ts";
import { addFilter, deleteFilter } from "./filter.ts";
import { controlMessage } from "./generic.ts";
import { addLink, setLink } from "./link-write.ts";
import { linkMessage } from "./link-table.ts";
import { eachAnswer, writeMessage } from "./message.ts";
import { addNeighbour } from "./neighbour.ts";
import { addNexthop } from "./nexthop.ts";
import { addQdisc, deleteQdisc } from "./qdisc.ts";
import type { Message, RouteRequest } from "./request.ts";
import { addRoute } from "./route.ts";
import { addRule } from "./rule.ts";
import { mergeDevice, splitChange } from "./wireguard-codec.ts";
import { napiMessage } from "./napi.ts";
import { wireguardAnswer, wireguardMessage } from "./wireguard-table.ts";

const MESSAGES = 20_000;

const mac = parseMac("02:00:00:00:00:01");
const via = parseIp("10.0.0.1");

/** Good messages, from which broken ones are made. What the kernel sends has the layout of what it is sent. */
const requests: readonly RouteRequest[] = [
  addLink({
    name: "br0",
    type: "bridge",
    stp: true,
    vlanFiltering: true,
    alias: "causeway",
    mtuBytes: 1400,
    mac,
  }),
  addLink({ name: "v0", type: "veth", peer: { name: "v1", mac }, master: 3, port: { isolated: true } }),
  addLink({
    name: "vx",
    type: "vxlan",
    vni: 77,
    local: via,
    remote: parseIp("10.0.0.2"),
    learning: false,
    ttl: 3,
  }),
  addLink({ name: "vx6", type: "vxlan", vni: 78, local: parseIp("fd00::1") }),
  addLink({ name: "mv", type: "macvlan", parent: 3, mode: "bridge", addrGen: "none", up: true }),
  addLink({ name: "vl", type: "vlan", parent: 3, vlanId: 7 }),
  addLink({ name: "red", type: "vrf", table: 100 }),
  setLink({ index: 3, newName: "x", port: { learning: true, hairpin: true } }),
  addAddress({
    linkIndex: 3,
    address: parseInterfaceAddress("10.0.0.1/24"),
    noprefixroute: true,
    protocol: 67,
  }),
  addAddress({
    linkIndex: 3,
    address: parseInterfaceAddress("fd00::1/64"),
    peer: parseIp("fd00::2"),
    nodad: true,
    deprecated: true,
  }),
  addRoute({
    destination: parsePrefix("10.1.0.0/16"),
    hops: [{ via, onlink: true }],
    mtuBytes: 1300,
    metric: 5,
  }),
  addRoute({ destination: parsePrefix("fd00::/16"), hops: [{ linkIndex: 4 }, { via: parseIp("fe80::1") }] }),
  addRoute({
    destination: parsePrefix("10.2.0.0/16"),
    table: 1000,
    hops: [{ via: parseIp("fe80::1"), linkIndex: 3, weight: 9 }, { via }],
  }),
  addRoute({ destination: parsePrefix("10.2.0.0/16"), nexthopId: 3, source: via }),
  addNexthop({ id: 1, via, linkIndex: 3 }),
  addNexthop({ id: 2, group: [{ id: 1 }, { id: 3, weight: 300 }] }),
  addNeighbour({ linkIndex: 3, ip: via, mac, externLearn: true, protocol: 67 }),
  addFdb({ linkIndex: 3, mac, dst: via, vni: 5, port: 8472, vlanId: 2 }),
  addRule({
    family: 4,
    priority: 5,
    from: parsePrefix("10.0.0.0/8"),
    iif: "lo",
    fwmark: 1,
    fwmask: 3,
    table: 1000,
  }),
  addRule({ family: 6, priority: 6, to: parsePrefix("fd00::/8"), oif: "cw0" }),
  addQdisc({
    linkIndex: 3,
    kind: "tbf",
    major: 67,
    rateBytesPerSecond: 12_500_000_000,
    burstBytes: 125_000_000,
    limitBytes: 312_500_000,
  }),
  addQdisc({ linkIndex: 3, kind: "clsact" }),
  deleteQdisc({ linkIndex: 3, major: 67 }),
  addFilter({ linkIndex: 3, pref: 67, node: 67, redirect: 4 }),
  deleteFilter({ linkIndex: 3, pref: 67, handle: 0x8000_0043 }),
];
const routeMessages: readonly Message[] = requests.flatMap((request) => request.messages);
const routeTypes = [
  ...new Set([...routeMessages.map((message) => message.type), 17, 21, 25, 29, 33, 105, 99]),
];

function encode<T>(codec: Pick<Codec<T>, "encode">, value: T): Uint8Array<ArrayBuffer> {
  const writer = new Writer();
  codec.encode(writer, value);
  return writer.finish();
}

const tuple = (port: number) => ({
  ip: { source4: via, destination4: parseIp("10.0.0.2") },
  proto: { protocol: 17, sourcePort: port, destinationPort: 53 },
});
const flows = [
  encode(conntrackMessage, {
    header: { family: 2 },
    body: { original: tuple(1), reply: tuple(2), status: 14, mark: 5, zone: 7, id: 9, timeoutSeconds: 30 },
  }),
  encode(conntrackMessage, {
    header: { family: 10 },
    body: {
      original: {
        ip: { source6: parseIp("fd00::1"), destination6: parseIp("fd00::2") },
        proto: { protocol: 58, icmp6Id: 1, icmp6Type: 128, icmp6Code: 0 },
      },
      reply: {
        ip: { source6: parseIp("fd00::2"), destination6: parseIp("fd00::1") },
        proto: { protocol: 58 },
      },
      protoInfo: { tcp: { state: 3 } },
    },
  }),
];

const devices = splitChange("cw0", {
  privateKey: PrivateKey.random(),
  listenPort: 51820,
  peers: Array.from({ length: 4 }, (_, i) => ({
    publicKey: PrivateKey.random().publicKey,
    endpoint: parseEndpoint(i % 2 === 0 ? "192.0.2.1:51820" : "[2001:db8::1]:51820"),
    allowedIps: [parsePrefix("10.0.0.0/8"), parsePrefix("fd00::/8")],
    keepaliveSeconds: 25,
  })),
}).map((body) => encode(wireguardMessage, { header: { command: 0, version: 1 }, body }));

/** Runs a parser on broken and on random messages; the seed in the title repeats a failure. */
function fuzz(
  title: string,
  good: readonly Uint8Array[],
  parse: (bytes: Uint8Array, random: Random) => unknown,
): void {
  const seed = newSeed();
  test(`${title}: ${MESSAGES} broken messages (SEED=${seed})`, () => {
    const random = new Random(seed);
    let refused = 0;
    for (let i = 0; i < MESSAGES; i++) {
      const bytes = random.chance(0.1) ? random.bytes(random.below(200)) : random.mutate(random.pick(good));
      try {
        parse(bytes, random);
      } catch (error) {
        if (!(error instanceof DecodeError)) throw error;
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(0);
    expect(refused).toBeLessThan(MESSAGES);
  });
}

describe("parsers", () => {
  fuzz(
    "datagrams and acknowledgements",
    [
      encode({ encode: (w: Writer) => routeMessages.forEach((m, i) => writeMessage(w, m, i)) }, undefined),
      Buffer.from(
        "30000000020000030700000000000000edffffff200000001400050607000000000000000c0001004e6f207375636800",
        "hex",
      ),
      Buffer.from("1400000003000200070000000000000000000000", "hex"),
    ],
    (bytes) =>
      eachAnswer(bytes, (answer) => {
        if (answer.kind === "data") decodeEvent(answer.type, answer.body);
        return true;
      }),
  );

  fuzz(
    "routing messages, as any type",
    routeMessages.map((message) => message.body),
    (bytes, random) => decodeEvent(random.pick(routeTypes), new Reader(bytes)),
  );

  for (const message of new Map(routeMessages.map((m) => [m.type, m])).values())
    fuzz(
      `routing messages of type ${message.type}`,
      routeMessages.filter(({ type }) => type === message.type).map(({ body }) => body),
      (bytes) => decodeEvent(message.type, new Reader(bytes)),
    );

  fuzz("flows", flows, (bytes) => decodeConntrack(new Reader(bytes)));
  fuzz("WireGuard devices", devices, (bytes) =>
    mergeDevice([wireguardAnswer.decode(new Reader(bytes)).body]),
  );
  fuzz(
    "generic families",
    [encode(controlMessage, { header: { command: 1 }, body: { id: 21, name: "wireguard", version: 1 } })],
    (bytes) => controlMessage.decode(new Reader(bytes)),
  );

  fuzz(
    "NAPI instances",
    [
      encode(napiMessage, {
        header: { command: 11, version: 1 },
        body: { ifindex: 2, id: 1183, deferHardIrqs: 2, groFlushTimeoutNs: 100_000 },
      }),
    ],
    (bytes) => napiMessage.decode(new Reader(bytes)),
  );

  test("what is asked for is what is read: every request survives its own parser", () => {
    for (const message of routeMessages) {
      const event = decodeEvent(message.type, new Reader(message.body));
      expect(event).toBeDefined();
      if (message.type !== 16) continue;
      // And a link message is the same bytes after decoding and encoding.
      expect(encode(linkMessage, linkMessage.decode(new Reader(message.body)))).toEqual(message.body);
    }
  });
});
