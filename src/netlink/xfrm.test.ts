/** XFRM without a kernel: what is asked for is what is read, byte layouts, and broken messages. */
import { describe, expect, test } from "bun:test";
import { newSeed, Random } from "../../test/support/random.ts";
import { type Ip, ip, KeyMaterial, type Prefix, prefixOf } from "../net/mod.ts";
import { type Codec, DecodeError, EncodeError, Reader, Writer } from "../wire/mod.ts";
import { decodeXfrmEvent, type XfrmEvent } from "./xfrm-event.ts";
import type { XfrmAlgorithm } from "./xfrm-key.ts";
import type { Limit } from "./xfrm-limits.ts";
import { addPolicy, deletePolicy, type PolicyChange, policyIdParts } from "./xfrm-policy.ts";
import { replayEsn } from "./xfrm-replay.ts";
import { addSa, deleteSa, type SaChange, saIdParts, saParts, updateSa } from "./xfrm-sa.ts";
import {
  acquireMessage,
  expireMessage,
  mappingMessage,
  policyExpireMessage,
  policyIdMessage,
  policyMessage,
  saIdMessage,
  saMessage,
  spiMessage,
  template,
  XFRM,
} from "./xfrm-table.ts";

const CASES = 500;
const MESSAGES = 20_000;
const KEY_BYTES = { "aes-128-gcm": 20, "aes-256-gcm": 36, "chacha20-poly1305": 36 } as const;

function encode<T>(codec: Pick<Codec<T>, "encode">, value: T): Uint8Array<ArrayBuffer> {
  const writer = new Writer();
  codec.encode(writer, value);
  return writer.finish();
}

const address = (random: Random, family: 4 | 6): Ip =>
  ip(family, family === 4 ? BigInt(random.u32()) : (random.u64() << 64n) | random.u64());
const prefix = (random: Random, family: 4 | 6): Prefix =>
  prefixOf(address(random, family), random.below(family === 4 ? 33 : 129));
/** The value half of the time: a field that may be left out. */
const maybe = <K extends string, V>(random: Random, name: K, make: () => V): { [P in K]?: V } =>
  random.chance(0.5) ? ({ [name]: make() } as { [P in K]?: V }) : {};
const mark = (random: Random) => ({ value: random.u32(), mask: random.u32() });

function limit(random: Random): Limit {
  const number = () => (random.u64() >> 1n) + 1n;
  const some = {
    ...maybe(random, "bytes", number),
    ...maybe(random, "packets", number),
    ...maybe(random, "addSeconds", number),
    ...maybe(random, "useSeconds", number),
  };
  return Object.keys(some).length === 0 ? { bytes: 1n } : some;
}

const limits = (random: Random) => ({
  ...maybe(random, "soft", () => limit(random)),
  ...maybe(random, "hard", () => limit(random)),
});

function saChange(random: Random): SaChange {
  const family = random.pick([4, 6] as const);
  const algorithm = random.pick(Object.keys(KEY_BYTES) as XfrmAlgorithm[]);
  const port = () => random.below(0x10000);
  return {
    source: address(random, family),
    destination: address(random, family),
    spi: random.u32(),
    algorithm,
    material: new KeyMaterial(random.bytes(KEY_BYTES[algorithm])),
    extended: random.chance(0.5),
    direction: random.pick(["in", "out"] as const),
    reqid: random.u32(),
    sequence: random.u32(),
    window: random.below(4097),
    sent: random.u64(),
    limits: limits(random),
    flags: (
      [
        "noecn",
        "decap-dscp",
        "nopmtudisc",
        "wildrecv",
        "icmp",
        "af-unspec",
        "align4",
        "dont-encap-dscp",
      ] as const
    ).filter(() => random.chance(0.5)),
    ...maybe(random, "mark", () => mark(random)),
    ...maybe(random, "outputMark", () => mark(random)),
    ...maybe(random, "ifId", () => random.u32()),
    ...maybe(random, "tfcBytes", () => random.u32()),
    ...maybe(random, "cpu", () => random.below(4096)),
    ...maybe(random, "encapsulation", () => ({ sourcePort: port(), destinationPort: port() })),
  };
}

function policyChange(random: Random): PolicyChange {
  const family = random.pick([4, 6] as const);
  const outer = random.pick([4, 6] as const);
  const port = () =>
    random.chance(0.5)
      ? random.below(0x10000)
      : { value: random.below(0x10000), mask: 1 + random.below(0xfffe) };
  return {
    direction: random.pick(["in", "out", "fwd"] as const),
    selector: {
      source: prefix(random, family),
      destination: prefix(random, family),
      ...maybe(random, "protocol", () => 1 + random.below(255)),
      ...maybe(random, "sourcePort", port),
      ...maybe(random, "destinationPort", port),
      ...maybe(random, "linkIndex", () => 1 + random.below(1000)),
    },
    action: random.pick(["allow", "block"] as const),
    priority: random.u32(),
    templates: Array.from({ length: random.below(7) }, () => ({
      source: address(random, outer),
      destination: address(random, outer),
      reqid: random.u32(),
      mode: random.pick(["transport", "tunnel", "beet"] as const),
      spi: random.u32(),
      optional: random.chance(0.5),
    })),
    limits: limits(random),
    flags: (["localok", "icmp", "cpu-acquire"] as const).filter(() => random.chance(0.5)),
    ...maybe(random, "mark", () => mark(random)),
    ...maybe(random, "ifId", () => random.u32()),
  };
}

/** One message of each kind that the kernel sends. */
function messages(random: Random): [type: number, body: Uint8Array<ArrayBuffer>][] {
  const sa = saParts(saChange(random));
  const change = policyChange(random);
  const policy = policyMessage.decode(new Reader(addPolicy(change).message.body));
  const whole = saMessage.decode(new Reader(encode(saMessage, sa))).header;
  const { header: id } = saIdParts(saChange(random));
  return [
    [XFRM.newSa, encode(saMessage, sa)],
    [XFRM.updateSa, updateSa(saChange(random)).message.body],
    [XFRM.deleteSa, encode(saIdMessage, { header: id, body: { sa: whole } })],
    [XFRM.newPolicy, encode(policyMessage, policy)],
    [
      XFRM.deletePolicy,
      encode(policyIdMessage, { ...policyIdParts(change), body: { policy: policy.header } }),
    ],
    [XFRM.expire, encode(expireMessage, { header: { sa: whole, hard: random.below(2) }, body: {} })],
    [
      XFRM.policyExpire,
      encode(policyExpireMessage, { header: { policy: policy.header, hard: 1 }, body: policy.body }),
    ],
    [
      XFRM.acquire,
      encode(acquireMessage, {
        header: {
          id: whole.id,
          saddr: whole.saddr,
          selector: policy.header.selector,
          policy: policy.header,
          sequence: random.u32(),
        },
        body: { templates: policy.body.templates ?? [], cpu: 1, mark: mark(random) },
      }),
    ],
    [
      XFRM.mapping,
      encode(mappingMessage, {
        header: { id: { ...id, spi: 7 }, oldPort: 1, newPort: 2, reqid: 3 },
        body: {},
      }),
    ],
    [XFRM.flushSas, new Uint8Array(4)],
    [XFRM.flushPolicies, new Uint8Array(0)],
  ];
}

const eventOf = (type: number, body: Uint8Array): XfrmEvent | undefined =>
  decodeXfrmEvent(type, new Reader(body));

describe("XFRM messages", () => {
  const seed = newSeed();

  test(`${CASES} associations: what is asked for is what is read, but the key (SEED=${seed})`, () => {
    const random = new Random(seed);
    for (let i = 0; i < CASES; i++) {
      const change = saChange(random);
      const { material, direction, window, sent, cpu, flags = [], ...same } = change;
      const event = eventOf(XFRM.newSa, addSa(change).message.body);
      const told = cpu !== undefined;
      const inbound = direction === "in";
      const size = inbound ? (window as number) : told ? 0 : 32;
      expect(event).toEqual({
        kind: "sa",
        deleted: false,
        sa: {
          ...same,
          ...(told && { cpu, direction }),
          algorithmName:
            change.algorithm === "chacha20-poly1305" ? "rfc7539esp(chacha20,poly1305)" : "rfc4106(gcm(aes))",
          protocol: 50,
          mode: "tunnel",
          flags,
          usage: { bytes: 0n, packets: 0n, addedSeconds: 0n },
          replay: {
            sent: inbound ? 0n : (sent as bigint),
            received: 0n,
            window: size,
            bitmap: new Array(Math.ceil(size / 32)).fill(0),
          },
          late: 0,
          replayed: 0,
          forged: 0,
        },
      } as unknown as XfrmEvent);
      expect(Bun.inspect(event, { depth: 9 })).not.toContain(Buffer.from(material.reveal()).toString("hex"));
    }
  });

  test(`${CASES} policies: what is asked for is what is read (SEED=${seed})`, () => {
    const random = new Random(seed);
    for (let i = 0; i < CASES; i++) {
      const change = policyChange(random);
      const body = addPolicy(change).message.body;
      const usage = { bytes: 0n, packets: 0n, addedSeconds: 0n };
      const templates = (change.templates ?? []).map((template) => ({ ...template, protocol: 50 }));
      expect(eventOf(XFRM.newPolicy, body)).toEqual({
        kind: "policy",
        deleted: false,
        policy: { ...change, templates, usage, index: 0 },
      } as unknown as XfrmEvent);
      // And the same bytes come of what was decoded.
      expect(encode(policyMessage, policyMessage.decode(new Reader(body)))).toEqual(body);
    }
  });

  test(`windows: decode(encode(x)) = x and back (SEED=${seed})`, () => {
    const random = new Random(seed);
    for (let i = 0; i < CASES; i++) {
      const bitmap = Array.from({ length: random.below(129) }, () => random.u32());
      const state = {
        sent: random.u64(),
        received: random.u64(),
        window: random.below(bitmap.length * 32 + 1),
        bitmap,
      };
      const bytes = encode(replayEsn, state);
      expect(replayEsn.decode(new Reader(bytes))).toEqual(state);
      expect(encode(replayEsn, replayEsn.decode(new Reader(bytes)))).toEqual(bytes);
    }
  });

  test("structures have the kernel's sizes (include/uapi/linux/xfrm.h, x86-64)", () => {
    const size = (codec: Pick<Codec<never>, "encode">) =>
      encode(codec as Pick<Codec<unknown>, "encode">, { header: {}, body: {} }).length;
    expect(
      [saMessage, saIdMessage, spiMessage, policyMessage, policyIdMessage].map((codec) =>
        size(codec as never),
      ),
    ).toEqual([224, 24, 232, 168, 64]);
    expect(
      [expireMessage, policyExpireMessage, acquireMessage, mappingMessage].map((codec) =>
        size(codec as never),
      ),
    ).toEqual([232, 176, 280, 64]);
    expect(encode(template, {})).toHaveLength(64);
  });

  test("associations of one CPU are laid out as Linux 6.13 has them (include/uapi/linux/xfrm.h)", () => {
    /** Type and value of each attribute, after a header of so many bytes; not by our own decoder. */
    const attributes = (bytes: Uint8Array, header: number) => {
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
      const found = new Map<number, string>();
      for (let at = header; at < bytes.length; at += (view.getUint16(at, true) + 3) & ~3)
        found.set(
          view.getUint16(at + 2, true),
          Buffer.from(bytes.subarray(at + 4, at + view.getUint16(at, true))).toString("hex"),
        );
      return found;
    };
    const [source, destination] = [ip(4, 0xc0_00_02_01n), ip(4, 0xc0_00_02_02n)];
    using material = new KeyMaterial(new Uint8Array(20));
    const sa = { source, destination, spi: 0x1234, algorithm: "aes-128-gcm", material } as const;
    const change: SaChange = { ...sa, extended: true, direction: "out", reqid: 7, cpu: 0x0102 };
    const bytes = encode(saMessage, saParts(change) as never);
    // XFRMA_SA_DIR (33) is a byte, XFRM_SA_DIR_OUT 2; XFRMA_SA_PCPU (35) is a number in the machine's order.
    expect(attributes(bytes, 224).get(33)).toBe("02");
    expect(attributes(bytes, 224).get(35)).toBe("02010000");
    const { cpu: _, ...everywhere } = change;
    expect(attributes(encode(saMessage, saParts(everywhere) as never), 224).has(35)).toBe(false);
    // XFRM_POLICY_CPU_ACQUIRE is 4, in `flags` of struct xfrm_userpolicy_info.
    const anywhere = prefixOf(ip(4, 0n), 0);
    const policy = {
      direction: "out",
      selector: { source: anywhere, destination: anywhere },
      priority: 1,
    } as const;
    const flagsOf = (of: PolicyChange) => new Uint8Array(addPolicy(of).message.body)[162];
    expect([flagsOf(policy), flagsOf({ ...policy, flags: ["cpu-acquire"] })]).toEqual([0, 4]);
  });

  test("what cannot be asked for is refused, and the text has no key in it", () => {
    const random = new Random(seed);
    const sa = { ...saChange(random), algorithm: "aes-256-gcm" as const, direction: "in" as const };
    const short = new KeyMaterial(random.bytes(32));
    expect(() => addSa({ ...sa, material: short })).toThrow(
      new EncodeError("key and salt of aes-256-gcm have 36 bytes, not 32"),
    );
    expect(() => addSa({ ...sa, material: new KeyMaterial(random.bytes(36)), window: 4097 })).toThrow("4097");
    const wide = {
      ...sa,
      material: new KeyMaterial(random.bytes(36)),
      direction: "out" as const,
      sent: 1n << 64n,
    };
    expect(() => addSa(wide)).toThrow(EncodeError);
    const selector = { source: prefix(random, 4), destination: prefix(random, 6) };
    expect(() => deletePolicy({ direction: "in", selector })).toThrow("one family");
    expect([`${short}`, JSON.stringify({ short }), Bun.inspect(short)]).toEqual([
      "(hidden)",
      '{"short":"(hidden)"}',
      "(hidden)",
    ]);
    expect(deleteSa({ ...sa, destination: ip(4, 1n), spi: 256 }).action()).toBe(
      "delete association 0.0.0.1 spi 0x00000100",
    );
    short[Symbol.dispose]();
    expect(short.reveal()).toEqual(new Uint8Array(32));
  });

  test(`${MESSAGES} broken messages, as any type (SEED=${seed})`, () => {
    const random = new Random(seed);
    const good = Array.from({ length: 20 }, () => messages(random)).flat();
    const types = [...new Set(good.map(([type]) => type)), 22, 99];
    for (const [type, body] of good) expect(eventOf(type, body)).toBeDefined();
    let refused = 0;
    for (let i = 0; i < MESSAGES; i++) {
      const [type, body] = random.pick(good);
      const bytes = random.chance(0.1) ? random.bytes(random.below(400)) : random.mutate(body);
      try {
        eventOf(random.chance(0.1) ? random.pick(types) : type, bytes);
      } catch (error) {
        if (!(error instanceof DecodeError)) throw error;
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(0);
    expect(refused).toBeLessThan(MESSAGES);
  });
});
