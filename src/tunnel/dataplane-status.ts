/**
 * What the data-plane process says of itself, on the same socket as its settings: an operation of ours beside `get` and `set`, which holds
 * no secrets. wg(8) never asks for it, and a program that is not ours refuses it or closes the connection.
 *
 * ```
 *   get_dataplane=1      version=0.1.0 build=5f0c… pid=812 aead=ipsec-mb 2.0.0 workers=2
 *                        (passed_over=ipsec-mb-1: reason)* (counter=number)* errno=0
 * ```
 * Both sides use this file. Keys that are not known and have a number are counters, others are skipped: the process may be of another
 * version than the one that asks.
 */
import { checkErrno } from "./uapi.ts";
import { pairs } from "./uapi-field.ts";

/** GET_DATAPLANE is the request. */
export const GET_DATAPLANE = "get_dataplane=1\n\n";

/** DataplaneStatus is the answer. */
export interface DataplaneStatus {
  /** The version for people, `0.1.0`. */
  readonly version: string;
  /** What tells two builds apart, also those of one version. */
  readonly build: string;
  /** The process that answers, as it sees itself. */
  readonly pid: number;
  /** The AEAD provider's name: `ipsec-mb 2.0.0`, `libcrypto 3`. */
  readonly aead: string;
  /** Providers that come before it and cannot be used here. */
  readonly passedOver: readonly { readonly name: string; readonly reason: string }[];
  readonly workers: number;
  /** Random, of 32 bits: another after sessions and circuits were lost, the same after a successor took them over. Absent from builds without it. */
  readonly life?: number;
  /** Numbers that only grow: packets that were `forged`, `replayed`, `unrouted` and so on. */
  readonly counters: Readonly<Record<string, number>>;
}

/** encodeDataplaneStatus returns the answer without its end, `errno`. */
export function encodeDataplaneStatus(status: DataplaneStatus): string {
  return [
    `version=${status.version}`,
    `build=${status.build}`,
    `pid=${status.pid}`,
    `aead=${status.aead}`,
    `workers=${status.workers}`,
    ...(status.life === undefined ? [] : [`life=${status.life}`]),
    ...status.passedOver.map(({ name, reason }) => `passed_over=${name}: ${oneLine(reason)}`),
    ...Object.entries(status.counters).map(([name, count]) => `${name}=${count}`),
  ]
    .map((line) => `${line}\n`)
    .join("");
}

/** providerText names for people who runs a tunnel: `causeway 0.1.0, ChaCha20-Poly1305 by ipsec-mb 2.0.0`. */
export function providerText({ version, aead }: DataplaneStatus): string {
  return `causeway ${version}, ChaCha20-Poly1305 by ${aead}`;
}

/** An empty line would end the answer. */
function oneLine(text: string): string {
  return text.replace(/\s+/g, " ").trim();
}

/** decodeDataplaneStatus reads the answer; throws UapiError for one that says no, and an Error for what is no such answer. */
export function decodeDataplaneStatus(answer: string): DataplaneStatus {
  const all = pairs(answer);
  checkErrno(all);
  const texts = new Map<string, string>();
  const passedOver: { name: string; reason: string }[] = [];
  const counters: Record<string, number> = {};
  for (const [key, value] of all) {
    if (key === "errno") continue;
    else if (key === "passed_over") {
      const [name = "", ...reason] = value.split(": ");
      passedOver.push({ name, reason: reason.join(": ") });
    } else if (described.has(key)) texts.set(key, value);
    else if (isCount(value)) counters[key] = Number(value);
  }
  const text = (key: string): string => {
    const value = texts.get(key);
    if (value === undefined) throw new Error(`the answer has no ${key}`);
    return value;
  };
  const count = (key: string): number => {
    if (!isCount(text(key))) throw new Error(`${key} is not a number`);
    return Number(text(key));
  };
  return {
    version: text("version"),
    build: text("build"),
    pid: count("pid"),
    aead: text("aead"),
    workers: count("workers"),
    ...(texts.has("life") ? { life: count("life") } : {}),
    passedOver,
    counters,
  };
}

const described: ReadonlySet<string> = new Set(["version", "build", "pid", "aead", "workers", "life"]);

function isCount(text: string): boolean {
  return /^\d{1,15}$/.test(text);
}
