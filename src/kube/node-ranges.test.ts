import { expect, test } from "bun:test";
import { parseIp, parsePrefix } from "../net/mod.ts";
import { meshNodesByAddress, parseKubeNode, rangeStep } from "./node-ranges.ts";

const attic = {
  name: "attic",
  hub: false,
  overlay4: parseIp("10.90.0.2"),
  overlay6: parseIp("fd00::2"),
  pods4: parsePrefix("10.244.1.0/24"),
  pods6: parsePrefix("fd00:0:0:101::/64"),
};
const nodes = meshNodesByAddress([attic]);

function kubeNode(address: string, ranges?: readonly string[]) {
  const node = parseKubeNode({
    metadata: { name: "some-host", uid: "u" },
    ...(ranges === undefined ? {} : { spec: { podCIDRs: ranges } }),
    status: {
      addresses: [
        { type: "Hostname", address: "10.90.0.9" },
        { type: "InternalIP", address },
      ],
    },
  });
  if (node === undefined) throw new Error("no node");
  return node;
}

test("a node is known by its overlay address of either family, and not by its name", () => {
  const ranges = ["10.244.1.0/24", "fd00:0:0:101::/64"];
  expect(rangeStep(kubeNode("10.90.0.2"), nodes, 4)).toEqual({ does: "set", ranges });
  expect(rangeStep(kubeNode("fd00:0::2"), nodes, 6)).toEqual({ does: "set", ranges: ranges.toReversed() });
  expect(rangeStep(kubeNode("192.168.1.2"), nodes, 4)).toEqual({ does: "nothing" });
});

test("what Kubernetes has is left alone, and told where it is another one", () => {
  expect(rangeStep(kubeNode("10.90.0.2", ["10.244.1.0/24"]), nodes, 4)).toEqual({ does: "nothing" });
  expect(rangeStep(kubeNode("10.90.0.2", ["10.244.7.0/24"]), nodes, 4)).toEqual({
    does: "tell",
    message: expect.stringContaining(
      "is not what Causeway gave node attic: 10.244.1.0/24, fd00:0:0:101::/64",
    ),
  });
});
