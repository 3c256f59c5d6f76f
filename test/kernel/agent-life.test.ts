import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, readFileSync, rmSync, statSync } from "node:fs";
import type { Results, ShownPeer, Status } from "../../src/agent/mod.ts";
import { Lab, until } from "../../src/lab/mod.ts";
import { formatIp, type Ip, parseIp } from "../../src/net/mod.ts";
import { probeTcp } from "../../src/sys/mod.ts";
import { executable, labLacks as skip } from "../support/lab-needs.ts";
import { lostPings } from "../support/lost-pings.ts";

const root = `/run/causeway-test/${process.pid}-life`;

/** Guards against hanging only. */
const DEADLINE_MS = 180_000;

const manifest = `apiVersion: causeway.network/v1alpha1
kind: Lab
metadata: { name: life }
spec:
  networks:
    - { name: wire, prefix4: 192.0.2.0/24, prefix6: "2001:db8:1::/64" }
  nodes:
    - { name: hub, role: hub, networks: [wire], pods: 1 }
    - { name: one, networks: [wire], pods: 1 }
    - { name: two, networks: [wire], pods: 1 }
    - { name: spare, role: none, networks: [wire] }
`;

describe.skipIf(skip !== undefined)(`an agent's life${skip === undefined ? "" : ` (${skip})`}`, () => {
  let lab: Lab;
  beforeAll(async () => {
    mkdirSync(root, { recursive: true });
    await Lab.remove("life", { root });
    lab = await Lab.up(manifest, { root, executable });
  }, DEADLINE_MS);
  afterAll(async () => {
    if (process.env.CAUSEWAY_LAB_KEEP) return;
    await Lab.remove("life", { root });
    rmSync(root, { recursive: true, force: true });
  }, DEADLINE_MS);

  const status = (node: string) => lab.status(node) as Promise<Status>;
  const plan = (node: string) => lab.causewayJson<Results["plan"]>(node, ["plan"]);
  const peer = async (node: string, name: string) =>
    (await lab.causewayJson<Results["peers"]>(node, ["peers", name])).peers[0] as ShownPeer;

  /** Runs the command line and returns its status and all it said. */
  async function said(node: string, ...args: string[]): Promise<{ status: number; text: string }> {
    const done = await lab.causeway(node, args);
    return { status: done.status, text: done.stdout + done.stderr };
  }

  async function direct(node: string, name: string): Promise<void> {
    await until(
      async () => ((await peer(node, name)).path === "lan" ? undefined : (await peer(node, name)).reason),
      {
        what: `a path in the LAN from ${node} to ${name}`,
        deadlineMs: DEADLINE_MS,
      },
    );
  }

  test(
    "two nodes that reach each other get a direct tunnel, and everything is as it should be",
    async () => {
      await direct("one", "two");
      await direct("two", "one");
      for (const node of ["hub", "one", "two"]) {
        const { objects } = await status(node);
        expect(objects).toMatchObject({ pending: 0, failed: [] });
        expect(await plan(node)).toEqual({ steps: [], blocked: [] });
      }
      await until(
        async () =>
          (await status("one")).hub?.revision === (await status("hub")).hub?.revision
            ? undefined
            : "another revision",
        { what: "one to have what the hub has", deadlineMs: DEADLINE_MS },
      );
    },
    DEADLINE_MS,
  );

  test(
    "a scan from outside sees no cluster port of either family, and the user's own ports stay",
    async () => {
      const [tcpOwn, udpOwn] = [8080, 8081];
      const tcp = [tcpOwn, 10250];
      const udp = [udpOwn, 4789, 8472];
      const stops: (() => void)[] = [];
      using netns = lab.netns("one");
      try {
        for (const port of udp) {
          const made = netns.run(() => ({
            promise: Bun.udpSocket({
              hostname: "::",
              port,
              socket: { data: (echo, data, from, address) => void echo.send(data, from, address) },
            }),
          }));
          const socket = await made.promise;
          stops.push(() => socket.close());
        }
        for (const port of tcp) {
          const server = netns.run(() => Bun.listen({ hostname: "::", port, socket: { data: () => {} } }));
          stops.push(() => server.stop(true));
        }
        const answers = async (from: string, target: Ip) => {
          const heard = await lab.scan(from, target, [...tcp, ...udp]);
          return [...tcp.map((port) => heard.tcp.get(port)), ...udp.map((port) => heard.udp.get(port))];
        };
        // The control: by the tunnel all of them answer.
        const overlay6 = parseIp((await status("one")).node?.overlay6 ?? "");
        const all = ["open", "open", "answered", "answered", "answered"];
        await until(
          async () => {
            const heard = (await answers("two", overlay6)).join(" ");
            return heard === all.join(" ") ? undefined : heard;
          },
          { what: "one's ports to answer in the tunnel", deadlineMs: DEADLINE_MS },
        );
        const attachment = lab.box("one").attachments[0];
        for (const target of [attachment?.address6?.ip, attachment?.address4.ip]) {
          if (target === undefined) throw new Error("one lacks an address");
          // The neighbours find each other first; a scan waits for nobody.
          await lab.exec("spare", ["ping", "-n", "-c", "1", "-W", "5", formatIp(target)]);
          expect([formatIp(target), ...(await answers("spare", target))] as unknown[]).toEqual([
            formatIp(target),
            "open",
            "silent",
            "answered",
            "silent",
            "silent",
          ]);
        }
      } finally {
        for (const stop of stops) stop();
      }
    },
    DEADLINE_MS,
  );

  test(
    "an agent that is killed and started again plans nothing, changes nothing, and a running ping loses nothing",
    async () => {
      // Of links the kernel also tells by itself (carrier, multicast routers on ports): they are compared.
      const events = lab.exec("one", ["timeout", "15", "ip", "monitor", "address", "route"]);
      const links = async () => (await lab.exec("one", ["ip", "-j", "link"])).stdout;
      const before = await links();
      const target = formatIp(lab.pod("two-p1").ip4 as NonNullable<ReturnType<Lab["pod"]>["ip4"]>);
      const ping = lab.exec("one-p1", ["ping", "-n", "-i", "0.05", "-c", "200", "-W", "5", target]);
      await lab.killAgent("one");
      await lab.startAgent("one");
      await until(async () => ((await status("one")).hub?.connected ? undefined : "not connected"), {
        what: "the hub",
        deadlineMs: DEADLINE_MS,
      });
      expect(await plan("one")).toEqual({ steps: [], blocked: [] });
      expect(lostPings((await ping).stdout)).toEqual([]);
      expect(await links()).toBe(before);
      expect((await events).stdout).toBe("");
    },
    DEADLINE_MS,
  );

  test(
    "a tunnel program that dies is started again, and traffic goes on",
    async () => {
      const { backend, dataplane } = (await status("two")).tunnel ?? {};
      if (dataplane === undefined) return expect(backend).toBe("kernel");
      const { pid } = dataplane;
      using netns = lab.netns("two");
      expect(statSync(`/proc/${pid}/ns/net`).ino).toBe(netns.inode);
      process.kill(pid, "SIGKILL");
      const target = formatIp(lab.pod("two-p1").ip4 as NonNullable<ReturnType<Lab["pod"]>["ip4"]>);
      await until(
        async () =>
          (await lab.exec("hub-p1", ["ping", "-n", "-c", "1", "-W", "1", target])).status === 0
            ? undefined
            : "no answer",
        { what: "the pod to be reached again", deadlineMs: DEADLINE_MS },
      );
      await until(async () => ((await plan("two")).steps.length === 0 ? undefined : "still planning"), {
        what: "an empty plan",
        deadlineMs: DEADLINE_MS,
      });
    },
    DEADLINE_MS,
  );

  test(
    "packets as large as the MTU pass, larger ones are refused with the right MTU, TCP is clamped",
    async () => {
      const mtu = (await status("one")).tunnel?.mtuBytes as number;
      // Two families outside: the longer header counts (RFC 8200: 40 bytes, UDP 8, WireGuard 32).
      expect(mtu).toBe(1500 - 80);
      const target = formatIp(lab.pod("two-p1").ip4 as NonNullable<ReturnType<Lab["pod"]>["ip4"]>);
      const ping = (bytes: number) =>
        lab.exec("one-p1", [
          "ping",
          "-n",
          "-M",
          "do",
          "-s",
          String(bytes - 28),
          "-c",
          "2",
          "-W",
          "2",
          target,
        ]);
      await until(async () => ((await ping(100)).status === 0 ? undefined : "no answer"), {
        what: "one to reach two again",
        deadlineMs: DEADLINE_MS,
      });
      expect((await ping(mtu)).status).toBe(0);
      const larger = await ping(mtu + 1);
      expect(larger.status).not.toBe(0);
      expect(larger.stdout + larger.stderr).toContain(`mtu=${mtu}`);
      const links = await lab.exec("one-p1", ["ip", "-o", "link", "show", "eth0"]);
      expect(links.stdout).toContain(`mtu ${mtu} `);
      const rules = await lab.exec("one", ["nft", "list", "table", "inet", "causeway"]);
      expect(rules.stdout).toContain("maxseg size set rt mtu");

      // A pod that announces segments too large for the tunnel: the other pod sees what fits.
      const pod = lab.pod("one-p1");
      for (const [ip, header] of [
        [pod.ip4, 40],
        [pod.ip6, 60],
      ] as const) {
        if (ip === undefined) throw new Error("one-p1 lacks an address");
        const family = `-${ip.family}`;
        const [route] = JSON.parse(
          (await lab.exec("two-p1", ["ip", family, "-j", "route", "show", "default"])).stdout,
        ) as { gateway: string }[];
        const way = `${formatIp(ip)} via ${route?.gateway} dev eth0 advmss 8000`.split(" ");
        const made = await lab.exec("two-p1", ["ip", family, "route", "add", ...way]);
        expect(made.stderr).toBe("");
        const captures = await Promise.all(["two-p1", "one-p1"].map((where) => lab.capture(where, "eth0")));
        using netns = lab.netns("two-p1");
        // Nobody listens there; a refusal shows that the SYN has arrived.
        const answer = await probeTcp({ netns, host: formatIp(ip), port: 8080, timeoutMs: 20_000 });
        await Promise.all(captures.map((capture) => capture.stop()));
        await lab.exec("two-p1", ["ip", family, "route", "del", ...way]);
        const sizes = captures.map(({ path }) => {
          const command = ["tcpdump", "-n", "-r", path, "tcp port 8080"];
          const text = Bun.spawnSync(command).stdout.toString();
          return /Flags \[S\],.*\bmss (\d+)/.exec(text)?.[1];
        });
        expect([answer, ...sizes]).toEqual(["refused", "8000", String(mtu - header)]);
      }
    },
    DEADLINE_MS,
  );

  test(
    "the control socket lets others than root read only if they belong to the group, and never write",
    async () => {
      const socket = await lab.exec("one", [
        "stat",
        "-c",
        "%a %u",
        "/run/causeway/ctl.sock",
        "/run/causeway/cni.sock",
      ]);
      expect(socket.stdout).toBe("660 0\n600 0\n");
      const nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
      const refused = await lab.exec("one", [...nobody, executable, "status"]);
      expect(refused.status).toBe(1);
      expect(refused.stderr).toContain("You may not ask the agent");
      const doctor = await lab.exec("one", [...nobody, executable, "doctor"]);
      expect([doctor.status, doctor.stderr]).toEqual([1, expect.stringContaining("become root")]);
      // With the socket's group (root's here, as the group causeway does not exist) it may read, and may not write.
      const group = ["setpriv", "--reuid=65534", "--regid=0", "--clear-groups"];
      expect((await lab.exec("one", [...group, executable, "status"])).status).toBe(0);
      const write = await lab.exec("one", [...group, executable, "leave"]);
      expect(write.status).toBe(1);
      expect(write.stderr).toContain("Only root may do that");
      expect((await status("one")).node?.name).toBe("one");
    },
    DEADLINE_MS,
  );

  test(
    "mistakes are answered with a sentence that says what to do, and change nothing",
    async () => {
      const cases: [node: string, args: string[], words: RegExp][] = [
        ["one", ["join", "cw1.zzz"], /belongs to a mesh already, as one; leave it first/],
        ["hub", ["init", "--endpoint", "192.0.2.1:51820"], /belongs to a mesh already/],
        ["one", ["token", "create"], /is not a hub; ask there/],
        ["hub", ["token", "create", "--uses", "0"], /0 uses; give 1 to/],
        ["hub", ["token", "create", "--expires", "soon"], /is not a duration; write it like/],
        ["hub", ["token", "create", "--node", "nobody"], /no node is named nobody/],
        ["hub", ["token", "revoke", "nothing"], /there is none with this id/],
        ["hub", ["node", "remove", "hub"], /it is the hub/],
        ["hub", ["node", "remove", "nobody"], /there is none with this name/],
        ["hub", ["leave"], /causeway leave --force/],
        ["one", ["peers", "nobody"], /There is no node nobody; there are hub, two/],
      ];
      for (const [node, args, words] of cases) {
        const { status: code, text } = await said(node, ...args);
        expect(text).toMatch(words);
        expect(text).not.toMatch(/\bat .*\.ts:\d+|\$bunfs/);
        // 2: called wrongly; 1: could not be done.
        expect(code).toBe(/duration/.test(text) ? 2 : 1);
      }
      expect((await said("spare", "status")).text).toContain("The agent does not run on this node; start it");
    },
    DEADLINE_MS,
  );

  test(
    "a token: one use joins one node, a spent one no other, a revoked one none; no secret is listed or logged",
    async () => {
      const token = await lab.causewayJson<Results["token-create"]>("hub", [
        "token",
        "create",
        "--uses",
        "1",
      ]);
      await lab.startAgent("spare");
      expect((await said("spare", "join", token.token.slice(0, -3))).text).toContain(
        "a part is missing or changed",
      );
      expect((await said("spare", "status")).text).toContain("has not joined");
      expect((await said("spare", "join", "-", "--name", "one")).text).toMatch(/does not start with "cw1\."/);
      const joined = await lab.causewayJson<Results["join"]>("spare", [
        "join",
        token.token,
        "--name",
        "late",
        "--site",
        "x",
      ]);
      expect(joined.name).toBe("late");
      await until(
        async () => {
          const { tokens } = await lab.causewayJson<Results["token-list"]>("hub", ["token", "list"]);
          return tokens.find(({ id }) => id === token.id)?.used === 1 ? undefined : "not used yet";
        },
        { what: "the use to be counted", deadlineMs: DEADLINE_MS },
      );
      // A delta reaches the others.
      await until(
        async () =>
          (await peer("one", "late").catch(() => undefined)) === undefined ? "unknown" : undefined,
        {
          what: "one to hear of late",
          deadlineMs: DEADLINE_MS,
        },
      );
      const log =
        readFileSync(lab.place.agentLog("spare"), "utf8") + readFileSync(lab.place.agentLog("hub"), "utf8");
      expect(log).not.toContain(token.token.slice(4, 40));
      expect((await said("hub", "token", "list", "--json")).text).not.toContain(token.token.slice(4, 40));

      await lab.causeway("spare", ["leave"]);
      const links = await lab.exec("spare", ["ip", "-o", "link"]);
      expect(links.stdout).not.toContain("cw");
      expect((await lab.exec("spare", ["nft", "list", "tables"])).stdout).toBe("");
      expect((await lab.exec("spare", ["ls", "/var/lib/causeway"])).stdout).not.toContain("key");
      const again = await said("spare", "join", token.token, "--name", "late");
      expect(again.status).toBe(1);

      const revoked = await lab.causewayJson<Results["token-create"]>("hub", ["token", "create"]);
      expect((await said("hub", "token", "revoke", revoked.id)).status).toBe(0);
      expect((await said("spare", "join", revoked.token, "--name", "late")).status).toBe(1);
      expect((await said("spare", "status")).text).toContain("has not joined");
      await lab.killAgent("spare", { gently: true });
    },
    DEADLINE_MS,
  );

  test(
    "a reinstalled machine gets its addresses back with a token for its name, and a new key",
    async () => {
      const before = (await status("two")).node;
      await lab.killAgent("two");
      await lab.exec("two", ["find", "/var/lib/causeway", "-mindepth", "1", "-delete"]);
      await lab.reboot("two");
      const plain = await lab.causewayJson<Results["token-create"]>("hub", ["token", "create"]);
      expect((await said("two", "join", plain.token, "--name", "two")).text).toContain(
        "a token made with --node two",
      );
      const token = await lab.causewayJson<Results["token-create"]>("hub", [
        "token",
        "create",
        "--node",
        "two",
      ]);
      const after = await lab.causewayJson<Results["join"]>("two", ["join", token.token]);
      expect({ ...after, publicKey: "" }).toEqual({ ...before, publicKey: "" } as Results["join"]);
      expect(after.publicKey).not.toBe(before?.publicKey as string);
      await direct("one", "two");
    },
    DEADLINE_MS,
  );
});

const settings = `apiVersion: causeway.network/v1alpha1
kind: Lab
metadata: { name: settings }
spec:
  networks:
    - { name: wire, prefix4: 192.0.2.0/24 }
  mesh: { mtu: 1380, port: 4500, pods4: 10.8.0.0/14, nodeBits: 10, expose: [tcp/6443] }
  nodes:
    - { name: hub, role: hub, networks: [wire], pods: 1 }
    - { name: far, networks: [wire], pods: 1 }
  hosts:
    - { name: stranger, networks: [wire] }
`;

describe.skipIf(skip !== undefined)(
  `a mesh with its own settings${skip === undefined ? "" : ` (${skip})`}`,
  () => {
    let lab: Lab;
    beforeAll(async () => {
      mkdirSync(root, { recursive: true });
      await Lab.remove("settings", { root });
      lab = await Lab.up(settings, { root, executable });
    }, DEADLINE_MS);
    afterAll(async () => {
      await Lab.remove("settings", { root });
      rmSync(root, { recursive: true, force: true });
    }, DEADLINE_MS);

    test("MTU, port, pod prefix and nodeBits are as asked for, on every node and in pods", async () => {
      for (const [node, index] of [
        ["hub", 0],
        ["far", 1],
      ] as const) {
        const { node: self, tunnel } = (await lab.status(node)) as Status;
        expect(tunnel).toMatchObject({ mtuBytes: 1380, listenPort: 4500 });
        expect(self?.pods4).toBe(`10.8.${index}.0/24`);
        const inside = await lab.exec(`${node}-p1`, ["ip", "-o", "link", "show", "eth0"]);
        expect(inside.stdout).toContain("mtu 1380 ");
      }
      const target = formatIp(lab.pod("far-p1").ip4 as NonNullable<ReturnType<Lab["pod"]>["ip4"]>);
      expect(
        (await lab.exec("hub-p1", ["ping", "-n", "-M", "do", "-s", "1352", "-c", "1", "-W", "5", target]))
          .status,
      ).toBe(0);
    });

    test("the mesh is a manifest that can be changed where nothing would be renumbered", async () => {
      const shown = (await lab.causeway("hub", ["mesh", "show"])).stdout;
      expect(shown).toContain("nodeBits: 10");
      const changed = shown.replace("mtuBytes: 1380", "mtuBytes: 1340");
      expect((await lab.causeway("far", ["mesh", "apply", "-"], changed)).stderr).toContain("is not the hub");
      expect((await lab.causeway("hub", ["mesh", "apply", "-"], changed)).status).toBe(0);
      await until(
        async () =>
          ((await lab.status("far")) as Status).tunnel?.mtuBytes === 1340 ? undefined : "the old MTU",
        { what: "far to follow", deadlineMs: DEADLINE_MS },
      );
      const refused = await lab.causeway(
        "hub",
        ["mesh", "apply", "-"],
        shown.replace("nodeBits: 10", "nodeBits: 8"),
      );
      expect(refused.stderr).toContain("nodeBits are in use");
      const bad = await lab.causeway(
        "hub",
        ["mesh", "apply", "-"],
        shown.replace("listenPort: 4500", "listenPort: 450000"),
      );
      expect(bad.stderr).toMatch(/Mesh "mesh".*spec\.listenPort.*450000/);
      expect((await lab.causeway("hub", ["mesh", "show"])).stdout).toBe(changed);
    });

    test("a port in exposedPorts answers from outside, its neighbours do not", async () => {
      const servers: { stop(force?: boolean): void }[] = [];
      using far = lab.netns("far");
      far.run(() => {
        for (const port of [6443, 10250])
          servers.push(Bun.listen({ hostname: "0.0.0.0", port, socket: { data: () => {} } }));
      });
      try {
        const answers = await lab.scan("stranger", parseIp(lab.address("far")), [6443, 10250]);
        expect([6443, 10250].map((port) => answers.tcp.get(port))).toEqual(["open", "silent"]);
      } finally {
        for (const server of servers) server.stop(true);
      }
    });
  },
);
