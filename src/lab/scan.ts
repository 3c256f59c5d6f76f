/** A scan from outside: what the ports of an address say to a stranger. */
import { formatIp, type Ip } from "../net/mod.ts";
import { inParallel, type Netns, probeTcp, probeUdp, type TcpAnswer, type UdpAnswer } from "../sys/mod.ts";

/** How long a port may be silent. */
const SILENCE_MS = 1500;

/** PortAnswers holds what each port said. */
export interface PortAnswers {
  readonly tcp: ReadonlyMap<number, TcpAnswer>;
  readonly udp: ReadonlyMap<number, UdpAnswer>;
}

/** scan tries TCP and UDP on each port, from inside a namespace. */
export async function scan(options: {
  readonly netns: Netns;
  readonly target: Ip;
  readonly ports: readonly number[];
}): Promise<PortAnswers> {
  const { netns, ports } = options;
  const host = formatIp(options.target);
  const tcp = inParallel(ports, 64, (port) => probeTcp({ netns, host, port, timeoutMs: SILENCE_MS }));
  const udp = inParallel(ports, 64, (port) => probeUdp({ netns, host, port, timeoutMs: SILENCE_MS }));
  const [tcpAnswers, udpAnswers] = await Promise.all([tcp, udp]);
  return {
    tcp: new Map(ports.map((port, index) => [port, tcpAnswers[index] as TcpAnswer])),
    udp: new Map(ports.map((port, index) => [port, udpAnswers[index] as UdpAnswer])),
  };
}
