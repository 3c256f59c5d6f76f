/** Endpoints as people write them: a name or an address, and a port. */
import { type Endpoint, parseIp, tryParseEndpoint } from "../net/mod.ts";
import { resolveHost } from "../sys/mod.ts";

/** resolveEndpoint returns the first address of `host:port`; rejects when the name does not resolve. */
export async function resolveEndpoint(text: string): Promise<Endpoint> {
  const literal = tryParseEndpoint(text);
  if (literal !== undefined) return literal;
  const match = /^([^:[\]]+):(\d{1,5})$/.exec(text);
  if (match === null) throw new Error(`"${text}" is not an endpoint; write it like hub.example.com:51820`);
  const [address] = await resolveHost(match[1] as string);
  if (address === undefined) throw new Error(`Cannot resolve ${match[1]}: it has no address`);
  return { ip: parseIp(address), port: Number(match[2]) };
}
