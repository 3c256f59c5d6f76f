/** A relay as a successor begins with it (dataplane/handover.ts): its configuration, and circuits of 20 bytes each. */
import type { PublicKey } from "../../net/mod.ts";
import { type ClassPair, changeTo, NO_RELAY, type RelayChange } from "./policy.ts";
import type { Relay, RelayCircuit } from "./relay.ts";

/** RelayImage is JSON. */
export interface RelayImage {
  readonly enabled: boolean;
  readonly classes: readonly (readonly [PublicKey, number])[];
  readonly allow?: readonly ClassPair[];
  readonly bytesPerSecond?: number;
  readonly xdpLinks?: readonly string[];
  /** Live circuits, in base64: numbers of two nodes in `classes` around the receiver index, and the end (float64). */
  readonly circuits: string;
}

const BYTES = 20;

/** relayImage returns the image; `keyOf` tells the public key of a node. */
export function relayImage(relay: Relay, keyOf: (node: number) => PublicKey | undefined): RelayImage {
  const { enabled, classes, allow, bytesPerSecond, xdpLinks } = relay.config;
  const places = new Map([...classes.keys()].map((key, i) => [key, i]));
  const place = (node: number) => places.get(keyOf(node) ?? ("" as PublicKey));
  const circuits = relay.circuits();
  const view = new DataView(new ArrayBuffer(circuits.length * BYTES));
  let at = 0;
  for (const { source, index, to, expiresMs } of circuits) {
    const [from, onto] = [place(source), place(to)];
    if (from === undefined || onto === undefined) continue;
    view.setUint32(at, from);
    view.setUint32(at + 4, index);
    view.setUint32(at + 8, onto);
    view.setFloat64(at + 12, expiresMs);
    at += BYTES;
  }
  return {
    enabled,
    classes: [...classes],
    ...(allow === undefined ? {} : { allow }),
    ...(bytesPerSecond === undefined ? {} : { bytesPerSecond }),
    ...(xdpLinks === undefined ? {} : { xdpLinks }),
    circuits: Buffer.from(view.buffer, 0, at).toString("base64"),
  };
}

/** imageChange returns the change that makes a new relay's configuration that of an image. */
export function imageChange({ enabled, classes, allow, bytesPerSecond, xdpLinks }: RelayImage): RelayChange {
  return changeTo(
    {
      enabled,
      classes: new Map(classes),
      ...(allow === undefined ? {} : { allow }),
      ...(bytesPerSecond === undefined ? {} : { bytesPerSecond }),
      ...(xdpLinks === undefined ? {} : { xdpLinks }),
    },
    NO_RELAY,
  );
}

/** imageCircuits returns the circuits of an image; `numberOf` tells the number that a node has now. */
export function imageCircuits(
  { classes, circuits }: RelayImage,
  numberOf: (key: PublicKey) => number | undefined,
): RelayCircuit[] {
  const bytes = new Uint8Array(Buffer.from(circuits, "base64"));
  const view = new DataView(bytes.buffer);
  const node = (place: number) => numberOf(classes[place]?.[0] ?? ("" as PublicKey));
  const list: RelayCircuit[] = [];
  for (let at = 0; at + BYTES <= bytes.length; at += BYTES) {
    const [source, to] = [node(view.getUint32(at)), node(view.getUint32(at + 8))];
    if (source === undefined || to === undefined) continue;
    list.push({ source, index: view.getUint32(at + 4), to, expiresMs: view.getFloat64(at + 12) });
  }
  return list;
}
