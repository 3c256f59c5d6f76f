/**
 * A crowd of simulated nodes in one namespace and in this process. Each has an address of its own outside and inside; inside, this kernel's TCP speaks for
 * all of them: what it sends leaves by a TUN device, where each packet is sealed by the member whose address it comes from.
 *
 * ```
 * TCP of member i ── crowd0 (TUN) ── member i: seal ── UDP of member i ═══ the hub's data plane
 * ```
 */
import { type Ip, ipFromBytes } from "../../src/net/mod.ts";
import { attachTun, every, type Fd, isErrno, libc, type Netns, sleep, stable } from "../../src/sys/mod.ts";
import { must } from "../tunnel/cable.ts";
import type { Seat } from "./full-register.ts";
import { type CrowdHub, Member } from "./member.ts";

const LINK = "crowd0";
const MTU_BYTES = 1400;
const F_SETFL = 4;
const O_RDWR_NONBLOCK = 0o2 | 0o4000;
const TIMERS_MS = 200;
const SYNC_PING_MS = 10_000;
const TURNS = 100;
/** Handshakes and connections that begin in one turn. */
const PER_TURN = 4;
const TURN_MS = 12;
const PATIENCE_MS = 240_000;

/** CrowdOptions say who is in it, and where. */
export interface CrowdOptions {
  readonly netns: Netns;
  readonly seats: readonly Seat[];
  readonly hub: CrowdHub;
  /** All addresses outside, and inside, as text. */
  readonly outside: string;
  readonly inside: string;
}

/** Crowd owns all members, and the device. */
export class Crowd implements Disposable {
  readonly members: readonly Member[];
  /** Bytes of the hub's lines. */
  lineBytes = 0;
  /** Sees each line. */
  onLine: ((member: Member, line: Buffer) => void) | undefined;
  readonly #options: CrowdOptions;
  readonly #byInside = new Map<number, Member>();
  readonly #tun: Fd;
  readonly #packet = stable(65_536);
  readonly #timers: Disposable[] = [];
  #turn = 0;
  #closed = false;

  constructor(options: CrowdOptions) {
    const { netns, seats, hub, inside, outside } = options;
    this.#options = options;
    this.#tun = attachTun(LINK, { netns });
    libc.fcntl(this.#tun.number, F_SETFL, O_RDWR_NONBLOCK);
    for (const command of [
      `link set ${LINK} mtu ${MTU_BYTES} up`,
      // In the main table: a way by the device to those who are no members comes first.
      `route add local ${inside} dev lo table main`,
      `route add local ${outside} dev lo table main`,
    ])
      must(netns, "ip", ...command.split(" "));
    for (const link of ["all", LINK]) must(netns, "sysctl", "-qw", `net.ipv4.conf.${link}.rp_filter=0`);
    this.reach(hub.overlay4);
    this.members = seats.map(
      (seat) =>
        new Member(seat, {
          netns,
          hub,
          deliver: (packet) => this.#deliver(packet),
          heard: (member, line) => this.#heard(member, line),
        }),
    );
    for (const member of this.members) this.#byInside.set(Number(member.seat.node.overlay4.value), member);
    this.#read();
    this.#timers.push(
      every(TIMERS_MS, () => {
        for (const member of this.members) member.due();
      }),
    );
    this.#timers.push(every(SYNC_PING_MS / TURNS, () => this.#ping()));
  }

  /** reach routes an address that is not in the crowd. */
  reach(address: Ip): void {
    const text = [24n, 16n, 8n, 0n].map((shift) => (address.value >> shift) & 0xffn).join(".");
    must(this.#options.netns, "ip", "route", "replace", `${text}/32`, "dev", LINK);
  }

  /** A hundredth of all members at a time; what was missed while this process had to wait is made up for. */
  #ping(): void {
    const now = Math.floor((performance.now() / SYNC_PING_MS) * TURNS);
    for (this.#turn = Math.max(this.#turn, now - TURNS); this.#turn < now; this.#turn++)
      for (let i = this.#turn % TURNS; i < this.members.length; i += TURNS)
        (this.members[i] as Member).ping();
  }

  /** listen opens the members' sockets. */
  async listen(): Promise<void> {
    for (const member of this.members) await member.open();
  }

  /** shakeHands waits until each member has a session with the hub, which runs. */
  async shakeHands(): Promise<void> {
    await this.#each(async (member) => member.greet());
    await until(() => {
      const waiting = this.members.filter((member) => !member.tunnelled).length;
      return waiting === 0 ? undefined : `${waiting} members have no session`;
    });
  }

  /** follow has all members follow the hub, and waits until each was told a state. */
  async follow(): Promise<void> {
    const [first] = this.members;
    await first?.follow();
    await until(() => (first?.read === undefined ? "the first member was told nothing" : undefined));
    // As far as the hub's facts have come: who was away for a moment has read them.
    await this.#each(async (member) => {
      if (member !== first) await member.follow(first?.read);
    });
    await until(() => {
      const waiting = this.members.filter((member) => !member.online).length;
      return waiting === 0 ? undefined : `${waiting} members were told no state`;
    });
  }

  async #each(work: (member: Member) => Promise<void>): Promise<void> {
    for (let i = 0; i < this.members.length; i += PER_TURN) {
      await Promise.all(this.members.slice(i, i + PER_TURN).map(work));
      await sleep(TURN_MS);
    }
  }

  /** untilAll waits until each of the members (default all) has had a line with this text; returns after how many milliseconds the first, half of them and the last had. */
  async untilAll(
    text: string,
    begin: () => unknown,
    members: readonly Member[] = this.members,
  ): Promise<{ readonly firstMs: number; readonly halfMs: number; readonly allMs: number }> {
    const left = new Set(members);
    const times: number[] = [];
    const startMs = performance.now();
    this.onLine = (member, line) => {
      if (left.has(member) && line.includes(text)) {
        left.delete(member);
        times.push(performance.now() - startMs);
      }
    };
    try {
      const work = begin();
      await until(() => (left.size === 0 ? undefined : `${left.size} members have not heard ${text}`));
      await work;
    } finally {
      this.onLine = undefined;
    }
    const at = (share: number) => times[Math.floor((times.length - 1) * share)] ?? Number.NaN;
    return { firstMs: at(0), halfMs: at(0.5), allMs: at(1) };
  }

  #heard(member: Member, line: Buffer): void {
    this.lineBytes += line.length + 1;
    if (line.length > 20 && !member.online && line.includes('"type":"state"')) member.online = true;
    if (line.includes('"type":"facts"')) {
      const [, book, version] =
        /"book":"([^"]+)","version":(\d+)/.exec(line.toString("latin1", 0, 200)) ?? [];
      if (book !== undefined) member.read = { book, version: Number(version) };
    }
    if (line.includes('"type":"refused"'))
      throw new Error(`the hub refuses ${member.seat.node.name}: ${line.toString()}`);
    this.onLine?.(member, line);
  }

  #deliver(packet: Uint8Array<ArrayBuffer>): void {
    try {
      libc.writeFrom(this.#tun.number, packet);
    } catch (error) {
      // The kernel refuses what is no packet, and a full queue loses some.
      if (!isErrno(error, "EINVAL", "EAGAIN", "ENOBUFS")) throw error;
    }
  }

  /** Reads what the kernel sends, until there is no more; then looks again in a moment. */
  #read(): void {
    if (this.#closed) return;
    let count = 0;
    for (; count < 256; count++) {
      let length: number;
      try {
        length = libc.readInto(this.#tun.number, this.#packet);
      } catch (error) {
        if (!isErrno(error, "EAGAIN")) throw error;
        break;
      }
      if ((this.#packet[0] as number) >> 4 !== 4) continue;
      const source = Number(ipFromBytes(this.#packet.slice(12, 16)).value);
      // The packet may have to wait for a handshake.
      this.#byInside.get(source)?.send(this.#packet.slice(0, length));
    }
    if (count === 256) setImmediate(() => this.#read());
    else setTimeout(() => this.#read(), 1);
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    for (const timer of this.#timers) timer[Symbol.dispose]();
    for (const member of this.members) member[Symbol.dispose]();
    this.#tun.close();
  }
}

async function until(problem: () => string | undefined): Promise<void> {
  const end = performance.now() + PATIENCE_MS;
  for (let text = problem(); text !== undefined; text = problem()) {
    if (performance.now() > end) throw new Error(`Cannot go on: ${text}`);
    await sleep(5);
  }
}
