/**
 * Kernel settings below /proc/sys/net. What a setting was before ours is remembered (earlier-settings.ts) and restored when nobody wants ours
 * any more; an engine that finds the desired value already there, and no earlier one noted, leaves it.
 */
import { type KindHandler, linkKey, SAME, step } from "./kind.ts";
import type { Sysctl } from "./object.ts";

/** sysctlKey identifies a setting by its path. */
export function sysctlKey(path: string): string {
  return `sysctl ${path}`;
}

/** sysctl handles kernel settings; those of a link need the link. */
export const sysctl: KindHandler<Sysctl> = {
  order: (object) => (linkOf(object.path) === undefined ? 10 : 30),
  key: (object) => sysctlKey(object.path),
  needs: (object) => {
    const link = linkOf(object.path);
    return link === undefined ? [] : [linkKey(link)];
  },

  compare(object, view) {
    const value = view.sysctl(object.path);
    if (value === undefined)
      return {
        is: "refused",
        reason: `Cannot set ${object.path}: this kernel has no such setting; load the module that brings it`,
      };
    if (plain(value) === plain(object.value)) return SAME;
    const work = { via: "sysctl", path: object.path, value: object.value, earlier: value } as const;
    return step("change", text(object.path, object.value), work);
  },

  remove(object, view) {
    const earlier = view.memory.sysctls.get(object.path);
    const value = view.sysctl(object.path);
    if (earlier === undefined || value === undefined || plain(value) !== plain(object.value))
      return undefined;
    const work = { via: "sysctl", path: object.path, value: earlier, earlier: undefined } as const;
    return { text: text(object.path, earlier), work };
  },

  *ours() {},
};

/** linkOf returns the link whose settings a path is among; undefined for `all`, `default` and what is not per link. */
function linkOf(path: string): string | undefined {
  const match = /^net\/(?:ipv4|ipv6|mpls)\/(?:conf|neigh)\/([^/]+)\//.exec(path);
  return match?.[1] === "all" || match?.[1] === "default" ? undefined : match?.[1];
}

function plain(value: string): string {
  return value.trim().split(/\s+/).join(" ");
}

/** sysctl(8) takes slashes as they are; so links with dots in their names stay readable. */
function text(path: string, value: string): string {
  return `sysctl -w ${path}=${/\s/.test(value) ? `"${plain(value)}"` : value}`;
}
