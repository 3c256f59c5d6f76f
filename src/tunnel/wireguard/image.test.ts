import { describe, expect, test } from "bun:test";
import { type End, Network, peerOf } from "../../../test/support/wireguard-ends.ts";
import { parsePrefix, PrivateKey, Secret } from "../../net/mod.ts";
import { Device } from "./device.ts";
import type { DeviceImage, SessionImage } from "./image.ts";
import { SESSION, type SessionMemory } from "./session.ts";
import { decodeMessage } from "./message.ts";

/** Memory that outlives its device: numbered pieces. */
class Pieces implements SessionMemory {
  readonly all: Uint8Array[] = [];
  take(): Uint8Array {
    const memory = new Uint8Array(SESSION.bytes);
    this.all.push(memory);
    return memory;
  }
  give(memory: Uint8Array): void {
    memory.fill(0);
  }
}

/** Ends whose first one can be replaced by a successor. */
class Succession implements Disposable {
  readonly network = new Network(7);
  readonly pieces = new Pieces();
  readonly near: End;
  readonly far: End;

  constructor() {
    this.near = this.network.add("near");
    this.far = this.network.add("far");
    const { near } = this;
    near.device[Symbol.dispose]();
    this.#replace(new Device({ memory: this.pieces }));
    this.network.step(near, { kind: "configure", configuration: { privateKey: near.key } });
    this.network.meet(near, this.far);
  }

  #replace(device: Device): void {
    (this.near as { device: Device }).device = device;
  }

  image(): DeviceImage {
    const image = this.near.device.image(({ memory }) => this.pieces.all.indexOf(memory as Uint8Array));
    // It goes through a socket as text.
    return JSON.parse(JSON.stringify(image)) as DeviceImage;
  }

  /** succeed makes the near end another device, from an image; returns its effects. */
  succeed(
    image: DeviceImage,
    memoryOf: (session: SessionImage) => Uint8Array | undefined = ({ slot }) => this.pieces.all[slot],
  ) {
    const device = new Device({ memory: this.pieces });
    const effects = device.restore(image, memoryOf);
    // The predecessor ends as a process does: nothing is wiped.
    this.#replace(device);
    return effects;
  }

  /** meet makes a session that the near end began, without any crossing. */
  meet(): void {
    const { network, near, far } = this;
    network.send(near, far, 0);
    network.pass(50);
    expect(far.heard).toEqual([0]);
  }

  /** talk sends a packet each way, and tells whether both arrived. */
  talk(number: number): boolean {
    const { network, near, far } = this;
    network.send(near, far, number);
    network.send(far, near, number);
    network.pass(50);
    return near.heard.includes(number) && far.heard.includes(number);
  }

  [Symbol.dispose](): void {
    this.network[Symbol.dispose]();
  }
}

describe("a device and its successor", () => {
  test("show the same, and have the same secrets", () => {
    using pair = new Succession();
    const { network, near } = pair;
    const strangers = Array.from({ length: 5 }, (_, i) => ({
      publicKey: PrivateKey.random().publicKey,
      allowedIps: [parsePrefix(`10.${i + 1}.0.0/16`), parsePrefix(`fd00:${i}::/64`)].map((prefix) => ({
        prefix,
      })),
      ...(i % 2 === 0 ? { presharedKey: Secret.random() } : {}),
      ...(i % 3 === 0 ? { keepaliveSeconds: 20 + i } : {}),
    }));
    network.step(near, { kind: "configure", configuration: { fwmark: 0xfffffffe, peers: strangers } });
    network.step(near, { kind: "bound", port: 4711 });
    expect(pair.talk(1)).toBe(true);
    const revealed = () => {
      const { privateKey, presharedKeys, ...rest } = near.device.secrets();
      return {
        ...rest,
        privateKey: [...(privateKey?.reveal() ?? [])],
        presharedKeys: new Map([...presharedKeys].map(([key, psk]) => [key, [...psk.reveal()]])),
      };
    };
    const before = [near.device.read(), revealed(), near.device.counts()];
    pair.succeed(pair.image());
    expect([near.device.read(), revealed(), near.device.counts()]).toEqual(before);
  });

  test("one session goes on: no handshake, no counter again, nothing replayed", () => {
    using pair = new Succession();
    const { network, near, far } = pair;
    const seen: Uint8Array<ArrayBuffer>[] = [];
    pair.meet();
    network.onDatagram = ({ bytes }) => seen.push(bytes.slice()) > 0;
    expect(pair.talk(2)).toBe(true);
    const toNear = seen.filter((bytes) => near.device.session(receiver(bytes)) !== undefined);
    const effects = pair.succeed(pair.image());
    expect(effects.map(({ kind }) => kind)).toEqual(["added", "insert", "started"]);
    expect(pair.talk(3)).toBe(true);
    expect(seen.map((bytes) => bytes[0])).toEqual(seen.map(() => 4));
    const counters = seen.map((bytes) => `${receiver(bytes)} ${bytes[8]}`);
    expect(new Set(counters).size).toBe(counters.length);
    const heard = near.heard.length;
    for (const bytes of toNear) network.deliver(near, bytes, far.endpoint);
    expect(near.heard).toHaveLength(heard);
  });

  test("what was counted, the last handshake and the place of a peer that moved stay", () => {
    using pair = new Succession();
    const { network, near, far } = pair;
    expect(pair.talk(1)).toBe(true);
    far.endpoint = { ...far.endpoint, port: 40_000 };
    network.send(far, near, 2);
    network.pass(50);
    const before = peerOf(near, far.key.publicKey);
    expect(before?.endpoint?.port).toBe(40_000);
    pair.succeed(pair.image());
    expect(peerOf(near, far.key.publicKey)).toEqual(before);
    expect(pair.talk(3)).toBe(true);
  });

  test("a handshake that waited for its answer is begun again at once", () => {
    using pair = new Succession();
    const { network, near, far } = pair;
    let lost = 0;
    network.onDatagram = () => ++lost > 1;
    network.send(near, far, 1);
    expect(lost).toBe(1);
    pair.succeed(pair.image());
    network.pass(100);
    expect(lost).toBeGreaterThan(1);
    expect(
      near.device.sendable(near.device.numberOf(far.key.publicKey) as number, network.nowMs),
    ).toBeDefined();
    expect(pair.talk(2)).toBe(true);
  });

  test("an answer to the predecessor's initiation does no harm", () => {
    using pair = new Succession();
    const { network, near, far } = pair;
    const answers: Uint8Array<ArrayBuffer>[] = [];
    network.onDatagram = ({ bytes }) => {
      if (decodeMessage(bytes)?.kind !== "response") return true;
      answers.push(bytes.slice());
      return false;
    };
    network.send(near, far, 1);
    network.pass(10);
    pair.succeed(pair.image());
    network.onDatagram = undefined;
    for (const bytes of answers) network.deliver(near, bytes, far.endpoint);
    expect(near.device.counts().sessions).toBe(0);
    network.pass(6000);
    expect(pair.talk(2)).toBe(true);
  });

  test("an initiation that was answered before is not answered again", () => {
    using pair = new Succession();
    const { network, near, far } = pair;
    const initiations: Uint8Array<ArrayBuffer>[] = [];
    network.onDatagram = ({ bytes }) => {
      if (decodeMessage(bytes)?.kind === "initiation") initiations.push(bytes.slice());
      return true;
    };
    network.send(far, near, 1);
    network.pass(50);
    expect(initiations).toHaveLength(1);
    pair.succeed(pair.image());
    network.pass(1000);
    const before = near.device.counts();
    network.deliver(near, initiations[0] as Uint8Array, far.endpoint);
    expect(near.device.counts()).toEqual(before);
  });

  test("a session whose memory is gone is made anew", () => {
    using pair = new Succession();
    const { network, near } = pair;
    pair.meet();
    network.pass(6000);
    const effects = pair.succeed(pair.image(), () => undefined);
    expect(effects.map(({ kind }) => kind)).toEqual(["added", "insert"]);
    expect(near.device.counts()).toMatchObject({ sessions: 0, indices: 0 });
    network.send(near, pair.far, 2);
    network.pass(100);
    expect(pair.far.heard).toContain(2);
    expect(pair.talk(3)).toBe(true);
  });

  test("of three sessions those stay whose memory is there", () => {
    using pair = new Succession();
    const { network, near, far } = pair;
    pair.meet();
    network.pass(125_000);
    expect(pair.talk(2)).toBe(true);
    const image = pair.image();
    const { sessions } = image.peers[0] as DeviceImage["peers"][number];
    expect(Object.keys(sessions).sort()).toEqual(["current", "previous"]);
    const kept = sessions.current?.slot;
    pair.succeed(image, ({ slot }) => (slot === kept ? pair.pieces.all[slot] : undefined));
    expect(near.device.counts().sessions).toBe(1);
    expect(pair.talk(3)).toBe(true);
    expect(peerOf(near, far.key.publicKey)?.lastHandshakeMs).toBeDefined();
  });

  test("a device without a key, and one without peers", () => {
    using pair = new Succession();
    const device = new Device();
    const image = JSON.parse(JSON.stringify(device.image(() => 0))) as DeviceImage;
    expect(image).toEqual({ listenPort: 0, fwmark: 0, peers: [] });
    pair.succeed(image);
    expect(pair.near.device.read()).toEqual(device.read());
    expect(() => {
      pair.network.step(pair.near, { kind: "configure", configuration: { privateKey: pair.near.key } });
      pair.near.device.restore(image, () => undefined);
    }).toThrow("in use");
  });
});

describe("secrets", () => {
  test("the image has the private key and the pre-shared keys, and of sessions only numbers", () => {
    using pair = new Succession();
    const { network, near, far } = pair;
    const psk = Secret.random();
    for (const [end, other] of [
      [near, far],
      [far, near],
    ] as const)
      network.step(end, {
        kind: "configure",
        configuration: { peers: [{ publicKey: other.key.publicKey, presharedKey: psk }] },
      });
    pair.meet();
    const text = JSON.stringify(pair.image());
    const shared = near.device.peer(1)?.staticStatic?.reveal() as Uint8Array;
    const forms = (bytes: Uint8Array) =>
      ["base64", "hex"].map((form) => Buffer.from(bytes).toString(form as "hex"));
    for (const secret of [near.key.reveal(), psk.reveal()])
      expect(forms(secret).filter((form) => text.includes(form))).toHaveLength(1);
    const [memory] = pair.pieces.all as [Uint8Array];
    for (const secret of [shared, memory.subarray(0, 32), memory.subarray(32, 64)]) {
      expect(secret.every((byte) => byte === 0)).toBe(false);
      for (const form of forms(secret)) expect(text).not.toContain(form);
    }
    const numbers = { slot: 0, initiator: true, bornMs: expect.any(Number) };
    expect(pair.image().peers[0]?.sessions).toEqual({
      current: { ...numbers, localIndex: expect.any(Number), remoteIndex: expect.any(Number) },
    });
  });
});

function receiver(bytes: Uint8Array): number {
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(4, true);
}
