import { describe, expect, test } from "bun:test";
import { type End, Network } from "../../../test/support/wireguard-ends.ts";
import { formatEndpoint, parseEndpoint } from "../../net/mod.ts";
import { ENDPOINT } from "../path/mod.ts";
import { PeerOrders } from "./peer-orders.ts";
import { endpointOf, placeOf } from "./place.ts";

/** Two devices that know each other, and what the workers of the first one were told. */
function setUp(): { network: Network; near: End; far: End; orders: PeerOrders; peer: number } {
  const network = new Network(1);
  const [near, far] = [network.add("near"), network.add("far")];
  network.meet(near, far);
  const peer = near.device.numberOf(far.key.publicKey) as number;
  return { network, near, far, orders: new PeerOrders(near.device), peer };
}

const hex = (place: Uint8Array) => Buffer.from(place).toString("hex");

/** A place with an address of ours in it. */
function metAt(text: string) {
  const place = placeOf(parseEndpoint(text));
  new DataView(place.buffer).setInt32(ENDPOINT.controlBytes, 32, true);
  place.fill(7, ENDPOINT.control, ENDPOINT.control + 32);
  return place;
}

describe("what workers know of a peer", () => {
  test("is told once, and again when it changes", () => {
    const { network, near, far, orders, peer } = setUp();
    using _ = network;
    expect(orders.update(peer)).toEqual({ kind: "peer", peer, place: hex(placeOf(far.endpoint)) });
    expect(orders.update(peer)).toBeUndefined();
    network.send(near, far, 1);
    network.pass(100);
    const session = near.device.peer(peer)?.keypairs.current?.localIndex as number;
    expect(orders.update(peer)).toEqual({ kind: "peer", peer, place: hex(placeOf(far.endpoint)), session });
    expect(orders.update(peer)).toBeUndefined();
  });

  test("without an endpoint there is no place, and a removed peer is told to be so, once", () => {
    const { network, near, far, orders } = setUp();
    using _ = network;
    const third = network.add("third");
    network.introduce(near, third, { unknown: true });
    const peer = near.device.numberOf(third.key.publicKey) as number;
    expect(orders.update(peer)).toEqual({ kind: "peer", peer });
    const { publicKey } = third.key;
    network.step(near, { kind: "configure", configuration: { peers: [{ publicKey, remove: true }] } });
    expect(orders.update(peer)).toEqual({ kind: "removed", peer });
    expect(orders.update(peer)).toBeUndefined();
    expect(near.device.numberOf(far.key.publicKey)).toBeDefined();
  });

  test("of a peer that was met there, the place has the address of ours that it speaks to", () => {
    const { network, far, orders, peer } = setUp();
    using _ = network;
    const met = metAt(formatEndpoint(far.endpoint));
    orders.met(peer, met);
    expect(orders.place(peer, far.endpoint)).toBe(met);
    expect(orders.update(peer)).toEqual({ kind: "peer", peer, place: hex(met) });
  });

  test("a place that the peer has left says nothing of the new one", () => {
    const { network, near, far, orders, peer } = setUp();
    using _ = network;
    orders.met(peer, metAt(formatEndpoint(far.endpoint)));
    orders.update(peer);
    const endpoint = parseEndpoint("198.51.100.9:9");
    const { publicKey } = far.key;
    network.step(near, { kind: "configure", configuration: { peers: [{ publicKey, endpoint }] } });
    expect(orders.update(peer)).toEqual({ kind: "peer", peer, place: hex(placeOf(endpoint)) });
    expect(formatEndpoint(endpointOf(orders.place(peer, endpoint)))).toBe("198.51.100.9:9");
    expect(formatEndpoint(endpointOf(orders.place(undefined, endpoint)))).toBe("198.51.100.9:9");
  });
});
