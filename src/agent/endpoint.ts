/** Endpoints as people write them: a name or an address, and a port. */
import { type Endpoint, parseIp, tryParseEndpoint } from "../net/mod.ts";
import { resolveHost } from "../sys/mod.ts";

/** resolveEndpoint returns all addresses of `host:port`, best first; rejects when the name does not resolve. */
async function resolveEndpoint(text: string, resolve: typeof resolveHost): Promise<Endpoint[]> {
  const literal = tryParseEndpoint(text);
  if (literal !== undefined) return [literal];
  const match = /^([^:[\]]+):(\d{1,5})$/.exec(text);
  if (match === null) throw new Error(`"${text}" is not an endpoint; write it like hub.example.com:51820`);
  const addresses = await resolve(match[1] as string);
  if (addresses.length === 0) throw new Error(`Cannot resolve ${match[1]}: it has no address`);
  return addresses.map((address) => ({ ip: parseIp(address), port: Number(match[2]) }));
}

/**
 * resolveInTurn returns the endpoint to try in this turn, from 0: first the best address of each endpoint, then the second best, and so
 * on, since a name may have an address of a family that does not lead there from here. One that does not resolve is passed over;
 * rejects when none does.
 */
export async function resolveInTurn(
  texts: readonly string[],
  turn: number,
  resolve: typeof resolveHost = resolveHost,
): Promise<Endpoint> {
  let failure: unknown;
  for (let i = 0; i < texts.length; i++) {
    try {
      const found = await resolveEndpoint(texts[(turn + i) % texts.length] as string, resolve);
      return found[Math.floor(turn / texts.length) % found.length] as Endpoint;
    } catch (error) {
      failure = error;
    }
  }
  throw failure ?? new Error("there is no endpoint");
}
