/** Connections to peers, with all that a Neighbor says of how it is reached. */
import { type Ip, ipBytes } from "../../net/mod.ts";
import {
  type Fd,
  firstPacket,
  isErrno,
  linkIndex,
  type Netns,
  openTcpSocket,
  setMd5Key,
  setMinimumTtl,
  setTtl,
  startConnecting,
  SystemError,
  TcpStream,
} from "../../sys/mod.ts";
import type { Connection } from "./connection.ts";
import type { Ttls } from "./neighbor.ts";

/** TRAFFIC_CLASS is DSCP CS6, network control (RFC 4594 section 3.2). */
export const TRAFFIC_CLASS = 48 << 2;

/**
 * RECEIVE_BYTES bounds what waits in the kernel for one session (which doubles it): the runtime reads all of it at once, and it has to be worked off
 * before others have their turn.
 */
export const RECEIVE_BYTES = 256 * 1024;

/** Target is where a connection goes. */
export interface Target {
  readonly netns?: Netns | undefined;
  readonly address: Ip;
  readonly port: number;
  readonly source?: Ip | undefined;
  /** The interface of an unnumbered session, or of a link-local address. */
  readonly device?: string | undefined;
  readonly ttls: Ttls;
  readonly password?: Uint8Array | undefined;
}

/** connectTo begins a connection; returns why that is not possible now. */
export function connectTo(target: Target, connection: Connection): string | undefined {
  const { address, source, device, ttls, password } = target;
  try {
    using stack = new DisposableStack();
    const fd: Fd = stack.use(
      openTcpSocket(address.family, {
        netns: target.netns,
        ...(source === undefined ? {} : { address: ipBytes(source) }),
        device,
        ttl: ttls.ttl,
        trafficClass: TRAFFIC_CLASS,
        receiveBufferBytes: RECEIVE_BYTES,
      }),
    );
    const { number } = fd;
    if (ttls.minimumTtl !== undefined) setMinimumTtl(number, address.family, ttls.minimumTtl);
    const to = ipBytes(address);
    if (password !== undefined) setMd5Key(number, { address: to }, password);
    const scope = device === undefined ? undefined : linkIndex(number, device);
    startConnecting(number, { address: to, port: target.port, scope });
    stack.move();
    connection.use(TcpStream.connecting(fd, connection.streamEvents));
    return undefined;
  } catch (error) {
    if (error instanceof SystemError && !isErrno(error, "EMFILE", "ENFILE", "EFAULT", "EBADF"))
      return error.message;
    throw error;
  }
}

/** Guard is what a connection that a peer made has to satisfy. */
export interface Guard {
  readonly ttls: Ttls;
  readonly password?: Uint8Array | undefined;
}

/** admit prepares a connection that a peer made; false when it comes from too far away (RFC 5082 section 3), or is not signed and has to be. */
export function admit(socket: number, remote: Ip, { ttls, password }: Guard): boolean {
  const first = firstPacket(socket);
  // What the listener was told last does not hold for what waited there to be accepted.
  if (password !== undefined) {
    if (first?.signed === false) return false;
    setMd5Key(socket, { address: ipBytes(remote) }, password);
  }
  if (ttls.minimumTtl !== undefined) {
    if (first !== undefined && first.ttl < ttls.minimumTtl) return false;
    setMinimumTtl(socket, remote.family, ttls.minimumTtl);
  }
  // It has the listener's 255.
  setTtl(socket, remote.family, ttls.ttl ?? 64);
  return true;
}
