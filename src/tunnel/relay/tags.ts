/**
 * To whom an initiation goes: mac1 is a code under a hash of the receiver's public key (whitepaper, section 5.4.4), so whoever knows
 * the public keys can try them. All of 5,000 take half a millisecond (tags-code.ts).
 *
 * Nodes have slots; what is found is only probable (32 bits), and asked of libcrypto by the caller.
 */
import { keyedState } from "./blake2s-state.ts";
import { TAGS, tagsModule } from "./tags-code.ts";

const LANES = 4;
const WASM_PAGE = 65_536;
/** Bytes that mac1 covers, and where it lies. */
const MAC1_AT = 116;

/** Tags owns the states of all keys. */
export class Tags {
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;
  readonly #search: (at: number, end: number) => number;
  readonly #most: number;
  readonly #free: number[] = [];
  #used = 0;

  constructor(most: number) {
    this.#most = most;
    const pages = Math.ceil((TAGS.groups + Math.ceil(most / LANES) * TAGS.groupBytes) / WASM_PAGE);
    const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
    this.#words = new Int32Array(memory.buffer);
    this.#bytes = new Uint8Array(memory.buffer);
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(tagsModule(pages)), {
      env: { memory },
    });
    this.#search = exports["search"] as (at: number, end: number) => number;
  }

  /** Slots that were ever used: the ones to search are below. */
  get size(): number {
    return this.#used;
  }

  /** add gives a slot to a key; undefined when all are taken. */
  add(mac1Key: Uint8Array): number | undefined {
    const slot = this.#free.pop() ?? (this.#used < this.#most ? this.#used++ : undefined);
    if (slot !== undefined) this.#store(slot, keyedState(mac1Key));
    return slot;
  }

  /** remove takes a slot back. A state of zeros is no key's. */
  remove(slot: number): void {
    this.#store(slot, new Int32Array(8));
    this.#free.push(slot);
  }

  #store(slot: number, state: Int32Array): void {
    const at = (groupAt(slot) >>> 2) + (slot % LANES);
    for (let i = 0; i < state.length; i++) this.#words[at + LANES * i] = state[i] as number;
  }

  /** load begins the search for the receiver of an initiation. */
  load(initiation: Uint8Array): void {
    this.#bytes.set(initiation.subarray(0, MAC1_AT), TAGS.message);
    this.#bytes.set(initiation.subarray(MAC1_AT, MAC1_AT + 4), TAGS.wanted);
  }

  /** matches tries one slot; it costs as much as four. */
  matches(slot: number): boolean {
    const at = groupAt(slot);
    return ((this.#search(at, at + TAGS.groupBytes) >>> (slot % LANES)) & 1) === 1;
  }

  /** find tries [first, end) and returns the first slot that matches; undefined if none does. Whole groups of LANES are tried. */
  find(first: number, end: number): number | undefined {
    for (let from = first; from < end;) {
      const found = this.#search(groupAt(from), groupAt(end - 1) + TAGS.groupBytes);
      if (found === 0) return undefined;
      const group = (((found & ~(LANES * LANES - 1)) - TAGS.groups) / TAGS.groupBytes) * LANES;
      for (let slot = Math.max(from, group); slot < Math.min(end, group + LANES); slot++)
        if (((found >>> (slot - group)) & 1) === 1) return slot;
      from = group + LANES;
    }
    return undefined;
  }
}

function groupAt(slot: number): number {
  return TAGS.groups + Math.floor(slot / LANES) * TAGS.groupBytes;
}
