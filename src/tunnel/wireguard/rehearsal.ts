/** A handshake of two devices that nobody sees: afterwards the libraries are loaded and the code is compiled, and the next one is fast. */
import { parseEndpoint, parsePrefix, PrivateKey } from "../../net/mod.ts";
import { Device } from "./device.ts";
import { receiveDatagram, sendPacket } from "./slow-path.ts";

const CLOCK = { nowMs: 1, wallMs: 1 };
/** The smallest IPv4 packet, from 10.0.0.1 to 10.0.0.2; nobody looks at the rest of its header. */
const PACKET = new Uint8Array(20);
PACKET.set([0x45, 0, 0, 20]);
PACKET.set([10, 0, 0, 1, 10, 0, 0, 2], 12);

/** rehearse takes some tens of milliseconds; throws if it does not end as a handshake does. */
export function rehearse(): void {
  const keys = [PrivateKey.random(), PrivateKey.random()] as const;
  const endpoints = [parseEndpoint("192.0.2.1:1"), parseEndpoint("192.0.2.2:1")] as const;
  using near = new Device();
  using far = new Device();
  const introduce = (device: Device, own: 0 | 1, prefix: string) =>
    device.step(
      {
        kind: "configure",
        configuration: {
          privateKey: keys[own],
          peers: [
            {
              publicKey: keys[own === 0 ? 1 : 0].publicKey,
              endpoint: endpoints[own === 0 ? 1 : 0],
              allowedIps: [{ prefix: parsePrefix(prefix) }],
            },
          ],
        },
      },
      CLOCK,
    );
  introduce(near, 0, "10.0.0.2/32");
  introduce(far, 1, "10.0.0.1/32");
  let arrived = 0;
  let onTheWay = sendPacket(near, PACKET, CLOCK).datagrams.map(({ bytes }) => ({ bytes, to: 1 }));
  while (onTheWay.length > 0)
    onTheWay = onTheWay.flatMap(({ bytes, to }) => {
      const from = endpoints[1 - to] as (typeof endpoints)[0];
      const { datagrams, packets } = receiveDatagram(to === 0 ? near : far, bytes, { ...CLOCK, from });
      arrived += packets.length;
      return datagrams.map((answer) => ({ bytes: answer.bytes, to: 1 - to }));
    });
  if (arrived !== 1) throw new Error("a handshake between two devices of this process failed");
}
