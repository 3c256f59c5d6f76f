/** Maps of BPF programs, by key and value as bytes. A map lives as long as its descriptor, and as programs that use it. */
import { attributes, bpf, nameBytes, refer } from "./bpf-call.ts";
import { isErrno } from "./errno.ts";
import { Fd } from "./fd.ts";
import { readText } from "./file.ts";
import { stable } from "./memory.ts";

const MAP_CREATE = 0;
const MAP_LOOKUP_ELEM = 1;
const MAP_UPDATE_ELEM = 2;
const MAP_DELETE_ELEM = 3;
/** enum bpf_map_type. */
const TYPE = { hash: 1, perCpuArray: 6, newest: 9, interfaces: 25 } as const;
/** BPF_F_NO_PREALLOC: entries that are not there take no memory. */
const NO_PREALLOC = 1;

/** BpfMapOptions say what a map is: a hash table, one that drops its oldest entries when it is full (LRU_HASH), numbers for each processor, or interfaces to send to by their index (DEVMAP_HASH). */
export interface BpfMapOptions {
  readonly type: keyof typeof TYPE;
  readonly keyBytes: number;
  readonly valueBytes: number;
  readonly entries: number;
}

/** BpfMap owns a map. */
export class BpfMap implements Disposable {
  readonly fd: Fd;
  readonly #options: BpfMapOptions;

  private constructor(fd: Fd, options: BpfMapOptions) {
    this.fd = fd;
    this.#options = options;
  }

  /** create makes an empty one. */
  static create(name: string, options: BpfMapOptions): BpfMap {
    const { type, keyBytes, valueBytes, entries } = options;
    const all = attributes(72);
    const flags = type === "hash" ? NO_PREALLOC : 0;
    [TYPE[type], keyBytes, valueBytes, entries, flags].forEach((value, i) =>
      all.view.setUint32(4 * i, value, true),
    );
    all.bytes.set(nameBytes(name), 28);
    return new BpfMap(new Fd(bpf(MAP_CREATE, all, `create BPF map ${name}`), `BPF map ${name}`), options);
  }

  #call(
    command: number,
    { key, value }: { readonly key: Uint8Array; readonly value?: Uint8Array<ArrayBuffer> },
  ): void {
    const own = stable(this.#options.keyBytes);
    own.set(key);
    const all = attributes(32);
    all.view.setUint32(0, this.fd.number, true);
    refer(all, 8, own);
    if (value !== undefined) refer(all, 16, value);
    bpf(command, all, "use BPF map");
  }

  /** put adds an entry or changes it; E2BIG when the map is full. */
  put(key: Uint8Array, value: Uint8Array): void {
    const own = stable(this.#options.valueBytes);
    own.set(value);
    this.#call(MAP_UPDATE_ELEM, { key, value: own });
  }

  /** delete takes an entry away, if there is one. */
  delete(key: Uint8Array): void {
    try {
      this.#call(MAP_DELETE_ELEM, { key });
    } catch (error) {
      if (!isErrno(error, "ENOENT")) throw error;
    }
  }

  /** get returns the value of an entry, of a perCpuArray those of all processors one after the other; undefined if there is none. */
  get(key: Uint8Array): DataView<ArrayBuffer> | undefined {
    const { type, valueBytes } = this.#options;
    const copies = type === "perCpuArray" ? possibleCpus() : 1;
    const value = stable(copies * (Math.ceil(valueBytes / 8) * 8));
    try {
      this.#call(MAP_LOOKUP_ELEM, { key, value });
    } catch (error) {
      if (isErrno(error, "ENOENT")) return undefined;
      throw error;
    }
    return new DataView(value.buffer);
  }

  [Symbol.dispose](): void {
    this.fd.close();
  }
}

/** How many processors the kernel has room for: what it copies is for all of them (Documentation/admin-guide/cputopology.rst). */
function possibleCpus(): number {
  const last = /(\d+)\s*$/.exec(readText("/sys/devices/system/cpu/possible") ?? "");
  return Number(last?.[1] ?? 4095) + 1;
}
