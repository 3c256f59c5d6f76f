/** Whether a gateway has forgotten its mappings: its count of seconds is compared with our clock (RFC 6887 section 8.5; RFC 6886 section 3.6). */

/** EpochSample is a gateway's count of seconds, and when it was heard. */
export interface EpochSample {
  readonly epochSeconds: number;
  readonly heardMs: number;
}

/** continues tells whether a sample fits to the one before. */
export function continues(before: EpochSample, now: EpochSample): boolean {
  if (now.epochSeconds < before.epochSeconds - 1) return false;
  const ours = (now.heardMs - before.heardMs) / 1000;
  const theirs = now.epochSeconds - before.epochSeconds;
  return ours + 2 >= theirs - theirs / 16 && theirs + 2 >= ours - ours / 16;
}
