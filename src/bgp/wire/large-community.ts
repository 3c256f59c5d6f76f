/** Large communities (RFC 8092): three numbers of 32 bits. */

/** LargeCommunity is `65001:1:2`. */
export interface LargeCommunity {
  readonly global: number;
  readonly local1: number;
  readonly local2: number;
}

/** printLargeCommunity returns the three numbers with colons (RFC 8092 section 5). */
export function printLargeCommunity({ global, local1, local2 }: LargeCommunity): string {
  return `${global}:${local1}:${local2}`;
}

/** parseLargeCommunity reads three numbers with colons; undefined for anything else. */
export function parseLargeCommunity(text: string): LargeCommunity | undefined {
  const match = /^(0|[1-9]\d{0,9}):(0|[1-9]\d{0,9}):(0|[1-9]\d{0,9})$/.exec(text);
  if (match === null) return undefined;
  const [global, local1, local2] = [Number(match[1]), Number(match[2]), Number(match[3])];
  return global > 0xffffffff || local1 > 0xffffffff || local2 > 0xffffffff
    ? undefined
    : { global, local1, local2 };
}
