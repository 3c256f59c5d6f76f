/** Endpoint: an address and a UDP or TCP port. */
import { formatIp, type Ip, ipEqual, tryParseIp } from "./ip.ts";

export interface Endpoint {
  readonly ip: Ip;
  /** 1 to 65535. */
  readonly port: number;
}

/** tryParseEndpoint reads `192.0.2.1:51820` or `[2001:db8::1]:51820`; undefined for anything else, names included. */
export function tryParseEndpoint(text: string): Endpoint | undefined {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+)):([1-9]\d{0,4})$/.exec(text);
  if (match === null) return undefined;
  const address = tryParseIp((match[1] ?? match[2]) as string);
  const port = Number(match[3]);
  if (address === undefined || port > 65535 || (address.family === 6) !== (match[1] !== undefined))
    return undefined;
  return { ip: address, port };
}

/** parseEndpoint throws for text that is not an endpoint. */
export function parseEndpoint(text: string): Endpoint {
  const endpoint = tryParseEndpoint(text);
  if (endpoint === undefined)
    throw new Error(`"${text}" is not an endpoint; write it like 192.0.2.1:51820 or [2001:db8::1]:51820`);
  return endpoint;
}

/** formatEndpoint returns `address:port`, IPv6 in brackets. */
export function formatEndpoint(endpoint: Endpoint): string {
  const address = formatIp(endpoint.ip);
  return endpoint.ip.family === 6 ? `[${address}]:${endpoint.port}` : `${address}:${endpoint.port}`;
}

/** endpointEqual tells whether two endpoints are the same. */
export function endpointEqual(a: Endpoint, b: Endpoint): boolean {
  return a.port === b.port && ipEqual(a.ip, b.ip);
}
