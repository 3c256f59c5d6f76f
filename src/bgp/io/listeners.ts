/** The sockets on which peers' connections arrive: one for each family or address, with the keys of all peers. */
import {
  bitsOf,
  type Family,
  formatIp,
  type Ip,
  ipBytes,
  type Prefix,
  prefixAddress,
} from "../../net/mod.ts";
import {
  type AcceptedEvents,
  type AcceptedStream,
  isErrno,
  listenStreams,
  type Netns,
  openTcpSocket,
  removeMd5Key,
  setMd5Key,
  type StreamListener,
} from "../../sys/mod.ts";
import { RECEIVE_BYTES, TRAFFIC_CLASS } from "./transport.ts";

/** ListenersOptions say where to listen, and who decides what is accepted. */
export interface ListenersOptions {
  readonly netns?: Netns | undefined;
  readonly port: number;
  /** Absent: every address of both families. */
  readonly addresses?: readonly Ip[] | undefined;
  readonly accept: (stream: AcceptedStream) => AcceptedEvents | undefined;
}

/** Listeners owns the sockets. */
export class Listeners implements Disposable {
  readonly #sockets: { readonly family: Family; readonly listener: StreamListener }[] = [];

  constructor(options: ListenersOptions) {
    const { addresses } = options;
    try {
      if (addresses === undefined) {
        this.#listen(4, undefined, options);
        try {
          this.#listen(6, undefined, options);
        } catch (error) {
          // A system without IPv6.
          if (!isErrno(error, "EAFNOSUPPORT")) throw error;
        }
      } else
        for (const address of addresses)
          try {
            this.#listen(address.family, address, options);
          } catch (error) {
            // A system without IPv6, of which nobody asked for an address by name.
            if (address.value !== 0n || addresses.length === 1 || !isErrno(error, "EAFNOSUPPORT"))
              throw error;
          }
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  #listen(family: Family, address: Ip | undefined, { netns, port, accept }: ListenersOptions): void {
    try {
      const fd = openTcpSocket(family, {
        netns,
        port,
        ...(address === undefined ? {} : { address: ipBytes(address) }),
        // The answer to a connection comes before it is known who it is: those with TTL security want no less (RFC 5082).
        ttl: 255,
        trafficClass: TRAFFIC_CLASS,
        receiveBufferBytes: RECEIVE_BYTES,
      });
      using stack = new DisposableStack();
      stack.use(fd);
      const listener = listenStreams(fd, accept);
      stack.move();
      this.#sockets.push({ family, listener });
    } catch (error) {
      if (!isErrno(error, "EADDRINUSE", "EACCES", "EADDRNOTAVAIL")) throw error;
      const where = `${address === undefined ? `every IPv${family} address` : formatIp(address)}, port ${port}`;
      throw new Error(
        `Cannot listen for BGP on ${where}: ${(error as Error).message}; stop the other BGP speaker, or choose another port or address`,
        { cause: error },
      );
    }
  }

  /** setKey gives the peers of a network a key: their connections must be signed with it. */
  setKey(peers: Prefix, key: Uint8Array): void {
    for (const number of this.#of(peers.family)) setMd5Key(number, md5Peer(peers), key);
  }

  removeKey(peers: Prefix): void {
    for (const number of this.#of(peers.family)) removeMd5Key(number, md5Peer(peers));
  }

  #of(family: Family): number[] {
    return this.#sockets.filter((one) => one.family === family).map(({ listener }) => listener.number);
  }

  [Symbol.dispose](): void {
    for (const { listener } of this.#sockets) listener[Symbol.dispose]();
    this.#sockets.length = 0;
  }
}

/** A host's key goes by the older call, which every kernel has. */
function md5Peer(peers: Prefix): { readonly address: Uint8Array; readonly prefixLength?: number } {
  const address = ipBytes(prefixAddress(peers));
  return peers.length === bitsOf(peers.family) ? { address } : { address, prefixLength: peers.length };
}
