/** The control thread without workers: two of them on real sockets in one namespace, driven turn by turn. */
import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { parseEndpoint, parseIp, parsePrefix, PrivateKey } from "../../src/net/mod.ts";
import { Arena, attachTun, type Fd } from "../../src/sys/mod.ts";
import { Control } from "../../src/tunnel/dataplane/control.ts";
import { Poller } from "../../src/tunnel/dataplane/poller.ts";
import { SessionStore } from "../../src/tunnel/dataplane/session-store.ts";
import { closeGroups, openGroups } from "../../src/tunnel/dataplane/steering.ts";
import { Workers } from "../../src/tunnel/dataplane/workers.ts";
import { SESSION } from "../../src/tunnel/wireguard/mod.ts";
import { udpPacket } from "../support/crowd.ts";
import { Scratch } from "../support/scratch.ts";

const skip =
  process.getuid?.() !== 0 ? "needs root" : existsSync("/dev/net/tun") ? undefined : "needs /dev/net/tun";

describe.skipIf(skip !== undefined)(`the control thread${skip === undefined ? "" : ` (${skip})`}`, () => {
  const poller = new Poller(new Arena({ bytes: 1 << 16 }), 16);

  /** One of two ends: keys, a control thread, and its number. */
  function makeEnd(scratch: Scratch, number: number) {
    const tun = attachTun(`c${number}`, { netns: scratch.netns, vnetHeader: true, multiQueue: true });
    const groups = scratch.netns.run(() => openGroups(0, 2));
    const store = SessionStore.create();
    const control = new Control({ store, workers: new Workers(2, store), groups, tun, mtuBytes: 1420 });
    return { control, store, groups, tun, key: PrivateKey.random(), inside: parseIp(`10.0.0.${number}`) };
  }
  type End = ReturnType<typeof makeEnd>;

  function setUp(): { scratch: Scratch; ends: readonly [End, End]; turn: () => void } & Disposable {
    const scratch = new Scratch();
    scratch.text("ip link set lo up");
    const ends = [makeEnd(scratch, 1), makeEnd(scratch, 2)] as const;
    const [one, other] = ends;
    for (const [end, peer] of [
      [one, other],
      [other, one],
    ] as const)
      end.control.step({
        kind: "configure",
        configuration: {
          privateKey: end.key,
          peers: [
            {
              publicKey: peer.key.publicKey,
              endpoint: parseEndpoint(`127.0.0.1:${peer.control.port}`),
              allowedIps: [{ prefix: parsePrefix(`10.0.0.${peer === one ? 1 : 2}/32`) }],
            },
          ],
        },
      });
    const turn = () =>
      scratch.netns.run(() => {
        for (let i = 0; i < 20; i++)
          for (const { control } of ends) {
            control.tick();
            poller.turn(
              control.watched(() => {}),
              1,
            );
          }
      });
    return {
      scratch,
      ends,
      turn,
      [Symbol.dispose]: () => {
        for (const { groups, tun } of ends) {
          closeGroups(groups);
          (tun as Fd).close();
        }
        scratch[Symbol.dispose]();
      },
    };
  }

  const send = (from: End, to: End, text: string) =>
    from.control.step({ kind: "packets", peer: 1, packets: [udpPacket(from.inside, to.inside, text)] });
  const current = ({ control }: End) => control.device.peer(1)?.keypairs.current;

  test("a packet without a session begins a handshake, and goes when there is one", () => {
    using made = setUp();
    const [one, other] = made.ends;
    send(one, other, "hello");
    made.turn();
    expect(current(one)).toBeDefined();
    // It cannot be opened here, since that is a worker's work; the responder waits for it.
    expect(other.control.device.counts().sessions).toBe(1);
    expect(one.control.device.read().peers[0]?.txBytes).toBeGreaterThan(148 + 32);
    // The session lies in the shared memory, and says whose it is.
    const session = current(one) as NonNullable<ReturnType<typeof current>>;
    const slot = one.store.slotOf(session.memory);
    const memory = SessionStore.open(one.store.fd).memory(slot);
    expect(new DataView(memory.buffer, memory.byteOffset).getUint32(SESSION.localIndex, true)).toBe(
      session.localIndex,
    );
  });

  test("a slot is wiped when the protocol and all workers have let it go, not before", () => {
    using made = setUp();
    const [one, other] = made.ends;
    send(one, other, "hello");
    made.turn();
    const session = current(one) as NonNullable<ReturnType<typeof current>>;
    const slot = one.store.slotOf(session.memory);
    const isClean = () => one.store.memory(slot).every((byte) => byte === 0);
    one.control.step({
      kind: "configure",
      configuration: { peers: [{ publicKey: other.key.publicKey, remove: true }] },
    });
    one.control.step({ kind: "due" });
    for (let worker = 0; worker < 2; worker++) {
      expect(isClean()).toBe(false);
      one.control.hear({ kind: "list", list: [{ kind: "released", slot }] }, { worker, hear: () => {} });
    }
    expect(isClean()).toBe(true);
  });

  test("what workers report moves counters and the place of a peer; of sessions that are over it is ignored", () => {
    using made = setUp();
    const [one, other] = made.ends;
    send(one, other, "hello");
    made.turn();
    const session = current(one) as NonNullable<ReturnType<typeof current>>;
    const before = one.control.device.read().peers[0];
    const report = (index: number) =>
      one.control.hear(
        {
          kind: "list",
          list: [{ kind: "traffic", session: index, received: { data: true, bytes: 1000 } }],
        },
        { worker: 0, hear: () => {} },
      );
    report(session.localIndex);
    expect(one.control.device.read().peers[0]?.rxBytes).toBe((before?.rxBytes ?? 0) + 1000);
    report((session.localIndex + 1) >>> 0);
    expect(one.control.device.read().peers[0]?.rxBytes).toBe((before?.rxBytes ?? 0) + 1000);
  });

  test("a successor has the sessions of its predecessor, in the same memory; without the memory none", () => {
    using made = setUp();
    const [one, other] = made.ends;
    send(one, other, "hello");
    made.turn();
    const image = JSON.parse(JSON.stringify(one.control.image())) as ReturnType<typeof one.control.image>;
    const session = current(one) as NonNullable<ReturnType<typeof current>>;
    for (const [store, expected] of [
      [SessionStore.open(one.store.fd), session.localIndex],
      [SessionStore.create(), undefined],
    ] as const) {
      const { groups, tun } = one;
      const heir = new Control({ store, workers: new Workers(2, store), groups, tun, mtuBytes: 1420 });
      heir.restore(image, 7);
      const kept = heir.device.peer(1)?.keypairs.current;
      expect(kept?.localIndex).toBe(expected as number);
      expect([heir.port, heir.mark, heir.device.read().listenPort]).toEqual([
        one.control.port,
        7,
        one.control.port,
      ]);
      if (kept !== undefined) expect([...kept.sendKey]).toEqual([...session.sendKey]);
    }
  });

  test("a message that is none of the protocol's is nothing to it", () => {
    using made = setUp();
    const [one] = made.ends;
    const place = new Uint8Array(80);
    place.set([2, 0, 0x12, 0x34, 127, 0, 0, 1]);
    const before = one.control.device.counts();
    for (const bytes of [
      new Uint8Array(0),
      new Uint8Array(1),
      new Uint8Array(148).fill(1),
      new Uint8Array(32).fill(4),
    ])
      one.control.hear({ kind: "datagram", place, datagram: bytes }, { worker: 0, hear: () => {} });
    expect(one.control.device.counts()).toEqual(before);
  });
});
