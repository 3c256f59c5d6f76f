/** A VPC over a flat LAN: VXLAN leaves the tunnel for a link of each node when the mesh says so, goes on with pods that are there, and comes from nobody else. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, rmSync } from "node:fs";
import { Lab, until } from "../../src/lab/mod.ts";
import { Rtnetlink } from "../../src/netlink/mod.ts";
import { FrameSocket } from "../support/frames.ts";
import { labLacks as skip } from "../support/lab-needs.ts";
import { Pinger } from "../support/pinger.ts";

const root = `/run/causeway-test/${process.pid}-vpc-lan`;
setDefaultTimeout(200_000);

const manifest = `apiVersion: causeway.network/v1alpha1
kind: Lab
metadata: { name: vpc-lan }
spec:
  networks:
    - { name: wire, prefix4: 203.0.113.0/24 }
    - { name: lan, prefix4: 192.168.77.0/24 }
  nodes:
    - { name: hub, role: hub, networks: [wire, lan] }
    - { name: a, networks: [wire, lan], endpoint: auto }
    - { name: b, networks: [wire, lan], endpoint: auto }
    - { name: far, networks: [wire], endpoint: auto }
`;

const tenant = `apiVersion: causeway.network/v1alpha1
kind: VPC
metadata: { name: red }
spec: { allow: { namespaces: ["*"] } }
---
apiVersion: causeway.network/v1alpha1
kind: Subnet
metadata: { name: web }
spec: { vpc: red, prefixes: [10.1.0.0/24, "fd00:1::/64"] }
`;

/** Over Ethernet with IPv4: outer IPv4, UDP, VXLAN, inner Ethernet (RFC 7348 section 5). */
const OVERHEAD = 20 + 8 + 8 + 14;

/** Sends in the pod `to` wait for a stream of so many bytes, sent by the pod `from`; prints how many came. */
const receiver = `Bun.listen({ hostname: "0.0.0.0", port: 7000, socket: {
  open(s) { s.data = 0 }, data(s, bytes) { s.data += bytes.length }, close(s) { console.log(s.data); process.exit() } } });`;
const sender = (address: string, bytes: number) => `let left = ${bytes};
const chunk = new Uint8Array(65536);
const push = (s) => { while (left > 0) { const n = s.write(chunk.subarray(0, Math.min(left, chunk.length))); left -= n; if (n < chunk.length && left > 0) return; } s.end(); };
Bun.connect({ hostname: "${address}", port: 7000, socket: { data() {}, open: push, drain: push, close() { process.exit() } } });`;

describe.skipIf(skip !== undefined)(`VPCs over a LAN${skip === undefined ? "" : ` (${skip})`}`, () => {
  let lab: Lab;
  beforeAll(async () => {
    mkdirSync(root, { recursive: true });
    await Lab.remove("vpc-lan", { root });
    lab = await Lab.up(manifest, { root });
    await lab.causewayJson("hub", ["apply", "-f", "-"], tenant);
    for (const node of ["a", "b"]) await add(node, `red-${node}`);
  });
  afterAll(async () => {
    await Lab.remove("vpc-lan", { root });
    rmSync(root, { recursive: true, force: true });
  });

  const add = (node: string, pod: string) =>
    lab.addPod(node, pod, [
      { ifname: "net1", config: { cniVersion: "1.0.0", name: "web", type: "causeway", subnet: "web" } },
    ]);
  const link = async (pod: string) =>
    JSON.parse((await lab.exec(pod, ["ip", "-j", "addr", "show", "net1"])).stdout)[0];
  const addressOf = async (pod: string) => (await link(pod)).addr_info[0].local as string;
  const ping = async (pod: string, address: string, ...more: string[]) =>
    (await lab.exec(pod, ["ping", "-n", "-c1", "-W1", ...more, address])).status === 0;
  const reaches = (pod: string, address: string) =>
    until(async () => ((await ping(pod, address)) ? undefined : "no answer"), {
      what: `${pod} to reach ${address}`,
      deadlineMs: 60_000,
    });
  const setLink = async (vxlanLink: string | undefined) => {
    const { spec, ...rest } = await lab.causewayJson<{ spec: object }>("hub", ["mesh", "show"]);
    const mesh = JSON.stringify({ ...rest, spec: { ...spec, vxlanLink } });
    await lab.causewayJson("hub", ["mesh", "apply", "-"], mesh);
  };
  const problemsOn = async (node: string) =>
    (await lab.causewayJson<{ problems: string[] }[]>(node, ["vpc", "list"])).flatMap(
      ({ problems }) => problems,
    );

  function listen(node: string, name: string): FrameSocket {
    using netns = lab.netns(node);
    using route = Rtnetlink.open({ netns });
    return new FrameSocket(netns, route.link(name)?.index ?? 0);
  }

  /** The frames with VXLAN that wait on a socket. */
  function vxlanOn(socket: FrameSocket): number {
    let count = 0;
    for (let frame = socket.receive(0); frame !== undefined; frame = socket.receive(0)) {
      const view = Buffer.from(frame);
      if (view.readUInt16BE(12) === 0x0800 && view[23] === 17 && view.readUInt16BE(36) === 4789) count++;
    }
    return count;
  }

  test("the mesh says so: what flows goes on, and from now on over the LAN", async () => {
    const there = await addressOf("red-b");
    await reaches("red-a", there);
    using lan = listen("a", "eth1");
    await using flow = new Pinger("red-a → red-b", there, {
      command: (argv) => lab.command("red-a", argv),
    });
    await until(() => (flow.since(0) > 20 ? undefined : "no answers"), { what: "the flow" });
    expect(vxlanOn(lan)).toBe(0);
    await setLink("eth1");
    await until(() => (vxlanOn(lan) > 50 ? undefined : "none yet"), {
      what: "VXLAN on the LAN",
      deadlineMs: 60_000,
    });
    const now = Date.now();
    await until(() => (flow.since(now) > 50 ? undefined : "no answers"), { what: "answers over the LAN" });
    for (const node of ["a", "b"]) expect([node, await problemsOn(node)]).toEqual([node, []]);
  });

  test("a pod's MTU is the LAN's less VXLAN, and packets of that size pass; a bulk stream works at once", async () => {
    for (const node of ["a", "b"]) await add(node, `late-${node}`);
    const there = await addressOf("late-b");
    expect((await link("late-a")).mtu).toBe(1500 - OVERHEAD);
    await reaches("late-a", there);
    expect(await ping("late-a", there, "-M", "do", "-s", `${1500 - OVERHEAD - 28}`)).toBe(true);
    const answer = await lab.exec("late-a", ["ping", "-n", "-c1", "-W1", "-M", "do", "-s", "1423", there]);
    expect(answer.stdout + answer.stderr).toContain("mtu=1450");
    const bytes = 30_000_000;
    const run = (pod: string, script: string) =>
      Bun.spawn([...lab.command(pod, [process.execPath, "-e", script])], {
        stdout: "pipe",
        stderr: "inherit",
      });
    const receiving = run("late-b", receiver);
    await until(
      async () =>
        (await lab.exec("late-b", ["ss", "-Hltn", "sport = 7000"])).stdout === "" ? "not yet" : undefined,
      { what: "the receiver", deadlineMs: 60_000 },
    );
    await run("late-a", sender(there, bytes)).exited;
    expect(Number(await receiving.stdout.text())).toBe(bytes);
  });

  test("a node that has no such link says so, and what would help; the others do not mind", async () => {
    await expect(add("far", "red-far")).rejects.toThrow(
      /Mesh\.spec\.vxlanLink: node far has no link eth1; give the node one, or change/,
    );
    await reaches("red-a", await addressOf("red-b"));
    const script =
      "ip link add eth1 type veth peer name other; ip addr add 192.168.77.99/24 dev eth1; ip link set eth1 up";
    expect((await lab.exec("far", ["sh", "-c", script])).status).toBe(0);
    await until(
      async () => {
        const done = await add("far", "red-far").catch((error: Error) => error);
        return done instanceof Error ? done.message : undefined;
      },
      { what: "the link to be noticed", deadlineMs: 60_000 },
    );
  });

  test("back to the tunnel: nothing of it is on the LAN any more", async () => {
    await setLink(undefined);
    await add("far", "back-far");
    await reaches("red-a", await addressOf("back-far"));
    using lan = listen("a", "eth1");
    const there = await addressOf("red-b");
    await reaches("red-a", there);
    for (let i = 0; i < 5; i++) expect(await ping("red-a", there)).toBe(true);
    expect(vxlanOn(lan)).toBe(0);
    for (const node of ["a", "b", "far"]) expect([node, await problemsOn(node)]).toEqual([node, []]);
  });
});
