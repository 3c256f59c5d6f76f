/** DomainWorld: nodes' and domains' namespaces laid out by hand, with an engine in each, to prove what the services of domains put into them. */
import { endFlows } from "../../src/agent/domain-flows.ts";
import { Engine, formatPlan, type KernelObject } from "../../src/engine/mod.ts";
import { type Ip, parseIp } from "../../src/net/mod.ts";
import type { Netns } from "../../src/sys/mod.ts";
import { type Json, Scratch } from "./scratch.ts";

/** Place is a namespace with a name. */
export interface Place {
  readonly name: string;
  readonly netns: Netns;
}

/** DomainWorld owns the namespaces and engines. */
export class DomainWorld implements Disposable {
  readonly #scratch = new Scratch();
  readonly #engines = new Map<string, Engine>();
  readonly #places = new Map<string, Place>();
  #cables = 0;

  /** place makes a namespace, or returns that of the name. */
  place(name: string): Place {
    const known = this.#places.get(name);
    if (known !== undefined) return known;
    const place = { name, netns: this.#scratch.another() };
    this.#places.set(name, place);
    this.run(name, "sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0");
    this.run(name, "ip link set lo up");
    return place;
  }

  netns(name: string): Netns {
    return this.place(name).netns;
  }

  /** router makes a namespace that forwards. */
  router(name: string): Place {
    const place = this.place(name);
    this.run(name, "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
    return place;
  }

  /** run runs a program in a place, and returns what it printed. */
  run(name: string, command: string): string {
    return this.#scratch.text(command, this.netns(name));
  }

  json(name: string, command: string): Json {
    return this.#scratch.json(command, this.netns(name));
  }

  /** cable joins two places by a link, with addresses in the notation of ip(8). */
  cable(ends: readonly (readonly [place: string, link: string, ...addresses: string[]])[]): void {
    const [a, b] = ends as [(typeof ends)[number], (typeof ends)[number]];
    const [left, right] = [`t${this.#cables++}`, `t${this.#cables++}`];
    const path = (name: string) => this.netns(name).path;
    this.run(a[0], `ip link add name ${left} type veth peer name ${right} netns ${path(b[0])}`);
    for (const [[place, link, ...addresses], made] of [[a, left] as const, [b, right] as const]) {
      this.run(place, `ip link set ${made} name ${link}`);
      this.run(place, `ip link set ${link} up`);
      for (const address of addresses) this.address(place, link, address);
    }
  }

  address(place: string, link: string, address: string): void {
    this.run(place, `ip address add ${address} dev ${link}${address.includes(":") ? " nodad" : ""}`);
  }

  /** bridge makes a bridge without its own ideas. */
  bridge(place: string, name: string, ...addresses: string[]): void {
    this.run(place, `ip link add name ${name} type bridge mcast_snooping 0`);
    this.run(place, `ip link set ${name} up`);
    for (const address of addresses) this.address(place, name, address);
  }

  /** pod makes a pod at a bridge of a domain; the first address of a family of the bridge is its gateway. */
  pod(name: string, options: { domain: string; bridge: string; addresses: readonly string[] }): Place {
    const { domain, bridge, addresses } = options;
    this.place(name);
    this.cable([
      [domain, `cw-${name}`],
      [name, "eth0", ...addresses],
    ]);
    this.run(domain, `ip link set cw-${name} master ${bridge}`);
    const [{ addr_info: gateways }] = this.json(domain, `ip -j address show dev ${bridge}`);
    for (const { local, family, scope } of gateways)
      if (scope === "global")
        this.run(name, `ip ${family === "inet" ? "-4" : "-6"} route add default via ${local}`);
    return this.place(name);
  }

  /** engine returns the engine of a place. */
  engine(name: string): Engine {
    let engine = this.#engines.get(name);
    if (engine === undefined) this.#engines.set(name, (engine = Engine.open({ netns: this.netns(name) })));
    return engine;
  }

  /** set makes objects true, and throws when one is not; a second look must find nothing to do. */
  set(name: string, scope: string, objects: readonly KernelObject[]): void {
    const engine = this.engine(name);
    engine.set(scope, objects);
    const { failed } = engine.apply();
    if (failed.length > 0) throw new Error(`${name}: ${failed.map(({ reason }) => reason).join("; ")}`);
    engine.adopt();
    const rest = formatPlan(engine.plan());
    if (rest !== "") throw new Error(`${name}: it is done, and still to do: ${rest}`);
  }

  /** forget ends the flows of addresses at once. */
  forget(name: string, addresses: readonly Ip[]): void {
    endFlows(this.netns(name), addresses);
  }

  [Symbol.dispose](): void {
    for (const engine of this.#engines.values()) engine[Symbol.dispose]();
    this.#scratch[Symbol.dispose]();
  }
}

/** Talk is a TCP connection whose listener notes what it hears. */
export class Talk implements Disposable {
  /** What the listener heard, all connections together. */
  readonly heard: string[] = [];
  readonly #stop: (() => void)[] = [];
  readonly #waiting = new Set<() => void>();

  /** listen makes a listener that answers each text with itself. */
  static listen(netns: Netns, port: number): Talk {
    const talk = new Talk();
    const server = netns.run(() =>
      Bun.listen({
        hostname: "::",
        port,
        socket: {
          data: (socket, data) => {
            talk.#note(data.toString());
            socket.write(data);
          },
        },
      }),
    );
    talk.#stop.push(() => server.stop(true));
    return talk;
  }

  /** connect opens a connection; its `heard` are the answers. */
  static async connect(
    netns: Netns,
    options: { to: string; port: number },
  ): Promise<Talk & { say(text: string): void }> {
    const talk = new Talk();
    const made = netns.run(() => ({
      promise: Bun.connect({
        hostname: options.to,
        port: options.port,
        socket: { data: (_socket, data) => talk.#note(data.toString()), error() {} },
      }),
    }));
    const socket = await made.promise;
    talk.#stop.push(() => socket.terminate());
    return Object.assign(talk, { say: (text: string) => void socket.write(text) });
  }

  #note(text: string): void {
    this.heard.push(text);
    for (const check of [...this.#waiting]) check();
  }

  /** until waits for a text. */
  async until(text: string): Promise<void> {
    const there = () => this.heard.join("").includes(text);
    if (there()) return;
    await new Promise<void>((resolve) => {
      const check = () => {
        if (!there()) return;
        this.#waiting.delete(check);
        resolve();
      };
      this.#waiting.add(check);
    });
  }

  [Symbol.dispose](): void {
    for (const stop of this.#stop) stop();
  }
}

/** Voice is one UDP port that speaks and listens. */
export class Voice implements Disposable {
  readonly heard: string[] = [];
  #socket: Bun.udp.Socket<"buffer"> | undefined;
  #check: () => void = () => {};

  readonly address: string;
  readonly port: number;

  private constructor(address: string, port: number) {
    this.address = address;
    this.port = port;
  }

  static async open(netns: Netns, address: string, port: number): Promise<Voice> {
    const voice = new Voice(address, port);
    const data = (_: unknown, text: Buffer) => {
      voice.heard.push(text.toString());
      voice.#check();
    };
    const made = netns.run(() => ({
      // That a way has gone is told in ICMP errors, which a voice does not mind: what is heard counts.
      promise: Bun.udpSocket({ hostname: voice.address, port, socket: { data, error() {} } }),
    }));
    voice.#socket = await made.promise;
    return voice;
  }

  say(to: Pick<Voice, "address" | "port">, text: string): void {
    this.#socket?.send(text, to.port, to.address);
  }

  async until(text: string): Promise<void> {
    while (!this.heard.includes(text)) await new Promise<void>((resolve) => (this.#check = resolve));
  }

  [Symbol.dispose](): void {
    this.#socket?.close();
  }
}

/** addresses parses several. */
export function addresses(...texts: readonly string[]): Ip[] {
  return texts.map(parseIp);
}
