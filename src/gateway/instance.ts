/** instanceOf returns a gateway's instance in the kernel, from its name: 0 to 255. Two of one namespace may not have the same: the second would remove what the first made. */
export function instanceOf(name: string): number {
  return new TextEncoder().encode(name).reduce((sum, byte) => (sum * 31 + byte) % 256, 7);
}
