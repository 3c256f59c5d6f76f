/**
 * The control thread: the protocol (wireguard/device.ts) between the sockets, the workers and the configuration.
 *
 * ```
 * handshakes ─▶ ControlPort ─┐                    ┌─▶ ControlPort (handshakes, keepalives, what waited for a session)
 * reports ───▶ Workers ──────┼─▶ Device.step ─────┤
 * wg(8), agent ▶ UapiServer ─┘     ▲ timers       └─▶ Workers (peers, sessions, allowed IPs)
 * ```
 * Workers hear of a session before its handshake's answer leaves: the first packet under it finds it known.
 */
import { endpointEqual, formatPrefix } from "../../net/mod.ts";
import {
  Arena,
  boottimeMs,
  type Fd,
  linkMtu,
  replaceDescriptor,
  tunName,
  wallMs,
  randomBytes,
} from "../../sys/mod.ts";
import {
  type Clock,
  dataReceiver,
  Device,
  type DeviceEffect,
  type DeviceEvent,
  type DeviceImage,
  type DeviceOptions,
  sealPacket,
} from "../wireguard/mod.ts";
import { type RelayChange, type RelayImage, relayOrder, type RelayStep } from "../relay/mod.ts";
import { type Arrival, ControlPort } from "./control-port.ts";
import { HubRelay } from "./hub-relay.ts";
import { HubXdp } from "./hub-xdp.ts";
import type { Message, Report } from "./link.ts";
import { isOther, OtherTraffic } from "./other-traffic.ts";
import { PeerOrders } from "./peer-orders.ts";
import { endpointOf, type Place } from "./place.ts";
import type { Watched } from "./poller.ts";
import type { SessionStore } from "./session-store.ts";
import { closeGroups, markGroups, openGroups, type SocketGroup } from "./steering.ts";
import type { Workers } from "./workers.ts";

/** ControlOptions are what a control thread works with. */
export interface ControlOptions {
  readonly store: SessionStore;
  readonly workers: Workers;
  readonly groups: readonly SocketGroup[];
  /** A queue of the TUN device. */
  readonly tun: Fd;
  readonly mtuBytes: number;
  readonly device?: DeviceOptions;
}

/** Receivers of 16 messages of 64 KiB, and senders; pages that nobody touches cost nothing. */
const ARENA_BYTES = 8 << 20;
/** The MTU of the link is looked at so often, while anything happens. */
const MTU_MS = 1000;
const DATA_MESSAGE = 4;

/** Control owns the protocol's state. */
export class Control {
  readonly arena = new Arena({ bytes: ARENA_BYTES });
  readonly device: Device;
  readonly groups: readonly SocketGroup[];
  readonly relay: HubRelay;
  readonly xdp = new HubXdp(() => this.groups[0]?.[0]?.fd.number ?? -1);
  /** Datagrams of ours that are not WireGuard's. */
  readonly others = new OtherTraffic((place, datagram) => this.#transmit(place, datagram));
  readonly #options: ControlOptions;
  readonly #port: ControlPort;
  readonly #peers: PeerOrders;
  /** See DataplaneStatus. */
  life = new DataView(randomBytes(4).buffer).getUint32(0);
  #mark = 0;
  #mtuMs = 0;
  /** Handshakes that the system took no more. */
  unsent = 0;

  constructor(options: ControlOptions) {
    this.#options = options;
    this.groups = options.groups;
    this.device = new Device({ ...options.device, memory: options.store, mtuBytes: options.mtuBytes });
    this.relay = new HubRelay(this.device);
    this.#port = new ControlPort(
      this.arena,
      options.groups.map((group) => group[0] as SocketGroup[number]),
    );
    this.#peers = new PeerOrders(this.device);
    this.step({ kind: "bound", port: this.port });
  }

  /** restore goes on where a predecessor stopped. Sessions whose memory is not in the store are made anew. */
  restore(image: DeviceImage, mark: number, relay?: RelayImage): void {
    const { store } = this.#options;
    const effects = this.device.restore(image, ({ slot, localIndex }) =>
      store.claim(slot, localIndex) ? store.memory(slot) : undefined,
    );
    this.#mark = mark;
    this.#do(effects, {});
    if (relay !== undefined) {
      this.relay.restore(relay, boottimeMs());
      this.#tellRelay();
      this.#followXdp();
    }
    this.step({ kind: "bound", port: this.port });
  }

  /** image returns what a successor begins with. It holds secrets. */
  image(): DeviceImage {
    return this.device.image(({ memory }) => this.#options.store.slotOf(memory));
  }

  /** The port that the sockets are bound to. */
  get port(): number {
    return this.groups[0]?.[0]?.port ?? 0;
  }

  get mark(): number {
    return this.#mark;
  }

  /** watched lists the sockets and the links. */
  watched(hear: (report: Report, worker: number) => void): Watched[] {
    return [
      ...this.#port.watched((arrival) => this.#arrive(arrival)),
      ...this.others.watched(),
      ...this.#options.workers.watched((message, worker) => this.hear(message, { worker, hear })),
    ];
  }

  /** waitMs returns how long nothing is due; -1 for ever. */
  waitMs(): number {
    const due = this.device.nextDueMs() ?? Number.POSITIVE_INFINITY;
    const waitMs = Math.min(this.relay.waitMs, Math.max(0, Math.ceil(due - boottimeMs())));
    return waitMs === Number.POSITIVE_INFINITY ? -1 : waitMs;
  }

  /** tick does what is due. */
  tick(): void {
    const due = this.device.nextDueMs();
    if (due !== undefined && due <= boottimeMs()) this.step({ kind: "due" });
    this.relay.tick(boottimeMs());
    this.#tellRelay();
    this.xdp.tick(boottimeMs());
    this.#followMtu();
  }

  /** step steps the device and does what it asks for. */
  step(event: DeviceEvent): void {
    const clock: Clock = { nowMs: boottimeMs(), wallMs: wallMs() };
    const effects = this.device.step(event, clock);
    this.#do(effects, { peers: this.#about(event) });
  }

  /** Peers that an event may have changed without an effect that says so: one that was heard elsewhere, one whose endpoint was set. */
  #about(event: DeviceEvent): number[] {
    if ("session" in event) return [event.session.peer];
    if (event.kind !== "configure") return [];
    return (event.configuration.peers ?? []).flatMap(
      ({ publicKey }) => this.device.numberOf(publicKey) ?? [],
    );
  }

  /** Does what the device asks for, for `peers` that may have changed, or in answer to something that came from `place`. */
  #do(
    effects: readonly DeviceEffect[],
    about: { readonly peers?: readonly number[]; readonly place?: Place },
  ): void {
    const changed = new Set(about.peers);
    for (const effect of effects) this.#order(effect, changed);
    for (const peer of changed) {
      const order = this.#peers.update(peer);
      if (order !== undefined) this.#options.workers.order(order);
      this.relay.update(peer, boottimeMs());
      const endpoint = this.xdp.isOn ? this.device.peer(peer)?.endpoint : undefined;
      if (endpoint !== undefined) this.xdp.move(peer, this.#peers.place(peer, endpoint));
    }
    this.#tellRelay();
    this.#options.workers.tell();
    // First: what is sent for the first time has to leave from where the answer is awaited.
    const problem = this.#bind(effects);
    for (const effect of effects) this.#send(effect, about.place);
    if (problem !== undefined) throw problem;
  }

  /** configureRelay changes what is relayed; throws, with nothing changed, for what cannot be. */
  configureRelay(change: RelayChange): void {
    const before = this.relay.xdpLinks;
    this.relay.configure(change, boottimeMs());
    this.#tellRelay();
    if (this.relay.xdpLinks.join() !== before.join()) this.#followXdp();
  }

  #followXdp(): void {
    this.xdp.follow(this.relay.xdpLinks, () => {
      for (const step of this.relay.all()) this.#tellXdp(step);
    });
    this.xdp.listen(this.port);
  }

  #tellRelay(): void {
    const steps = this.relay.steps();
    if (steps.length === 0) return;
    for (const step of steps) {
      this.#options.workers.order({ kind: "relay", order: relayOrder(step) });
      if (this.xdp.isOn) this.#tellXdp(step);
    }
    this.#options.workers.tell();
  }

  #tellXdp(step: RelayStep): void {
    const place =
      step.kind === "node" && step.endpoint !== undefined
        ? this.#peers.place(step.node, step.endpoint)
        : undefined;
    this.xdp.hear(step, place);
  }

  /** Sends a handshake message on that is for another node; false if it is not. Workers hear of its circuit before. */
  #relayed(place: Place, datagram: Uint8Array): boolean {
    const verdict = this.relay.take(datagram, endpointOf(place), boottimeMs());
    if (verdict === undefined) return false;
    this.#tellRelay();
    const to = "to" in verdict ? this.relay.endpoint(verdict.to) : undefined;
    if (to !== undefined && "to" in verdict) this.#transmit(this.#peers.place(verdict.to, to), datagram);
    return true;
  }

  /** Moves and marks the sockets; returns why that, or the configuration, failed. All else that was asked for is done all the same. */
  #bind(effects: readonly DeviceEffect[]): Error | undefined {
    let problem: Error | undefined;
    for (const effect of effects)
      try {
        if (effect.kind === "listen") this.#listen(effect.port);
        else if (effect.kind === "mark") {
          this.#mark = effect.mark;
          markGroups(this.groups, effect.mark);
        } else if (effect.kind === "refused") problem = effect.error;
      } catch (error) {
        problem = error instanceof Error ? error : new Error(String(error));
      }
    return problem;
  }

  /** Tells the workers what an effect means to them. */
  #order(effect: DeviceEffect, changed: Set<number>): void {
    const { workers, store } = this.#options;
    switch (effect.kind) {
      case "started": {
        const { session } = effect;
        const { peer, localIndex, remoteIndex, bornMs } = session;
        changed.add(peer);
        workers.order({
          kind: "started",
          peer,
          localIndex,
          remoteIndex,
          endsMs: bornMs + this.device.timing.rejectAfterMs,
          settledMs: bornMs + this.device.timing.rekeyTimeoutMs,
          slot: store.slotOf(session.memory),
        });
        return;
      }
      case "ended":
        changed.add(effect.session.peer);
        store.hold(store.slotOf(effect.session.memory), workers.count);
        workers.order({ kind: "ended", localIndex: effect.session.localIndex });
        return;
      case "added":
      case "retired":
        changed.add(effect.peer);
        return;
      case "removed":
        // Of one that was added in the same step the workers know nothing but its addresses.
        workers.order({ kind: "clear", peer: effect.peer });
        changed.add(effect.peer);
        return;
      case "insert":
      case "remove":
        workers.order({ kind: effect.kind, prefix: formatPrefix(effect.prefix), peer: effect.peer });
        changed.add(effect.peer);
        return;
      case "clear":
        workers.order(effect);
        changed.add(effect.peer);
        return;
      case "send":
        if (effect.peer !== undefined) changed.add(effect.peer);
        return;
      case "transmit":
        changed.add(effect.session.peer);
        return;
      default:
    }
  }

  /** Does what goes out. */
  #send(effect: DeviceEffect, asked: Place | undefined): void {
    switch (effect.kind) {
      case "send": {
        // An answer leaves from the address that the question went to.
        const answers = asked !== undefined && endpointEqual(endpointOf(asked), effect.to);
        this.#transmit(answers ? asked : this.#peers.place(effect.peer, effect.to), effect.datagram);
        return;
      }
      case "transmit": {
        const place = this.#peers.place(effect.session.peer, effect.to);
        for (const packet of effect.packets) {
          const datagram = sealPacket(effect.session, packet, this.device);
          if (datagram !== undefined) this.#transmit(place, datagram);
        }
        return;
      }
      default:
    }
  }

  #transmit(place: Place, datagram: Uint8Array): void {
    if (!this.#port.send(place, datagram)) this.unsent++;
  }

  /**
   * Moves all sockets to another port: each is replaced under its number, so that nobody else has to know. If the port is taken they stay where
   * they are, and the error is the caller's.
   */
  #listen(port: number): void {
    if (port !== 0 && port === this.port) return;
    try {
      this.#replaceSockets(openGroups(port, this.#options.workers.count));
    } finally {
      // The device asked for it already; what it is told now is what is true.
      this.step({ kind: "bound", port: this.port });
    }
    this.xdp.listen(this.port);
    this.#options.workers.order({ kind: "sockets" });
    this.#options.workers.tell();
  }

  /** Puts sockets behind the numbers of ours, and closes those that were there. */
  #replaceSockets(fresh: readonly SocketGroup[]): void {
    try {
      if (this.#mark !== 0) markGroups(fresh, this.#mark);
      this.groups.forEach((group, family) =>
        group.forEach((socket, i) => {
          const by = fresh[family]?.[i];
          if (by !== undefined) replaceDescriptor(socket.fd.number, by.fd.number);
        }),
      );
    } finally {
      closeGroups(fresh);
    }
  }

  /** A datagram that is no data message, or one that the kernel joined to such. */
  #arrive({ place, datagram, datagramBytes, backlog }: Arrival): void {
    if (isOther(datagram)) {
      this.others.deliver({ place, datagram, datagramBytes });
      return;
    }
    const receiver = datagram[0] === DATA_MESSAGE ? dataReceiver(datagram) : undefined;
    if (receiver !== undefined) {
      if (this.device.session(receiver) !== undefined || this.relay.carries(endpointOf(place), receiver))
        this.#options.workers.pass(place, datagram, receiver);
      return;
    }
    if (this.relay.isOn && this.#relayed(place, datagram)) return;
    const from = endpointOf(place);
    const clock: Clock = { nowMs: boottimeMs(), wallMs: wallMs() };
    // Most of what comes in a flood asks for nothing: it ends here.
    const effects = this.device.step({ kind: "message", datagram, from, backlog }, clock);
    if (effects.length === 0) return;
    this.#met(place, effects);
    this.#do(effects, { place });
  }

  /** Whoever an answer goes to is where the question came from. */
  #met(place: Place, effects: readonly DeviceEffect[]): void {
    for (const effect of effects) {
      const peer =
        effect.kind === "send" ? effect.peer : effect.kind === "started" ? effect.session.peer : undefined;
      // Others may just have had a timer due.
      const endpoint = peer === undefined ? undefined : this.device.peer(peer)?.endpoint;
      if (peer !== undefined && endpoint !== undefined && endpointEqual(endpoint, endpointOf(place)))
        this.#peers.met(peer, place);
    }
  }

  /** hear takes in what a worker says; what is not the protocol's goes to the caller. */
  hear(
    message: Message<Report>,
    { worker, hear }: { readonly worker: number; readonly hear: (report: Report, worker: number) => void },
  ): void {
    if (message.kind === "packet")
      this.step({ kind: "packets", peer: message.peer, packets: [message.packet] });
    else if (message.kind === "datagram")
      this.#arrive({ ...message, datagramBytes: message.datagram.length, backlog: 0 });
    else
      for (const report of message.list) {
        if (report.kind === "traffic") this.#passed(report);
        else if (report.kind === "released") this.#options.store.letGo(report.slot);
        else hear(report, worker);
      }
  }

  #passed(report: Extract<Report, { readonly kind: "traffic" }>): void {
    const session = this.device.session(report.session);
    if (session === undefined) return;
    if (report.first === true) this.#peers.repeat(session.peer);
    if (report.sent !== undefined) this.step({ kind: "sent", session, ...report.sent });
    if (report.received === undefined) return;
    if (report.place === undefined) this.step({ kind: "received", session, ...report.received });
    else {
      const place = new Uint8Array(Buffer.from(report.place, "hex"));
      this.#peers.met(session.peer, place);
      this.step({ kind: "received", session, ...report.received, from: endpointOf(place) });
    }
  }

  #followMtu(): void {
    const nowMs = boottimeMs();
    if (nowMs - this.#mtuMs < MTU_MS) return;
    this.#mtuMs = nowMs;
    const name = tunName(this.#options.tun.number);
    const socket = this.groups[0]?.[0];
    const mtuBytes = name === undefined || socket === undefined ? undefined : linkMtu(socket.fd.number, name);
    if (mtuBytes === undefined || mtuBytes === this.device.mtuBytes) return;
    this.device.mtuBytes = mtuBytes;
    this.#options.workers.order({ kind: "mtu", mtuBytes });
    this.#options.workers.tell();
  }
}
