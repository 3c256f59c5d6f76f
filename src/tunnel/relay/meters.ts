/** What each pair of nodes used lately: token buckets in one typed array. Each worker has its own, and packets of one session go through one worker. */

/** The least that may come at once: super-packets are up to 64 KiB. */
const LEAST_BURST_BYTES = 256 << 10;
/** A pair that was silent may send so much of its rate at once. */
const BURST_MS = 50;
const FIRST_METERS = 256;

/** Meters begin full. */
export class Meters {
  /** Two numbers for each: bytes left, and when that was. */
  #buckets = new Float64Array(0);
  #bytesPerMs = 0;
  #burst = 0;

  /** setRate sets what each may use; undefined for no limit. */
  setRate(bytesPerSecond: number | undefined): void {
    this.#bytesPerMs = bytesPerSecond === undefined ? 0 : bytesPerSecond / 1000;
    this.#burst = Math.max(LEAST_BURST_BYTES, this.#bytesPerMs * BURST_MS);
    this.#buckets = new Float64Array(this.#bytesPerMs === 0 ? 0 : 2 * FIRST_METERS);
  }

  /** allow takes the bytes from a meter if they are there. For every datagram. */
  allow(meter: number, bytes: number, nowMs: number): boolean {
    if (this.#bytesPerMs === 0) return true;
    const at = meter * 2;
    if (at >= this.#buckets.length) this.#grow(at);
    const buckets = this.#buckets;
    // A bucket that was never used was last looked at long ago.
    const left = Math.min(
      this.#burst,
      (buckets[at] as number) + (nowMs - (buckets[at + 1] as number)) * this.#bytesPerMs,
    );
    buckets[at + 1] = nowMs;
    if (left < bytes) {
      buckets[at] = left;
      return false;
    }
    buckets[at] = left - bytes;
    return true;
  }

  #grow(at: number): void {
    const before = this.#buckets;
    let length = before.length;
    while (length <= at) length *= 2;
    this.#buckets = new Float64Array(length);
    this.#buckets.set(before);
  }
}
