/**
 * The smallest executable that Linux starts (elf(5), the System V ABI's chapter 5): no sections, no relocations, nothing to interpret.
 *
 * ```
 * file     │ ELF header │ 3 program headers │ code │ data │
 * memory   │ read, execute                         │  …   │ read, write: data, then zeroed room │
 * ```
 * No page is both writable and executable, and the third header (PT_GNU_STACK) says that the stack is not executable either.
 */
import type { Image, Origins } from "./assembler.ts";

const HEADERS_BYTES = 64 + 3 * 56;
/** Where code and data are mapped; any place between the kernel's mmap_min_addr and 4 GiB would do. */
const CODE = 0x400000;
const DATA = 0x600000;
/** Memory and file agree modulo the largest page of arm64. */
const PAGE_BYTES = 0x10000;

const PT_LOAD = 1;
const PT_GNU_STACK = 0x6474e551;
const EXECUTE = 1;
const WRITE = 2;
const READ = 4;

const aligned = (bytes: number) => Math.ceil(bytes / 8) * 8;
const dataOffset = (image: Image) => aligned(HEADERS_BYTES + image.code.length);

/** originsOf tells at which addresses the parts of an image will be. */
export function originsOf(image: Image): Origins {
  const data = DATA + dataOffset(image);
  return { code: CODE + HEADERS_BYTES, data, room: data + aligned(image.data.length) };
}

/** executable wraps an image assembled for `originsOf` it; it starts at its first instruction. */
export function executable(image: Image, machine: number): Uint8Array<ArrayBuffer> {
  const at = dataOffset(image);
  const file = new Uint8Array(new ArrayBuffer(at + image.data.length));
  const view = new DataView(file.buffer);
  const word = (offset: number, value: number) => view.setBigUint64(offset, BigInt(value), true);

  file.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]); // magic, 64 bits, little-endian, version
  view.setUint16(16, 2, true); // e_type: ET_EXEC
  view.setUint16(18, machine, true);
  view.setUint32(20, 1, true); // e_version
  word(24, originsOf(image).code); // e_entry
  word(32, 64); // e_phoff
  view.setUint16(52, 64, true); // e_ehsize
  view.setUint16(54, 56, true); // e_phentsize
  view.setUint16(56, 3, true); // e_phnum

  const segments = [
    {
      type: PT_LOAD,
      flags: READ | EXECUTE,
      offset: 0,
      address: CODE,
      length: HEADERS_BYTES + image.code.length,
    },
    { type: PT_LOAD, flags: READ | WRITE, offset: at, address: DATA + at, length: image.data.length },
    { type: PT_GNU_STACK, flags: READ | WRITE, offset: 0, address: 0, length: 0 },
  ];
  for (const [index, { type, flags, offset, address, length }] of segments.entries()) {
    const header = 64 + index * 56;
    view.setUint32(header, type, true);
    view.setUint32(header + 4, flags, true);
    word(header + 8, offset);
    word(header + 16, address); // p_vaddr
    word(header + 24, address); // p_paddr
    word(header + 32, length); // p_filesz
    word(header + 40, address === DATA + at ? aligned(length) + image.roomBytes : length); // p_memsz
    word(header + 48, PAGE_BYTES); // p_align
  }
  file.set(image.code, HEADERS_BYTES);
  file.set(image.data, at);
  return file;
}
