/**
 * Every fate of the next three datagrams, in every state of a pair: each arrives, arrives and comes once more later, is overtaken, or gets
 * lost. Where nothing is on its way the next timer runs. Then the network is good again, and all has to go on.
 */
import { describe, expect, test } from "bun:test";
import { type End, Network } from "../../../test/support/wireguard-ends.ts";
import type { Endpoint } from "../../net/mod.ts";
import { keypairsOf } from "./keypair.ts";
import type { PeerState } from "./peer-state.ts";

/** Datagrams whose fate is chosen, and from how many at the front each is taken. */
const DEPTH = 3;
const FRONT = 2;
const fates = ["arrives", "arrives, and comes again", "is lost"] as const;

interface Flight {
  readonly from: Endpoint;
  readonly to: Endpoint;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** Two devices, and what is between them. */
class Scene implements Disposable {
  readonly network = new Network(1);
  readonly a: End = this.network.add("a");
  readonly b: End = this.network.add("b");
  readonly flights: Flight[] = [];
  readonly sent = new Map<End, number>();

  constructor() {
    this.network.meet(this.a, this.b);
  }

  get ends(): readonly End[] {
    return this.network.ends;
  }

  other(end: End): End {
    return end === this.a ? this.b : this.a;
  }

  stateOf(end: End): PeerState {
    const number = end.device.numberOf(this.other(end).key.publicKey);
    return end.device.peer(number as number) as PeerState;
  }

  send(from: End): void {
    const number = this.sent.get(from) ?? 0;
    this.sent.set(from, number + 1);
    this.network.send(from, this.other(from), number);
  }

  /** A session that both have used. */
  talk(): void {
    this.send(this.a);
    this.network.pass(10);
    this.send(this.b);
    this.network.pass(1000);
  }

  forget(end: End): void {
    const { publicKey } = this.other(end).key;
    this.network.step(end, { kind: "configure", configuration: { peers: [{ publicKey, remove: true }] } });
    this.network.introduce(end, this.other(end));
  }

  /** One datagram of those at the front has one of the fates; `choose` says which. */
  step(choose: (options: number) => number): string {
    const { network, flights } = this;
    if (flights.length === 0) {
      const dueMs = Math.min(...this.ends.map(({ device }) => device.nextDueMs() ?? network.nowMs));
      network.until(dueMs);
      return "time passes";
    }
    const choice = choose(fates.length * Math.min(FRONT, flights.length));
    const fate = fates[choice % fates.length] as (typeof fates)[number];
    const [flight] = flights.splice(Math.floor(choice / fates.length), 1) as [Flight];
    if (fate !== "is lost") {
      if (fate !== "arrives") flights.push(flight);
      const [to] = this.ends.filter(({ endpoint }) => endpoint.ip.value === flight.to.ip.value) as [End];
      network.deliver(to, flight.bytes, flight.from);
    }
    return `${flight.bytes[0] === 4 ? "data" : `message ${flight.bytes[0]}`} ${fate}`;
  }

  /** What must hold at any moment. */
  check(): void {
    for (const end of this.ends) {
      const { keypairs, pending } = this.stateOf(end);
      const sessions = keypairsOf(keypairs);
      expect(end.device.counts().indices).toBe(sessions.length + (pending === undefined ? 0 : 1));
      for (const session of sessions) expect(end.device.session(session.localIndex)).toBe(session);
      expect(new Set(end.heard).size).toBe(end.heard.length);
    }
  }

  [Symbol.dispose](): void {
    this.network[Symbol.dispose]();
  }
}

/** How a pair comes there, and whether packets under a session that only one of them has are lost whatever happens. */
const states: Record<string, { readonly enter: (scene: Scene) => void; readonly loses?: boolean }> = {
  "no session": { enter: () => {} },
  "a session": { enter: (scene) => scene.talk() },
  "a session that is not confirmed": {
    enter: (scene) => {
      const { network, a, b } = scene;
      network.onDatagram = ({ bytes }) => bytes[0] !== 4;
      network.introduce(a, b, { keepaliveSeconds: 1 });
      network.introduce(a, b, { keepaliveSeconds: 0 });
      network.pass(100);
      expect([scene.stateOf(a).keypairs.current, scene.stateOf(b).keypairs.next]).not.toContain(undefined);
      expect(scene.stateOf(b).keypairs.current).toBeUndefined();
    },
  },
  "a session to be renewed": {
    enter: (scene) => {
      scene.talk();
      scene.network.pass(121_000);
    },
  },
  "a session that is over": {
    enter: (scene) => {
      scene.talk();
      scene.network.pass(181_000);
    },
  },
  "a session that the initiator has no more": {
    enter: (scene) => {
      scene.talk();
      scene.forget(scene.a);
    },
    loses: true,
  },
  "a session that the responder has no more": {
    enter: (scene) => {
      scene.talk();
      scene.forget(scene.b);
    },
    loses: true,
  },
};

/** Who has a packet to send when it begins. */
const senders: Record<string, (scene: Scene) => readonly End[]> = {
  "the first one sends": ({ a }) => [a],
  "the other one sends": ({ b }) => [b],
  "both send": ({ a, b }) => [a, b],
};

/** Plays one story; returns it with the number of choices at each step. */
function play(state: string, sending: string, chosen: readonly number[]): readonly number[] {
  using scene = new Scene();
  const { network } = scene;
  const { enter, loses = false } = states[state] as (typeof states)[string];
  enter(scene);
  network.onDatagram = (flight) => scene.flights.push(flight) < 0;
  for (const end of (senders[sending] as (typeof senders)[string])(scene)) scene.send(end);
  const options: number[] = [];
  const story: string[] = [];
  try {
    for (let i = 0; i < DEPTH; i++) {
      story.push(
        scene.step((count) => {
          options.push(count);
          return chosen[options.length - 1] ?? 0;
        }),
      );
      scene.check();
    }
    // The network is good again. What waited was only late.
    network.onDatagram = undefined;
    network.weather = { delayMs: 1 };
    for (const flight of scene.flights.splice(0)) network.launch(flight);
    network.pass(loses ? 1000 : 6000);
    const isLost = loses || story.some((line) => line.endsWith("is lost"));
    const missing = () =>
      scene.ends.flatMap((end) => {
        const all = Array.from({ length: scene.sent.get(scene.other(end)) ?? 0 }, (_, number) => number);
        return all.filter((number) => !end.heard.includes(number)).map((number) => `${end.name} ${number}`);
      });
    if (!isLost) expect(missing()).toEqual([]);
    // The longest wait: a session that the other one does not have is noticed after 15 s, and an initiation is repeated after 5 s.
    for (let i = 0; i < 6; i++) {
      for (const end of scene.ends) scene.send(end);
      network.pass(4000);
    }
    scene.check();
    const before = missing();
    for (const end of scene.ends) scene.send(end);
    network.pass(100);
    expect(missing()).toEqual(before);
    scene.check();
    const [left, right] = scene.ends.map((end) => scene.stateOf(end).keypairs.current);
    expect([left?.localIndex, left?.remoteIndex]).toEqual([right?.remoteIndex, right?.localIndex]);
  } catch (error) {
    throw new Error(`${story.join("; ")}: ${error instanceof Error ? error.message : error}`);
  }
  return options;
}

describe("every fate of the next datagrams", () => {
  for (const state of Object.keys(states))
    for (const sending of Object.keys(senders))
      test(`${state}, ${sending}`, () => {
        let stories = 0;
        for (let chosen: number[] | undefined = []; chosen !== undefined; stories++) {
          const options = play(state, sending, chosen);
          const next = options.map((_, i) => chosen?.[i] ?? 0);
          // As an odometer: the last choice first.
          while (next.length > 0 && (next.at(-1) as number) + 1 === options[next.length - 1]) next.pop();
          if (next.length > 0) next[next.length - 1] = (next.at(-1) as number) + 1;
          chosen = next.length === 0 ? undefined : next;
        }
        expect(stories).toBeGreaterThanOrEqual(3);
      }, 60_000);
});
