/** What a hub relays, as the mesh and the operator of this machine want it; and what became of that, for people. */
import type { MeshView } from "../hub/mod.ts";
import { relayPolicy } from "../mesh/mod.ts";
import type { Tunnel } from "../tunnel/mod.ts";
import { isXdpAttached, type RelayControl } from "../tunnel/relay/mod.ts";
import type { Status } from "./api.ts";
import { info, warn } from "./log.ts";

/** RelayOptions are what the operator of this machine wants. */
export interface RelayOptions {
  /** Interfaces of the underlay at which the kernel itself may send relayed data on. */
  readonly relayXdp: readonly string[];
}

/** parseLinks reads `eth0,eth1`. */
export function parseLinks(text: string): readonly string[] {
  const links = [...new Set(text.split(","))];
  for (const link of links)
    // dev_valid_name of net/core/dev.c.
    if (!/^[^\s/:]{1,15}$/.test(link) || link === "." || link === "..")
      throw new Error(`"${link}" is not a name of an interface; write them like eth0 or eth0,eth1`);
  return links;
}

/** HubRelaying remembers what was said of the interfaces, so that it is said once. */
export class HubRelaying {
  readonly #options: RelayOptions;
  #said = new Map<string, string>();
  #isIdleSaid = false;

  constructor(options: RelayOptions) {
    this.#options = options;
  }

  /** follow has the tunnel relay for the pairs that may talk; throws if its process does not answer. */
  follow(view: MeshView, relay: RelayControl | undefined): void {
    const { relayXdp: links } = this.#options;
    if (view.self?.hub !== true || relay === undefined) return this.#sayIdle(view);
    const { relayBitsPerSecond: bits } = view.mesh;
    relay.set({
      enabled: true,
      ...relayPolicy(
        view.mesh,
        view.nodes.filter((node) => !node.hub),
      ),
      ...(bits === undefined ? {} : { bytesPerSecond: bits / 8 }),
      ...(links.length === 0 ? {} : { xdpLinks: links }),
    });
  }

  #sayIdle({ self }: MeshView): void {
    if (this.#options.relayXdp.length === 0 || this.#isIdleSaid) return;
    this.#isIdleSaid = true;
    const reason = self?.hub === true ? "this tunnel relays nothing" : "only hubs relay";
    warn("--relay-xdp does nothing on this node", { reason });
  }

  /** look says what became of the interfaces, when that is news. */
  look(relay: RelayControl | undefined): void {
    if (this.#options.relayXdp.length === 0) return;
    for (const line of relay?.status()?.xdpLinks ?? []) {
      const link = line.slice(0, line.indexOf(":"));
      if (this.#said.get(link) === line) continue;
      this.#said.set(link, line);
      const state = line.slice(link.length + 2);
      if (isXdpAttached(line))
        info("the kernel sends relayed data on at an interface", { object: link, reason: state });
      else warn("relayed data goes through user space at an interface", { object: link, reason: state });
    }
  }

  /** life returns which life of the relay's tables this is: nodes make their sessions anew when it changes. */
  life(tunnel: Pick<Tunnel, "dataplane" | "relay"> | undefined): number | undefined {
    return tunnel?.dataplane?.life ?? tunnel?.relay?.life;
  }

  /** shown returns what `causeway status` shows; undefined where nothing is relayed. */
  shown({ self, mesh }: MeshView, relay: RelayControl | undefined): Status["relay"] {
    const status = self?.hub === true ? relay?.status() : undefined;
    if (status === undefined) return undefined;
    const { relayBitsPerSecond } = mesh;
    return { ...(relayBitsPerSecond === undefined ? {} : { bitsPerSecond: relayBitsPerSecond }), ...status };
  }
}
