/**
 * Routers: all BgpRouters of a process, with what they share: BFD, routes by route targets, the socket on which they are looked at, and what has
 * to be known after a restart.
 */
import { BfdClient, bfdSessionId, type BfdSessionStatus, type BfdWish } from "../../bfd/mod.ts";
import { formatIp, ipEqual } from "../../net/mod.ts";
import { type BgpRouter, canonicalJson, bgpRouterSpec } from "../../resources/mod.ts";
import {
  after,
  AppendedFile,
  bootId,
  every,
  Netns,
  readPasswordFile,
  readText,
  removeTree,
  writeAtomic,
} from "../../sys/mod.ts";
import { type BgpSession, record, type SessionTap } from "../io/mod.ts";
import type { Restarted } from "../session/mod.ts";
import { type BgpFamily, FAMILIES } from "../wire/mod.ts";
import { twinsOf, wantsNeighbor } from "./router-change.ts";
import { Leaks } from "./leaks.ts";
import { Monitor } from "./monitor.ts";
import { Speaker } from "./speaker.ts";
import type { SpeakerLog } from "./speaker-options.ts";

/** A recording ends there; what a session is told in a day of a full table. */
const MOST_RECORDED_BYTES = 1 << 30;

/** How often files of passwords are looked at. */
const PASSWORDS_MS = 2_000;

/** How long BFD goes on for neighbors of routers that have not come back: as neighbors wait for them by default (RFC 4724). */
const AWAITED_MS = 120_000;

/** RoutersOptions say where a process keeps things. */
export interface RoutersOptions {
  /** A folder for what must outlive the process: which routers ran, and BFD's socket. */
  readonly folder: string;
  readonly log: SpeakerLog;
  /** A folder for recordings of all sessions, a file for each; absent: none are made. */
  readonly recordings?: string | undefined;
  /** The program that keeps BFD sessions; default this executable. */
  readonly bfdProgram?: readonly string[];
  /** Told of each speaker that begins, before it has a session: one whose AS or place changes is another one. */
  readonly onSpeaker?: (speaker: Speaker) => void;
}

interface Watched {
  readonly wish: BfdWish;
  readonly name: string;
  /** It has called, or we call it. */
  readonly called: boolean;
}

interface Member {
  readonly speaker: Speaker;
  readonly netns: Netns | undefined;
  /** What it watches, by the id of the BFD session. */
  watched: ReadonlyMap<string, string>;
  /** Why not all of its sessions have begun anew with their other passwords; the next look tries again. */
  refusal?: string | undefined;
}

/** Routers owns speakers. */
export class Routers {
  readonly monitor = new Monitor();
  readonly #options: RoutersOptions;
  readonly #members = new Map<string, Member>();
  readonly #leaks = new Leaks();
  readonly #former: Set<string>;
  /** Neighbors that BFD watched before, as `router neighbor`: its sessions go on, and are not ended while ours come back. */
  readonly #formerlyWatched: Set<string>;
  /** Those of them that nobody has wished for since: routers come one after the other, and the last sessions stay until theirs has. */
  readonly #awaited: Set<string>;
  readonly #awaiting: Disposable;
  #isAwaiting = true;
  /** Files of recordings, by path: a session that comes anew goes on in its own. */
  readonly #recordings = new Map<string, AppendedFile>();
  readonly #passwords: Disposable;
  #bfd: BfdClient | undefined;
  #bfdWork: Promise<void> = Promise.resolve();
  #bfdWishes = "[]";
  /** What the file for a restart says. */
  #remembered = "";
  #stopped = false;

  constructor(options: RoutersOptions) {
    this.#options = options;
    const { routers, watched } = this.#readFormer();
    this.#former = routers;
    this.#formerlyWatched = watched;
    this.#awaited = new Set(watched);
    this.#awaiting = after(AWAITED_MS, () => {
      this.#awaited.clear();
      this.#isAwaiting = false;
      // Told even where nothing is wished.
      this.#bfdWishes = "";
      this.#watch();
      this.#remember();
    });
    this.#passwords = every(PASSWORDS_MS, () => this.#lookAtPasswords());
  }

  get speakers(): readonly Speaker[] {
    return [...this.#members.values()].map(({ speaker }) => speaker);
  }

  /** speaker returns the one of a router by its name. */
  speaker(name: string): Speaker | undefined {
    return this.#members.get(name)?.speaker;
  }

  /** What BFD says of a neighbor; undefined where it is not asked, or not known yet. */
  bfdOf(speaker: Speaker, neighbor: string): BfdSessionStatus | undefined {
    const member = this.#members.get(speaker.router.name);
    for (const [id, name] of member?.watched ?? []) if (name === neighbor) return this.#bfd?.state(id);
    return undefined;
  }

  /**
   * set makes these the routers: new ones start, others end with a cease, changed ones change without touching sessions that stay the same. A
   * router that cannot start does not keep the others from it; the error is returned by its name.
   */
  set(routers: readonly BgpRouter[]): ReadonlyMap<string, Error> {
    const failed = new Map<string, Error>();
    const wanted = new Map(routers.map((router) => [router.name, router]));
    for (const [name, member] of this.#members) {
      const router = wanted.get(name);
      if (router === undefined || !sameIdentity(member.speaker.router, router)) this.#remove(name, router);
    }
    const twins = twinsOf(routers);
    for (const router of routers) {
      try {
        const twin = twins.get(router.name);
        if (twin !== undefined)
          throw new Error(
            `router ${twin.name} puts its routes into table ${router.installTable ?? 254} too; give one another installTable`,
          );
        const member = this.#members.get(router.name);
        if (member === undefined) this.#add(router);
        else if (!same(member.speaker.router, router)) member.speaker.update(router);
      } catch (error) {
        failed.set(router.name, error as Error);
      }
    }
    this.#leaks.refresh();
    this.#watch();
    this.#remember();
    return failed;
  }

  /** Sessions whose password is another by now begin anew, and no others. Nobody has called who would bear what is in the way. */
  #lookAtPasswords(): void {
    for (const member of this.#members.values()) {
      const { speaker, refusal } = member;
      if (refusal === undefined && !speaker.hasOtherPasswords) continue;
      try {
        speaker.update(speaker.router);
        member.refusal = undefined;
      } catch (error) {
        const { message: why } = error as Error;
        if (why !== refusal)
          this.#options.log("bgp passwords are not taken up", { router: speaker.router.name, why });
        member.refusal = why;
      }
    }
  }

  #add(router: BgpRouter): void {
    const netns = router.namespace === undefined ? undefined : openNetns(router.namespace);
    try {
      const speaker = new Speaker(router, {
        netns,
        readPassword: readPasswordFile,
        ...(this.#options.recordings === undefined
          ? {}
          : { tap: (session: BgpSession) => this.#tap(router.name, session) }),
        restarted: this.#restarted(router),
        log: (event, fields) => {
          this.#options.log(event, { router: router.name, ...fields });
          this.monitor.tell({ kind: "log", router: router.name, event, ...fields });
        },
        onChange: () => queueMicrotask(() => this.#watch()),
      });
      this.#members.set(router.name, { speaker, netns, watched: new Map() });
      this.monitor.follow(speaker);
      this.#leaks.add(speaker);
      this.#options.onSpeaker?.(speaker);
    } catch (error) {
      netns?.close();
      throw error;
    }
  }

  #tap(router: string, session: BgpSession): SessionTap {
    const name = `${router}-${session.name}`.replaceAll(/[^A-Za-z0-9.%:-]/g, "_");
    const path = `${this.#options.recordings}/${name}.jsonl`;
    const recording = this.#recordings.get(path) ?? new AppendedFile(path, MOST_RECORDED_BYTES);
    this.#recordings.set(path, recording);
    return record(session, { write: (line) => recording.append(`${line}\n`) });
  }

  /** Where one comes after it that neighbors know under the same name, they are told nothing, and keep its routes meanwhile (RFC 4724). */
  #remove(name: string, next: BgpRouter | undefined): void {
    const member = this.#members.get(name);
    if (member === undefined) return;
    this.#members.delete(name);
    const isRestart = next !== undefined && sameName(member.speaker.router, next);
    if (isRestart) this.#former.add(name);
    else this.#former.delete(name);
    try {
      if (next === undefined || !isRestart) member.speaker.shutdown("the router was removed");
      else dismiss(member.speaker, next);
      this.#leaks.remove(member.speaker);
    } finally {
      member.speaker[Symbol.dispose]();
      member.netns?.close();
    }
  }

  // BFD.

  /** Has the neighbors watched that want it, those whose address is known. */
  #watch(): void {
    if (this.#stopped) return;
    const wishes: BfdWish[] = [];
    for (const member of this.#members.values()) {
      const watched = new Map<string, string>();
      for (const { wish, name, called } of wishesOf(member)) {
        // One that calls us is watched when it has called: until then nobody knows whether it is there at all.
        if (!called && !this.#formerlyWatched.has(`${member.speaker.router.name} ${name}`)) continue;
        this.#awaited.delete(`${member.speaker.router.name} ${name}`);
        watched.set(bfdSessionId(wish), name);
        wishes.push(wish);
      }
      member.watched = watched;
    }
    const keepOthers = this.#awaited.size > 0;
    const text = `${JSON.stringify(wishes)}${keepOthers ? " and others" : ""}`;
    if (text === this.#bfdWishes) return;
    this.#bfdWishes = text;
    this.#remember();
    this.#bfdWork = this.#bfdWork.then(() => this.#tellBfd(wishes, keepOthers));
  }

  async #tellBfd(wishes: readonly BfdWish[], keepOthers: boolean): Promise<void> {
    try {
      // Those that a former process had watched may be nobody's wish any more: they are to end then.
      if (this.#bfd === undefined && (wishes.length > 0 || this.#formerlyWatched.size > 0)) {
        const { folder, bfdProgram } = this.#options;
        this.#bfd = await BfdClient.open({
          socket: `${folder}/bfd.sock`,
          logPath: `${folder}/bfd.log`,
          ...(bfdProgram === undefined ? {} : { program: bfdProgram }),
          onChange: (status) => this.#pathChanged(status),
          onProblem: (why) => this.#options.log("bfd does not do all", { why }),
        });
      }
      if (this.#stopped) this.#bfd?.close();
      else this.#bfd?.set(wishes, { keepOthers });
    } catch (error) {
      // The next session that changes tries again.
      this.#bfdWishes = "";
      this.#options.log("bfd does not run", { why: error instanceof Error ? error.message : String(error) });
    }
  }

  #pathChanged({ id, state, diagnostic, remoteState, remoteIndependent }: BfdSessionStatus): void {
    for (const { speaker, watched } of this.#members.values()) {
      const neighbor = watched.get(id);
      if (neighbor === undefined) continue;
      this.monitor.tell({
        kind: "log",
        router: speaker.router.name,
        event: `bfd ${state}`,
        neighbor,
        why: diagnostic,
      });
      // RFC 5882 section 3.2: AdminDown of either side says nothing about the path; Down that was never Up neither, which is what `set` begins with.
      if (state === "down" && diagnostic !== "none" && remoteState !== "admin-down")
        speaker.pathDown(neighbor, { hard: remoteIndependent && !keepsRoutes(speaker, neighbor) });
    }
  }

  // Restart.

  get #restartFile(): string {
    return `${this.#options.folder}/bgp-restart.json`;
  }

  #readFormer(): { readonly routers: Set<string>; readonly watched: Set<string> } {
    try {
      const text = readText(this.#restartFile) ?? "{}";
      const kept = JSON.parse(text) as { boot?: string; routers?: string[]; watched?: string[] };
      // After a reboot nothing was forwarded.
      if (kept.boot === bootId()) return { routers: new Set(kept.routers), watched: new Set(kept.watched) };
    } catch {
      // Half a file is none.
    }
    return { routers: new Set(), watched: new Set() };
  }

  #restarted({ name, offPath }: BgpRouter): Restarted | undefined {
    if (this.#former.has(name)) return { forwarding: allFamilies };
    return offPath === true ? { forwarding: allFamilies, over: true } : undefined;
  }

  #remember(): void {
    const routers = [...this.#members.keys()];
    const watched = [...this.#members].flatMap(([router, one]) =>
      [...one.watched.values()].map((name) => `${router} ${name}`),
    );
    // Killed before all are back, the next process comes after the former one too.
    const former = { routers: this.#isAwaiting ? this.#former : [], watched: this.#awaited };
    const text = JSON.stringify({
      boot: bootId(),
      routers: [...new Set([...routers, ...former.routers])],
      watched: [...new Set([...watched, ...former.watched])],
    });
    if (text !== this.#remembered) writeAtomic(this.#restartFile, text, 0o600);
    this.#remembered = text;
  }

  /** stop ends the process's part: connections end without a word, so that neighbors keep routes, and BFD goes on (RFC 4724). */
  stop(): void {
    this.#stopped = true;
    this.#awaiting[Symbol.dispose]();
    this.#passwords[Symbol.dispose]();
    for (const { speaker, netns } of this.#members.values()) {
      speaker[Symbol.dispose]();
      netns?.close();
    }
    this.#members.clear();
    this.#bfd?.close();
  }

  /** shutdown ends all for good: neighbors are told, and forget our routes. */
  async shutdown(text: string): Promise<void> {
    for (const { speaker } of this.#members.values()) speaker.shutdown(text);
    await this.#bfdWork;
    await this.#bfd?.destroy();
    this.#bfd = undefined;
    this.stop();
    removeTree(this.#restartFile);
  }
}

const allFamilies = new Set<BgpFamily>(FAMILIES);

/** Neighbors that the next router has no more would wait for it, and keep its routes meanwhile. */
function dismiss(speaker: Speaker, next: BgpRouter): void {
  for (const { name, dynamic } of speaker.neighbors)
    if (!wantsNeighbor(next, { name, dynamic })) speaker.io.remove(name);
}

function keepsRoutes(speaker: Speaker, name: string): boolean {
  return speaker.neighbor(name)?.options.bfd?.keepRoutes === true;
}

function* wishesOf({ speaker, netns }: Member): Generator<Watched> {
  for (const { name, options, peer } of speaker.neighbors) {
    const { bfd, multihop, source } = options;
    const address = bfd === undefined ? undefined : speaker.io.addressOf(name);
    if (bfd === undefined || address === undefined) continue;
    // A name of a link may look like digits of an address (`be0`), but has no colon.
    const link = name.split("%")[1] ?? (/:|^\d+(\.\d+){3}$/.test(name) ? undefined : name);
    yield {
      name,
      called: options.passive !== true || peer !== undefined,
      wish: {
        peer: formatIp(address),
        ...(netns === undefined ? {} : { netns: netns.path }),
        ...(link === undefined ? {} : { link }),
        ...(source === undefined ? {} : { local: formatIp(source) }),
        ...(multihop === undefined ? {} : { multihop }),
        transmitMs: bfd.transmitMs,
        receiveMs: bfd.receiveMs,
        multiplier: bfd.multiplier,
        ...(bfd.passive === true ? { passive: true } : {}),
        ...(bfd.minimumTtl === undefined ? {} : { minimumTtl: bfd.minimumTtl }),
      },
    };
  }
}

/** Who it is, and where its packets are forwarded. */
function sameName(a: BgpRouter, b: BgpRouter): boolean {
  const place = ({ asn, namespace, install, installTable }: BgpRouter) =>
    [asn, namespace, install, installTable].join();
  return place(a) === place(b) && ipEqual(a.routerId, b.routerId) && b.restartMs > 0;
}

/** What sessions and tables are made of cannot change under them. */
function sameIdentity(a: BgpRouter, b: BgpRouter): boolean {
  if (a === b) return true;
  const part = ({
    asn,
    routerId,
    clusterId,
    namespace,
    listen,
    maximumPaths,
    alwaysCompareMed,
    ...rest
  }: BgpRouter) =>
    JSON.stringify(
      [
        asn,
        routerId,
        clusterId,
        namespace,
        listen,
        maximumPaths,
        alwaysCompareMed,
        rest.restartMs,
        rest.longLivedMs,
      ],
      (_, value: unknown) => (typeof value === "bigint" ? String(value) : value),
    );
  return part(a) === part(b);
}

function same(a: BgpRouter, b: BgpRouter): boolean {
  return a === b || canonicalJson(bgpRouterSpec(a)) === canonicalJson(bgpRouterSpec(b));
}

/** A namespace by name, as ip-netns(8) has it, or by path. */
function openNetns(name: string): Netns {
  const path = name.startsWith("/") ? name : `/run/netns/${name}`;
  try {
    return Netns.open(path);
  } catch (error) {
    throw new Error(`there is no network namespace ${name}; make it: ip netns add ${name}`, { cause: error });
  }
}
