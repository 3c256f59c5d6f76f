/** Every message in every state. The other side is made by hand, so that it can say anything at any time. */
import { describe, expect, test } from "bun:test";
import { Hand } from "../../../test/support/wireguard-hand.ts";
import { ipv4Packet } from "../../../test/support/wireguard-ends.ts";
import {
  type Endpoint,
  parseEndpoint,
  parseIp,
  parsePrefix,
  PrivateKey,
  publicKeyBytes,
} from "../../net/mod.ts";
import { Device } from "./device.ts";
import { decodeMessage } from "./message.ts";
import type { PeerState } from "./peer-state.ts";
import type { Session } from "./session.ts";
import { act, type Outcome, receiveDatagram, sendPacket } from "./slow-path.ts";
import { dataReceiver } from "./transport.ts";

const HOME = parseEndpoint("192.0.2.2:51820");
const [OURS, THEIRS] = [parseIp("10.0.0.1"), parseIp("10.0.0.2")];
const packet = ipv4Packet(OURS, { to: THEIRS, number: 1 });
const answer = ipv4Packet(THEIRS, { to: OURS, number: 2 });

/** Us, and the peer by hand. */
class Scene implements Disposable {
  readonly key: PrivateKey;
  readonly device = new Device();
  readonly hand: Hand;
  nowMs = 1000;
  /** What we sent last, of each kind. */
  readonly last: { initiation?: Uint8Array; response?: Uint8Array } = {};
  #seconds = 100;

  constructor(options: { readonly yields?: boolean } = {}) {
    // Which of two sessions survives depends on whose public key is the greater.
    let key = PrivateKey.random();
    let hand = new Hand(publicKeyBytes(key.publicKey));
    const smaller = () =>
      Buffer.compare(publicKeyBytes(key.publicKey), publicKeyBytes(hand.key.publicKey)) < 0;
    while (options.yields !== undefined && smaller() !== options.yields) {
      key = PrivateKey.random();
      hand = new Hand(publicKeyBytes(key.publicKey));
    }
    this.key = key;
    this.hand = hand;
    const peer = {
      publicKey: hand.key.publicKey,
      endpoint: HOME,
      allowedIps: [{ prefix: parsePrefix("10.0.0.2/32") }],
    };
    this.did(
      act(
        this.device,
        { kind: "configure", configuration: { privateKey: key, peers: [peer] } },
        this.clock(),
      ),
    );
  }

  clock() {
    return { nowMs: this.nowMs, wallMs: 1_700_000_000_000 + this.nowMs };
  }

  get peer(): PeerState {
    return this.device.peer(1) as PeerState;
  }

  /** An initiation that is later than all before. */
  initiation() {
    this.nowMs += 20;
    return this.hand.initiation({ seconds: ++this.#seconds });
  }

  did(outcome: Outcome): string[] {
    const said = outcome.datagrams.map(({ bytes }) => {
      const message = decodeMessage(bytes);
      if (message?.kind === "initiation") this.last.initiation = bytes;
      if (message?.kind === "response") this.last.response = bytes;
      return (
        message?.kind ??
        (dataReceiver(bytes) === undefined ? "?" : bytes.length === 32 ? "keepalive" : "data")
      );
    });
    return [...said, ...outcome.packets.map(() => "to the link")];
  }

  get(bytes: Uint8Array, from: Endpoint = HOME): string[] {
    return this.did(receiveDatagram(this.device, bytes, { ...this.clock(), from }));
  }

  send(): string[] {
    return this.did(sendPacket(this.device, packet, this.clock()));
  }

  due(): string[] {
    return this.did(act(this.device, { kind: "due" }, this.clock()));
  }

  /** Which sessions there are, and whether a handshake is under way. */
  shows(): string {
    const { pending, keypairs, staged } = this.peer;
    const { previous, current, next, crossing } = keypairs;
    const parts = Object.entries({ pending, previous, current, next, staged: staged[0] })
      .filter(([, value]) => value !== undefined)
      .map(([name]) => name);
    return [...parts, ...(crossing === undefined ? [] : [`(${crossing})`])].join(" ") || "nothing";
  }

  [Symbol.dispose](): void {
    this.device[Symbol.dispose]();
  }
}

/** What the peer has in its hands in a state. */
interface Held {
  /** Its session that is our current one; previous; next. */
  readonly current?: Session;
  readonly previous?: Session;
  readonly next?: Session;
  /** An initiation that was answered. */
  readonly answered?: Uint8Array;
  /** A response that was believed. */
  readonly believed?: Uint8Array;
}

const states: Record<string, (scene: Scene) => Held> = {
  "no session": () => ({}),
  "initiation sent": (scene) => {
    expect(scene.send()).toEqual(["initiation"]);
    return {};
  },
  "initiation answered": (scene) => {
    const begun = scene.initiation();
    expect(scene.get(begun.bytes)).toEqual(["response"]);
    return { next: scene.hand.session(begun, scene.last.response as Uint8Array), answered: begun.bytes };
  },
  "session as initiator": (scene) => {
    scene.send();
    const { bytes, session } = scene.hand.response(scene.last.initiation as Uint8Array);
    expect(scene.get(bytes)).toEqual(["data"]);
    // Heard of, so that no timer waits for it.
    expect(scene.get(scene.hand.data(session))).toEqual([]);
    return { current: session, believed: bytes };
  },
  "session as responder": (scene) => {
    const begun = scene.initiation();
    scene.get(begun.bytes);
    const session = scene.hand.session(begun, scene.last.response as Uint8Array);
    scene.get(scene.hand.data(session));
    return { current: session, answered: begun.bytes };
  },
  "session, and one that waits": (scene) => {
    const { current } = (states["session as responder"] as (s: Scene) => Held)(scene);
    const begun = scene.initiation();
    scene.get(begun.bytes);
    const next = scene.hand.session({ ...begun }, scene.last.response as Uint8Array);
    return { current: current as Session, next, answered: begun.bytes };
  },
  "session, renewing": (scene) => {
    const held = (states["session as initiator"] as (s: Scene) => Held)(scene);
    scene.nowMs += 120_000;
    expect(scene.send()).toEqual(["data", "initiation"]);
    return held;
  },
  "two sessions": (scene) => {
    const first = (states["session, renewing"] as (s: Scene) => Held)(scene);
    const { bytes, session } = scene.hand.response(scene.last.initiation as Uint8Array, 0x2001);
    scene.get(bytes);
    return { previous: first.current as Session, current: session, believed: bytes };
  },
  "crossed initiations": (scene) => {
    scene.send();
    const begun = scene.initiation();
    scene.get(begun.bytes);
    const next = scene.hand.session(begun, scene.last.response as Uint8Array);
    const { bytes, session } = scene.hand.response(scene.last.initiation as Uint8Array);
    scene.get(bytes);
    return { current: session, next, answered: begun.bytes, believed: bytes };
  },
  "session over": (scene) => {
    const held = (states["session as initiator"] as (s: Scene) => Held)(scene);
    scene.nowMs += 180_000;
    return held;
  },
};

type Say = (scene: Scene, held: Held) => Uint8Array | undefined;
const under =
  (slot: "previous" | "current" | "next", inside?: Uint8Array): Say =>
  ({ hand }, held) => {
    const session = held[slot];
    return session === undefined ? undefined : hand.data(session, inside);
  };

const messages: Record<string, Say> = {
  "a new initiation": (scene) => scene.initiation().bytes,
  "an old initiation": (_, { answered }) => answered,
  "the response": ({ hand, peer, last }) =>
    peer.pending === undefined ? undefined : hand.response(last.initiation as Uint8Array, 0x3000).bytes,
  "an old response": (_, { believed }) => believed,
  "a cookie": ({ hand, last }) => {
    const message = last.initiation ?? last.response;
    return message === undefined ? undefined : hand.cookieReply(message, new Uint8Array(16).fill(7));
  },
  "a packet under current": under("current", answer),
  "a packet under previous": under("previous", answer),
  "a packet under next": under("next", answer),
  "a keepalive under next": under("next"),
};

/** What we do, and what there is after it. A message that cannot exist in a state has no row. */
const expected: Record<string, Record<string, string>> = {
  "no session": {
    "a new initiation": "response → next",
  },
  "initiation sent": {
    "a new initiation": "response → pending next staged",
    "the response": "data → current",
    "a cookie": "silence → pending staged",
  },
  "initiation answered": {
    "a new initiation": "response → next",
    "an old initiation": "silence → next",
    "a cookie": "silence → next",
    "a packet under next": "to the link → current",
    "a keepalive under next": "silence → current",
  },
  "session as initiator": {
    "a new initiation": "response → current next",
    "an old response": "silence → current",
    "a cookie": "silence → current",
    "a packet under current": "to the link → current",
  },
  "session as responder": {
    "a new initiation": "response → current next",
    "an old initiation": "silence → current",
    "a cookie": "silence → current",
    "a packet under current": "to the link → current",
  },
  "session, and one that waits": {
    "a new initiation": "response → current next",
    "an old initiation": "silence → current next",
    "a cookie": "silence → current next",
    "a packet under current": "to the link → current next",
    "a packet under next": "to the link → previous current",
    "a keepalive under next": "silence → previous current",
  },
  "session, renewing": {
    "a new initiation": "response → pending current next",
    "the response": "keepalive → previous current",
    "an old response": "silence → pending current",
    "a cookie": "silence → pending current",
    "a packet under current": "to the link → pending current",
  },
  "two sessions": {
    "a new initiation": "response → previous current next (open)",
    "an old response": "silence → previous current",
    "a cookie": "silence → previous current",
    "a packet under current": "to the link → previous current",
    "a packet under previous": "to the link → previous current",
  },
  "crossed initiations": {
    "a new initiation": "response → previous current next (open)",
    "an old initiation": "silence → current next (open)",
    "an old response": "silence → current next (open)",
    "a cookie": "silence → current next (open)",
    "a packet under current": "to the link → current next (settled)",
    "a packet under next": "to the link → current next (open)",
    "a keepalive under next": "silence → current next (open)",
  },
  "session over": {
    "a new initiation": "response → current next",
    "an old response": "silence → current",
    "a cookie": "silence → current",
    "a packet under current": "silence → current",
  },
};

describe("every message in every state", () => {
  for (const [state, enter] of Object.entries(states)) {
    const rows = expected[state] ?? {};

    test(`${state}: there are no other messages`, () => {
      for (const [message, say] of Object.entries(messages)) {
        using scene = new Scene({ yields: false });
        expect([message, say(scene, enter(scene)) !== undefined]).toEqual([message, message in rows]);
      }
    });

    for (const [message, wanted] of Object.entries(rows)) {
      /** The message, and the state in which it comes. */
      const prepare = () => {
        const scene = new Scene({ yields: false });
        return { scene, bytes: messages[message]?.(scene, enter(scene)) as Uint8Array };
      };
      const elsewhere = parseEndpoint("203.0.113.9:9");

      test(`${state}: ${message}`, () => {
        const { scene, bytes } = prepare();
        using _ = scene;
        const did = scene.get(bytes).join(", ") || "silence";
        expect(`${did} → ${scene.shows()}`).toBe(wanted);
      });

      test(`${state}: ${message}, a second time and from elsewhere: silence`, () => {
        const { scene, bytes } = prepare();
        using _ = scene;
        scene.get(bytes);
        const before = scene.peer;
        expect(scene.get(bytes, elsewhere)).toEqual([]);
        expect(scene.peer).toBe(before);
      });

      test(`${state}: ${message}, with one bit changed: silence`, () => {
        const { scene, bytes } = prepare();
        using _ = scene;
        const before = scene.peer;
        // mac2 counts only under load.
        const end = bytes.length === 148 || bytes.length === 92 ? bytes.length - 16 : bytes.length;
        for (let at = 0; at < end; at++) {
          const changed = bytes.slice();
          changed[at] = (changed[at] as number) ^ 0x80;
          expect([at, scene.get(changed, elsewhere)]).toEqual([at, []]);
          expect(scene.peer).toBe(before);
        }
      });
    }
  }
});

test("crossed initiations: with the smaller key we change over to the peer's session, and it is used from then on", () => {
  using scene = new Scene({ yields: true });
  const held = (states["crossed initiations"] as (s: Scene) => Held)(scene);
  expect(scene.shows()).toBe("current next (open)");
  expect(scene.get(scene.hand.data(held.next as Session, answer))).toEqual(["to the link"]);
  expect(scene.shows()).toBe("current next (settled)");
  expect(scene.peer.keypairs.current?.remoteIndex).toBe(held.next?.localIndex as number);
  expect(scene.send()).toEqual(["data"]);
  // What was on its way under the other one arrives as well.
  expect(scene.get(scene.hand.data(held.current as Session, answer))).toEqual(["to the link"]);
});

test("a peer that did not hear of the present session, and is elsewhere now, is followed after some seconds", () => {
  using scene = new Scene();
  const held = (states["two sessions"] as (s: Scene) => Held)(scene);
  const moved = parseEndpoint("198.51.100.9:9");
  const hears = () => {
    expect(scene.get(scene.hand.data(held.previous as Session, answer), moved)).toContain("to the link");
    return scene.peer.endpoint;
  };
  // It may have come by another way, which does not know the present one.
  expect(hears()).toEqual(HOME);
  scene.nowMs += 4_999;
  expect(hears()).toEqual(HOME);
  scene.nowMs += 1;
  expect(hears()).toEqual(moved);
});
