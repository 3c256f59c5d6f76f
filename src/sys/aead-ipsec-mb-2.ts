/** libIPSec_MB, interface 2: one call for a whole batch, whatever the algorithm. */
import { dlopen, FFIType } from "bun:ffi";
import { AEAD_BATCH, AEAD_TAG, type AeadBatch, type AeadDirection, type AeadProvider } from "./aead-batch.ts";
import { DIRECTION, GCM_KEY, ipsecMbProvider, openIpsecMb, type Run } from "./aead-ipsec-mb.ts";
import type { Arena } from "./arena.ts";

const { i32, ptr, u64_fast, void: none } = FFIType;

/** IPSEC_MB_2 is the name of the library's interface; Debian's package is libipsec-mb2. */
export const IPSEC_MB_2 = "libIPSec_MB.so.2";

const LIST = AEAD_BATCH * 8;

const load = (path: string) =>
  dlopen(path, {
    // state, key, direction, dst[], src[], len[], iv[], aad[], aad_len, tag[], num_packets
    imb_quic_chacha20_poly1305: {
      args: [ptr, ptr, i32, ptr, ptr, ptr, ptr, ptr, u64_fast, ptr, u64_fast],
      returns: none,
    },
    // state, key_data, key_size, direction, dst[], src[], len[], iv[], aad[], aad_len, tag[], tag_len, num_packets
    imb_quic_aes_gcm: {
      args: [ptr, ptr, i32, i32, ptr, ptr, ptr, ptr, ptr, u64_fast, ptr, u64_fast, u64_fast],
      returns: none,
    },
  }).symbols;

/** openIpsecMb2 opens the provider; throws when the library is not there or does not run here. */
export function openIpsecMb2(arena: Arena, path = IPSEC_MB_2): AeadProvider {
  const library = openIpsecMb(arena, path, 2);
  const { manager, managerBytes } = library;
  const calls = load(path);

  const chacha =
    (direction: AeadDirection): Run =>
    (batch: AeadBatch, keyAt: number) => {
      const texts = arena.address(batch.texts, LIST);
      calls.imb_quic_chacha20_poly1305(
        arena.address(manager, managerBytes),
        arena.address(keyAt, 32),
        DIRECTION[direction],
        texts,
        texts,
        arena.address(batch.lengths, LIST),
        arena.address(batch.nonces, LIST),
        arena.address(batch.additional, LIST),
        batch.additionalBytes,
        arena.address(batch.tags, LIST),
        batch.count,
      );
      library.checkError();
    };
  const gcm =
    (keyBytes: number, direction: AeadDirection): Run =>
    (batch: AeadBatch, keyAt: number) => {
      const texts = arena.address(batch.texts, LIST);
      calls.imb_quic_aes_gcm(
        arena.address(manager, managerBytes),
        arena.address(keyAt, GCM_KEY),
        keyBytes,
        DIRECTION[direction],
        texts,
        texts,
        arena.address(batch.lengths, LIST),
        arena.address(batch.nonces, LIST),
        arena.address(batch.additional, LIST),
        batch.additionalBytes,
        arena.address(batch.tags, LIST),
        AEAD_TAG,
        batch.count,
      );
      library.checkError();
    };
  const both = (make: (direction: AeadDirection) => Run) => ({ seal: make("seal"), open: make("open") });
  return ipsecMbProvider(library, {
    "chacha20-poly1305": both(chacha),
    "aes-128-gcm": both((direction) => gcm(16, direction)),
    "aes-256-gcm": both((direction) => gcm(32, direction)),
  });
}
