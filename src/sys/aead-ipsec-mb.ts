/**
 * Intel's Multi-Buffer Crypto library (libIPSec_MB, package `intel-ipsec-mb`), as an AEAD provider: vector code for x86-64.
 *
 * Interface 2 has calls that take 64 packets at once (`imb_quic_*`); Debian's `libipsec-mb2` is in trixie. Interface 1 (bookworm's
 * `libipsec-mb1`) has them not: there, ChaCha20-Poly1305 goes by bursts of jobs, and AES-GCM by one call for each packet.
 *
 * The library's manager (IMB_MGR) and all keys lie in the arena. Functions that the library chooses by the processor are reached through
 * the manager, as its header's macros do (intel-ipsec-mb.h: "always include function pointers at the end of the list"); the numbers below
 * are those of 1.3 and of 2.0.
 */
import { CString, dlopen, FFIType, linkSymbols, type Pointer } from "bun:ffi";
import type { AeadAlgorithm, AeadBatch, AeadDirection, AeadKey, AeadProvider } from "./aead-batch.ts";
import { checkBatch, checkKey } from "./aead-batch.ts";
import { type Arena, ArenaPool } from "./arena.ts";
import { findLibrary } from "./library.ts";

const { u32, u64, ptr, u64_fast, void: none } = FFIType;

/** Offsets in IMB_MGR. */
export const MANAGER = {
  errno: 60,
  gcm128Encrypt: 256,
  gcm256Encrypt: 272,
  gcm128Decrypt: 280,
  gcm256Decrypt: 296,
  gcm128Prepare: 448,
  gcm256Prepare: 464,
  nextBurst: 952,
  submitBurst: 960,
} as const;

/** IMB_DIR_ENCRYPT and IMB_DIR_DECRYPT. */
export const DIRECTION: Readonly<Record<AeadDirection, number>> = { seal: 1, open: 2 };

/** GCM_KEY is the length of `struct gcm_key_data`: 1024 in 1.3, 1280 in 2.0. */
export const GCM_KEY = 1280;
/** Keys at a time: of ChaCha20-Poly1305 six for each peer of a link (MAX_PEERS of tunnel/wireguard/limits.ts), of GCM, which is for associations, fewer. */
const MOST_KEYS = { plain: 6 * 65_536, expanded: 16_384 } as const;
const LARGEST_MANAGER = 4 << 20;

const load = (path: string) =>
  dlopen(path, {
    imb_get_version_str: { args: [], returns: ptr },
    imb_get_version: { args: [], returns: u32 },
    imb_get_mb_mgr_size: { args: [], returns: u64_fast },
    imb_set_pointers_mb_mgr: { args: [ptr, u64, u32], returns: ptr },
    init_mb_mgr_auto: { args: [ptr, ptr], returns: none },
  }).symbols;

/** IpsecMb is the library, set up for one arena. */
export interface IpsecMb {
  readonly path: string;
  readonly name: string;
  readonly arena: Arena;
  /** Offset of the manager, and its length. */
  readonly manager: number;
  readonly managerBytes: number;
  /** The function that the manager has at an offset. */
  function(at: number): Pointer;
  /** Throws if the last call refused what it was given. */
  checkError(): void;
}

/** openIpsecMb loads the library of an interface (1 or 2) and makes a manager in the arena; throws when it cannot be used. */
export function openIpsecMb(arena: Arena, path: string, interfaceNumber: number): IpsecMb {
  findLibrary(path);
  const symbols = load(path);
  const major = symbols.imb_get_version() >>> 16;
  if (major !== interfaceNumber) throw new Error(`${path} has version ${major}, not ${interfaceNumber}`);
  const managerBytes = Number(symbols.imb_get_mb_mgr_size());
  if (managerBytes > LARGEST_MANAGER) throw new Error(`${path} wants ${managerBytes} bytes for itself`);
  // Whole cache lines, which it takes for granted (its header says that its size is aligned, and that is not so).
  const manager = arena.allocate((managerBytes + 63) & -64);
  const address = arena.address(manager, managerBytes);
  if (symbols.imb_set_pointers_mb_mgr(address, 0n, 1) !== address)
    throw new Error(`${path} refuses its memory`);
  symbols.init_mb_mgr_auto(address, null);
  const errnoWord = (manager + MANAGER.errno) >>> 2;
  const errno = arena.i32[errnoWord];
  // It wants at least SSE 4.2, AES-NI and PCLMULQDQ.
  if (errno !== 0) throw new Error(`${path} does not run on this processor (error ${errno})`);
  return {
    path,
    name: `ipsec-mb ${new CString(symbols.imb_get_version_str() as Pointer)}`,
    arena,
    manager,
    managerBytes,
    function(at) {
      const found = Number(arena.view.getBigUint64(manager + at, true));
      if (found === 0) throw new Error(`${path} lacks a function`);
      return found as Pointer;
    },
    checkError() {
      const error = arena.i32[errnoWord];
      if (error !== 0) throw new Error(`${path} refused a batch (error ${error})`);
    },
  };
}

/** Run does the work of a key on a batch: the provider's part that differs between the interfaces. */
export type Run = (batch: AeadBatch, keyAt: number) => void;

/** ipsecMbProvider makes a provider of a library and of what runs each algorithm. */
export function ipsecMbProvider(
  library: IpsecMb,
  runs: Readonly<Record<AeadAlgorithm, Readonly<Record<AeadDirection, Run>>>>,
): AeadProvider {
  const { arena } = library;
  const plain = new ArenaPool(arena, { bytes: 32, most: MOST_KEYS.plain });
  const expanded = new ArenaPool(arena, { bytes: GCM_KEY, most: MOST_KEYS.expanded });
  const prepare = linkSymbols({
    128: { args: [ptr, ptr], returns: none, ptr: library.function(MANAGER.gcm128Prepare) },
    256: { args: [ptr, ptr], returns: none, ptr: library.function(MANAGER.gcm256Prepare) },
  }).symbols;
  return {
    name: library.name,
    key(algorithm, bytes, direction) {
      checkKey(algorithm, bytes);
      const run = runs[algorithm][direction];
      const raw = plain.take();
      arena.store(raw, bytes);
      if (algorithm === "chacha20-poly1305")
        return new IpsecMbKey({ algorithm, direction, run, arena, pool: plain, at: raw });
      const at = expanded.take();
      prepare[algorithm === "aes-128-gcm" ? 128 : 256](
        arena.address(raw, bytes.length),
        arena.address(at, GCM_KEY),
      );
      plain.give(raw);
      return new IpsecMbKey({ algorithm, direction, run, arena, pool: expanded, at });
    },
  };
}

class IpsecMbKey implements AeadKey {
  readonly algorithm: AeadAlgorithm;
  readonly direction: AeadDirection;
  readonly #arena: Arena;
  readonly #pool: ArenaPool;
  readonly #run: Run;
  #at: number;

  constructor(options: {
    readonly algorithm: AeadAlgorithm;
    readonly direction: AeadDirection;
    readonly run: Run;
    readonly arena: Arena;
    readonly pool: ArenaPool;
    readonly at: number;
  }) {
    this.algorithm = options.algorithm;
    this.direction = options.direction;
    this.#run = options.run;
    this.#arena = options.arena;
    this.#pool = options.pool;
    this.#at = options.at;
  }

  run(batch: AeadBatch): void {
    if (this.#at === 0) throw new Error(`A key to ${this.direction} was used after it was wiped`);
    checkBatch(this, this.#arena, batch);
    if (batch.count === 0) return;
    this.#run(batch, this.#at);
    if (this.direction === "open") batch.compareTags();
  }

  [Symbol.dispose](): void {
    if (this.#at === 0) return;
    this.#pool.give(this.#at);
    this.#at = 0;
  }
}
