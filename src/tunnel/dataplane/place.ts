/**
 * Where a peer is, as one block of bytes that threads hand to each other: the memory of path/endpoint-memory.ts, with the address of ours
 * that the peer speaks to.
 */
import { type Endpoint, ipBytes, ipFromBytes } from "../../net/mod.ts";
import { SOCKET_ADDRESS, socketAddress, stable } from "../../sys/mod.ts";
import { ENDPOINT, ENDPOINT_BYTES } from "../path/mod.ts";

const AF_INET = 2;

/** Place has ENDPOINT_BYTES bytes. */
export type Place = Uint8Array<ArrayBuffer>;

/** placeOf returns the place of an endpoint that was configured: which address of ours is used is the system's choice. */
export function placeOf({ ip, port }: Endpoint): Place {
  const place = stable(ENDPOINT_BYTES);
  const address = socketAddress(ipBytes(ip), port);
  place.set(address, ENDPOINT.address);
  new DataView(place.buffer).setInt32(ENDPOINT.addressBytes, address.length, true);
  return place;
}

/** endpointOf returns the address and port of a place. */
export function endpointOf(place: Place): Endpoint {
  const view = new DataView(place.buffer, place.byteOffset);
  const four = view.getUint16(ENDPOINT.address + SOCKET_ADDRESS.family, true) === AF_INET;
  const at = ENDPOINT.address + (four ? SOCKET_ADDRESS.address4 : SOCKET_ADDRESS.address6);
  return {
    ip: ipFromBytes(place.slice(at, at + (four ? 4 : 16))),
    port: view.getUint16(ENDPOINT.address + SOCKET_ADDRESS.port),
  };
}

/** familyOf returns the address family of a place. */
export function familyOf(place: Uint8Array): 4 | 6 {
  return ((place[0] as number) | ((place[1] as number) << 8)) === AF_INET ? 4 : 6;
}
