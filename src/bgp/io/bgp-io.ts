/**
 * All sessions of one namespace: where peers' connections arrive and to whom they belong, where ours go, peers that come by themselves, peers that are
 * found on a link.
 */
import {
  formatIp,
  formatPrefix,
  hostPrefix,
  type Ip,
  ipEqual,
  ipFromBytes,
  type Prefix,
  prefixContains,
} from "../../net/mod.ts";
import { type AcceptedEvents, type AcceptedStream, linkIndex, type Netns } from "../../sys/mod.ts";
import { peerConfig } from "../session/mod.ts";
import { bgpError, CEASE, ERROR } from "../wire/mod.ts";
import { BgpSession, type SessionHooks, type SessionTap } from "./bgp-session.ts";
import type { Connection } from "./connection.ts";
import { Listeners } from "./listeners.ts";
import {
  type DynamicNeighbors,
  isInternal,
  type Neighbor,
  type Reach,
  type Ttls,
  ttlsOf,
} from "./neighbor.ts";
import { RouterDiscovery } from "./router-discovery.ts";
import { admit, connectTo } from "./transport.ts";

/** BGP_PORT is what IANA assigned. */
export const BGP_PORT = 179;

/** BgpIoOptions say where, and who is told. */
export interface BgpIoOptions {
  /** Default the process's own. It must stay open as long as the BgpIo. */
  readonly netns?: Netns | undefined;
  /** Default 179. */
  readonly port?: number;
  /** Addresses to listen on; default all of both families. Empty: we only connect. */
  readonly listen?: readonly Ip[];
  readonly hooks: SessionHooks;
  /** A recorder for a session; it sees no keys. */
  readonly tap?: (session: BgpSession) => SessionTap | undefined;
  /** A dynamic neighbour has gone and its session is no more. */
  readonly removed?: (session: BgpSession) => void;
}

/** Member is one session and how its peer is reached. */
interface Member {
  readonly session: BgpSession;
  readonly neighbor: Neighbor;
  readonly ttls: Ttls;
  readonly discovery?: RouterDiscovery;
  /** The group that it came by. */
  readonly group?: string;
  /** The network for which its key was set. */
  keyOf?: Prefix;
  /** It has had a connection that its peer made. */
  met?: boolean;
}

const DIRECT: Reach = { kind: "direct" };

/** BgpIo owns listeners, sessions and discovery. */
export class BgpIo implements Disposable {
  readonly #options: BgpIoOptions;
  readonly #listeners: Listeners;
  readonly #members = new Map<string, Member>();
  readonly #groups = new Map<string, DynamicNeighbors>();

  /** Throws if a port is taken. */
  constructor(options: BgpIoOptions) {
    this.#options = options;
    this.#listeners = new Listeners({
      netns: options.netns,
      port: options.port ?? BGP_PORT,
      addresses: options.listen,
      accept: (stream) => this.#accept(stream),
    });
  }

  /** All sessions, dynamic ones included. */
  get sessions(): readonly BgpSession[] {
    return [...this.#members.values()].map(({ session }) => session);
  }

  /** session returns one by its neighbor's name. */
  session(name: string): BgpSession | undefined {
    return this.#members.get(name)?.session;
  }

  /** addressOf returns the peer's address: of an unnumbered session, once it has been found. */
  addressOf(name: string): Ip | undefined {
    const member = this.#members.get(name);
    return member && this.#targetOf(member);
  }

  /** add makes a session and starts it; an unnumbered one when its peer is found. */
  add(neighbor: Neighbor): BgpSession {
    if (this.#members.has(neighbor.name))
      throw new Error(
        `Cannot add BGP neighbour ${neighbor.name}: there is one of this name; remove it first`,
      );
    const { remote } = neighbor;
    const twin = [...this.#members.values()].find(
      (other) => other.group === undefined && sameEnds(other.neighbor, neighbor),
    );
    if (twin !== undefined)
      throw new Error(
        `Cannot add BGP neighbour ${neighbor.name}: ${twin.neighbor.name} has the same addresses; remove it first`,
      );
    const member = this.#join(neighbor);
    if (remote.kind === "address") {
      this.#setKey(member, remote.address);
      member.session.start();
    }
    return member.session;
  }

  /** remove ends a session, with a cease if nobody has stopped it before, and forgets it. */
  remove(name: string): void {
    const member = this.#members.get(name);
    if (member === undefined) return;
    this.#members.delete(name);
    member.session.stop({
      error: bgpError(ERROR.cease, CEASE.peerDeconfigured, { text: "the neighbour was removed" }),
    });
    member.discovery?.[Symbol.dispose]();
    this.#dropKey(member);
    member.session[Symbol.dispose]();
  }

  /** addDynamic accepts peers from a prefix; among several the longest counts. */
  addDynamic(group: DynamicNeighbors): void {
    if (this.#groups.has(group.name))
      throw new Error(
        `Cannot add dynamic BGP neighbours ${group.name}: there are some of this name; remove them first`,
      );
    this.#groups.set(group.name, group);
    if (group.password !== undefined) this.#listeners.setKey(group.prefix, group.password);
  }

  /** removeDynamic accepts no more of them, and ends those that there are. */
  removeDynamic(name: string): void {
    const group = this.#groups.get(name);
    if (group === undefined) return;
    this.#groups.delete(name);
    if (group.password !== undefined) this.#listeners.removeKey(group.prefix);
    for (const member of [...this.#members.values()]) if (member.group === name) this.#leave(member);
  }

  #join(neighbor: Neighbor, group?: string): Member {
    const { remote, options } = neighbor;
    const hooks = this.#options.hooks;
    const session: BgpSession = new BgpSession(neighbor.name, {
      config: peerConfig(neighbor.session, options),
      hooks: { ...bound(hooks), changed: () => this.#changed(member) },
      place: { connect: (connection) => this.#connect(member, connection) },
    });
    const discovery: RouterDiscovery | undefined =
      remote.kind === "address"
        ? undefined
        : new RouterDiscovery({
            netns: this.#options.netns,
            device: remote.device,
            // The first may be heard before this function is over.
            found: (address) => queueMicrotask(() => this.#found(member, address)),
          });
    const member: Member = {
      session,
      neighbor,
      ttls: ttlsOf(neighbor.reach ?? DIRECT, isInternal(neighbor.session)),
      ...(discovery === undefined ? {} : { discovery }),
      ...(group === undefined ? {} : { group }),
    };
    this.#members.set(neighbor.name, member);
    session.tap = this.#options.tap?.(session);
    return member;
  }

  #targetOf({ neighbor, discovery }: Member): Ip | undefined {
    return neighbor.remote.kind === "address" ? neighbor.remote.address : discovery?.peer;
  }

  #connect(member: Member, connection: Connection): string | undefined {
    const address = this.#targetOf(member);
    if (address === undefined) return "no router advertisement has come";
    const { neighbor, ttls } = member;
    return connectTo(
      {
        netns: this.#options.netns,
        address,
        port: neighbor.port ?? BGP_PORT,
        source: neighbor.source,
        device: neighbor.remote.device,
        ttls,
        password: neighbor.password,
      },
      connection,
    );
  }

  #found(member: Member, address: Ip): void {
    if (this.#members.get(member.neighbor.name) !== member) return;
    this.#setKey(member, address);
    // What stands goes on: only its end tells that the peer is another one.
    if (member.session.negotiated === undefined) member.session.start();
  }

  #setKey(member: Member, address: Ip): void {
    const { password } = member.neighbor;
    if (password === undefined) return;
    this.#dropKey(member);
    member.keyOf = hostPrefix(address);
    this.#listeners.setKey(member.keyOf, password);
  }

  #dropKey(member: Member): void {
    const { keyOf } = member;
    delete member.keyOf;
    if (keyOf === undefined) return;
    const shared = [...this.#members.values()].find(
      (other) =>
        other !== member && other.keyOf !== undefined && formatPrefix(other.keyOf) === formatPrefix(keyOf),
    );
    // Another session with the same address, from another of ours: the kernel knows one key for both.
    if (shared?.neighbor.password !== undefined) this.#listeners.setKey(keyOf, shared.neighbor.password);
    else this.#listeners.removeKey(keyOf);
  }

  #accept(stream: AcceptedStream): AcceptedEvents | undefined {
    const remote = ipFromBytes(stream.remote.address);
    const local = ipFromBytes(stream.local.address);
    const { scope } = stream.remote;
    const isOn = (device: string) => scope === 0 || linkIndex(stream.number, device) === scope;
    const member = this.#memberFor(remote, { local, scope, isOn });
    if (
      member === undefined ||
      !admit(stream.number, remote, { ttls: member.ttls, password: member.neighbor.password })
    ) {
      if (member?.group !== undefined) this.#forget(member);
      return undefined;
    }
    const connection = member.session.newConnection();
    if (!member.session.offer(connection)) return undefined;
    member.met = true;
    return connection.streamEvents;
  }

  /** Whose connection it is; a dynamic neighbour is made for it. */
  #memberFor(
    remote: Ip,
    {
      local,
      scope,
      isOn,
    }: { readonly local: Ip; readonly scope: number; readonly isOn: (device: string) => boolean },
  ): Member | undefined {
    for (const member of this.#members.values()) {
      const { neighbor, discovery } = member;
      if (neighbor.source !== undefined && !ipEqual(neighbor.source, local)) continue;
      if (neighbor.remote.kind === "address") {
        const { address, device } = neighbor.remote;
        if (ipEqual(address, remote) && (device === undefined || isOn(device))) return member;
      } else if (scope !== 0 && discovery?.index === scope) {
        // It has heard us, and we not it yet; or it is another one than we know, which has to wait until that one is silent.
        if (discovery.peer === undefined) this.#meet(member, remote);
        return discovery.peer !== undefined && ipEqual(discovery.peer, remote) ? member : undefined;
      }
    }
    return this.#dynamic(remote);
  }

  #meet(member: Member, remote: Ip): void {
    // With a key nothing comes this far before the peer is known.
    member.discovery?.saw(remote);
    member.session.start();
  }

  #dynamic(remote: Ip): Member | undefined {
    let best: DynamicNeighbors | undefined;
    for (const group of this.#groups.values())
      if (prefixContains(group.prefix, remote) && group.prefix.length >= (best?.prefix.length ?? 0))
        best = group;
    if (best === undefined) return undefined;
    const { name, limit, prefix: _, ...rest } = best;
    const present = [...this.#members.values()].filter(({ group }) => group === name).length;
    if (present >= limit) return undefined;
    const member = this.#join(
      {
        ...rest,
        name: formatIp(remote),
        remote: { kind: "address", address: remote },
        options: { ...rest.options, passive: true },
      },
      name,
    );
    member.session.start();
    return member;
  }

  /** A dynamic neighbour lives as long as its connection. */
  #changed(member: Member): void {
    const { session, group, met } = member;
    this.#options.hooks.changed?.(session);
    const { main } = session.state;
    const over = main.fsm.kind === "idle" || (main.fsm.kind === "active" && main.connection === undefined);
    // Active without a connection is also where it begins, before it is offered one.
    if (group !== undefined && over && met === true) this.#leave(member);
  }

  #leave(member: Member): void {
    // What made it leave is not over yet.
    queueMicrotask(() => this.#forget(member));
  }

  #forget(member: Member): void {
    if (this.#members.get(member.neighbor.name) !== member) return;
    this.remove(member.neighbor.name);
    this.#options.removed?.(member.session);
  }

  [Symbol.dispose](): void {
    this.#listeners[Symbol.dispose]();
    for (const name of [...this.#members.keys()]) {
      const member = this.#members.get(name) as Member;
      this.#members.delete(name);
      member.discovery?.[Symbol.dispose]();
      member.session[Symbol.dispose]();
    }
  }
}

function sameEnds(a: Neighbor, b: Neighbor): boolean {
  if (a.remote.kind === "interface" || b.remote.kind === "interface")
    return a.remote.kind === b.remote.kind && a.remote.device === b.remote.device;
  if (!ipEqual(a.remote.address, b.remote.address) || a.remote.device !== b.remote.device) return false;
  return a.source === undefined || b.source === undefined || ipEqual(a.source, b.source);
}

/** Hooks as functions of their own: a class's methods are not found by a spread. */
function bound(hooks: SessionHooks): SessionHooks {
  return {
    established: (session, negotiated) => hooks.established(session, negotiated),
    down: (session, down) => hooks.down(session, down),
    update: (session, bytes, at, end) => hooks.update(session, bytes, at, end),
    refresh: (session, refresh) => hooks.refresh(session, refresh),
  };
}
