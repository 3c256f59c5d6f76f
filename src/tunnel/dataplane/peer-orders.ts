/** What the workers know of each peer, so that they are told what changed and nothing else. */
import { type Endpoint, endpointEqual } from "../../net/mod.ts";
import type { Device } from "../wireguard/mod.ts";
import type { Order } from "./link.ts";
import { endpointOf, type Place, placeOf } from "./place.ts";

/** No session has this index. */
const UNTOLD = -1;

/** PeerOrders compares a device with what was told. */
export class PeerOrders {
  readonly #device: Device;
  readonly #told = new Map<
    number,
    { readonly place: string | undefined; readonly session: number | undefined }
  >();
  /** Where authentic packets of a peer came from, with the address of ours that they went to. */
  readonly #places = new Map<number, Place>();

  constructor(device: Device) {
    this.#device = device;
  }

  /** met notes where a peer is. */
  met(peer: number, place: Place): void {
    this.#places.set(peer, place);
  }

  /** place returns where to send to: the place that a peer was met at, if it is that endpoint. */
  place(peer: number | undefined, to: Endpoint): Place {
    const met = peer === undefined ? undefined : this.#places.get(peer);
    return met !== undefined && endpointEqual(endpointOf(met), to) ? met : placeOf(to);
  }

  /** update returns the order that makes the workers' peer that of the device; undefined if it is. */
  update(peer: number): Order | undefined {
    const state = this.#device.peer(peer);
    if (state === undefined) return this.#forget(peer);
    const { endpoint } = state;
    const place =
      endpoint === undefined ? undefined : Buffer.from(this.place(peer, endpoint)).toString("hex");
    const { current, held } = state.keypairs;
    const session = held === true ? undefined : current?.localIndex;
    const told = this.#told.get(peer);
    if (told !== undefined && told.place === place && told.session === session) return undefined;
    this.#told.set(peer, { place, session });
    return {
      kind: "peer",
      peer,
      ...(place === undefined ? {} : { place }),
      ...(session === undefined ? {} : { session }),
    };
  }

  /** repeat makes the next `update` of a peer an order in any case: a worker may have gone ahead. */
  repeat(peer: number): void {
    if (this.#told.has(peer)) this.#told.set(peer, { place: undefined, session: UNTOLD });
  }

  #forget(peer: number): Order | undefined {
    this.#places.delete(peer);
    return this.#told.delete(peer) ? { kind: "removed", peer } : undefined;
  }
}
