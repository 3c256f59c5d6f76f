/** Sources: whose packets passed a link, as AF_PACKET saw them. */
import { formatIp, ipFromBytes } from "../../src/net/mod.ts";
import type { DomainWorld } from "./domain-world.ts";
import { FrameSocket } from "./frames.ts";

/** sourcesOf begins to watch a link; link-local addresses and neighbour discovery of IPv6 are left out. */
export function sourcesOf(
  world: DomainWorld,
  place: string,
  link: string,
): Disposable & { seen(): string[] } {
  const [{ ifindex }] = world.json(place, `ip -j link show ${link}`);
  const socket = new FrameSocket(world.netns(place), ifindex);
  const found = new Set<string>();
  return {
    seen() {
      for (let frame = socket.receive(0); frame !== undefined; frame = socket.receive(0)) {
        const type = ((frame[12] as number) << 8) | (frame[13] as number);
        if (type === 0x0800) found.add(formatIp(ipFromBytes(frame.subarray(26, 30))));
        const discovery = frame[20] === 58 && [133, 134, 135, 136].includes(frame[54] as number);
        if (type === 0x86dd && !discovery) found.add(formatIp(ipFromBytes(frame.subarray(22, 38))));
      }
      return [...found].filter((one) => !one.startsWith("fe80") && one !== "::").sort();
    },
    [Symbol.dispose]: () => socket[Symbol.dispose](),
  };
}
