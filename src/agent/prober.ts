/** Probes of this node: who may send them, the keys that prove it, and the port that they share with the tunnel. */
import {
  encodeProbe,
  openProbe,
  type Probe,
  type ProbeKey,
  probeKey,
  probeSender,
  shortId,
} from "../mesh/mod.ts";
import type { Endpoint, Ip, PrivateKey, PublicKey } from "../net/mod.ts";
import { after } from "../sys/mod.ts";
import type { ProbeDatagram, ProbeOutcome, ProbePort, Tunnel } from "../tunnel/mod.ts";
import { warn } from "./log.ts";

/** A port that could not be opened, or was closed, is opened again after this time. */
const REOPEN_MS = 1000;

/** ArrivedProbe is an authentic one. */
export interface ArrivedProbe {
  /** Name of the node that sent it. */
  readonly node: string;
  readonly probe: Probe;
  readonly from: Endpoint;
  /** Where it was sent to: an answer leaves from there. */
  readonly local: Ip | undefined;
}

/** OwnKeys are this node's key, and the one before while it answers to that too. */
export interface OwnKeys {
  readonly own: PrivateKey;
  /** Asked for at each look at the register: the key is dropped while probes go on. */
  former(): PrivateKey | undefined;
}

interface Correspondent {
  readonly name: string;
  readonly publicKey: PublicKey;
  /** With each of our keys, made when it is needed. */
  readonly keys: (ProbeKey | undefined)[];
  /** Which of our keys it asked with last. */
  asked?: number;
}

/** Prober owns the port. */
export class Prober implements Disposable {
  readonly #keys: OwnKeys;
  /** More than one at a hub that still answers to the key before. */
  #own: readonly PrivateKey[];
  #ids: readonly bigint[] = [];
  /** The one that the register has: others know this node by it. */
  #known = 0;
  readonly #onProbe: (arrived: ArrivedProbe) => void;
  #byId = new Map<bigint, Correspondent>();
  #byName = new Map<string, Correspondent>();
  #tunnel: Tunnel | undefined;
  #listenPort = 0;
  #port: ProbePort | undefined;
  #reopening: Disposable | undefined;
  #closed = false;
  /** Datagrams that look like probes and are not authentic. */
  forged = 0;

  constructor(keys: OwnKeys, onProbe: (arrived: ArrivedProbe) => void) {
    this.#keys = keys;
    this.#own = [keys.own];
    this.#onProbe = onProbe;
    this.#lookAtFormer();
  }

  /** Of a key that was dropped nothing stays. */
  #lookAtFormer(): void {
    const former = this.#keys.former();
    if (this.#ids.length > 0 && this.#own[1]?.publicKey === former?.publicKey) return;
    for (const one of this.#byName.values()) {
      for (const key of one.keys.splice(1)) key?.fill(0);
      if (one.asked !== 0) delete one.asked;
    }
    this.#own = former === undefined ? [this.#keys.own] : [this.#keys.own, former];
    this.#ids = this.#own.map((key) => shortId(key.publicKey));
  }

  /** setNodes says whose probes count, and by which key they know this node; keys of those that stay are kept. */
  setNodes(
    nodes: readonly { readonly name: string; readonly publicKey: PublicKey }[],
    self?: PublicKey,
  ): void {
    this.#lookAtFormer();
    const before = this.#byName;
    const known = Math.max(
      0,
      this.#own.findIndex((key) => key.publicKey === self),
    );
    if (known !== this.#known) for (const one of before.values()) delete one.asked;
    this.#known = known;
    const same = (name: string, publicKey: PublicKey) => {
      const known = before.get(name);
      return known?.publicKey === publicKey ? known : undefined;
    };
    this.#byName = new Map(
      nodes.map(({ name, publicKey }) => [name, same(name, publicKey) ?? { name, publicKey, keys: [] }]),
    );
    this.#byId = new Map([...this.#byName.values()].map((one) => [shortId(one.publicKey), one]));
  }

  /** listen shares the tunnel's port from now on; does nothing where it does so already. */
  listen(tunnel: Tunnel, listenPort: number): void {
    if (this.#closed || (this.#tunnel === tunnel && this.#listenPort === listenPort && this.#port)) return;
    this.#tunnel = tunnel;
    this.#listenPort = listenPort;
    this.#open();
  }

  /** reopen is called when another process carries the tunnel: the port finds that one by itself, but after a pause that grew meanwhile. */
  reopen(): void {
    if (!this.#closed && this.#tunnel !== undefined) this.#open();
  }

  #open(): void {
    this.#reopening?.[Symbol.dispose]();
    this.#reopening = undefined;
    this.#port?.[Symbol.dispose]();
    this.#port = undefined;
    try {
      this.#port = this.#tunnel?.probes({
        listenPort: this.#listenPort,
        onDatagram: (datagram) => this.#arrived(datagram),
        onClosed: (reason) => this.#later(reason),
      });
    } catch (error) {
      this.#later(error);
    }
  }

  #later(error: unknown): void {
    if (this.#closed || this.#reopening !== undefined) return;
    warn("cannot share the tunnel's port with probes now", { error });
    this.#reopening = after(REOPEN_MS, () => this.#open());
  }

  #arrived({ from, local, bytes, datagramBytes }: ProbeDatagram): void {
    const id = probeSender(bytes);
    const sender = id === undefined ? undefined : this.#byId.get(id);
    if (sender === undefined) return;
    for (let own = 0; own < this.#own.length; own++) {
      const probe = openProbe(bytes, { key: this.#key(sender, own), datagramBytes });
      if (probe === undefined) continue;
      sender.asked = own;
      return this.#onProbe({ node: sender.name, probe, from, local });
    }
    this.forged++;
  }

  #key({ keys, publicKey }: Correspondent, own: number): ProbeKey {
    return (keys[own] ??= probeKey(this.#own[own] as PrivateKey, publicKey));
  }

  /** send sends a probe to a node, at one of its endpoints. */
  send(
    node: string,
    probe: Probe,
    { to, from }: { readonly to: Endpoint; readonly from?: Ip | undefined },
  ): ProbeOutcome {
    const one = this.#byName.get(node);
    if (one === undefined || this.#port === undefined) return "refused";
    const own = one.asked ?? this.#known;
    const bytes = encodeProbe(probe, { key: this.#key(one, own), sender: this.#ids[own] as bigint });
    return this.#port.send(to, bytes, {
      from,
      ...(probe.kind === "ping" ? { datagramBytes: probe.sizeBytes } : {}),
    });
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    this.#reopening?.[Symbol.dispose]();
    this.#port?.[Symbol.dispose]();
    for (const one of this.#byName.values()) for (const key of one.keys) key?.fill(0);
  }
}
