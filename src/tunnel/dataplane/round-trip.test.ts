/** What a hub holds of where its peers are, when one of them writes another's address into its packets. */
import { describe, expect, test } from "bun:test";
import { newSeed } from "../../../test/support/random.ts";
import { type End, Network } from "../../../test/support/wireguard-ends.ts";
import { type Endpoint, formatEndpoint, parseEndpoint } from "../../net/mod.ts";
import type { PeerState } from "../wireguard/mod.ts";
import { HubRelay } from "./hub-relay.ts";
import { provenMs } from "./round-trip.ts";

const ROUND_TRIP_MS = 20;
const INITIATION = 1;
const seed = newSeed();

/** World is a hub and two members. */
class World implements Disposable {
  readonly network = new Network(seed);
  readonly hub: End;
  readonly member: End;
  readonly victim: End;
  readonly relay: HubRelay;

  constructor() {
    const { network } = this;
    network.weather = { delayMs: ROUND_TRIP_MS / 2 };
    [this.hub, this.member, this.victim] = [network.add("hub"), network.add("member"), network.add("victim")];
    for (const one of [this.member, this.victim]) network.meet(one, this.hub, { known: "by a" });
    this.relay = new HubRelay(this.hub.device);
    const classes = new Map([this.member, this.victim].map(({ key }) => [key.publicKey, 1] as const));
    this.relay.configure({ enabled: true, allow: "same", classes }, network.nowMs);
  }

  /** The peer's state at the hub. */
  at(one: End): PeerState {
    const number = this.hub.device.numberOf(one.key.publicKey);
    return this.hub.device.peer(number as number) as PeerState;
  }

  pass(ms: number): void {
    this.network.pass(ms);
    for (const one of [this.member, this.victim])
      this.relay.update(this.at(one).identity.number, this.network.nowMs);
  }

  /** When a member proved to be where the hub has it. */
  proven(one: End): number | undefined {
    const { keypairs, endpoint } = this.at(one);
    return provenMs(keypairs.current, endpoint);
  }

  /** Where the relay sends what is for a member, if that has its place. */
  holds(one: End): string | undefined {
    let place: string | undefined;
    for (const step of this.relay.all())
      if (step.kind === "node" && step.node === this.at(one).identity.number)
        place = step.endpoint && formatEndpoint(step.endpoint);
    return place;
  }

  /** Writes other addresses into a member's datagrams from now on. */
  forge(one: End, sources: { readonly initiation: Endpoint; readonly rest: Endpoint }): void {
    this.network.onDatagram = ({ from, to, bytes }) => {
      if (from !== one.endpoint) return true;
      this.network.launch({ from: bytes[0] === INITIATION ? sources.initiation : sources.rest, to, bytes });
      return false;
    };
  }

  /** No more of that. */
  honest(): void {
    this.network.onDatagram = undefined;
  }

  [Symbol.dispose](): void {
    this.network[Symbol.dispose]();
  }
}

describe(`a place is proved by what went there, seed ${seed}`, () => {
  test("by who begins, and by who is asked", () => {
    using world = new World();
    world.network.send(world.member, world.hub, 1);
    world.pass(100);
    expect(world.proven(world.member)).toBe(world.at(world.member).keypairs.current?.bornMs);
    expect(world.holds(world.member)).toBe(formatEndpoint(world.member.endpoint));
    // The hub has something to say when the session is over.
    world.pass(181_000);
    world.network.send(world.hub, world.member, 2);
    world.pass(100);
    expect(world.at(world.member).keypairs.current?.initiator).toBe(true);
    expect(world.network.nowMs - (world.proven(world.member) ?? 0)).toBeLessThan(101);
  });

  for (const asked of [false, true])
    test(`who writes another's address into its packets is not there, ${asked ? "asked" : "begun"} from its own`, () => {
      using world = new World();
      const { network, hub, member, victim } = world;
      for (const one of [victim, member]) network.send(one, hub, 1);
      world.pass(60_000);
      world.forge(member, { initiation: member.endpoint, rest: victim.endpoint });
      if (!asked) network.send(member, hub, 2);
      world.pass(100);
      const before = world.at(member);
      expect(before.endpoint).toEqual(asked ? member.endpoint : victim.endpoint);
      world.pass(asked ? 121_000 : 61_000);
      network.send(victim, hub, 3);
      world.pass(100);
      if (asked) network.send(hub, member, 3);
      else network.send(member, hub, 3);
      world.pass(100);
      const { keypairs, endpoint } = world.at(member);
      expect(keypairs.current?.initiator).toBe(asked);
      expect(keypairs.current).not.toBe(before.keypairs.current);
      expect([keypairs.current?.spokeTo, endpoint]).toEqual([member.endpoint, victim.endpoint]);
      expect(world.proven(member)).toBeUndefined();
      expect([world.holds(victim), world.holds(member)]).toEqual([
        formatEndpoint(victim.endpoint),
        undefined,
      ]);
      // Asked, it does not hear that we have the answer: that goes to the victim.
      if (asked) return;
      // Where our message went it has been.
      world.honest();
      network.send(member, hub, 4);
      world.pass(100);
      expect(world.at(member).endpoint).toEqual(member.endpoint);
      expect(world.proven(member)).toBe(keypairs.current?.bornMs);
      expect(world.holds(member)).toBe(formatEndpoint(member.endpoint));
    });

  test("a node whose first word from another address is an initiation is there", () => {
    using world = new World();
    const { network, hub, member } = world;
    network.send(member, hub, 1);
    world.pass(121_000);
    const before = world.at(member).keypairs.current;
    const elsewhere = parseEndpoint("198.51.100.7:7");
    world.forge(member, { initiation: elsewhere, rest: member.endpoint });
    network.send(member, hub, 2);
    world.honest();
    member.endpoint = elsewhere;
    world.pass(100);
    // The session before was still good.
    const { current } = world.at(member).keypairs;
    expect(current).not.toBe(before);
    expect(world.at(member).endpoint).toEqual(elsewhere);
    expect(world.proven(member)).toBe(current?.bornMs);
    expect(world.holds(member)).toBe(formatEndpoint(elsewhere));
  });

  test("a response that nobody took up proves nothing", () => {
    using world = new World();
    const { network, hub, member, victim } = world;
    world.forge(member, { initiation: victim.endpoint, rest: victim.endpoint });
    network.send(member, hub, 1);
    world.pass(100);
    const { keypairs, endpoint } = world.at(member);
    expect([keypairs.next?.spokeTo, endpoint]).toEqual([victim.endpoint, victim.endpoint]);
    expect(provenMs(keypairs.next, endpoint)).toBeUndefined();
  });
});
