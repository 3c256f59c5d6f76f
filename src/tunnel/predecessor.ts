/**
 * A link whose tunnel another back-end of ours ran, before the choice was changed: what that one left makes room. Only a link with the
 * engine's mark is touched; what is on it comes anew with the next tunnel.
 */
import { ALIAS } from "../engine/mod.ts";
import { deleteLink, type LinkInfo, Rtnetlink } from "../netlink/mod.ts";
import { type Netns, removeTree, terminate } from "../sys/mod.ts";
import type { Tunnel } from "./backend.ts";
import { listener, socketOf } from "./program-start.ts";

interface Place {
  readonly netns?: Netns | undefined;
}

function open({ netns }: Place): Rtnetlink {
  return Rtnetlink.open(netns === undefined ? {} : { netns });
}

/** markedLink returns a link that carries the engine's mark. */
export function markedLink(name: string, place: Place): LinkInfo | undefined {
  using route = open(place);
  const info = route.link(name);
  return info?.alias?.startsWith(ALIAS) === true ? info : undefined;
}

/** makeRoom ends what is left of another back-end that cannot go on beside one of the given type. */
export async function makeRoom(
  name: string,
  options: Place & { readonly linkType: Tunnel["linkType"] },
): Promise<void> {
  const left = markedLink(name, options);
  if (left === undefined || (left.kind === "wireguard") === (options.linkType === "wireguard")) return;
  if (options.linkType === "external") {
    using route = open(options);
    route.request(deleteLink({ index: left.index }));
    return;
  }
  // The link goes with the process that holds its descriptor.
  const socket = socketOf(name);
  const pid = listener(socket);
  if (pid === undefined) return;
  await terminate(pid);
  removeTree(socket);
}
