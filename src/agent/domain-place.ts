/** DomainPlace: one domain on this node: its namespace, the engine in it, and what is known of elsewhere. */
import {
  bridgeOf,
  type Domain,
  type DomainNode,
  domainObjects,
  isPort,
  type LocalAttachment,
  portObjects,
  portOf,
  type RemoteChange,
  Remotes,
  type Segment,
  segmentObjects,
  VXLAN_PORT,
  vxlanOf,
} from "../domain/mod.ts";
import { Engine, type KernelObject, type ObjectStatus, PROTOCOL, sameValue } from "../engine/mod.ts";
import { LinkRemover, Rtnetlink } from "../netlink/mod.ts";
import type { Netns } from "../sys/mod.ts";
import { Arrivals } from "./arrivals.ts";
import { Bearing } from "./bearing.ts";
import type { VxlanGuard } from "./vxlan-guard.ts";

/** MOST_AT_ONCE is how many remote entries go to the kernel together: their events fit the engine's queue. */
const MOST_AT_ONCE = 500;

/** PlaceOptions are what all domains of a node share. */
export interface PlaceOptions {
  readonly netns: Netns;
  /** Socket in the host's namespace, from which VXLAN devices are made. */
  readonly underlay: Rtnetlink;
  readonly guard: VxlanGuard;
  readonly node: DomainNode;
  readonly onChange: (status: ObjectStatus) => void;
  /** By which links are known as ours. */
  readonly alias: string;
}

/** DomainPlace owns a namespace that is open, also where it cannot be made; closing it leaves everything as it is, `clear` does not. */
export class DomainPlace implements Disposable {
  readonly netns: Netns;
  readonly engine: Engine;
  /** Socket in the namespace. */
  readonly route: Rtnetlink;
  readonly remotes: Remotes;
  readonly attachments = new Map<string, LocalAttachment>();
  /** Attachments whose addresses are elsewhere by now. */
  readonly #moved = new Set<string>();
  #domain: Domain;
  /** As it was told last: without what is kept of it. */
  #told: Domain;
  #node: DomainNode;
  /** Segments that are here without attachments. */
  #held: ReadonlySet<number> = new Set();
  /** Active segments → their UDP port. */
  readonly #segments = new Map<number, number>();
  #vnis: readonly number[] = [];
  readonly #guard: VxlanGuard;
  readonly #arrivals: Arrivals;
  /** UDP port of the domain's own VNI, as long as something is routed. */
  #routed: number | undefined;
  #remover: LinkRemover | undefined;
  readonly #alias: string;
  /** What the kernel refuses now, whoever asked for it is told by an exception. */
  #isRequiring = false;

  constructor(domain: Domain, options: PlaceOptions) {
    using opened = new DisposableStack();
    this.netns = opened.use(options.netns);
    this.#domain = this.#told = domain;
    this.#node = options.node;
    this.#guard = options.guard;
    this.#alias = options.alias;
    this.route = opened.use(Rtnetlink.open({ netns: options.netns }));
    this.engine = Engine.open({
      netns: options.netns,
      route: this.route,
      underlay: options.underlay,
      mark: { alias: options.alias, protocol: PROTOCOL, alone: true },
      onChange: (status) => {
        if (!this.#isRequiring) options.onChange(status);
      },
    });
    this.remotes = new Remotes(domain, options.node);
    this.#arrivals = new Arrivals(this);
    this.engine.set("domain", []);
    opened.move();
  }

  get domain(): Domain {
    return this.#domain;
  }

  /** VNIs of the segments that are here: the same value as long as they are the same. */
  get segments(): readonly number[] {
    return this.#vnis;
  }

  /** Links by which the domain's router reaches those of other nodes. */
  get routerLinks(): readonly string[] {
    return this.#domain.routing === undefined ? [] : [bridgeOf(this.#domain.vni)];
  }

  /** begin makes the domain's router; throws what the kernel refuses, and has no UDP port under the guard then. */
  begin(): void {
    const { name, vni, routing, segments } = this.#domain;
    if (routing !== undefined && segments.some((segment) => segment.vni === vni))
      throw new Error(
        `Cannot make ${name}: its VNI ${vni} is that of one of its segments too; give one of them another`,
      );
    this.#routes(routing === undefined ? undefined : this.#ownPort);
    try {
      this.#require("domain", domainObjects(this.#domain, this.#node));
      this.engine.start({ rounds: false });
    } catch (error) {
      this.#routes(undefined);
      throw error;
    }
  }

  /** setDomain changes what is here in place. A segment that still has pods stays, whatever the register says. */
  setDomain(domain: Domain, node: DomainNode): void {
    if (node === this.#node && sameValue(domain, this.#told)) return;
    this.#told = domain;
    const known = new Set(domain.segments.map(({ vni }) => vni));
    const kept = this.#domain.segments.filter(({ vni }) => this.#segments.has(vni) && !known.has(vni));
    this.#domain = kept.length === 0 ? domain : { ...domain, segments: [...domain.segments, ...kept] };
    this.#node = node;
    if (domain.routing !== undefined) this.#routes(this.#ownPort);
    this.engine.set("domain", domainObjects(this.#domain, node));
    for (const vni of this.#segments.keys()) this.#reopen(vni);
    // What leads elsewhere with it: a device of another family takes none of the entries of before.
    this.remotes.setDomain(this.#domain, node);
    this.#takeRemotes();
    this.engine.apply();
    if (domain.routing === undefined) this.#routes(undefined);
  }

  /** segment returns a segment of the domain; throws when there is none. */
  segment(vni: number): Segment {
    const found = this.#domain.segments.find((segment) => segment.vni === vni);
    if (found !== undefined) return found;
    throw new Error(
      `Cannot attach to VNI ${vni}: ${this.#domain.name} has no such segment; create the Subnet`,
    );
  }

  /** enter brings a segment up, and takes note of who needs it. */
  enter(attachment: LocalAttachment): void {
    const { segment: vni, id } = attachment;
    this.attachments.set(id, attachment);
    this.remotes.attach(attachment);
    this.#begin(vni);
    this.flush();
  }

  /**
   * hold has these segments be here also without attachments, and no others. Returns why the kernel refuses some: without attachments nothing of them
   * stays, but of one that an earlier agent left: pods may be on it that are taken up later, and what is refused of it is a problem of the domain.
   */
  hold(vnis: ReadonlySet<number>): ReadonlyMap<number, string> {
    const before = this.#held;
    const refused = new Map<number, string>();
    for (const vni of vnis) {
      if (this.#segments.has(vni)) continue;
      const bearing = new Bearing();
      bearing.bear(() => this.#begin(vni, { isLeft: this.#isOurs(vxlanOf(vni)) }));
      for (const problem of bearing.problems) refused.set(vni, problem);
    }
    this.#held = vnis.difference(refused);
    for (const vni of [...before, ...refused.keys()]) this.#closeUnused(vni);
    this.flush();
    return refused;
  }

  #begin(vni: number, { isLeft = false } = {}): void {
    if (this.#segments.has(vni)) return;
    const segment = this.segment(vni);
    this.#openPort(segment);
    // Also where the kernel refuses it now: the engine tries it again, and nobody begins it another time.
    this.remotes.setActive(vni, true);
    const objects = segmentObjects(segment, this.#node);
    if (isLeft) this.#ask(scopeOf(vni), objects);
    else this.#require(scopeOf(vni), objects);
  }

  /** connect makes the node's side of an attachment true; throws what the kernel refuses. */
  connect(attachment: LocalAttachment): void {
    for (const other of this.#others(attachment)) this.#setPort(other, { isElsewhere: true });
    this.#require(`port/${attachment.id}`, portObjects(attachment));
  }

  /** resume makes the node's side of an attachment of an earlier agent true. */
  resume(attachment: LocalAttachment): void {
    if (this.#hasLater(attachment)) this.#setPort(attachment, { isElsewhere: true });
    else this.connect(attachment);
  }

  #hasLater(attachment: LocalAttachment): boolean {
    const all = [...this.attachments.values()];
    return this.#others(attachment).some((other) => all.indexOf(other) > all.indexOf(attachment));
  }

  /** Other attachments of the same station: a virtual machine's next pod begins before its last one ends. The last that came is it. */
  #others({ id, segment, mac }: LocalAttachment): LocalAttachment[] {
    return [...this.attachments.values()].filter(
      (other) => other.id !== id && other.segment === segment && other.mac === mac,
    );
  }

  /** Of one whose station is elsewhere the link stays, and nothing is sent to it. What the kernel refuses is a problem of the domain. */
  #setPort(attachment: LocalAttachment, how: { readonly isElsewhere: boolean }): void {
    this.#ask(`port/${attachment.id}`, portObjects(attachment, how));
  }

  /** setElsewhere says that an attachment's addresses have moved to another node, so that they are reached there; false: they are here again. */
  setElsewhere(id: string, isElsewhere: boolean): void {
    const attachment = this.attachments.get(id);
    if (attachment === undefined || this.#moved.has(id) === isElsewhere) return;
    if (isElsewhere) {
      this.#moved.add(id);
      this.#setPort(attachment, { isElsewhere });
      this.remotes.detach(attachment);
      this.flush();
    } else {
      this.#moved.delete(id);
      this.remotes.attach(attachment);
      this.flush();
      // It may have come back as another pod, while this one still ends.
      this.#setPort(attachment, { isElsewhere: this.#hasLater(attachment) });
    }
  }

  /** strays removes links of pods that are attached to nothing: a crash came between making them and saying so. */
  strays(): void {
    const wanted = new Set([...this.attachments.keys()].map(portOf));
    for (const { name, kind } of this.route.links())
      if (kind === "veth" && isPort(name) && !wanted.has(name)) this.removeLink(name);
  }

  /** settle removes what is known of an earlier agent alone, once EVPN has told all. */
  settle(): void {
    this.strays();
    this.engine.sweep();
  }

  /** leave removes an attachment, and its segment with the last one. */
  leave(id: string): void {
    const attachment = this.attachments.get(id);
    this.removeLink(portOf(id));
    this.engine.remove(`port/${id}`);
    this.engine.apply(`port/${id}`);
    if (attachment === undefined) return;
    this.attachments.delete(id);
    if (!this.#moved.delete(id)) this.remotes.detach(attachment);
    const { segment: vni } = attachment;
    const last = this.#others(attachment).at(-1);
    if (last !== undefined && !this.#moved.has(last.id)) this.#setPort(last, { isElsewhere: false });
    this.#closeUnused(vni);
    this.flush();
  }

  /** tell takes in what EVPN says, and makes it so. */
  tell(changes: readonly RemoteChange[]): void {
    for (let at = 0; at < changes.length; at += MOST_AT_ONCE) {
      for (const change of changes.slice(at, at + MOST_AT_ONCE)) this.remotes.tell(change);
      this.flush();
    }
    this.#arrivals.tell(this.remotes.neighbours(changes));
  }

  /** flush makes true what follows from what is known of elsewhere. */
  flush(): void {
    if (this.#takeRemotes()) this.engine.apply("remote");
  }

  #takeRemotes(): boolean {
    const { objects, guard } = this.remotes.take();
    this.#guard.change(guard);
    if (objects.put.length + objects.drop.length === 0) return false;
    this.engine.change("remote", objects);
    return true;
  }

  /** removeLink removes a link of the namespace without waiting for the kernel to free it. */
  removeLink(name: string): void {
    this.#remover ??= LinkRemover.open({ route: this.route, netns: this.netns });
    this.#remover.remove(name);
  }

  /** clear takes down what the host's namespace would notice; the rest goes with the namespace. */
  clear(): void {
    this.engine.stop();
    for (const { name, kind } of this.route.links())
      if (kind === "vxlan" || kind === "veth") this.removeLink(name);
    for (const port of this.#segments.values()) this.#guard.close(port);
    this.#routes(undefined);
    this.#segments.clear();
    this.#vnis = [];
    this.remotes.clear();
    this.#guard.change(this.remotes.take().guard);
  }

  [Symbol.dispose](): void {
    this.engine[Symbol.dispose]();
    this.#remover?.close();
    this.route.close();
    this.netns.close();
  }

  get #ownPort(): number {
    return this.#domain.dstPort ?? VXLAN_PORT;
  }

  /** The domain's own VNI has a UDP port as long as something is routed. */
  #routes(port: number | undefined): void {
    const before = this.#routed;
    if (port === before) return;
    if (port !== undefined) this.#guard.open(port);
    if (before !== undefined) this.#guard.close(before);
    this.#routed = port;
  }

  #openPort({ vni, dstPort = VXLAN_PORT }: Segment): void {
    this.#guard.open(dstPort);
    this.#segments.set(vni, dstPort);
    this.#vnis = [...this.#segments.keys()];
  }

  #reopen(vni: number): void {
    const segment = this.segment(vni);
    const before = this.#segments.get(vni);
    if ((segment.dstPort ?? VXLAN_PORT) !== before) {
      this.#openPort(segment);
      this.#guard.close(before ?? VXLAN_PORT);
    }
    this.engine.set(scopeOf(vni), segmentObjects(segment, this.#node));
  }

  #closeUnused(vni: number): void {
    const used = [...this.attachments.values()].some(({ segment }) => segment === vni);
    if (!used && !this.#held.has(vni)) this.#close(vni);
  }

  #close(vni: number): void {
    const port = this.#segments.get(vni);
    if (port === undefined) return;
    this.#segments.delete(vni);
    this.#vnis = [...this.#segments.keys()];
    // With them goes at once all that is on them.
    for (const name of [vxlanOf(vni), bridgeOf(vni)]) if (this.#isOurs(name)) this.removeLink(name);
    this.engine.remove(scopeOf(vni));
    this.engine.apply(scopeOf(vni));
    this.remotes.setActive(vni, false);
    this.flush();
    this.#guard.close(port);
  }

  /** What has the name of ours may be anybody's. */
  #isOurs(name: string): boolean {
    return this.route.link(name)?.alias?.startsWith(this.#alias) === true;
  }

  #ask(scope: string, objects: readonly KernelObject[]): void {
    this.engine.set(scope, objects);
    this.engine.apply(scope);
  }

  #require(scope: string, objects: readonly KernelObject[]): void {
    this.#isRequiring = true;
    try {
      this.#ask(scope, objects);
    } finally {
      this.#isRequiring = false;
    }
    const bad = this.engine.status(scope).find(({ state }) => state !== "ready");
    if (bad !== undefined)
      throw new Error(
        `Cannot make ${scope} of ${this.#domain.name}: ${bad.reason ?? `${bad.key} is not ready`}`,
      );
  }
}

function scopeOf(vni: number): string {
  return `segment/${vni}`;
}
