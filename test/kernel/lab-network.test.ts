import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { Lab, labNames, natMappings, probeNat, servicePorts } from "../../src/lab/mod.ts";
import { formatEndpoint, formatIp } from "../../src/net/mod.ts";
import { openUdp, probeTcp, runSync, sleep } from "../../src/sys/mod.ts";

const root = `/run/causeway-test/${process.pid}-lab`;
const isRoot = process.getuid?.() === 0;

const head = (name: string) =>
  `apiVersion: causeway.network/v1alpha1\nkind: Lab\nmetadata: { name: ${name} }\nspec:`;

/** What a laboratory could leave behind on the machine. */
function machine(): unknown {
  const namespaces = new Set<string>();
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      // Other tests may run beside this one; only what names this one's folder counts.
      if (readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(root)) namespaces.add(`process ${pid}`);
    } catch {
      // Ended meanwhile.
    }
  }
  return {
    links: runSync(["ip", "-br", "link"]).stdout,
    named: runSync(["ip", "netns", "list"]).stdout,
    rules: runSync(["nft", "list", "ruleset"]).stdout,
    mounts: readFileSync("/proc/self/mountinfo", "utf8")
      .split("\n")
      .filter((line) => line.includes(root)),
    processes: [...namespaces],
    folders: ["/etc/cni", "/opt/cni", "/var/lib/causeway", "/run/causeway", "/etc/causeway"].map((path) =>
      existsSync(path),
    ),
    ours: readlinkSync("/proc/self/ns/net"),
    labs: labNames(root),
  };
}

function ipOf(lab: Lab, name: string) {
  const attachment = lab.box(name).attachments[0];
  if (attachment === undefined) throw new Error(name);
  return attachment.address4.ip;
}

/** The answer of ping(8): whether one packet came back. */
async function pings(lab: Lab, from: string, to: string, options: readonly string[] = []): Promise<boolean> {
  return (await lab.exec(from, ["ping", "-n", "-c", "1", "-W", "1", ...options, to])).status === 0;
}

/** Tells whether there is an answer, however busy this machine is: asked each second. */
function reaches(lab: Lab, from: string, to: string, options: readonly string[] = []): Promise<boolean> {
  return pings(lab, from, to, ["-w", "20", ...options]);
}

describe.skipIf(!isRoot)(`the laboratory's network${isRoot ? "" : " (needs root)"}`, () => {
  let before: unknown;
  beforeAll(() => {
    mkdirSync(root, { recursive: true });
    before = machine();
  });
  afterEach(async () => {
    for (const name of readdirSync(root)) await Lab.remove(name, { root });
  });
  afterAll(() => {
    const after = machine();
    rmSync(root, { recursive: true, force: true });
    expect(after).toEqual(before);
  });

  const up = (name: string, spec: string, options = {}) =>
    Lab.up(`${head(name)}${spec}`, { root, ...options });

  describe("NAT boxes", () => {
    const world = `
  networks:
    - { name: world, prefix4: 203.0.113.0/24 }
    - { name: home, prefix4: 192.168.1.0/24 }
  hosts:
    - { name: one, networks: [home] }
    - { name: two, networks: [home] }
    - { name: east, networks: [world] }
    - { name: west, networks: [world] }
  routers:
    - { name: nat, inside: home, outside: world, kind: `;

    async function probe(lab: Lab, name: string) {
      using inside = lab.netns(name);
      using east = lab.netns("east");
      using west = lab.netns("west");
      const observers = [
        { netns: east, ip: ipOf(lab, "east") },
        { netns: west, ip: ipOf(lab, "west") },
      ] as const;
      return await probeNat({ inside, port: 51820, observers });
    }

    test.each([
      ["cone", "endpoint-independent", "endpoint-independent"],
      ["restricted", "endpoint-independent", "address-and-port-dependent"],
      ["symmetric", "endpoint-dependent", "address-and-port-dependent"],
    ] as const)(
      "%s: mapping is %s, filtering is %s, for two machines with one source port",
      async (kind, mapping, filtering) => {
        const lab = await up("nat", `${world}${kind} }`);
        const found = [await probe(lab, "one"), await probe(lab, "two")];
        expect(found.map((item) => [item.mapping, item.filtering])).toEqual([
          [mapping, filtering],
          [mapping, filtering],
        ]);
        const seen = found.flatMap((item) => item.seen);
        expect(new Set(seen.map((endpoint) => formatIp(endpoint.ip)))).toEqual(new Set(["203.0.113.1"]));
        // Every mapping is its machine's alone.
        const ports = found.map((item) => item.seen.map((endpoint) => endpoint.port));
        expect(ports[0]?.some((port) => ports[1]?.includes(port))).toBe(false);
        // What observers saw is what the box says it mapped.
        const mappings = natMappings(lab, "nat");
        for (const [index, item] of found.entries())
          for (const endpoint of item.seen)
            expect(formatEndpoint(mappings.get(endpoint.port) as never)).toBe(`192.168.1.${index + 2}:51820`);
      },
    );

    test("a cone NAT keeps its mapping when connection tracking forgets, and forgets it when flushed", async () => {
      const lab = await up("nat", `${world}cone }`);
      const { seen } = await probe(lab, "one");
      await expect(lab.exec("nat", ["conntrack", "-F"])).resolves.toMatchObject({ status: 0 });
      const again = await probe(lab, "one");
      expect(again.seen[0].port).toBe(seen[0].port);
      lab.flushNat("nat");
      expect(natMappings(lab, "nat").size).toBe(0);
      const list = await lab.exec("nat", ["conntrack", "-L", "-p", "udp"]);
      expect(list.stdout.trim()).toBe("");
      // Unasked packets to the old mapping do not get in any more.
      using inside = lab.netns("one");
      using east = lab.netns("east");
      let heard = 0;
      using _ = await openUdp({ netns: inside, port: 51820, onDatagram: () => heard++ });
      using sender = await openUdp({ netns: east });
      for (let round = 0; round < 5; round++) {
        sender.send("late", "203.0.113.1", seen[0].port);
        await sleep(20);
      }
      expect(heard).toBe(0);
    });

    test("nobody outside gets in, even with a route to the inside", async () => {
      const lab = await up("nat", `${world}cone }`);
      expect(await reaches(lab, "one", lab.address("east"))).toBe(true);
      expect(await pings(lab, "east", lab.address("one"))).toBe(false);
      await lab.exec("east", ["ip", "route", "add", "192.168.1.0/24", "via", "203.0.113.1"]);
      expect(await pings(lab, "east", lab.address("one"))).toBe(false);
    });

    test("TCP goes out by the box's address", async () => {
      const lab = await up("nat", `${world}symmetric }`);
      using east = lab.netns("east");
      using one = lab.netns("one");
      const from = Promise.withResolvers<string>();
      let server: { stop(force?: boolean): void } | undefined;
      east.run(() => {
        const open = (socket: { remoteAddress: string }) => {
          from.resolve(socket.remoteAddress);
        };
        server = Bun.listen({ hostname: "0.0.0.0", port: 80, socket: { open, data: () => {} } });
      });
      const target = { netns: one, host: lab.address("east"), port: 80, timeoutMs: 5000 };
      expect(await probeTcp(target)).toBe("open");
      expect(await from.promise).toBe("203.0.113.1");
      server?.stop(true);
    });
  });

  test("routers know their own realm only", async () => {
    const lab = await up(
      "realm",
      `
  networks:
    - { name: left, prefix4: 203.0.113.0/24, prefix6: "2001:db8:1::/64" }
    - { name: right, prefix4: 198.51.100.0/24, prefix6: "2001:db8:2::/64" }
    - { name: home, prefix4: 192.168.1.0/24 }
  routers:
    - { name: net, kind: router, networks: [left, right] }
    - { name: nat, kind: restricted, inside: home, outside: right }
  hosts: [{ name: l, networks: [left] }, { name: r, networks: [right] }, { name: h, networks: [home] }]`,
    );
    expect(await reaches(lab, "l", lab.address("r"))).toBe(true);
    expect(await reaches(lab, "l", "2001:db8:2::2")).toBe(true);
    expect(await reaches(lab, "h", lab.address("l"))).toBe(true);
    expect(await pings(lab, "l", lab.address("h"))).toBe(false);
    const { stdout } = await lab.exec("net", ["ip", "-4", "route", "get", lab.address("h")]);
    expect(stdout).toBe("");
  });

  test("a lossy network loses about its share", async () => {
    const lab = await up(
      "loss",
      `
  networks: [{ name: bad, prefix4: 192.0.2.0/24, loss: 30% }]
  hosts: [{ name: a, networks: [bad] }, { name: b, networks: [bad] }]`,
    );
    using a = lab.netns("a");
    using b = lab.netns("b");
    // Only the share is of interest: no address resolution, which could fail as a whole.
    const mac =
      /link\/ether (\S+)/.exec((await lab.exec("b", ["ip", "link", "show", "eth0"])).stdout)?.[1] ?? "";
    await lab.exec("a", ["ip", "neigh", "add", "192.0.2.2", "dev", "eth0", "lladdr", mac]);
    let heard = 0;
    using receiver = await openUdp({ netns: b, onDatagram: () => heard++ });
    using sender = await openUdp({ netns: a });
    const sent = 2000;
    for (let index = 0; index < sent; index++) {
      sender.send("x", "192.0.2.2", receiver.port);
      if (index % 20 === 0) await sleep(1);
    }
    await sleep(200);
    // Seven standard deviations (20.5) each way.
    expect(heard).toBeGreaterThan(1256);
    expect(heard).toBeLessThan(1544);
  });

  test("a capture shows protocols, ports and plain text; what NAT did to ports is undone", async () => {
    const lab = await up(
      "capture",
      `
  networks: [{ name: out, prefix4: 203.0.113.0/24 }, { name: mid, prefix4: 100.64.0.0/24 }, { name: in, prefix4: 10.0.0.0/24 }]
  routers: [{ name: outer, kind: symmetric, inside: mid, outside: out }, { name: inner, kind: cone, inside: in, outside: mid }]
  hosts: [{ name: a, networks: [in] }, { name: b, networks: [out] }]`,
    );
    await using capture = await lab.capture("out");
    const marker = "see-me-in-plain!";
    const hex = Buffer.from(marker).toString("hex");
    expect(await reaches(lab, "a", lab.address("b"), ["-p", hex])).toBe(true);
    using a = lab.netns("a");
    using b = lab.netns("b");
    let answers = 0;
    using server = await openUdp({
      netns: b,
      port: 7000,
      onDatagram: ({ host, port }) => server.send("pong", host, port),
    });
    using client = await openUdp({ netns: a, port: 7000, onDatagram: () => answers++ });
    for (let round = 0; round < 50 && answers === 0; round++) {
      client.send("ping", lab.address("b"), 7000);
      await sleep(20);
    }
    expect(answers).toBeGreaterThan(0);
    const report = await capture.stop(marker);
    expect(report.markerSeen).toBe(true);
    expect(report.protocols).toContain("icmp");
    expect(report.protocols).not.toContain("tcp");
    const external = report.udpFlows.find((flow) => flow.destination.port === 7000)?.source.port;
    expect(external).not.toBe(7000);
    expect(servicePorts(lab, report.udpFlows)).toEqual([7000]);
    await using second = await lab.capture("out");
    expect((await second.stop(marker)).markerSeen).toBe(false);
  });

  test("a scan tells open, refused and silent ports apart", async () => {
    const lab = await up(
      "scan",
      `
  networks: [{ name: net, prefix4: 192.0.2.0/24 }]
  hosts: [{ name: target, networks: [net] }, { name: stranger, networks: [net] }]`,
    );
    await lab.exec("target", [
      "nft",
      "add table inet t; add chain inet t i { type filter hook input priority 0; }",
    ]);
    await lab.exec("target", [
      "nft",
      "add rule inet t i tcp dport 82 drop; add rule inet t i udp dport 82 drop",
    ]);
    using netns = lab.netns("target");
    let server: { stop(force?: boolean): void } | undefined;
    netns.run(() => {
      server = Bun.listen({ hostname: "0.0.0.0", port: 80, socket: { data: () => {} } });
    });
    using echo = await openUdp({
      netns,
      port: 80,
      onDatagram: ({ host, port }) => echo.send("!", host, port),
    });
    const answers = await lab.scan("stranger", ipOf(lab, "target"), [80, 81, 82]);
    server?.stop(true);
    expect([...answers.tcp]).toEqual([
      [80, "open"],
      [81, "refused"],
      [82, "silent"],
    ]);
    expect([...answers.udp]).toEqual([
      [80, "answered"],
      [81, "refused"],
      [82, "silent"],
    ]);
  });

  const small = `
  networks: [{ name: net, prefix4: 192.0.2.0/24 }]
  nodes: [{ name: a, role: none, networks: [net] }, { name: b, role: none, networks: [net] }]`;

  test("nodes have folders of their own, and a reboot empties /run and keeps /var/lib", async () => {
    const lab = await up("nodes", small);
    const write = "echo one > /var/lib/causeway/f; echo two > /run/causeway/f; echo three > /etc/cni/net.d/f";
    expect(await lab.exec("a", ["sh", "-ec", write])).toMatchObject({ status: 0, stderr: "" });
    const read = "cat /var/lib/causeway/f /run/causeway/f /etc/cni/net.d/f 2>&1 | sort";
    expect((await lab.exec("b", ["sh", "-c", read])).stdout).not.toContain("one");
    expect(existsSync("/var/lib/causeway/f")).toBe(false);
    const foreign = await lab.exec("a", [
      "sh",
      "-c",
      "ls /run/causeway-lab /run/causeway-test/*/nodes/net 2>&1; ls /sys/class/net",
    ]);
    expect(foreign.stdout).toContain("eth0\nlo");
    expect(foreign.stdout).not.toContain("/net/b");
    const link = await lab.exec("a", ["ip", "-br", "-4", "address", "show", "eth0"]);
    await lab.exec("a", ["sh", "-c", "ip link add br9 type bridge; sleep 1000 > /dev/null 2>&1 &"]);
    const boot = async (node: string) =>
      (await lab.exec(node, ["cat", "/proc/sys/kernel/random/boot_id"])).stdout;
    const first = await boot("a");
    await lab.reboot("a");
    const second = await boot("a");
    await lab.reboot("a");
    expect(new Set([first, second, await boot("a")]).size).toBe(3);
    expect(await boot("b")).toBe(first);
    expect((await lab.exec("a", ["sh", "-c", read])).stdout.match(/one|two|three/g)).toEqual([
      "one",
      "three",
    ]);
    expect((await lab.exec("a", ["ip", "-br", "link"])).stdout).not.toContain("br9");
    // Only the interface's index in "@if…" may differ.
    const text = (output: string) => output.replace(/@if\d+/, "");
    expect(text((await lab.exec("a", ["ip", "-br", "-4", "address", "show", "eth0"])).stdout)).toBe(
      text(link.stdout),
    );
    expect(await reaches(lab, "a", lab.address("b"))).toBe(true);
    expect(await reaches(lab, "b", lab.address("a"))).toBe(true);
  });

  test("two labs live beside each other, and a later command finds each", async () => {
    const [one, two] = await Promise.all([up("one", small), up("two", small)]);
    expect(labNames(root)).toEqual(["one", "two"]);
    expect(() => Lab.open(undefined, { root })).toThrow(
      "Several labs are up (one, two); name one with --lab",
    );
    expect(() => Lab.open("three", { root })).toThrow("Lab three is not up; up are one, two");
    await one.down();
    const found = Lab.open(undefined, { root });
    expect(found.name).toBe("two");
    expect(await reaches(found, "a", found.address("b"))).toBe(true);
    await two.down();
    expect(() => Lab.open(undefined, { root })).toThrow(
      "No lab is up; bring one up with: causeway lab up FILE",
    );
  });

  test("a lab that is up is not brought up again", async () => {
    await up("twice", small);
    await expect(up("twice", small)).rejects.toThrow(
      "Lab twice is up already, or left over; take it away with: causeway lab down twice",
    );
  });

  test("a failure in the middle leaves nothing, or with keep what was made", async () => {
    const stopped = { signal: AbortSignal.abort() };
    await expect(up("half", small, stopped)).rejects.toThrow("Stopped before the end");
    await up("half", small, stopped).catch(() => {});
    expect(readdirSync(root)).toEqual([]);
    await up("half", small, { ...stopped, keep: true }).catch(() => {});
    expect(labNames(root)).toEqual(["half"]);
    expect(await Lab.remove("half", { root })).toBe(true);
    expect(await Lab.remove("half", { root })).toBe(false);
  });

  test("what a reboot of the machine leaves is taken away, and foreign processes are not", async () => {
    // After a reboot there is the folder, without its tmpfs; process ids in it may be somebody else's by now.
    mkdirSync(`${root}/old/processes`, { recursive: true });
    writeFileSync(
      `${root}/old/lab.json`,
      JSON.stringify({ manifest: `${head("old")}${small}`, executable: "" }),
    );
    const bystander = Bun.spawn(["sleep", "100"]);
    const identity = { pid: bystander.pid, startTicks: 1, bootId: "another" };
    writeFileSync(`${root}/old/processes/agent-a`, JSON.stringify(identity));
    mkdirSync(`${root}/old/net`);
    writeFileSync(`${root}/old/net/a`, "");
    expect(await Lab.remove("old", { root })).toBe(true);
    expect(existsSync(`${root}/old`)).toBe(false);
    expect(bystander.exitCode).toBeNull();
    bystander.kill();
    await bystander.exited;
  });

  test("down ends what still runs in the lab", async () => {
    const lab = await up("busy", small);
    await lab.exec("a", ["sh", "-c", "setsid sleep 1000 > /dev/null 2>&1 &"]);
    await lab.capture("net");
    await lab.down();
    expect(machine()).toEqual(before);
  });

  const netem =
    isRoot &&
    runSync(["unshare", "-n", "tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"]).status ===
      0;
  const delayed = small.replace("/24 }", "/24, delay: 40ms }");

  test.skipIf(!netem)(`a slow network is slow${netem ? "" : " (needs sch_netem, Linux 2.6)"}`, async () => {
    const lab = await up("slow", delayed);
    const { stdout } = await lab.exec("a", ["ping", "-n", "-c", "2", lab.address("b")]);
    expect(Number(/min\/avg.* = ([\d.]+)\//.exec(stdout)?.[1])).toBeGreaterThan(79);
  });

  test.skipIf(netem)("a delay that the kernel cannot make is an error with the way out", async () => {
    await expect(up("slow", delayed)).rejects.toThrow(
      /^Cannot delay the network of a by 40ms: .*; this kernel may lack netem \(sch_netem\): remove "delay"$/s,
    );
    await up("slow", delayed).catch(() => {});
    expect(readdirSync(root)).toEqual([]);
  });
});
