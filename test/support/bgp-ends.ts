/** Two BGP speakers, or more, in namespaces of their own: sessions on real sockets, and what their hooks were told. */
import {
  BgpIo,
  type BgpIoOptions,
  type BgpSession,
  type Neighbor,
  type Outbox,
} from "../../src/bgp/io/mod.ts";
import type { SessionDown } from "../../src/bgp/io/mod.ts";
import type { SessionConfig } from "../../src/bgp/session/mod.ts";
import { type BgpError, IPV4_UNICAST, type Refresh } from "../../src/bgp/wire/mod.ts";
import { parseIp } from "../../src/net/mod.ts";
import { addLink } from "../../src/netlink/mod.ts";
import type { Netns } from "../../src/sys/mod.ts";
import { Scratch } from "./scratch.ts";

/** until waits for something to become true, and names it if it does not. */
export async function until(what: string, holds: () => boolean, timeoutMs = 30_000): Promise<void> {
  for (let waited = 0; !holds(); waited += 20) {
    if (waited >= timeoutMs) throw new Error(`not in ${timeoutMs} ms: ${what}`);
    await Bun.sleep(20);
  }
}

/** Speaker is a BgpIo whose hooks remember. */
export class Speaker implements Disposable {
  readonly io: BgpIo;
  readonly downs: { readonly name: string; readonly down: SessionDown }[] = [];
  readonly updates: { readonly name: string; readonly body: Uint8Array }[] = [];
  /** With the bytes of UPDATEs that had come before. */
  readonly refreshes: { readonly name: string; readonly refresh: Refresh; readonly after: number }[] = [];
  readonly removed: string[] = [];
  /** What each session has to send. */
  readonly outboxes = new Map<string, Outbox>();
  /** What an UPDATE is answered with. */
  judge: (body: Uint8Array) => BgpError | undefined = () => undefined;
  updateBytes = 0;
  keepUpdates = true;

  constructor(options: Omit<BgpIoOptions, "hooks"> = {}) {
    this.io = new BgpIo({
      removed: (session) => void this.removed.push(session.name),
      ...options,
      hooks: {
        established: (session) => this.outboxes.get(session.name),
        down: (session, down) => void this.downs.push({ name: session.name, down }),
        update: (session, bytes, at, end) => {
          this.updateBytes += end - at;
          if (this.keepUpdates) this.updates.push({ name: session.name, body: bytes.slice(at, end) });
          return this.judge(bytes.subarray(at, end));
        },
        refresh: (session, refresh) =>
          void this.refreshes.push({ name: session.name, refresh, after: this.updateBytes }),
      },
    });
  }

  /** up waits for a session. */
  async up(name: string): Promise<BgpSession> {
    await until(`${name} is established`, () => this.io.session(name)?.negotiated !== undefined);
    return this.io.session(name) as BgpSession;
  }

  /** state names where a session is. */
  state(name: string): string | undefined {
    return this.io.session(name)?.state.main.fsm.kind;
  }

  [Symbol.dispose](): void {
    this.io[Symbol.dispose]();
  }
}

/** session is one of AS 65001 or 65002, with IPv4. */
export function session(number: 1 | 2, more: Partial<SessionConfig> = {}): SessionConfig {
  return {
    localAs: 65000 + number,
    routerId: parseIp(`10.255.0.${number}`),
    remoteAs: "external",
    holdMs: 90_000,
    families: [{ family: IPV4_UNICAST }],
    ...more,
  };
}

/** neighbor is the other end of a BgpEnds. */
export function neighbor(to: 1 | 2, more: Partial<Neighbor> = {}): Neighbor {
  return {
    name: `n${to}`,
    remote: { kind: "address", address: parseIp(`192.0.2.${to}`) },
    session: session(to === 1 ? 2 : 1),
    ...more,
  };
}

/** BgpEnds are two namespaces with a link: 192.0.2.1 and .2 on `e1` and `e2`. */
export interface BgpEnds {
  readonly first: Netns;
  readonly second: Netns;
}

/** bgpEnds makes them. */
export const bgpEnds = (): Scratch & BgpEnds =>
  Scratch.prepared((scratch) => {
    const second = scratch.another();
    joined(scratch, { second, names: ["e1", "e2"], addresses: ["192.0.2.1/24", "192.0.2.2/24"] });
    return { first: scratch.netns, second };
  });

/** joined lays a link between a scratch's own namespace and another. */
export function joined(
  scratch: Scratch,
  options: {
    readonly second: Netns;
    readonly names: readonly [string, string];
    readonly addresses?: readonly [string, string];
  },
): void {
  const { second, names, addresses } = options;
  scratch.route.request(addLink({ name: names[0], type: "veth", peer: { name: names[1] }, up: true }));
  scratch.text(`ip link set ${names[1]} netns ${second.path}`);
  const sides = [scratch.netns, second] as const;
  for (const [i, netns] of sides.entries()) {
    scratch.text("ip link set lo up", netns);
    scratch.text(`ip link set ${names[i]} up`, netns);
    if (addresses !== undefined) scratch.text(`ip address add ${addresses[i]} dev ${names[i]}`, netns);
  }
}
