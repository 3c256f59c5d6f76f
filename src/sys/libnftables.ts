/** libnftables by FFI: the library behind nft(8). Loaded at first use, since not every command needs it. */
import { CString, dlopen, FFIType, type Pointer } from "bun:ffi";
import { findLibrary } from "./library.ts";
import { LowDescriptors } from "./low-descriptors.ts";
import { cString } from "./memory.ts";

const { i32, u32, ptr } = FFIType;

/** The name of the library's interface; Debian's package is libnftables1. */
const LIBRARY = "libnftables.so.1";

/** NFT_CTX_OUTPUT_JSON of nftables/libnftables.h */
const OUTPUT_JSON = 1 << 4;

function load() {
  try {
    findLibrary(LIBRARY);
    return dlopen(LIBRARY, {
      nft_ctx_new: { args: [u32], returns: ptr },
      nft_ctx_free: { args: [ptr], returns: FFIType.void },
      nft_ctx_buffer_output: { args: [ptr], returns: i32 },
      nft_ctx_buffer_error: { args: [ptr], returns: i32 },
      nft_ctx_get_output_buffer: { args: [ptr], returns: ptr },
      nft_ctx_get_error_buffer: { args: [ptr], returns: ptr },
      nft_ctx_output_set_flags: { args: [ptr, u32], returns: FFIType.void },
      nft_run_cmd_from_buffer: { args: [ptr, ptr], returns: i32 },
    }).symbols;
  } catch (cause) {
    throw new Error(`Cannot load ${LIBRARY}; install it, on Debian: apt-get install libnftables1`, { cause });
  }
}

/** How many contexts a process has at most: the engine keeps 4 (MOST_CONTEXTS), and others come and go. */
const MOST_CONTEXTS = 16;

/** libnftables waits for answers with select(2). */
let descriptors: LowDescriptors | undefined;
let loaded: ReturnType<typeof load> | undefined;

/** NftAnswer is what one run printed; `failed` when nothing was done. */
export interface NftAnswer {
  readonly failed: boolean;
  readonly output: string;
  readonly error: string;
}

/** NftContext is a context of the library: it belongs to the namespace of the thread that makes it, and must be used there. */
export class NftContext implements Disposable {
  #context: Pointer | undefined;

  constructor() {
    loaded ??= load();
    descriptors ??= new LowDescriptors(MOST_CONTEXTS);
    const { nft_ctx_new, nft_ctx_free } = loaded;
    const context = descriptors.open(() => {
      const made = nft_ctx_new(0) as Pointer | null;
      if (made !== null) return made;
      throw new Error("Cannot make an nftables context: out of memory, or no nf_tables in this kernel");
    }, nft_ctx_free);
    this.#context = context;
    // Both return 0, or -1 without memory.
    if (loaded.nft_ctx_buffer_output(context) !== 0 || loaded.nft_ctx_buffer_error(context) !== 0) {
      this.close();
      throw new Error("Cannot make an nftables context: out of memory");
    }
  }

  /** run runs commands as one transaction. */
  run(commands: string, options: { readonly json?: boolean } = {}): NftAnswer {
    const context = this.#context;
    if (context === undefined || loaded === undefined) throw new Error("nftables context is closed");
    loaded.nft_ctx_output_set_flags(context, options.json === true ? OUTPUT_JSON : 0);
    const failed = loaded.nft_run_cmd_from_buffer(context, cString(commands)) !== 0;
    // The library keeps both buffers, and starts them anew when it is asked for them.
    const output = textAt(loaded.nft_ctx_get_output_buffer(context) as Pointer | null);
    const error = textAt(loaded.nft_ctx_get_error_buffer(context) as Pointer | null);
    return { failed, output, error };
  }

  close(): void {
    if (this.#context === undefined) return;
    loaded?.nft_ctx_free(this.#context);
    this.#context = undefined;
    descriptors?.closed();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function textAt(address: Pointer | null): string {
  return address === null ? "" : new CString(address).toString();
}
