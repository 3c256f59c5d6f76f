/**
 * External peers and networks behind nodes, with real packets: agents on the hub and its nodes, plain wg-quick(8) with wireguard-go on a
 * laptop behind a NAT and on a router, machines without anything behind the router and behind a node. And a generated mesh that is taken over.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, rmSync } from "node:fs";
import type { Results } from "../../src/agent/mod.ts";
import { Lab, until } from "../../src/lab/mod.ts";
import { formatIp, PrivateKey } from "../../src/net/mod.ts";
import { which } from "../../src/sys/mod.ts";
import { executable, labLacks } from "../support/lab-needs.ts";

const root = `/run/causeway-test/${process.pid}-external`;
const missing = ["wg-quick", "wireguard-go"].find((name) => which(name) === undefined);
const skip = labLacks ?? (missing === undefined ? undefined : `needs ${missing}`);

/** Guards against hanging only. */
const DEADLINE_MS = 180_000;

type Added = Results["peer-add"] & { readonly configuration: string };

const header = (name: string) => `apiVersion: causeway.network/v1alpha1
kind: Lab
metadata: { name: ${name} }
spec:
`;

const external = `${header("external")}
  networks:
    - { name: internet, prefix4: 203.0.113.0/24 }
    - { name: home, prefix4: 192.168.1.0/24 }
    - { name: cafe, prefix4: 192.168.2.0/24 }
    - { name: office, prefix4: 192.168.7.0/24 }
    - { name: cellar, prefix4: 192.168.8.0/24 }
  routers:
    - { name: nat1, kind: symmetric, inside: home, outside: internet }
    - { name: nat2, kind: symmetric, inside: cafe, outside: internet }
  nodes:
    - { name: hub, role: hub, networks: [internet] }
    - { name: a, networks: [home], pods: 1 }
    - { name: b, networks: [internet, cellar] }
    - { name: laptop, role: none, networks: [cafe] }
    - { name: router, role: none, networks: [internet, office] }
  hosts:
    - { name: printer, networks: [office] }
    - { name: nas, networks: [cellar] }
`;

/** A laboratory, and machines in it that only have wg-quick. */
class Place {
  readonly lab: Lab;

  constructor(lab: Lab) {
    this.lab = lab;
  }

  static async up(name: string, manifest: string): Promise<Place> {
    mkdirSync(root, { recursive: true });
    await Lab.remove(name, { root });
    return new Place(await Lab.up(manifest, { root, executable }));
  }

  async must(target: string, command: string, input?: string): Promise<string> {
    const { status, stdout, stderr } = await this.lab.exec(
      target,
      ["sh", "-c", command],
      input === undefined ? {} : { input },
    );
    if (status !== 0) throw new Error(`${target}: ${command}: ${stderr}${stdout}`);
    return stdout;
  }

  /** up gives a machine its file and brings the interface up. */
  async up(machine: string, configuration: string): Promise<void> {
    await this.must(machine, "umask 077; cat > /etc/causeway/wg0.conf", configuration);
    await this.must(machine, "wg-quick up /etc/causeway/wg0.conf");
  }

  async pings(
    from: string,
    to: string,
    options: { readonly seconds?: number; readonly as?: string } = {},
  ): Promise<boolean> {
    const as = options.as === undefined ? [] : ["-I", options.as];
    const argv = ["ping", "-n", "-c", "1", "-W", `${options.seconds ?? 15}`, ...as, to];
    return (await this.lab.exec(from, argv)).status === 0;
  }

  /** reaches waits until an answer comes: nodes follow the register, and paths settle. */
  async reaches(from: string, to: string): Promise<void> {
    await until(async () => ((await this.pings(from, to, { seconds: 1 })) ? undefined : "no answer"), {
      what: `${from} to reach ${to}`,
      deadlineMs: 60_000,
    });
  }

  /** causeway runs the command line in a node, also in one whose agent the laboratory did not start. */
  async causeway<T>(node: string, args: readonly string[]): Promise<T> {
    const { status, stdout, stderr } = await this.lab.exec(node, [executable, ...args, "--json"]);
    if (status !== 0) throw new Error(`${node}: causeway ${args.join(" ")}: ${stderr}${stdout}`);
    return JSON.parse(stdout) as T;
  }

  /** startAgent starts an agent that ends with the laboratory. */
  async startAgent(node: string): Promise<void> {
    await this.must(node, `setsid ${executable} agent > /run/causeway/agent.log 2>&1 < /dev/null &`);
    await until(
      async () =>
        (await this.lab.exec(node, [executable, "status", "--json"])).stdout.startsWith("{")
          ? undefined
          : "no answer",
      { what: `the agent of ${node}`, deadlineMs: 30_000 },
    );
  }

  async refused(node: string, ...args: string[]): Promise<string> {
    const { status, stderr } = await this.lab.exec(node, [executable, ...args]);
    expect(status, args.join(" ")).toBe(1);
    return stderr;
  }
}

async function remove(name: string): Promise<void> {
  await Lab.remove(name, { root });
  rmSync(root, { recursive: true, force: true });
}

describe.skipIf(skip !== undefined)(`external peers${skip === undefined ? "" : ` (${skip})`}`, () => {
  let place: Place;
  const overlay = new Map<string, { readonly ip4: string; readonly ip6: string }>();
  let laptop: Added;

  beforeAll(async () => {
    place = await Place.up("external", external);
    for (const node of ["hub", "a", "b"]) {
      const own = (await place.lab.status(node))?.node;
      overlay.set(node, { ip4: own?.overlay4 ?? "", ip6: own?.overlay6 ?? "" });
    }
  }, DEADLINE_MS);
  afterAll(() => remove("external"), DEADLINE_MS);
  const json = <O extends keyof Results>(node: string, ...args: string[]) =>
    place.causeway<Results[O]>(node, args);
  const ip = (node: string) => (overlay.get(node) as { readonly ip4: string }).ip4;

  test(
    "a laptop behind a strict NAT, with a pre-shared key: it and all nodes and pods reach each other, over both families",
    async () => {
      laptop = (await place.causeway("hub", ["peer", "add", "laptop", "--psk"])) as Added;
      expect(laptop.configuration).toContain("PresharedKey = ");
      await place.up("laptop", laptop.configuration);
      for (const { ip4, ip6 } of overlay.values()) {
        await place.reaches("laptop", ip4);
        await place.reaches("laptop", ip6);
      }
      const { ip4 } = place.lab.pod("a-p1");
      await place.reaches("laptop", formatIp(ip4 as NonNullable<typeof ip4>));
      for (const from of ["hub", "a", "b", "a-p1"]) await place.reaches(from, laptop.peer.overlay4 as string);
      await place.reaches("a", laptop.peer.overlay6 as string);
      const { peers } = await json<"peer-list">("hub", "peer", "list");
      expect(peers[0]).toMatchObject({ name: "laptop", hub: "hub", presharedKey: true });
      expect(peers[0]?.lastHandshakeSeconds).toBeLessThan(180);
      // The private key is with nobody else.
      const secret = /PrivateKey = (\S+)/.exec(laptop.configuration)?.[1] as string;
      expect(
        await place.must("hub", "cat /var/lib/causeway/register.db* /var/lib/causeway/*.json | tr -d '\\0'"),
      ).not.toContain(secret);
    },
    DEADLINE_MS,
  );

  test(
    "it cannot send as another",
    async () => {
      for (const source of [ip("a"), "10.90.77.77"]) {
        await place.must("laptop", `ip addr add ${source}/32 dev wg0`);
        expect(await place.pings("laptop", ip("hub"), { as: source, seconds: 2 })).toBe(false);
        expect(await place.pings("laptop", ip("b"), { as: source, seconds: 2 })).toBe(false);
        await place.must("laptop", `ip addr del ${source}/32 dev wg0`);
      }
      expect(await place.pings("laptop", ip("b"))).toBe(true);
    },
    DEADLINE_MS,
  );

  test(
    "the agent of the hub starts anew: the peer has its pre-shared key again, and nothing is to be changed",
    async () => {
      await place.lab.killAgent("hub");
      expect(await place.pings("laptop", ip("a"))).toBe(true);
      await place.lab.startAgent("hub");
      expect((await json<"plan">("hub", "plan")).steps).toEqual([]);
      expect(await place.pings("laptop", ip("a"))).toBe(true);
      expect((await json<"peer-list">("hub", "peer", "list")).peers[0]).not.toHaveProperty("problem");
    },
    DEADLINE_MS,
  );

  test(
    "a file of mode 0600 that is never overwritten, and a QR code",
    async () => {
      const file = "/etc/causeway/tablet.conf";
      expect(
        await place.causeway<object>("hub", ["peer", "add", "tablet", "--output", file]),
      ).not.toHaveProperty("configuration");
      expect(await place.must("hub", `stat -c %a ${file}; wg-quick strip ${file} | head -2`)).toMatch(
        /^600\n# tablet, external peer/,
      );
      expect(await place.refused("hub", "peer", "add", "other", "--output", file)).toContain(
        "it is there already",
      );
      expect(await place.refused("hub", "peer", "add", "other", "--output", "/proc/none/x.conf")).not.toBe(
        "",
      );
      expect(await place.must("hub", `${executable} peer add watch --qr`)).toMatch(
        /^█{20,}\n█{20,}\n████ ▄▄▄▄▄ /,
      );
      const { peers } = await json<"peer-list">("hub", "peer", "list");
      expect(peers.map(({ name }) => name).sort()).toEqual(["laptop", "tablet", "watch"]);
      for (const name of ["tablet", "watch"]) await place.causeway("hub", ["peer", "remove", name]);
    },
    DEADLINE_MS,
  );

  test(
    "a router that keeps its own key, and the network behind it",
    async () => {
      const key = PrivateKey.random();
      const added = (await place.causeway("hub", [
        ...["peer", "add", "router", "--public-key", key.publicKey, "--allowed", "192.168.7.0/24"],
      ])) as Added;
      expect(added.configuration).not.toContain("PrivateKey = A");
      await place.up(
        "router",
        added.configuration.replace("[Interface]", `[Interface]\nPrivateKey = ${key.toFile().trim()}`),
      );
      await place.must("router", "sysctl -q -w net.ipv4.ip_forward=1");
      const printer = place.lab.address("printer");
      await place.must("printer", `ip route add 10.0.0.0/8 via ${place.lab.address("router", "office")}`);
      for (const from of ["hub", "a", "b", "a-p1"]) await place.reaches(from, printer);
      // And back: the source that nodes see is the printer's own.
      await place.reaches("printer", ip("a"));
    },
    DEADLINE_MS,
  );

  test(
    "a network behind a node: nothing before it is approved, everybody's after, nothing when it is taken back",
    async () => {
      const nas = place.lab.address("nas");
      expect(await json<"node-announce">("b", "node", "announce", "192.168.8.0/24")).toEqual({
        announced: ["192.168.8.0/24"],
        approved: [],
      });
      const b = async () =>
        (await json<"node-list">("hub", "node", "list")).nodes.find(({ name }) => name === "b");
      await until(async () => ((await b())?.announced?.length === 1 ? undefined : "not told"), {
        what: "the hub to be told",
        deadlineMs: 60_000,
      });
      expect(await place.pings("a", nas, { seconds: 2 })).toBe(false);
      expect(await place.refused("hub", "node", "approve", "b", "192.168.9.0/24")).toContain(
        "node b announces 192.168.8.0/24; there: causeway node announce 192.168.9.0/24",
      );
      expect(await place.refused("a", "node", "approve", "b", "192.168.8.0/24")).toContain("is not a hub");
      await place.causeway("hub", ["node", "approve", "b", "192.168.8.0/24"]);
      for (const from of ["a", "hub", "a-p1"]) await place.reaches(from, nas);
      expect((await b())?.subnets).toEqual(["192.168.8.0/24"]);
      // A node that is there itself goes on as before.
      expect(await place.pings("b", nas)).toBe(true);
      expect(await place.must("b", "ip route get 192.168.8.77")).not.toContain("cw0");
      await place.causeway("hub", ["node", "revoke", "b", "192.168.8.0/24"]);
      await until(async () => ((await place.pings("a", nas, { seconds: 1 })) ? "answers still" : undefined), {
        what: "no way to the network any more",
        deadlineMs: 60_000,
      });
    },
    DEADLINE_MS,
  );

  test(
    "what is the mesh's own, somebody's already, or an endpoint is refused; so is a name that is taken",
    async () => {
      const add = (name: string, ...args: string[]) => place.refused("hub", "peer", "add", name, ...args);
      expect(await add("x", "--allowed", "10.90.7.0/24")).toContain("overlaps the mesh's overlay4");
      expect(await add("x", "--allowed", "192.168.7.0/25")).toContain("192.168.7.0/24 of peer router");
      expect(await add("x", "--allowed", "203.0.113.0/24")).toContain("Cannot route 203.0.113.0/24");
      expect(await add("laptop")).toContain("another peer has this name");
      expect(await add("a")).toContain("another node has this name");
      expect(await place.refused("a", "peer", "add", "x")).toContain("is not a hub");
      expect(await place.refused("b", "node", "announce", "10.244.0.0/24")).toContain(
        "overlaps 10.244.0.0/16",
      );
      expect((await json<"peer-list">("a", "peer", "list")).peers.map(({ name }) => name)).toEqual([
        "laptop",
        "router",
      ]);
    },
    DEADLINE_MS,
  );

  test(
    "a peer that is removed is not heard any more; others go on; another has its address next",
    async () => {
      await place.causeway("hub", ["peer", "remove", "laptop"]);
      await until(
        async () => ((await place.pings("laptop", ip("hub"), { seconds: 1 })) ? "answers still" : undefined),
        {
          what: "no answer to the laptop",
          deadlineMs: 60_000,
        },
      );
      expect(await place.pings("a", place.lab.address("printer"))).toBe(true);
      const next = (await place.causeway("hub", ["peer", "add", "phone"])) as Added;
      expect(next.peer.overlay4).toBe(laptop.peer.overlay4 as string);
      expect(await place.must("hub", "ls /var/lib/causeway/register.psk")).toBe("");
    },
    DEADLINE_MS,
  );
});

const generated = `${header("takeover")}
  networks:
    - { name: internet, prefix4: 203.0.113.0/24 }
    - { name: home, prefix4: 192.168.1.0/24 }
  routers:
    - { name: nat1, kind: symmetric, inside: home, outside: internet }
  nodes:
    - { name: hub, role: none, networks: [internet] }
    - { name: m1, role: none, networks: [home] }
    - { name: m2, role: none, networks: [internet] }
`;

describe.skipIf(skip !== undefined)(
  `a generated mesh that is taken over${skip === undefined ? "" : ` (${skip})`}`,
  () => {
    let place: Place;
    beforeAll(async () => {
      place = await Place.up("takeover", generated);
    }, DEADLINE_MS);
    afterAll(() => remove("takeover"), DEADLINE_MS);

    test(
      "its machines go on with their files, and become nodes one by one, with their names and addresses",
      async () => {
        await place.causeway("hub", [
          ...[
            "mesh",
            "generate",
            "10.6.0.0/24",
            "fd06::/64",
            "--output",
            "/etc/causeway/wg",
            "--psk",
            "--forward",
          ],
          ...["--endpoint", `${place.lab.address("hub")}:51820`, "--peer", "m1", "--peer", "m2"],
        ]);
        for (const name of ["hub", "m1", "m2"])
          await place.up(name, await place.must("hub", `cat /etc/causeway/wg/${name}/wg0.conf`));
        await place.reaches("m1", "10.6.0.3");
        await place.reaches("m2", "fd06::2");

        await place.startAgent("hub");
        const refuse = (...args: string[]) => place.refused("hub", "init", ...args);
        expect(await refuse("--from", "/etc/causeway/wg")).toContain("take it down first: wg-quick down wg0");
        expect(await refuse("--from", "/etc/causeway")).toContain("it holds no mesh.json");
        expect(await refuse("--from", "/etc/causeway/wg", "--overlay4", "10.7.0.0/24")).toContain(
          "--overlay4 is what the folder says",
        );
        await place.must("hub", "wg-quick down /etc/causeway/wg0.conf");
        const hub = await place.causeway<Results["init"]>("hub", ["init", "--from", "/etc/causeway/wg"]);
        expect(hub).toMatchObject({ name: "hub", hub: true, overlay4: "10.6.0.1", overlay6: "fd06::1" });
        const { peers } = await place.causeway<Results["peer-list"]>("hub", ["peer", "list"]);
        expect(
          peers.map(({ name, overlay4, overlay6, presharedKey }) => [name, overlay4, overlay6, presharedKey]),
        ).toEqual([
          ["m1", "10.6.0.2", "fd06::2", true],
          ["m2", "10.6.0.3", "fd06::3", true],
        ]);
        for (const [from, to] of [
          ["m1", "10.6.0.1"],
          ["m2", "fd06::1"],
          ["m1", "10.6.0.3"],
          ["m2", "fd06::2"],
        ] as const)
          await place.reaches(from, to);

        await place.must("m1", "wg-quick down /etc/causeway/wg0.conf");
        await place.startAgent("m1");
        const { token } = await place.causeway<Results["token-create"]>("hub", [
          "token",
          "create",
          "--node",
          "m1",
        ]);
        const node = await place.causeway<Results["join"]>("m1", ["join", token]);
        expect(node).toMatchObject({ name: "m1", overlay4: "10.6.0.2", overlay6: "fd06::2" });
        await place.reaches("m2", "10.6.0.2");
        await place.reaches("m1", "10.6.0.3");
        await place.reaches("m1", "fd06::1");
        const left = await place.causeway<Results["peer-list"]>("m1", ["peer", "list"]);
        expect(left.peers.map(({ name }) => name)).toEqual(["m2"]);
      },
      DEADLINE_MS,
    );
  },
);
