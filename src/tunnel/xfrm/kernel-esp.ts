/**
 * KernelEsp: the kernel's associations, policies and routes of one namespace, and what it tells of the associations.
 *
 * What an association had carried when it ended is known to the last packet: the kernel tells it in the same step in which it removes it.
 */
import {
  addRoute,
  addSa,
  deletePolicy,
  deleteRoute,
  deleteSa,
  type NetlinkError,
  type PolicyChange,
  type PolicyId,
  type RouteChange,
  Rtnetlink,
  type SaChange,
  type SaId,
  type SaInfo,
  updatePolicy,
  updateSa,
  Xfrm,
  XfrmMonitor,
  type XfrmRequest,
} from "../../netlink/mod.ts";
import { ipEqual } from "../../net/mod.ts";
import { type Netns, readText } from "../../sys/mod.ts";

/** What removing answers when there is nothing. */
const GONE = ["ESRCH", "ENOENT"];

/** KernelEspOptions say where, and who hears. */
export interface KernelEspOptions {
  readonly netns?: Netns;
  /** Of an XFRM interface: associations and policies are its alone, and routes are those of whoever has it. */
  readonly ifId?: number | undefined;
  /** An association has come to a limit; at the hard one the kernel has removed it. */
  readonly onExpire: (sa: SaInfo, hard: boolean) => void;
  /** Such news was lost. */
  readonly onLoss: () => void;
}

/** KernelEsp owns its sockets. It leaves associations and policies as they are when it is closed. */
export class KernelEsp implements Disposable {
  readonly route: Rtnetlink;
  readonly #xfrm: Xfrm;
  readonly #monitor: XfrmMonitor;
  readonly #netns: Netns | undefined;
  readonly #ifId: number | undefined;
  /** What is being removed, and the kernel's last word on it. */
  #removing: { readonly id: SaId; last?: SaInfo } | undefined;

  constructor({ netns, ifId, onExpire, onLoss }: KernelEspOptions) {
    this.#netns = netns;
    this.#ifId = ifId;
    const where = netns === undefined ? {} : { netns };
    this.#xfrm = Xfrm.open(where);
    this.route = Rtnetlink.open(where);
    this.#monitor = XfrmMonitor.open({
      ...where,
      // Nobody answers `acquire`: without an association a packet is dropped, and the kernel keeps no state for it.
      groups: ["expire", "sa"],
      onEvent: (event) => {
        if (event.kind === "expire") onExpire(event.sa, event.hard);
        else if (event.kind === "sa" && event.deleted) this.#removed(event.sa);
      },
      onOverrun: onLoss,
    });
  }

  #removed(sa: SaInfo): void {
    const removing = this.#removing;
    if (
      removing !== undefined &&
      sa.spi === removing.id.spi &&
      ipEqual(sa.destination, removing.id.destination)
    )
      removing.last = sa;
  }

  /** sas reads all associations of the namespace. */
  sas(): SaInfo[] {
    return this.#xfrm.sas();
  }

  /** sa reads one; undefined when it is not there. */
  sa(id: SaId): SaInfo | undefined {
    return this.#xfrm.sa(id);
  }

  /** policies reads all policies of the namespace, or of the XFRM interface. */
  policies(): ReturnType<Xfrm["policies"]> {
    return this.#xfrm.policies().filter(({ ifId = 0 }) => ifId === (this.#ifId ?? 0));
  }

  /** removeElsewhere removes policies of other interfaces, or of none, that have certain priorities: a gateway was another one's side before. */
  removeElsewhere(isOurs: (priority: number) => boolean): void {
    for (const { direction, selector, mark, priority, ifId = 0 } of this.#xfrm.policies())
      if (selector !== undefined && ifId !== (this.#ifId ?? 0) && isOurs(priority))
        this.#all([
          deletePolicy({ direction, selector, ...(mark && { mark }), ...(ifId !== 0 && { ifId }) }),
        ]);
  }

  get #apart(): { readonly ifId?: number } {
    return this.#ifId === undefined ? {} : { ifId: this.#ifId };
  }

  /** add makes an association; throws the kernel's refusal. */
  add(change: SaChange): void {
    this.#xfrm.request(addSa({ ...change, ...this.#apart }));
  }

  /** update changes what of an association can be (updateSa); false when it has ended. */
  update(change: SaChange): boolean {
    const [error] = this.#xfrm.execute([updateSa({ ...change, ...this.#apart })]);
    if (error !== undefined && !["ESRCH", "EINVAL"].includes(error.code)) throw error;
    return error === undefined;
  }

  /** remove ends an association, and returns what it had carried then; undefined when it was not there, or the kernel's word was lost. */
  remove(id: SaId): SaInfo | undefined {
    // A limit that it came to before is told before.
    this.#monitor.drain();
    const removing: { readonly id: SaId; last?: SaInfo } = { id };
    this.#removing = removing;
    try {
      this.#all([deleteSa(id)]);
      this.#monitor.drain();
    } finally {
      this.#removing = undefined;
    }
    return removing.last;
  }

  /** setPolicies makes policies or replaces them, each in one step; throws the first refusal. */
  setPolicies(changes: readonly PolicyChange[]): void {
    this.#all(changes.map((change) => updatePolicy({ ...change, ...this.#apart })));
  }

  /** removePolicies removes those that are there. */
  removePolicies(ids: readonly PolicyId[]): void {
    this.#all(ids.map((id) => deletePolicy({ ...id, ...this.#apart })));
  }

  #all(requests: readonly XfrmRequest[]): void {
    throwFirst(this.#xfrm.execute(requests));
  }

  /** setRoutes makes routes or replaces them; throws the first refusal. */
  setRoutes(changes: readonly RouteChange[]): void {
    if (this.#ifId !== undefined) return;
    throwFirst(this.route.execute(changes.map((change) => addRoute({ ...change, replace: true }))));
  }

  /** removeRoutes removes those that are there; with a link, its routes go by themselves. */
  removeRoutes(changes: readonly RouteChange[]): void {
    if (this.#ifId !== undefined) return;
    throwFirst(this.route.execute(changes.map(deleteRoute)), [...GONE, "ENODEV"]);
  }

  /** text reads a file below /proc/sys of the namespace, or its statistics below /proc/thread-self/net. */
  text(path: string): string | undefined {
    return this.#netns === undefined ? readText(path) : this.#netns.run(() => readText(path));
  }

  [Symbol.dispose](): void {
    this.#monitor.close();
    this.#xfrm.close();
    this.route.close();
  }
}

function throwFirst(
  results: readonly (NetlinkError | undefined)[],
  harmless: readonly string[] = GONE,
): void {
  const error = results.find((one) => one !== undefined && !harmless.includes(one.code));
  if (error !== undefined) throw error;
}
