/**
 * anyTarget returns the import target that is met by a route target whoever gave it: `*:100` for `64512:100`, as FRR's automatic ones are. A target
 * is as BGP prints it, with its number behind the last colon.
 */
export function anyTarget(target: string): string {
  return `*${target.slice(target.lastIndexOf(":"))}`;
}

/** isAnyTarget tells whether an import target is met by any administrator's. */
export function isAnyTarget(target: string): boolean {
  return target.startsWith("*:");
}
