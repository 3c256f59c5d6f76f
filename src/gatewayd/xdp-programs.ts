/**
 * The XDP programs of a gateway's interfaces, one for each that any queue uses.
 *
 * Frames that no socket has are dropped, and a program stays while its queues pause: what the kernel got then it would forward in the plain, on a
 * host that forwards. Where a queue has packet sockets they are the kernel's, which gives them a copy, and must not forward (kernelMeddles).
 */
import { NetlinkError, Rtnetlink } from "../netlink/mod.ts";
import { SystemError, XdpUnavailable } from "../sys/mod.ts";
import { GATEWAY_FILTER } from "../tunnel/gateway/mod.ts";
import { XdpInterface } from "../tunnel/xdp/mod.ts";
import type { PollDeferral } from "./poll-deferral.ts";

interface Attached {
  readonly name: string;
  readonly link: XdpInterface;
  readonly users: Set<object>;
}

/** InterfaceNeed is what queues have of an interface: packet sockets, or AF_XDP, now or while they pause. */
export type InterfaceNeed = "packets" | "xdp" | undefined;

/** XdpPrograms owns the programs. */
export class XdpPrograms implements Disposable {
  readonly #attached = new Map<number, Attached>();
  readonly #deferral: PollDeferral;

  constructor(deferral: PollDeferral) {
    this.#deferral = deferral;
  }

  /** attach returns an interface's program, which stays while a queue uses it. Throws XdpUnavailable with the interface's name. */
  attach(ifindex: number, name: string, user: object): XdpInterface {
    let attached = this.#attached.get(ifindex);
    if (attached === undefined) {
      attached = { name, link: openXdp(ifindex, name), users: new Set() };
      this.#attached.set(ifindex, attached);
    }
    attached.users.add(user);
    return attached.link;
  }

  /** release notes that a queue uses none any more; `settle` detaches them. */
  release(user: object): void {
    for (const { users } of this.#attached.values()) users.delete(user);
  }

  /** settle detaches what nobody needs, and has the others drop frames without a socket, or pass them; it defers the polls of those that drop them. */
  settle(needOf: (name: string) => InterfaceNeed): void {
    for (const [ifindex, { name, link, users }] of [...this.#attached]) {
      const need = needOf(name);
      if (users.size > 0 || (need === "xdp" && isThere(name, ifindex))) {
        link.setRest(need === "packets" ? "pass" : "drop");
        if (need !== "packets") this.#deferral.defer(ifindex);
      } else {
        this.#deferral.restore(ifindex);
        link.close();
        this.#attached.delete(ifindex);
      }
    }
  }

  [Symbol.dispose](): void {
    for (const [ifindex, { link }] of this.#attached) {
      this.#deferral.restore(ifindex);
      link.close();
    }
    this.#attached.clear();
  }
}

/** Whether a name is still that interface's, as far as the kernel tells. */
function isThere(name: string, ifindex: number): boolean {
  try {
    using route = Rtnetlink.open();
    return route.link(name)?.index === ifindex;
  } catch (error) {
    if (error instanceof SystemError || error instanceof NetlinkError) return true;
    throw error;
  }
}

function openXdp(ifindex: number, name: string): XdpInterface {
  try {
    return XdpInterface.open({ ifindex, filter: GATEWAY_FILTER, rest: "drop" });
  } catch (error) {
    if (!(error instanceof XdpUnavailable)) throw error;
    throw new XdpUnavailable(`${name}: ${error.message}`, { cause: error });
  }
}
