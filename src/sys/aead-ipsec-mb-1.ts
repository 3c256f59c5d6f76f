/**
 * libIPSec_MB, interface 1: ChaCha20-Poly1305 as bursts of jobs, AES-GCM by one call for each text.
 *
 * Jobs (IMB_JOB) are parts of the manager and so of the arena; offsets are those of intel-ipsec-mb.h 1.3. These jobs are done when the
 * call returns: only algorithms that work on several texts side by side are finished later.
 */
import { FFIType, linkSymbols } from "bun:ffi";
import { AEAD_BATCH, AEAD_TAG, type AeadBatch, type AeadDirection, type AeadProvider } from "./aead-batch.ts";
import {
  DIRECTION,
  GCM_KEY,
  type IpsecMb,
  ipsecMbProvider,
  MANAGER,
  openIpsecMb,
  type Run,
} from "./aead-ipsec-mb.ts";
import type { Arena } from "./arena.ts";

const { u32, ptr, u64_fast, void: none } = FFIType;

/** IPSEC_MB_1 is the name of the library's interface; Debian's package is libipsec-mb1. */
export const IPSEC_MB_1 = "libIPSec_MB.so.1";

const LIST = AEAD_BATCH * 8;
const NONCE = 12;
const KEY = 32;

/** Fields of IMB_JOB, and its length. */
const JOB = {
  encryptKeys: 0,
  decryptKeys: 8,
  keyBytes: 16,
  source: 24,
  target: 32,
  cipherStart: 40,
  cipherBytes: 48,
  hashStart: 56,
  hashBytes: 64,
  nonce: 72,
  nonceBytes: 80,
  tag: 88,
  tagBytes: 96,
  additional: 104,
  additionalBytes: 112,
  status: 128,
  cipherMode: 132,
  direction: 136,
  hash: 140,
  order: 144,
  length: 200,
} as const;

const CIPHER_CHACHA20_POLY1305 = 19;
const AUTH_CHACHA20_POLY1305 = 29;
/** IMB_ORDER_CIPHER_HASH and IMB_ORDER_HASH_CIPHER. */
const ORDER: Readonly<Record<AeadDirection, number>> = { seal: 1, open: 2 };
const STATUS_COMPLETED = 3;
/** struct gcm_context_data: 88 bytes. */
const GCM_CONTEXT = 128;

/** openIpsecMb1 opens the provider; throws when the library is not there or does not run here. */
export function openIpsecMb1(arena: Arena, path = IPSEC_MB_1): AeadProvider {
  const library = openIpsecMb(arena, path, 1);
  const chacha = chachaJobs(library);
  const both = (make: (direction: AeadDirection) => Run) => ({ seal: make("seal"), open: make("open") });
  return ipsecMbProvider(library, {
    "chacha20-poly1305": both(chacha),
    "aes-128-gcm": {
      seal: gcmCalls(library, MANAGER.gcm128Encrypt),
      open: gcmCalls(library, MANAGER.gcm128Decrypt),
    },
    "aes-256-gcm": {
      seal: gcmCalls(library, MANAGER.gcm256Encrypt),
      open: gcmCalls(library, MANAGER.gcm256Decrypt),
    },
  });
}

function chachaJobs(library: IpsecMb): (direction: AeadDirection) => Run {
  const { arena, manager, managerBytes } = library;
  const jobs = arena.allocate(LIST);
  const burst = (at: number) => ({ args: [ptr, u32, ptr], returns: u32, ptr: library.function(at) }) as const;
  const { next, submit } = linkSymbols({
    next: burst(MANAGER.nextBurst),
    submit: burst(MANAGER.submitBurst),
  }).symbols;

  const set = (place: number, value: number) => {
    arena.u32[place >>> 2] = value;
  };
  const setLong = (place: number, value: number) => {
    set(place, value);
    set(place + 4, 0);
  };
  // Once for each packet: no options object here.
  const fill = (job: number, batch: AeadBatch, index: number, keyAt: number) => {
    const text = batch.textAt(index);
    const length = batch.lengthOf(index);
    const tag = batch.direction === "seal" ? text + length : batch.computedTagAt(index);
    arena.storeAddress(job + JOB.encryptKeys, keyAt, KEY);
    arena.storeAddress(job + JOB.decryptKeys, keyAt, KEY);
    setLong(job + JOB.keyBytes, KEY);
    arena.storeAddress(job + JOB.source, text, length);
    arena.storeAddress(job + JOB.target, text, length);
    setLong(job + JOB.cipherStart, 0);
    setLong(job + JOB.cipherBytes, length);
    setLong(job + JOB.hashStart, 0);
    setLong(job + JOB.hashBytes, length);
    arena.storeAddress(job + JOB.nonce, batch.nonceAt(index), NONCE);
    setLong(job + JOB.nonceBytes, NONCE);
    arena.storeAddress(job + JOB.tag, tag, AEAD_TAG);
    setLong(job + JOB.tagBytes, AEAD_TAG);
    arena.storeAddress(job + JOB.additional, batch.additionalAt(index), batch.additionalBytes);
    setLong(job + JOB.additionalBytes, batch.additionalBytes);
    set(job + JOB.cipherMode, CIPHER_CHACHA20_POLY1305);
    set(job + JOB.direction, DIRECTION[batch.direction]);
    set(job + JOB.hash, AUTH_CHACHA20_POLY1305);
    set(job + JOB.order, ORDER[batch.direction]);
  };

  return () => (batch: AeadBatch, keyAt: number) => {
    const state = arena.address(manager, managerBytes);
    for (let done = 0; done < batch.count;) {
      // Near the end of its ring the library gives fewer than asked for.
      const count = next(state, batch.count - done, arena.address(jobs, LIST));
      for (let i = 0; i < count; i++) fill(arena.offsetOf(jobs + i * 8, JOB.length), batch, done + i, keyAt);
      const completed = count === 0 ? 0 : submit(state, count, arena.address(jobs, LIST));
      if (completed !== count || count === 0) {
        library.checkError();
        throw new Error(`${library.path} completed ${completed} of ${batch.count - done} jobs`);
      }
      for (let i = 0; i < count; i++) {
        const status = arena.u32[(arena.offsetOf(jobs + i * 8, JOB.length) + JOB.status) >>> 2];
        if (status !== STATUS_COMPLETED) throw new Error(`${library.path} left a job with status ${status}`);
      }
      done += count;
    }
  };
}

function gcmCalls(library: IpsecMb, at: number): Run {
  const { arena } = library;
  const context = arena.allocate(GCM_CONTEXT);
  // key_data, context, out, in, len, iv, aad, aad_len, auth_tag, auth_tag_len
  const { call } = linkSymbols({
    call: {
      args: [ptr, ptr, ptr, ptr, u64_fast, ptr, ptr, u64_fast, ptr, u64_fast],
      returns: none,
      ptr: library.function(at),
    },
  }).symbols;
  return (batch, keyAt) => {
    const key = arena.address(keyAt, GCM_KEY);
    const scratch = arena.address(context, GCM_CONTEXT);
    for (let i = 0; i < batch.count; i++) {
      const length = batch.lengthOf(i);
      const text = batch.textAt(i);
      const address = arena.address(text, length);
      const tag = batch.direction === "seal" ? text + length : batch.computedTagAt(i);
      call(
        key,
        scratch,
        address,
        address,
        length,
        arena.address(batch.nonceAt(i), NONCE),
        arena.address(batch.additionalAt(i), batch.additionalBytes),
        batch.additionalBytes,
        arena.address(tag, AEAD_TAG),
        AEAD_TAG,
      );
    }
  };
}
