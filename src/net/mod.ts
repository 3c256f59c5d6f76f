/**
 * net: the values that networks are made of. Readonly, plain, comparable; text is parsed once and formatted last.
 *
 * It leaves wire formats to `wire` and meaning to the features.
 *
 * @example
 * ```ts
 * const pods = parsePrefix("10.244.0.0/16");
 * formatPrefix(subnet(pods, 24, 3n)); // "10.244.3.0/24"
 * ```
 */
export * from "./any-target.ts";
export * from "./duration.ts";
export * from "./endpoint.ts";
export * from "./ip.ts";
export * from "./key.ts";
export * from "./key-material.ts";
export * from "./link-local.ts";
export * from "./mac.ts";
export * from "./prefix.ts";
export * from "./rate.ts";
export * from "./special.ts";
export * from "./wireguard.ts";
