/** Joining where UDP is blocked: by TLS, also through a proxy that wants a password, and only where both sides want it. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import type { Status } from "../../src/agent/mod.ts";
import { Lab, until } from "../../src/lab/mod.ts";
import { processesInNetns } from "../../src/sys/mod.ts";
import { executable, labLacks as skip } from "../support/lab-needs.ts";

const root = `/run/causeway-test/${process.pid}-tls-join`;

/** Guard against hanging only. */
const DEADLINE_MS = 60_000;
const TEST_MS = 200_000;

/** `clerk` and `guest` join in the tests; from `guest` nothing leads out but the proxy. */
const manifest = `apiVersion: causeway.network/v1alpha1
kind: Lab
metadata: { name: tls-join }
spec:
  networks:
    - { name: internet, prefix4: 203.0.113.0/24 }
    - { name: home, prefix4: 192.168.1.0/24 }
    - { name: office, prefix4: 192.168.2.0/24 }
    - { name: ward, prefix4: 192.168.3.0/24 }
  routers:
    - { name: nat, kind: cone, inside: home, outside: internet }
    - { name: wall, kind: restricted, inside: office, outside: internet, blockUdp: true }
  nodes:
    - { name: hub, role: hub, networks: [internet] }
    - { name: pub, networks: [internet], endpoint: auto }
    - { name: cone, networks: [home] }
    - { name: clerk, networks: [office], role: none }
    - { name: guest, networks: [ward], role: none }
  hosts:
    - { name: proxy, networks: [ward, internet] }
`;

const CREDENTIALS = "ward:pass%word";

interface Shown {
  readonly spec: object;
}

describe.skipIf(skip !== undefined)(`joining by TLS${skip === undefined ? "" : ` (${skip})`}`, () => {
  let lab: Lab;
  let proxy: Bun.Subprocess<"ignore", "pipe", "inherit"> | undefined;
  beforeAll(async () => {
    mkdirSync(root, { recursive: true });
    await Lab.remove("tls-join", { root });
    lab = await Lab.up(manifest, { root, executable });
    for (const name of ["clerk", "guest"]) await lab.startAgent(name);
  }, TEST_MS);
  afterAll(async () => {
    proxy?.kill("SIGKILL");
    await proxy?.exited;
    await Lab.remove("tls-join", { root });
    rmSync(root, { recursive: true, force: true });
  }, TEST_MS);

  const token = async () => (await lab.causewayJson<{ token: string }>("hub", ["token", "create"])).token;
  const join = (node: string, text: string, ...words: string[]) =>
    lab.causeway(node, ["join", "-", "--name", node, ...words], text);
  const tlsOf = async (node: string) => (await lab.status(node))?.tls;

  /** Both directions, both families, between a node and all others that have joined. */
  async function reaches(node: string): Promise<void> {
    const peers = await lab.peers(node);
    const status = (await lab.status(node)) as Status;
    const self = [status.node?.overlay4, status.node?.overlay6];
    expect(peers.length).toBeGreaterThanOrEqual(3);
    const pings = peers.flatMap((peer) => [
      ...[peer.overlay4, peer.overlay6].map((address) => [node, address] as const),
      ...self.map((address) => [peer.name, address ?? ""] as const),
    ]);
    await until(
      async () => {
        for (const [from, address] of pings) {
          const done = await lab.exec(from, ["ping", "-n", "-c", "1", "-W", "2", address]);
          if (done.status !== 0) return `${from} gets no answer from ${address}`;
        }
        return undefined;
      },
      { what: `${node} to reach all and be reached by all`, deadlineMs: DEADLINE_MS },
    );
  }

  /** Packets that the wall has dropped. */
  const dropped = async () => {
    const listing = await lab.exec("wall", ["nft", "list", "chain", "inet", "lab", "without-udp"]);
    return Number(/counter packets (\d+)/.exec(listing.stdout)?.[1] ?? listing.stderr);
  };

  const refused = async (text: string, ...words: string[]) => {
    const done = await join("clerk", text, ...words);
    expect(done.status).toBe(1);
    expect(existsSync(`${lab.place.state("clerk")}/run/tls.sock`)).toBe(false);
    expect((await lab.status("clerk"))?.node).toBeUndefined();
    return done.stderr;
  };

  test(
    "not before the mesh has TLS, and not where the joining side did not ask for it",
    async () => {
      const old = await token();
      expect(await refused(old, "--tls", "always")).toContain("the token does not say that hubs take TLS");
      const { spec, ...rest } = await lab.causewayJson<Shown>("hub", ["mesh", "show"]);
      const mesh = JSON.stringify({ ...rest, spec: { ...spec, tlsPort: 443 } });
      await lab.causewayJson("hub", ["mesh", "apply", "-"], mesh);
      await until(
        async () => ((await tlsOf("hub"))?.status.listener === undefined ? "no listener" : undefined),
        {
          what: "the hub to take TLS",
          deadlineMs: DEADLINE_MS,
        },
      );
      const said = await refused(await token());
      expect(said).toContain("the hub does not answer at 203.0.113.");
      expect(said).toContain("this mesh can be joined by TLS: --tls auto");
      expect((await tlsOf("hub"))?.status.listener).toMatchObject({ connections: 0, refused: 0 });
    },
    TEST_MS,
  );

  test(
    "behind a wall: the connection of the joining is the node's afterwards; also after a restart and a reboot",
    async () => {
      const done = await join("clerk", await token(), "--tls", "auto");
      expect([done.status, done.stderr]).toEqual([0, expect.stringContaining("by TLS through use 1 of 1")]);
      await reaches("clerk");
      const before = await tlsOf("clerk");
      expect(before).toMatchObject({
        using: true,
        status: { hubs: [{ name: "hub", state: "open", opened: 1 }] },
      });
      expect((await tlsOf("hub"))?.status.listener).toMatchObject({ sessions: 1, connections: 1, guests: 0 });
      expect(await dropped()).toBeGreaterThan(0);

      await lab.killAgent("clerk");
      await lab.startAgent("clerk");
      await reaches("clerk");
      const after = await tlsOf("clerk");
      expect([after?.using, after?.status.pid, after?.status.hubs[0]?.opened]).toEqual([
        true,
        before?.status.pid as number,
        1,
      ]);
      await lab.reboot("clerk");
      await lab.startAgent("clerk");
      await reaches("clerk");
      expect(await tlsOf("clerk")).toMatchObject({ using: true });
    },
    TEST_MS,
  );

  test(
    "through a proxy, whose password is in a file and on no command line",
    async () => {
      const listen = lab.address("proxy", "ward");
      const script = `${import.meta.dir}/../support/connect-proxy.ts`;
      const words = [process.execPath, script, listen, "3128", CREDENTIALS];
      proxy = Bun.spawn(lab.command("proxy", words), { stdin: "ignore", stdout: "pipe", stderr: "inherit" });
      expect((await proxy.stdout.getReader().read()).value?.toString()).toBeDefined();
      const text = await token();
      const url = (user: string) => `http://${user}${listen}:3128`;
      const inCommand = await join("guest", text, "--tls", "auto", "--tls-proxy", url("ward:x@"));
      expect([inCommand.status, inCommand.stderr]).toEqual([
        1,
        expect.stringContaining("every user of this machine sees a password on a command line"),
      ]);
      const without = await join("guest", text, "--tls", "always", "--tls-proxy", url(""));
      expect([without.status, without.stderr]).toEqual([
        1,
        expect.stringContaining("the proxy wants a user and a password (407)"),
      ]);
      const file = `${lab.place.state("guest")}/etc/proxy`;
      writeFileSync(file, `${url(`${CREDENTIALS.replace("%", "%25")}@`)}\n`, { mode: 0o600 });
      const done = await join("guest", text, "--tls", "auto", "--tls-proxy-file", "/etc/causeway/proxy");
      expect([done.status, done.stderr]).toEqual([0, expect.stringContaining("registered as guest")]);
      await reaches("guest");
      expect(await tlsOf("guest")).toMatchObject({
        using: true,
        status: { hubs: [{ name: "hub", opened: 1 }] },
      });
      using netns = lab.netns("guest");
      const commands = processesInNetns(new Set([netns.inode])).map((pid) =>
        readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " "),
      );
      expect(commands.filter((command) => command.includes(" tunnel-tls "))).toHaveLength(1);
      expect(commands.join("\n")).not.toContain("word");
    },
    TEST_MS,
  );

  test(
    "with the membership goes what was kept for TLS: what the node was told, and the hub's key",
    async () => {
      const kept = (node: string) =>
        readdirSync(`${lab.place.state(node)}/var-lib`)
          .filter((name) => name.includes("tls"))
          .sort();
      expect(kept("clerk")).toEqual(["member.tls.json"]);
      expect(kept("hub")).toEqual(["register.tls.crt", "register.tls.key"]);
      expect((await lab.causeway("clerk", ["leave"])).status).toBe(0);
      // What an operator put there is not the membership's.
      writeFileSync(`${lab.place.state("hub")}/var-lib/tls.key`, "", { mode: 0o600 });
      const gone = await lab.causeway("hub", ["leave", "--force"]);
      expect([gone.status, gone.stderr]).toEqual([
        0,
        expect.stringContaining("/var/lib/causeway/tls.key is the operator's and stays"),
      ]);
      expect([kept("clerk"), kept("hub")]).toEqual([[], ["tls.key"]]);
      for (const node of ["clerk", "hub"]) {
        using netns = lab.netns(node);
        const left = processesInNetns(new Set([netns.inode])).filter((pid) =>
          readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("tunnel-tls"),
        );
        expect([node, left]).toEqual([node, []]);
      }
    },
    TEST_MS,
  );
});
