/**
 * Makes the wiring of a laboratory real: namespaces, bridges, cables, addresses, routes, rules. It stays inside namespaces
 * of its own; the machine's own namespace gets nothing.
 */
import { type Mac, macFromBytes, networkOf, prefixContains, prefixOf } from "../net/mod.ts";
import { addAddress, addLink, addRoute, deleteLink, Nftables, Rtnetlink, setLink } from "../netlink/mod.ts";
import { createNetns, isErrno, Netns, removeNetns, runSync, sha256, writeKernelFile } from "../sys/mod.ts";
import { type Segment, SWITCH, type WiredBox, type Wiring } from "./wiring.ts";

/** makeNetwork makes all namespaces at the paths that `pathOf` gives, and what is in them. A failure leaves what was made. */
export function makeNetwork(wiring: Wiring, pathOf: (namespace: string) => string): void {
  for (const segment of wiring.segments) {
    createNetns(pathOf(segment.name));
    using netns = Netns.open(pathOf(segment.name));
    makeSegment(segment, netns);
  }
  for (const box of wiring.boxes) makeBox(wiring, box, pathOf);
}

/** makeBox makes one box and plugs it in; its networks are there. */
export function makeBox(wiring: Wiring, box: WiredBox, pathOf: (namespace: string) => string): void {
  createNetns(pathOf(box.name));
  using netns = Netns.open(pathOf(box.name));
  setSysctls(box.sysctls, netns);
  if (box.ruleset !== undefined) applyRules(box.ruleset, netns);
  makeCables(box, netns, pathOf);
  for (const segment of wiring.segments) {
    if (segment.delayMs === undefined || !box.cables.some((cable) => cable.segment === segment.name))
      continue;
    using segmentNetns = Netns.open(pathOf(segment.name));
    delayPort(box.name, segment.delayMs, segmentNetns);
  }
}

/** removeBox pulls a box's cables and removes its namespace. */
export function removeBox(box: WiredBox, pathOf: (namespace: string) => string): void {
  // A namespace goes away some time after its last user; a cable at once, so that its name is free again.
  for (const cable of box.cables) {
    using netns = Netns.open(pathOf(cable.segment));
    using route = Rtnetlink.open({ netns });
    const port = route.link(box.name);
    if (port !== undefined) route.request(deleteLink({ index: port.index }));
  }
  removeNetns(pathOf(box.name));
}

/** makeLoopback brings `lo` up in a namespace; container runtimes do that for a pod. */
export function makeLoopback(netns: Netns): void {
  using route = Rtnetlink.open({ netns });
  route.request(setLink({ name: "lo", up: true }));
}

function makeSegment(segment: Segment, netns: Netns): void {
  setSysctls(segment.sysctls, netns);
  // Bridged packets must not see the IP hooks; a kernel without br_netfilter has no such setting.
  for (const family of ["iptables", "ip6tables", "arptables"]) {
    try {
      setSysctls({ [`net/bridge/bridge-nf-call-${family}`]: "0" }, netns);
    } catch (error) {
      if (!isErrno(error, "ENOENT")) throw error;
    }
  }
  using route = Rtnetlink.open({ netns });
  route.request(addLink({ name: SWITCH, type: "bridge", stp: false, mtuBytes: segment.mtuBytes, up: true }));
  if (segment.ruleset !== undefined) applyRules(segment.ruleset, netns);
}

function makeCables(box: WiredBox, netns: Netns, pathOf: (namespace: string) => string): void {
  using route = Rtnetlink.open({ netns });
  route.request(setLink({ name: "lo", up: true }));
  for (const address of box.loopback)
    route.request(addAddress({ linkIndex: linkIndex(route, "lo"), address, nodad: true }));
  for (const { segment, link, mtuBytes, addresses } of box.cables) {
    using segmentNetns = Netns.open(pathOf(segment));
    route.request(
      addLink({
        name: link,
        type: "veth",
        mac: macOf(`${box.name}/${link}`),
        mtuBytes,
        up: true,
        peer: { name: box.name, netns: segmentNetns, mtuBytes },
      }),
    );
    using far = Rtnetlink.open({ netns: segmentNetns });
    far.request(setLink({ name: box.name, master: linkIndex(far, SWITCH), up: true }));
    for (const address of addresses)
      route.request(addAddress({ linkIndex: linkIndex(route, link), address, nodad: true }));
  }
  for (const { destination, via } of box.routes) {
    const cable = box.cables.find(({ addresses }) =>
      addresses.some((at) => prefixContains(networkOf(at), via)),
    );
    // On-link, because a link that has just come up may not count as a way to the gateway yet.
    const hop =
      cable === undefined ? { via } : { via, linkIndex: linkIndex(route, cable.link), onlink: true };
    route.request(addRoute({ destination: destination ?? prefixOf(via, 0), hops: [hop] }));
  }
}

/** A machine that is started again has the addresses that it had: its neighbours still know them. Locally administered (IEEE 802, section 8.2). */
function macOf(text: string): Mac {
  const bytes = sha256(text).subarray(0, 6);
  bytes[0] = ((bytes[0] ?? 0) & 0xfc) | 2;
  return macFromBytes(bytes);
}

function linkIndex(route: Rtnetlink, name: string): number {
  const link = route.link(name);
  if (link === undefined)
    throw new Error(`Cannot wire the lab: link ${name} is gone; was it removed by hand?`);
  return link.index;
}

function setSysctls(sysctls: Readonly<Record<string, string>>, netns: Netns): void {
  netns.run(() => {
    for (const [path, value] of Object.entries(sysctls)) writeKernelFile(`/proc/sys/${path}`, value);
  });
}

/** applyRules runs a text of nft(8) in a namespace. */
export function applyRules(text: string, netns: Netns): void {
  using nftables = Nftables.open({ netns });
  nftables.run(text);
}

/** netem delays what a port sends, so each frame once on its way through the segment. */
function delayPort(port: string, delayMs: number, netns: Netns): void {
  const delay = `${delayMs}ms`;
  const done = runSync(["tc", "qdisc", "add", "dev", port, "root", "netem", "delay", delay], { netns });
  if (done.status !== 0)
    throw new Error(
      `Cannot delay the network of ${port} by ${delay}: ${done.stderr.trim()}; this kernel may lack netem (sch_netem): remove "delay"`,
    );
}
