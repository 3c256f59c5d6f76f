/** One UDP datagram with a hop limit of the test's choice. */
import { HopSender, type Netns } from "../../src/sys/mod.ts";
import { ipBytes, parseIp } from "../../src/net/mod.ts";

/** connectedDatagram sends it from a namespace; throws when it could not be sent. */
export function connectedDatagram(
  netns: Netns,
  to: string,
  port: number,
  bytes: Uint8Array,
  options: { readonly hopLimit: number },
): void {
  using sender = HopSender.open({
    netns,
    to: ipBytes(parseIp(to)),
    port,
    ports: [40000, 40999],
    hopLimit: options.hopLimit,
  });
  const copy = new Uint8Array(new ArrayBuffer(bytes.length));
  copy.set(bytes);
  if (!sender.send(copy)) throw new Error(`a datagram to ${to} could not be sent`);
}
