/**
 * AdjOut: what one update group has told its peers, by destination (or by path, with add-path): the attribute set, the extra, and the
 * peer it came from. Eight bytes each, in pages that are only there where something was told.
 *
 * A peer of the group has the route unless the route came from that peer.
 */
import type { AttributeStore } from "./attribute-store.ts";
import type { Interned } from "./interned.ts";

const PAGE_SHIFT = 10;
const PAGE_MASK = (1 << PAGE_SHIFT) - 1;
const ID_MASK = 0xffffff;

/** AdjOut owns the pages, and a reference for each set and extra in them. */
export class AdjOut {
  /** How many entries there are. */
  size = 0;
  readonly #store: AttributeStore;
  readonly #extras: Interned;
  // Two words: attributes 24 | source's lower 8; extra 24 | source's upper 8.
  readonly #pages: (Uint32Array<ArrayBuffer> | undefined)[] = [];

  constructor(store: AttributeStore, extras: Interned) {
    this.#store = store;
    this.#extras = extras;
  }

  /** attributes is the set that was told; 0 when nothing was. */
  attributes(id: number): number {
    const page = this.#pages[id >>> PAGE_SHIFT];
    return page === undefined ? 0 : (page[(id & PAGE_MASK) << 1] as number) & ID_MASK;
  }

  /** extra is what was told with it. */
  extra(id: number): number {
    const page = this.#pages[id >>> PAGE_SHIFT];
    return page === undefined ? 0 : (page[((id & PAGE_MASK) << 1) + 1] as number) & ID_MASK;
  }

  /** source is the peer it came from. */
  source(id: number): number {
    const page = this.#pages[id >>> PAGE_SHIFT];
    if (page === undefined) return 0;
    const at = (id & PAGE_MASK) << 1;
    return ((page[at] as number) >>> 24) | (((page[at + 1] as number) >>> 24) << 8);
  }

  /** set notes what is told now. Takes over the reference to `attributes`. */
  set(id: number, attributes: number, extra: number, source: number): void {
    let page = this.#pages[id >>> PAGE_SHIFT];
    if (page === undefined) {
      page = new Uint32Array(2 << PAGE_SHIFT);
      // No holes: the array stays one that the runtime indexes directly.
      while (this.#pages.length <= id >>> PAGE_SHIFT) this.#pages.push(undefined);
      this.#pages[id >>> PAGE_SHIFT] = page;
    }
    const at = (id & PAGE_MASK) << 1;
    const before = page[at] as number;
    this.#extras.hold(extra);
    if (before === 0) this.size++;
    else this.#release(before & ID_MASK, (page[at + 1] as number) & ID_MASK);
    page[at] = (attributes | (source << 24)) >>> 0;
    page[at + 1] = (extra | ((source >>> 8) << 24)) >>> 0;
  }

  /** clear notes that nothing is told any more. */
  clear(id: number): void {
    const page = this.#pages[id >>> PAGE_SHIFT];
    const at = (id & PAGE_MASK) << 1;
    if (page === undefined || page[at] === 0) return;
    this.#release((page[at] as number) & ID_MASK, (page[at + 1] as number) & ID_MASK);
    page[at] = 0;
    page[at + 1] = 0;
    this.size--;
  }

  /** copy is the same in memory of its own: a peer that leaves the group knows what the group knew. */
  copy(): AdjOut {
    const twin = new AdjOut(this.#store, this.#extras);
    twin.size = this.size;
    for (let i = 0; i < this.#pages.length; i++) {
      const page = this.#pages[i];
      twin.#pages.push(page?.slice());
      if (page === undefined) continue;
      for (let at = 0; at < page.length; at += 2) {
        if (page[at] === 0) continue;
        this.#store.hold((page[at] as number) & ID_MASK);
        this.#extras.hold((page[at + 1] as number) & ID_MASK);
      }
    }
    return twin;
  }

  /** dispose gives all references up. */
  [Symbol.dispose](): void {
    for (const page of this.#pages.splice(0)) {
      if (page === undefined) continue;
      for (let at = 0; at < page.length; at += 2)
        if (page[at] !== 0) this.#release((page[at] as number) & ID_MASK, (page[at + 1] as number) & ID_MASK);
    }
    this.size = 0;
  }

  #release(attributes: number, extra: number): void {
    this.#store.release(attributes);
    this.#extras.release(extra);
  }
}
