/** What a configuration asks for and its network has otherwise on the node already is refused: nobody shares another one's settings unawares. */
import { expect, test } from "bun:test";
import type { VpcWish } from "../cni/mod.ts";
import { bridgeOf, domainNamespace, namespaceVni, openDomain, type Segment, vxlanOf } from "../domain/mod.ts";
import { mtuOf, refusePort } from "./vpc-wish.ts";

const mesh = { listenPort: 51820 };
const open = (dstPort?: number) => openDomain(300, { asn: 64512, dstPort }).segments[0] as Segment;
const wish: VpcWish = { vni: 300, defaultRoute: false, groups: [] };

test("a VNI has one UDP port on a node: the first one's, said or not", () => {
  for (const [asked, used] of [
    [undefined, undefined],
    [8472, undefined],
    [8472, 8472],
    [undefined, 4789],
    [4789, undefined],
  ] as const)
    expect(() => refusePort(open(asked), used === undefined ? undefined : open(used), mesh)).not.toThrow();
  expect(() => refusePort(open(4789), open(), mesh)).not.toThrow();
  expect(() => refusePort(open(8472), open(), mesh)).toThrow(
    "Cannot attach to a VPC: port 8472: VNI 300 has port 4789 on this node; leave it out, or choose another",
  );
  expect(() => refusePort(open(), open(8472), mesh)).toThrow("port 4789: VNI 300 has port 8472 on this node");
});

test("a port that is somebody else's carries no VXLAN", () => {
  expect(() => refusePort(open(51820), undefined, mesh)).toThrow("port 51820: it is the tunnel's");
  expect(() => refusePort(open(30_001), undefined, mesh)).toThrow("port 30001: it is a NodePort");
});

test("an MTU is what fits, or less", () => {
  expect(mtuOf(wish, 1390)).toBe(1390);
  expect(mtuOf({ ...wish, mtuBytes: 1300 }, 1390)).toBe(1300);
  expect(mtuOf({ ...wish, mtuBytes: 1390 }, 1390)).toBe(1390);
  expect(() => mtuOf({ ...wish, mtuBytes: 1391 }, 1390)).toThrow(
    "mtu 1391 is more than the 1390 bytes that VXLAN over the mesh leaves; leave it out",
  );
});

test("names of the highest VNI are names of links, and are read back", () => {
  for (const name of [bridgeOf, vxlanOf, domainNamespace]) expect(name(0xffffff).length).toBeLessThan(16);
  expect(namespaceVni(domainNamespace(0xffffff))).toBe(0xffffff);
  expect(["cw-0", "cw-16777216", "cw-1x", "other"].map(namespaceVni)).toEqual(Array(4).fill(undefined));
});
