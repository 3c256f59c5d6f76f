/**
 * A pod's way past the programs of traffic control at the node's end of its link: what `ifb` sends on is not classified again where it comes in next
 * (drivers/net/ifb.c, skb->tc_skip_classify). Any pod with CAP_NET_ADMIN can have it.
 */
import {
  addFilter,
  addLink,
  addQdisc,
  type RouteRequest,
  Rtnetlink,
  setProgram,
} from "../../src/netlink/mod.ts";
import { loadClassifier, type Netns } from "../../src/sys/mod.ts";
import { assembleBpf, exit, jumpIf, label, load, move, R0, R1, R2, store } from "../../src/tunnel/xdp/mod.ts";

/** TC_H_CLSACT with TC_H_MIN_EGRESS, and where struct tcmsg has it. */
const LEAVING = 0xffff_fff3;
const PARENT_AT = 12;
const SKB_MARK = 8;
const [TC_ACT_UNSPEC, TC_ACT_OK, TC_ACT_SHOT] = [-1, 0, 2] as const;

/** The same request for what leaves by a link, which ours never asks for. */
function leaving(request: RouteRequest): RouteRequest {
  const { body } = request.messages[0];
  new DataView(body.buffer, body.byteOffset).setUint32(PARENT_AT, LEAVING, true);
  return request;
}

/** goPastPrograms has all that leaves by a pod's link go through an ifb first, and carry a mark. */
export function goPastPrograms(
  pod: Netns,
  { link, mark }: { readonly link: string; readonly mark: number },
): void {
  using route = Rtnetlink.open({ netns: pod });
  const index = (name: string) => route.link(name)?.index ?? 0;
  route.request(addLink({ name: "ifb0", type: "ifb", up: true }));
  const linkIndex = index(link);
  route.request(addQdisc({ linkIndex, kind: "clsact" }));
  // The second time it leaves with the mark, and without an action, which would take the kernel's own mark off.
  const code = assembleBpf([
    load(R2, 4, R1, SKB_MARK),
    move(R0, TC_ACT_OK),
    jumpIf(R2, "=", mark, "end"),
    move(R2, mark),
    store(4, R1, SKB_MARK, R2),
    move(R0, TC_ACT_UNSPEC),
    label("end"),
    exit,
  ]);
  using program = loadClassifier("twice", code);
  route.request(
    leaving(setProgram({ linkIndex, pref: 1, handle: 1, descriptor: program.number, name: "twice" })),
  );
  route.request(leaving(addFilter({ linkIndex, pref: 2, node: 1, redirect: index("ifb0") })));
}

/** dropAll has a program drop all that comes in by a link, before other programs see it. */
export function dropAll(netns: Netns, link: string): void {
  using route = Rtnetlink.open({ netns });
  using program = loadClassifier("drop", assembleBpf([move(R0, TC_ACT_SHOT), exit]));
  const linkIndex = route.link(link)?.index ?? 0;
  route.request(setProgram({ linkIndex, pref: 1, handle: 1, descriptor: program.number, name: "drop" }));
}
