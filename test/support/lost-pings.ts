/** What a series of pings lost, as ping(8) tells without `-q`. */

/**
 * lostPings returns the numbers that were not answered though a later one was; throws when none was. After its last packet ping waits for
 * twice the longest round trip and no longer: what a busy machine answers later than that, at the end, is counted as lost by it and is not here.
 */
export function lostPings(stdout: string): number[] {
  const answered = new Set([...stdout.matchAll(/ icmp_seq=(\d+) ttl=/g)].map((match) => Number(match[1])));
  if (answered.size === 0) throw new Error(`No ping was answered:\n${stdout}`);
  const last = Math.max(...answered);
  return Array.from({ length: last }, (_, i) => i + 1).filter((number) => !answered.has(number));
}
