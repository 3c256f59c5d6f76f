/**
 * Makes wireguard-go forget a source address that is no longer ours.
 *
 * It answers from the address that a peer last wrote to (conn/bind_linux.go), and gives that up only when sending fails with EINVAL.
 * Linux says ENETUNREACH when the address was removed, so the peer would never be written to again, handshakes included.
 * Setting the endpoint that a peer has makes it choose the source anew. The kernel's own WireGuard needs none of this.
 */
import { Monitor } from "../netlink/mod.ts";
import type { WireguardDevice } from "../net/mod.ts";
import { after, type Netns } from "../sys/mod.ts";

/** Addresses that go together are one reason, not many. */
const GATHER_MS = 20;
/** RT_SCOPE_LINK: addresses from here on (link, host) are not sources of tunnel packets. */
const SCOPE_LINK = 253;

/** followAddresses renews the endpoints of a device's peers whenever an address is removed, until it is disposed. */
export function followAddresses(
  device: WireguardDevice,
  options: { readonly netns?: Netns } = {},
): Disposable {
  let pending: Disposable | undefined;
  const renew = () => {
    pending = undefined;
    try {
      const known = device.read().peers.filter((peer) => peer.endpoint !== undefined);
      device.change({
        peers: known.map(({ publicKey, endpoint }) => ({
          publicKey,
          updateOnly: true,
          ...(endpoint === undefined ? {} : { endpoint }),
        })),
      });
    } catch {
      // The process is gone; the next one has no peers with sources.
    }
  };
  const schedule = () => void (pending ??= after(GATHER_MS, renew));
  const monitor = Monitor.open({
    ...(options.netns === undefined ? {} : { netns: options.netns }),
    groups: ["address"],
    onEvent: (event) => {
      if (event.kind === "address" && event.deleted && event.info.scope < SCOPE_LINK) schedule();
    },
    onOverrun: schedule,
  });
  return {
    [Symbol.dispose]: () => {
      pending?.[Symbol.dispose]();
      monitor.close();
    },
  };
}
