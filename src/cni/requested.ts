/** Which addresses, IP and Ethernet, the runtime asks for: the first of three places that says anything is heard. */
import {
  type InterfaceAddress,
  ipEqual,
  type Mac,
  macBytes,
  parseMac,
  tryParseInterfaceAddress,
  tryParseIp,
} from "../net/mod.ts";
import { CniError } from "./error.ts";
import { attempt, type Reader } from "./json.ts";

/** Requested is what a container must get; an address that came without a length has the whole one. */
export interface Requested {
  readonly addresses: readonly InterfaceAddress[];
  readonly mac?: Mac;
}

/** One pod must not take all that a node has. */
const MOST_ADDRESSES = 32;

/** requestedOf reads the capabilities `ips` and `mac`, `args.cni`, and the pairs of CNI_ARGS. */
export function requestedOf(reader: Reader, args: ReadonlyMap<string, string>): Requested {
  const runtime = reader.object("runtimeConfig");
  const hints = hintsOf(reader);
  const mac = stationMac(runtime?.string("mac")) ?? hints.mac ?? stationMac(args.get("MAC"));
  return { addresses: requestedAddresses(runtime, hints, args), ...(mac !== undefined && { mac }) };
}

/** Hints are what `args.cni` asks for, as far as it is understood: a runtime must not expect an error (conventions, "args"). */
interface Hints {
  readonly ips: readonly string[];
  readonly mac: Mac | undefined;
}

function hintsOf(reader: Reader): Hints {
  const hints = attempt(() => reader.object("args")?.object("cni"));
  const ips = attempt(() => hints?.strings("ips")) ?? [];
  return {
    ips: ips.filter((text) => parseAddress(text) !== undefined),
    mac: attempt(() => stationMac(hints?.string("mac"))),
  };
}

function parseAddress(text: string): InterfaceAddress | undefined {
  const ip = tryParseIp(text);
  return ip === undefined ? tryParseInterfaceAddress(text) : { ip, length: ip.family === 4 ? 32 : 128 };
}

function requestedAddresses(
  runtime: Reader | undefined,
  hints: Hints,
  args: ReadonlyMap<string, string>,
): InterfaceAddress[] {
  const [place, texts] = [
    ["runtimeConfig.ips", runtime?.strings("ips") ?? []] as const,
    ["args.cni.ips", hints.ips] as const,
    ["CNI_ARGS IP", args.get("IP")?.split(",").filter(Boolean) ?? []] as const,
  ].find(([, list]) => list.length > 0) ?? ["", []];
  if (texts.length > MOST_ADDRESSES)
    throw new CniError("badConfiguration", `Cannot use ${place}: ${MOST_ADDRESSES} addresses are the most`, {
      details: `${place} has ${texts.length}`,
    });
  const addresses = texts.map((text) => {
    const address = parseAddress(text);
    if (address !== undefined) return address;
    throw new CniError("badConfiguration", `Cannot use ${place}: not an IP address`, {
      details: `${place} has ${JSON.stringify(text)}`,
    });
  });
  return addresses.filter(({ ip }, index) => addresses.findIndex((other) => ipEqual(other.ip, ip)) === index);
}

/** stationMac reads the Ethernet address of one station; code 7 for what is none. */
export function stationMac(text: string | undefined): Mac | undefined {
  if (text === undefined) return undefined;
  const problem = (why: string) =>
    new CniError("badConfiguration", `Cannot use the requested MAC address: ${why}`, {
      details: `mac is ${JSON.stringify(text)}`,
    });
  let mac: Mac;
  try {
    mac = parseMac(text);
  } catch {
    throw problem("it is not written like 02:00:00:00:00:01");
  }
  const first = macBytes(mac)[0] ?? 0;
  if ((first & 1) !== 0 || mac === 0) throw problem("it is not the address of one station");
  return mac;
}
