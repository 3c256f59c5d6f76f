/**
 * wire: byte coders. A bounds-checked reader and writer, structures, and netlink attributes described as tables.
 *
 * It knows no protocol: tables of messages are where the messages are used.
 *
 * @example
 * ```ts
 * const address = attributes({ local: [2, ip], label: [3, text] });
 * const writer = new Writer();
 * address.encode(writer, { local: parseIp("10.0.0.1") });
 * address.decode(new Reader(writer.finish())).local; // 10.0.0.1
 * ```
 */
export * from "./attributes.ts";
export * from "./codec.ts";
export * from "./error.ts";
export * from "./prometheus.ts";
export * from "./reader.ts";
export * from "./struct.ts";
export * from "./writer.ts";
