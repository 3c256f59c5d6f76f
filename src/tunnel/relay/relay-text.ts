/**
 * The relay in the text of the UAPI socket: an extension of `set` that only our own engine knows, and of the answer to `get_dataplane`
 * (../dataplane-status.ts). `wg` and other programs never see it.
 *
 * ```
 *   relay=true                       of the device; relay=false
 *   relay_allow=1:2                  two classes that may talk, any number of lines: replaced as a whole; relay_allow=same: each with itself; relay_allow=: none
 *   relay_rate=125000000             bytes a second for each pair of nodes; 0 is no limit
 *   relay_xdp=eth0                   an interface at which the kernel may send data on, any number of lines: replaced as a whole; relay_xdp=: none
 *   relay_successor=HEX HEX          the next key of a node and its present one, any number of lines: replaced as a whole; relay_successor=: none
 *   replace_relay_classes=true       nodes that are not named lose their class
 *   relay_class=1                    of a peer, after its public_key; relay_class=none. It holds for the key, whether there is such a peer now or not
 * ```
 */
import { type PublicKey, publicKeyBytes, publicKeyFromBytes } from "../../net/mod.ts";
import { line, type Pair, pairs, parseField } from "../uapi-field.ts";
import type { ClassPair, RelayChange } from "./policy.ts";

type Changing<T> = { -readonly [K in keyof T]: T[K] };

/** encodeRelay returns the request that makes a change. */
export function encodeRelay(change: RelayChange): string {
  const { enabled, allow, bytesPerSecond, xdpLinks, replaceClasses, successors, classes = [] } = change;
  const lines = ["set=1"];
  if (enabled !== undefined) lines.push(`relay=${enabled}`);
  if (allow === "same") lines.push("relay_allow=same");
  else if (allow?.length === 0) lines.push("relay_allow=");
  else for (const [a, b] of allow ?? []) lines.push(`relay_allow=${a}:${b}`);
  if (bytesPerSecond !== undefined)
    lines.push(`relay_rate=${bytesPerSecond === "unlimited" ? 0 : bytesPerSecond}`);
  if (xdpLinks?.length === 0) lines.push("relay_xdp=");
  else for (const link of xdpLinks ?? []) lines.push(`relay_xdp=${link}`);
  if (successors?.size === 0) lines.push("relay_successor=");
  else for (const keys of successors ?? []) lines.push(`relay_successor=${keys.map(hexOf).join(" ")}`);
  if (replaceClasses === true) lines.push("replace_relay_classes=true");
  for (const [key, value] of classes)
    lines.push(line("public_key", publicKeyBytes(key)), line("update_only", true), `relay_class=${value}`);
  return `${lines.join("\n")}\n\n`;
}

/** DecodedRelay is what a request says of the relay, and the request without it; absent where there is none. */
export interface DecodedRelay {
  readonly change?: RelayChange;
  readonly rest?: string;
}

/** decodeRelay takes a request apart. Throws for what cannot be read; its error names the key. */
export function decodeRelay(request: string): DecodedRelay {
  if (!request.includes("\nrelay") && !request.includes("\nreplace_relay")) return { rest: request };
  const change: Changing<RelayChange> = {};
  const allow: ClassPair[] = [];
  const links: string[] = [];
  const successors = new Map<PublicKey, PublicKey>();
  const classes = new Map<PublicKey, number | "none">();
  const rest: Pair[] = [];
  let peer: Pair[] | undefined;
  const endPeer = () => {
    // Nothing but the class was said of it.
    if (peer?.some(([name]) => name !== "public_key" && name !== "update_only") === true) rest.push(...peer);
    peer = undefined;
  };
  for (const pair of pairs(request)) {
    const [name, value] = pair;
    if (name === "public_key") {
      endPeer();
      peer = [pair];
    } else if (name === "relay_class" && peer !== undefined) {
      const [[, key]] = peer as [Pair];
      classes.set(publicKeyFromBytes(parseField("public_key", key)), readClass(value));
    } else if (name === "relay_allow" && peer === undefined) {
      change.allow = value === "same" ? "same" : allow;
      if (value !== "same" && value !== "") allow.push(readPair(value));
    } else if (name === "relay_xdp" && peer === undefined) {
      change.xdpLinks = links;
      if (value !== "") links.push(value);
    } else if (name === "relay_successor" && peer === undefined) {
      change.successors = successors;
      if (value !== "") successors.set(...readSuccessor(value));
    } else if (peer === undefined && readDevice(change, name, value)) continue;
    else (peer ?? rest).push(pair);
  }
  endPeer();
  if (classes.size > 0) change.classes = classes;
  return {
    change,
    ...(rest.length <= 1 ? {} : { rest: `${rest.map(([name, value]) => `${name}=${value}\n`).join("")}\n` }),
  };
}

function readDevice(change: Changing<RelayChange>, name: string, value: string): boolean {
  switch (name) {
    case "relay":
      if (value !== "true" && value !== "false") throw new Error("relay is not true or false");
      change.enabled = value === "true";
      return true;
    case "relay_rate":
      if (!/^\d{1,15}$/.test(value)) throw new Error("relay_rate is not a number");
      change.bytesPerSecond = Number(value) === 0 ? "unlimited" : Number(value);
      return true;
    case "replace_relay_classes":
      if (value !== "true") throw new Error("replace_relay_classes is not true");
      change.replaceClasses = true;
      return true;
    default:
      return false;
  }
}

function readClass(text: string): number | "none" {
  if (text === "none") return "none";
  if (!/^\d{1,5}$/.test(text)) throw new Error("relay_class is not a number");
  return Number(text);
}

const hexOf = (key: PublicKey) => Buffer.from(publicKeyBytes(key)).toString("hex");

function readSuccessor(text: string): [next: PublicKey, present: PublicKey] {
  const [next, present] = text.split(" ").map((key) => publicKeyFromBytes(parseField("public_key", key)));
  if (next === undefined || present === undefined) throw new Error("relay_successor is not two keys");
  return [next, present];
}

function readPair(text: string): ClassPair {
  const [, a, b] = /^(\d{1,5}):(\d{1,5})$/.exec(text) ?? [];
  if (a === undefined || b === undefined) throw new Error("relay_allow is not a pair of classes");
  return [Number(a), Number(b)];
}

/** RelayStatus is what a data plane says of its relay. */
export interface RelayStatus {
  /** Nodes that have a class, those that are live, circuits of data, and pairs of nodes that have any. */
  readonly nodes: number;
  readonly liveNodes: number;
  readonly circuits: number;
  readonly pairs: number;
  /** Datagrams and bytes that were sent on: data, and handshakes. */
  readonly datagrams: number;
  readonly bytes: number;
  readonly handshakes: number;
  /** What was not, by reason. They only grow. */
  readonly drops: Readonly<Record<string, number>>;
  /** What the kernel sent on by itself, beside that; absent where it was not asked to, or cannot. */
  readonly xdp?: { readonly circuits: number; readonly datagrams: number; readonly bytes: number };
  /** What became of each interface: `eth0: native`, or why not. */
  readonly xdpLinks: readonly string[];
}

/** isXdpAttached tells whether a line of `xdpLinks` says that the program runs at the interface. */
export function isXdpAttached(line: string): boolean {
  return /: (?:native$|generic(?: |$))/.test(line);
}

const NAMES = {
  nodes: "relay_nodes",
  liveNodes: "relay_nodes_live",
  circuits: "relay_circuits",
  pairs: "relay_pairs",
  datagrams: "relayed",
  bytes: "relayed_bytes",
  handshakes: "relayed_handshakes",
} as const;
const DROP = "relay_drop_";
const XDP = "relay_xdp=";

/** relayCounters names what a data plane counts, for `get_dataplane`. */
export function relayCounters(
  status: Pick<RelayStatus, "nodes" | "liveNodes" | "circuits" | "pairs" | "handshakes" | "drops">,
): Record<string, number> {
  return {
    ...Object.fromEntries(
      (["nodes", "liveNodes", "circuits", "pairs", "handshakes"] as const).map((key) => [
        NAMES[key],
        status[key],
      ]),
    ),
    ...Object.fromEntries(Object.entries(status.drops).map(([name, count]) => [DROP + name, count])),
  };
}

/** relayStatus reads them, and the lines of the answer that are no numbers. */
export function relayStatus(
  counters: Readonly<Record<string, number>>,
  lines: readonly string[] = [],
): RelayStatus {
  const { relay_xdp_circuits: circuits, relayed_xdp: datagrams = 0, relayed_xdp_bytes: bytes = 0 } = counters;
  const of = (key: keyof typeof NAMES) => counters[NAMES[key]] ?? 0;
  return {
    nodes: of("nodes"),
    liveNodes: of("liveNodes"),
    circuits: of("circuits"),
    pairs: of("pairs"),
    datagrams: of("datagrams"),
    bytes: of("bytes"),
    handshakes: of("handshakes"),
    drops: Object.fromEntries(
      Object.entries(counters)
        .filter(([name]) => name.startsWith(DROP))
        .map(([name, count]) => [name.slice(DROP.length), count]),
    ),
    ...(circuits === undefined ? {} : { xdp: { circuits, datagrams, bytes } }),
    xdpLinks: lines.filter((text) => text.startsWith(XDP)).map((text) => text.slice(XDP.length)),
  };
}
