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

interface Correspondent {
  readonly name: string;
  readonly publicKey: PublicKey;
  key?: ProbeKey;
}

/** Prober owns the port. */
export class Prober implements Disposable {
  readonly #own: PrivateKey;
  readonly #id: bigint;
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

  constructor(own: PrivateKey, onProbe: (arrived: ArrivedProbe) => void) {
    this.#own = own;
    this.#id = shortId(own.publicKey);
    this.#onProbe = onProbe;
  }

  /** setNodes says whose probes count; keys of those that stay are kept. */
  setNodes(nodes: readonly { readonly name: string; readonly publicKey: PublicKey }[]): void {
    const before = this.#byName;
    const same = (name: string, publicKey: PublicKey) => {
      const known = before.get(name);
      return known?.publicKey === publicKey ? known : undefined;
    };
    this.#byName = new Map(
      nodes.map(({ name, publicKey }) => [name, same(name, publicKey) ?? { name, publicKey }]),
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
    const probe = openProbe(bytes, { key: this.#key(sender), datagramBytes });
    if (probe === undefined) this.forged++;
    else this.#onProbe({ node: sender.name, probe, from, local });
  }

  #key(one: Correspondent): ProbeKey {
    one.key ??= probeKey(this.#own, one.publicKey);
    return one.key;
  }

  /** send sends a probe to a node, at one of its endpoints. */
  send(
    node: string,
    probe: Probe,
    { to, from }: { readonly to: Endpoint; readonly from?: Ip | undefined },
  ): ProbeOutcome {
    const one = this.#byName.get(node);
    if (one === undefined || this.#port === undefined) return "refused";
    const bytes = encodeProbe(probe, { key: this.#key(one), sender: this.#id });
    return this.#port.send(to, bytes, {
      from,
      ...(probe.kind === "ping" ? { datagramBytes: probe.sizeBytes } : {}),
    });
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    this.#reopening?.[Symbol.dispose]();
    this.#port?.[Symbol.dispose]();
    for (const one of this.#byName.values()) one.key?.fill(0);
  }
}
