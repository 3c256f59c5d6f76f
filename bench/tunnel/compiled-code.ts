/**
 * What the runtime compiled, and where in memory it put it: the file that JavaScriptCore writes with `BUN_JSC_useJITDump=1`
 * (linux/tools/perf/Documentation/jitdump-specification.txt). perf(1) itself knows addresses only.
 */
import { readdirSync, readFileSync } from "node:fs";

/** Offsets in the header of the file, in that of each record, and in a record of the kind JIT_CODE_LOAD (0). */
const FILE = { headerBytes: 8 } as const;
const RECORD = { kind: 0, bytes: 4, headerBytes: 16 } as const;
const LOAD = { address: 32, bytes: 40, name: 56 } as const;

/** CompiledCode tells kinds of code apart by address. */
export class CompiledCode {
  readonly #parts: { readonly from: number; readonly to: number; readonly wasm: boolean }[] = [];

  /** of reads what a process has written so far; nothing is known of one that writes none. */
  static of(pid: number, folder: string): CompiledCode {
    const code = new CompiledCode();
    const name = readdirSync(folder).find((each) => each.endsWith(`-${pid}.dump`));
    if (name === undefined) return code;
    const bytes = readFileSync(`${folder}/${name}`);
    const number = (at: number) => Number(bytes.readBigUInt64LE(at));
    for (let at = bytes.readUInt32LE(FILE.headerBytes); at + LOAD.name < bytes.length;) {
      if (bytes.readUInt32LE(at + RECORD.kind) === 0) {
        const from = number(at + LOAD.address);
        const wasm = bytes.subarray(at + LOAD.name, at + LOAD.name + 16).includes("Wasm");
        code.#parts.push({ from, to: from + number(at + LOAD.bytes), wasm });
      }
      at += Math.max(RECORD.headerBytes, bytes.readUInt32LE(at + RECORD.bytes));
    }
    return code;
  }

  /** isWasm tells whether WebAssembly lies at an address; what was compiled last counts. */
  isWasm(address: number): boolean {
    return this.#parts.findLast(({ from, to }) => address >= from && address < to)?.wasm ?? false;
  }
}
