/**
 * Private networks of one node, for tests of the plugin: a namespace with a bridge for each segment, a veth for each attachment. What is
 * known is in a file, so that an agent that is killed finds it again. Whatever the VPC `slow` is asked for waits until /run/gate is there.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { CniError, type VpcAttached, type VpcNetwork, type VpcWish } from "../../src/cni/mod.ts";
import type { Attachment } from "../../src/ipam/mod.ts";
import {
  formatInterfaceAddress,
  formatMac,
  type Mac,
  parseInterfaceAddress,
  parseIp,
  parseMac,
  prefixOf,
} from "../../src/net/mod.ts";
import { addAddress, addLink, addRoute, deleteLink, Rtnetlink, setLink } from "../../src/netlink/mod.ts";
import { hostLinkOf, type PodRoute, podId, podMac } from "../../src/pods/mod.ts";
import { createNetns, Netns } from "../../src/sys/mod.ts";

const FILE = "/var/lib/causeway/vpcs.json";
const LOG = "/run/vpcs.log";

interface Stored {
  readonly attachment: Attachment;
  readonly vni: number;
  readonly wish: unknown;
}

/** What VPCs there are: their VNI and the first two parts of their addresses. */
const known: Readonly<Record<string, { readonly vni: number; readonly network: string }>> = {
  blue: { vni: 5000, network: "172.20.0" },
  slow: { vni: 5001, network: "172.21.0" },
  // The same as the default network of the test's node.
  overlap: { vni: 5002, network: "10.244.1" },
};

const sleep = () => Bun.sleep(5);

/** VethVpcs is the network; `add` of a segment that is not there makes it. */
export class VethVpcs implements VpcNetwork {
  #stored: Stored[] = existsSync(FILE) ? (JSON.parse(readFileSync(FILE, "utf8")) as Stored[]) : [];

  #save(stored: Stored[]): void {
    this.#stored = stored;
    writeFileSync(FILE, JSON.stringify(stored));
  }

  #log(event: string, { containerId, ifname }: Attachment): void {
    const line = `${event} ${containerId} ${ifname}\n`;
    writeFileSync(LOG, line, { flag: "a" });
  }

  async add(attachment: Attachment, wish: VpcWish, netns: Netns): Promise<VpcAttached> {
    const vpc = wish.vpc === undefined ? undefined : known[wish.vpc];
    if (wish.vni === undefined && vpc === undefined)
      throw new CniError("badConfiguration", `There is no VPC ${wish.vpc}; apply one`);
    if (this.#stored.some((entry) => same(entry.attachment, attachment)))
      throw new CniError("alreadyAttached", "It is attached already; delete it first");
    this.#log("add", attachment);
    if (wish.vpc === "slow") while (!existsSync("/run/gate")) await sleep();
    const vni = wish.vni ?? (vpc?.vni as number);
    const used = this.#stored.length + 2;
    const asked = wish.addresses?.map((address) =>
      vpc === undefined ? address : { ...address, length: 24 },
    );
    const addresses = asked ?? [parseInterfaceAddress(`${vpc?.network}.${used}/24`)];
    const mac: Mac =
      wish.mac ??
      (addresses.length > 0
        ? podMac(addresses.map(({ ip }) => ip))
        : parseMac(`02:00:00:00:01:${String(used).padStart(2, "0")}`));
    this.#save([...this.#stored, { attachment, vni, wish: shown(wish) }]);
    const hostLink = hostLinkOf(podId(attachment));
    using domain = this.#domain(vni, vpc?.network);
    using route = Rtnetlink.open({ netns: domain });
    const mtuBytes = wish.mtuBytes ?? 1370;
    const bridge = route.link(`br${vni}`);
    const peer = { name: attachment.ifname, netns, mac, mtuBytes };
    route.request(
      addLink({ type: "veth", name: hostLink, mtuBytes, up: true, master: bridge?.index ?? 0, peer }),
    );
    const routes = this.#interior(attachment, { addresses, netns, wish, network: vpc?.network });
    this.#log("added", attachment);
    const gateways = vpc === undefined ? [] : [parseIp(`${vpc.network}.1`)];
    const dnsServers = wish.vpc === "blue" ? [parseIp("172.20.0.53")] : [];
    return { mac, addresses, gateways, mtuBytes, hostLink, bridge: `br${vni}`, routes, dnsServers };
  }

  /** The namespace, with the gateway on its bridge. */
  #domain(vni: number, network: string | undefined): Netns {
    const path = `/run/netns/cw-${vni}`;
    if (!existsSync(path)) {
      createNetns(path);
      using made = Netns.open(path);
      using route = Rtnetlink.open({ netns: made });
      route.request(addLink({ type: "bridge", name: `br${vni}`, up: true }));
      const linkIndex = route.link(`br${vni}`)?.index as number;
      if (network !== undefined)
        route.request(addAddress({ linkIndex, address: parseInterfaceAddress(`${network}.1/24`) }));
    }
    return Netns.open(path);
  }

  #interior(
    { ifname }: Attachment,
    what: Pick<VpcAttached, "addresses"> & { netns: Netns; wish: VpcWish; network: string | undefined },
  ): PodRoute[] {
    using inside = Rtnetlink.open({ netns: what.netns });
    const linkIndex = inside.link(ifname)?.index as number;
    inside.request(setLink({ index: linkIndex, up: true }));
    for (const address of what.addresses) inside.request(addAddress({ linkIndex, address, nodad: true }));
    if (!what.wish.defaultRoute || what.network === undefined) return [];
    const via = parseIp(`${what.network}.1`);
    const destination = prefixOf(parseIp("0.0.0.0"), 0);
    inside.request(addRoute({ destination, hops: [{ via, linkIndex }] }));
    return [{ destination, gateway: via }];
  }

  async delete(attachment: Attachment): Promise<void> {
    this.#log("delete", attachment);
    const found = this.#stored.find((entry) => same(entry.attachment, attachment));
    if (found === undefined) return;
    if (found.vni === 5001) await sleep();
    using domain = Netns.open(`/run/netns/cw-${found.vni}`);
    using route = Rtnetlink.open({ netns: domain });
    const link = route.link(hostLinkOf(podId(attachment)));
    if (link !== undefined) route.request(deleteLink({ index: link.index }));
    this.#save(this.#stored.filter((entry) => entry !== found));
    this.#log("deleted", attachment);
  }

  async check(attachment: Attachment): Promise<void> {
    const found = this.#stored.find((entry) => same(entry.attachment, attachment));
    if (found === undefined) throw new CniError("containerUnknown", "It is not attached");
    using domain = Netns.open(`/run/netns/cw-${found.vni}`);
    using route = Rtnetlink.open({ netns: domain });
    if (route.link(hostLinkOf(podId(attachment)))?.up !== true)
      throw new CniError("checkFailed", "The node's end of the link is down");
  }

  attachments(): readonly Attachment[] {
    return this.#stored.map(({ attachment }) => attachment);
  }
}

function same(one: Attachment, other: Attachment): boolean {
  return (["network", "containerId", "ifname"] as const).every((key) => one[key] === other[key]);
}

/** As tests read it. */
function shown({ addresses, mac, ...wish }: VpcWish): unknown {
  return {
    ...wish,
    ...(addresses && { addresses: addresses.map(formatInterfaceAddress) }),
    ...(mac !== undefined && { mac: formatMac(mac) }),
  };
}
