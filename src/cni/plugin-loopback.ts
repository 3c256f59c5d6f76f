/**
 * The plugin `loopback`: `lo` of a container comes up, and its addresses are told. Runtimes call it for every pod, beside the ADD of the
 * pod network, and fail the pod without it. It needs no agent: this executable, called by that name, does all of it.
 *
 * As light as plugin.ts, for the same reason.
 */
import { formatIp, type Ip, ipFromBytes } from "../net/ip.ts";
import { enterNetns, Netdevice } from "../sys/netdevice.ts";
import { answerVersion, parseCall, parseContainer, parseNetwork } from "./call.ts";
import { CniError, formatError } from "./error.ts";
import { isObject, type Reader } from "./json.ts";
import type { CniVersion, PluginAnswer, PluginRequest } from "./protocol.ts";
import type { Result } from "./result.ts";

/** The interface is this one whatever CNI_IFNAME says, as in the reference plugin. */
const NAME = "lo";

/** loopback serves one call: ADD, DEL, CHECK, STATUS, GC. */
export async function loopback(request: PluginRequest): Promise<PluginAnswer> {
  try {
    return { status: 0, output: await serve(request) };
  } catch (error) {
    const cause = error instanceof Error ? error : new Error(String(error));
    const known = cause instanceof CniError ? cause : new CniError("kernel", cause.message, { cause });
    return { status: 1, output: formatError(known, answerVersion(request.stdin)) };
  }
}

async function serve(request: PluginRequest): Promise<string> {
  const { command, reader } = parseCall(request);
  const { version } = parseNetwork(reader);
  if (command === "STATUS" || command === "GC") return "";
  parseContainer(request.environment);
  if (command === "DEL") return takeDown(request);
  const previous = await previousOf(reader);
  const passed = previous?.format(version);
  const problem = enter(request);
  if (problem !== undefined) throw problem;
  using device = Netdevice.open(NAME);
  if (command === "CHECK") return check(device, previous?.result);
  device.setUp(true);
  return passed ?? format(addressesOf(device), request, version);
}

/** A result of plugins before us is passed on; one of our own ADD is checked. */
async function previousOf(reader: Reader) {
  const value = reader.value("prevResult");
  if (value === undefined) return undefined;
  if (!isObject(value)) throw reader.wrong("prevResult", "a result");
  const { formatResult, parseResult } = await import("./result.ts");
  const result = parseResult(value);
  return { result, format: (version: CniVersion) => formatResult(result, version) };
}

/** enter goes into the container's namespace, or returns why it is not one. */
function enter({ environment }: PluginRequest): CniError | undefined {
  const path = environment.CNI_NETNS ?? "";
  const refuse = (problem: string) =>
    new CniError("badNetns", `Cannot use CNI_NETNS ${path}: ${problem}`, {
      details: `CNI_NETNS is ${JSON.stringify(path)}`,
    });
  let found: ReturnType<typeof enterNetns>;
  try {
    found = enterNetns(path);
  } catch (error) {
    return refuse(error instanceof Error ? error.message : String(error));
  }
  if (found === "none") return refuse("it is not a network namespace");
  const override = ["1", "true"].includes(environment.CNI_NETNS_OVERRIDE?.toLowerCase() ?? "");
  if (found === "own" && !override) return refuse("it is the node's own namespace, not a container's");
  return undefined;
}

/** D2, D3: where no container's namespace is, nothing is left to undo; the node's own `lo` stays up. */
function takeDown(request: PluginRequest): "" {
  if (request.environment.CNI_NETNS === undefined || enter(request) !== undefined) return "";
  using device = Netdevice.open(NAME);
  device.setUp(false);
  return "";
}

/** K3: `lo` is up, and has those of the loopback addresses that ADD had told of. */
function check(device: Netdevice, previous: Result | undefined): "" {
  if (!device.up) throw damaged(`${NAME} is down in the container`);
  const found = addressesOf(device).map(({ ip }) => formatIp(ip));
  for (const { address } of previous?.addresses ?? [])
    if (isLoopback(address.ip) && !found.includes(formatIp(address.ip)))
      throw damaged(`address ${formatIp(address.ip)} is missing on ${NAME}`);
  return "";
}

function damaged(what: string): CniError {
  return new CniError("checkFailed", `Cannot confirm the attachment: ${what}`);
}

interface Address {
  readonly ip: Ip;
  readonly length: number;
}

function addressesOf(device: Netdevice): Address[] {
  return device
    .addresses()
    .map(({ bytes, length }) => ({ ip: ipFromBytes(bytes), length }))
    .filter(({ ip }) => isLoopback(ip));
}

function isLoopback({ family, value }: Ip): boolean {
  return family === 4 ? value >> 24n === 127n : value === 1n;
}

/** The few forms that this result has; result.ts knows all, and would cost more than the whole call. */
function format(addresses: readonly Address[], { environment }: PluginRequest, version: CniVersion): string {
  const texts = addresses.map(({ ip, length }) => [ip.family, `${formatIp(ip)}/${length}`] as const);
  if (version < "0.3.0") {
    if (texts.length === 0)
      throw new CniError("incompatibleVersion", "cannot convert: no valid IP addresses");
    const families = texts.map(([family, ip]) => [`ip${family}`, { ip }]);
    return JSON.stringify({ cniVersion: version, ...Object.fromEntries(families), dns: {} });
  }
  const older = version < "1.0.0";
  return JSON.stringify({
    cniVersion: version,
    interfaces: [{ name: NAME, mac: "00:00:00:00:00:00", sandbox: environment.CNI_NETNS }],
    ips: texts.map(([family, address]) => ({
      ...(older && { version: String(family) }),
      address,
      interface: 0,
    })),
    ...(older && { dns: {} }),
  });
}
