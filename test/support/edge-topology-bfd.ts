/** BFD of node a's sessions, with a ToR and with the speaker on its host: where packets are lost, sessions end and traffic goes another way. */
import { expect, test } from "bun:test";
import { converted, l3vniText, underlayText, WEB } from "./edge-topology-manifests.ts";
import type { TopologyView } from "./edge-topology-view.ts";
import type { Json } from "./scratch.ts";

/** As both sides are told: slow enough for an emulated machine, and much faster than hold times, which are minutes. */
const [MS, MULTIPLIER] = [1000, 10];

const PROFILE = [
  "bfd",
  "profile slow",
  `detect-multiplier ${MULTIPLIER}`,
  `receive-interval ${MS}`,
  `transmit-interval ${MS}`,
  "exit",
  "exit",
];

/** Node a's manifests, with BFD of its session with the first ToR. */
const WATCHED =
  underlayText(
    "now",
    `, bfd: {transmitInterval: ${MS}, receiveInterval: ${MS}, detectMultiplier: ${MULTIPLIER}}`,
  ) +
  l3vniText("now", "red") +
  l3vniText("now", "blue") +
  WEB.now;

/** And of that with the host in red, which OpenPERouter cannot say. */
const watched = () =>
  converted(WATCHED).replace(
    "    link: host-e-100\n",
    `$&    bfd: {transmit: ${MS}ms, receive: ${MS}ms, multiplier: ${MULTIPLIER}}\n`,
  );

/** bfdTests declares tests of the edge's topology. */
export function bfdTests(view: TopologyView): void {
  const peer = (box: string, address: string): Json =>
    (view.net.daemon(box).json("show bfd peers json") as Json[]).find((one) => one.peer === address);
  const isUp = (box: string, address: string) =>
    view.until(
      `${box}'s BFD with ${address} is up`,
      () => peer(box, address)?.status === "up",
      () => `${view.net.daemon(box).ask("show bfd peers json")}${view.state()}`,
    );
  const torsPeer = (): Json | undefined =>
    (view.net.daemon("tor1").json("show bgp neighbors 192.168.11.3 json") as Json)["192.168.11.3"];
  const ways = () => view.nodes[0].text("ip route show 100.64.0.1", "cw-underlay");
  /** Packets are lost in a box, also what it forwards, and what it says itself: that a session ends would be heard before BFD finds it. */
  const lose = (box: string, rules: readonly string[]) => {
    const chain = (hook: string) =>
      `chain ${hook} { type filter hook ${hook} priority 0; ${rules.map((rule) => `${rule} drop;`).join(" ")} }`;
    const table = `table inet lost { ${["input", "forward", "output"].map(chain).join("; ")}; }`;
    view.net.feed(box, ["nft", "-f", "-"], table);
  };
  const find = (box: string) => view.net.text(box, "nft delete table inet lost");

  test("34, 35: BFD of sessions with a ToR and with a host is up on both sides, with the parameters of both", async () => {
    const [a] = view.nodes;
    view.net
      .daemon("tor1")
      .ask("configure terminal", ...PROFILE, "router bgp 64512", "neighbor nodes bfd profile slow");
    view.net
      .daemon("a")
      .ask("configure terminal", ...PROFILE, "router bgp 64515", "neighbor 192.169.10.1 bfd profile slow");
    a.follow(watched());
    expect(a.problems).toEqual([]);
    for (const [box, address] of [
      ["tor1", "192.168.11.3"],
      ["a", "192.169.10.1"],
    ] as const) {
      await isUp(box, address);
      expect(peer(box, address)).toMatchObject({
        "remote-receive-interval": MS,
        "remote-transmit-interval": MS,
        "remote-detect-multiplier": MULTIPLIER,
      });
    }
    await view.until("the ToR's session is there", () => torsPeer()?.bgpState === "Established");
    await view.sees(view.net.netns("A-red"), "10.244.0.2", "192.168.20.2");
  });

  // What comes back is looked at in tables only: FRR 8.4 may forget a router's Ethernet address when its routes are withdrawn or come another way.
  test("what a host announced is withdrawn when BFD does not hear of it, in that domain alone, and comes back with it", async () => {
    const [a] = view.nodes;
    const isThere = (tenant: "red" | "blue") => view.leafRoutes("A", tenant).includes("10.244.0.0/24");
    await view.until("the leaf has the pods", () => isThere("red") && isThere("blue"));
    lose("a", ["ip saddr 192.169.10.1"]);
    await view.until("the leaf has not", () => !isThere("red"));
    expect(isThere("blue")).toBe(true);
    await view.until("the host has no route of red", () => a.text("ip route show 192.168.20.0/24") === "");
    await view.sees(view.net.netns("A-blue"), "10.244.0.2", "192.168.21.2");
    find("a");
    await isUp("a", "192.169.10.1");
    await view.until(
      "both have the routes again",
      () =>
        isThere("red") && a.text("ip route show 192.168.20.0/24").includes("via 192.169.10.1 dev host-e-100"),
    );
    expect(a.problems).toEqual([]);
  });

  test("a ToR that loses all packets is left by both sides, and traffic in both directions goes by the other one until it is back", async () => {
    await view.until(
      "both ways are there",
      () => ways().includes("192.168.11.2") && ways().includes(".12.2"),
    );
    lose("tor1", [
      "ip saddr { 192.168.11.3, 100.65.0.0, 10.244.0.0/24 }",
      "ip daddr { 192.168.11.3, 100.65.0.0, 10.244.0.0/24 }",
    ]);
    await view.until("our session is over", () => !ways().includes("192.168.11.2"), ways);
    await view.until("the ToR's is", () => torsPeer()?.bgpState !== "Established");
    expect(view.nodes[0].logged.join("\n")).toContain("BFD says that the path is down");
    await view.until("the spine goes by the other one", () =>
      view.net.text("spine", "ip route show 100.65.0.0").includes("dev to-tor2"),
    );
    // By no tenant's leaf.
    await view.sees(view.net.netns("pod-a"), "192.168.22.2", "10.244.0.2");
    await view.sees(view.net.netns("A-plain"), "10.244.0.2", "192.168.22.2");
    find("tor1");
    await isUp("tor1", "192.168.11.3");
    await view.until("both ways are there again", () => ways().includes("192.168.11.2"));
  });
}
