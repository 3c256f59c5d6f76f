/** The tunnel over TLS, where a filter lets no UDP through: both ends as processes, real back-ends, real TCP. */
import { describe, expect, test } from "bun:test";
import { formatEndpoint, parseEndpoint, PrivateKey } from "../../src/net/mod.ts";
import { Nftables } from "../../src/netlink/mod.ts";
import { isAlive, run, signal, which, writeAtomic } from "../../src/sys/mod.ts";
import type { TunnelBackend } from "../../src/tunnel/backend.ts";
import { makeCertificate, type TlsHub, TlsProcess } from "../../src/tunnel/tls/mod.ts";
import { wireguardGoBackend } from "../../src/tunnel/wireguard-go.ts";
import { dataplaneBackend } from "../support/dataplane.ts";
import { ownLacks } from "../support/own-needs.ts";
import { tcpFlow, TlsPair } from "../support/tls-pair.ts";
import { tool, until } from "../support/tunnel-pair.ts";

const root = process.getuid?.() === 0 ? undefined : "needs root";
const iperf = which("iperf3");

const own = () => dataplaneBackend("--workers", "1");
const go = () => wireguardGoBackend() as TunnelBackend;
const goLacks = wireguardGoBackend() === undefined ? "needs wireguard-go" : root;

const kinds = [
  ["our engine at both ends", own, own, ownLacks],
  ["wireguard-go at both ends", go, go, goLacks],
  ["wireguard-go at our engine's hub", go, own, ownLacks ?? goLacks],
] as const;

for (const [title, near, far, lacks] of kinds)
  describe.skipIf(lacks !== undefined)(`TLS: ${title}${lacks === undefined ? "" : ` (${lacks})`}`, () => {
    test("packets of all sizes both ways, and not one UDP datagram outside", async () => {
      await using tls = await TlsPair.open(near(), far());
      const { pair } = tls;
      expect(await pair.pings(pair.near)).toBe(true);
      expect(await pair.pings(pair.far)).toBe(true);
      const large = await run(
        ["ping", "-n", "-c", "3", "-W", "20", "-s", "1392", "-M", "do", pair.far.overlay4],
        {
          netns: pair.near.netns,
        },
      );
      expect(large.stdout).toContain(" 0% packet loss");
      expect(tls.seenAt).toMatch(/^127\.(6[4-9]|[7-9]\d|1[01]\d|12[0-7])\.\d+\.\d+:\d+$/);
      expect(formatEndpoint(pair.seen(pair.near)?.endpoint as never)).toBe(`127.0.0.1:${tls.localPort}`);
      expect(tls.blocked).toEqual([0, 0]);
      expect(tls.uplink).toMatchObject({ state: "open", opened: 1 });
    });

    test.skipIf(iperf === undefined)("a TCP flow inside, each way", async () => {
      await using tls = await TlsPair.open(near(), far());
      const { pair } = tls;
      expect(await pair.pings(pair.near)).toBe(true);
      for (const reverse of [false, true]) {
        const { text, bytes } = await tcpFlow(pair, reverse);
        const dropped = `${tls.uplink.dropped} dropped by the node, ${tls.hub.status?.listener?.dropped} by the hub`;
        console.log(`TLS, ${title}${reverse ? ", from the hub" : ""}: ${text}, ${dropped}`);
        // Of 52 MB; iperf3 ends when all of it is sent, and what is in sockets' buffers then is not counted.
        expect(bytes).toBeGreaterThan(40_000_000);
      }
    });
  });

describe.skipIf(ownLacks !== undefined)(
  `TLS, when something goes wrong${ownLacks === undefined ? "" : ` (${ownLacks})`}`,
  () => {
    const open = (hub?: Partial<TlsHub>) => TlsPair.open(own(), own(), hub);

    /** Both ways, as it was before: the same endpoints, the same WireGuard session. */
    async function undisturbed(tls: TlsPair, cause: () => Promise<void>): Promise<void> {
      const { pair } = tls;
      expect(await pair.pings(pair.near)).toBe(true);
      // A side that had no answer in time repeats its handshake after 5 s.
      const settled = () => Date.now() - (pair.seen(pair.far)?.lastHandshakeMs ?? Date.now()) > 6_000;
      await until("no handshake is repeated any more", settled);
      const before = [tls.seenAt, tls.localPort, pair.seen(pair.far)?.lastHandshakeMs];
      await cause();
      // The hub speaks first: it has to find the node where it was.
      expect(await pair.pings(pair.far)).toBe(true);
      expect([tls.seenAt, tls.localPort, pair.seen(pair.far)?.lastHandshakeMs]).toEqual(before);
      expect(tls.uplink.state).toBe("open");
    }

    const again = (tls: TlsPair, opened: number) =>
      until("the uplink is open again", () => tls.uplink.state === "open" && tls.uplink.opened >= opened);

    test("the connection is reset: made again, and neither WireGuard notices", async () => {
      await using tls = await open();
      await undisturbed(tls, async () => {
        const rules = `table inet cut {
          chain in { type filter hook input priority -1; iifname "eth0" tcp dport 443 ct state established reject with tcp reset; }
        }`;
        {
          using nft = Nftables.open({ netns: tls.pair.far.netns });
          nft.run(rules);
        }
        tls.node.configure(tls.nodeConfig());
        // Only the node is told; the hub finds out when it is greeted anew.
        const flow = run(["ping", "-n", "-c", "20", "-i", "0.2", tls.pair.far.overlay4], {
          netns: tls.pair.near.netns,
        });
        await until("the node notices", () => tls.uplink.state !== "open");
        tool(tls.pair.far.netns, "nft delete table inet cut");
        await again(tls, 2);
        await flow;
      });
    });

    test("the hub's process is killed: started again, and found by the nodes where they were", async () => {
      await using tls = await open();
      const pid = tls.hub.status?.pid as number;
      await undisturbed(tls, async () => {
        signal(pid, "SIGKILL");
        await until(
          "the hub's process runs again",
          () => tls.hub.state.kind === "running" && tls.hub.status?.pid !== pid,
        );
        await again(tls, 2);
      });
      const { listener } = TlsProcess.running(tls.place("hub").socket) ?? {};
      expect(listener).toMatchObject({ sessions: 1, connections: 1, guests: 0 });
    });

    test("the node's process is killed: started again, with the same endpoint", async () => {
      await using tls = await open();
      const pid = tls.node.status?.pid as number;
      await undisturbed(tls, async () => {
        signal(pid, "SIGKILL");
        await until(
          "the node's process runs again",
          () => tls.node.state.kind === "running" && tls.node.status?.pid !== pid,
        );
        await again(tls, 1);
      });
    });

    test("an agent of another build: the process is succeeded, with the same endpoints; one of the same build is taken over", async () => {
      await using tls = await open();
      const pid = tls.node.status?.pid as number;
      await undisturbed(tls, async () => {
        tls.node.close();
        const place = { ...tls.place("node"), netns: tls.pair.near.netns };
        tls.node = await TlsProcess.open(place);
        tls.node.configure(tls.nodeConfig());
        expect(tls.node.status?.pid).toBe(pid);
        tls.node.close();
        tls.node = await TlsProcess.open({ ...place, build: "another" });
        tls.node.configure(tls.nodeConfig());
        expect(isAlive(pid)).toBe(false);
        await again(tls, 1);
      });
    });

    test("a hub with another key is refused, and told why; nothing of the tunnel reaches it", async () => {
      const other = makeCertificate();
      await using tls = await open({ pin: other.pin });
      await until("it is refused", () => tls.uplink.state === "waiting");
      expect(tls.uplink.reason).toStartWith("who answers is not the hub: its key has the hash ");
      expect(tls.uplink.reason).toContain(tls.certificate.pin);
      expect(tls.uplink.reason).toContain(other.pin);
      expect(await tls.pair.pings(tls.pair.near, { waitSeconds: 1 })).toBe(false);
      expect(tls.hub.status?.listener).toMatchObject({ received: 0, sessions: 0 });
      // With the right one it goes on by itself.
      tls.node.configure(tls.nodeConfig());
      expect(await tls.pair.pings(tls.pair.near)).toBe(true);
    });

    test("a node that the hub does not know is sent away, again and again; who is known does not feel it", async () => {
      await using tls = await open();
      const { pair } = tls;
      expect(await pair.pings(pair.near)).toBe(true);
      const other = await TlsProcess.open({ socket: `${pair.folder}/stranger.sock`, netns: pair.near.netns });
      await using stack = new AsyncDisposableStack();
      stack.defer(() => other.destroy());
      const reached = other.configure({ ...tls.nodeConfig(), tunnelPort: 51899 });
      const [uplink] = reached?.hubs ?? [];
      const stranger = await go().open(`ts${pair.near.link.slice(2)}`, { netns: pair.near.netns });
      stack.defer(() => stranger.destroy());
      stranger.device.change({
        privateKey: PrivateKey.random(),
        listenPort: 51899,
        peers: [
          {
            ...pair.peer(pair.near),
            allowedIps: [],
            keepaliveSeconds: 1,
            endpoint: parseEndpoint(`127.0.0.1:${uplink?.localPort}`),
          },
        ],
      });
      await until("it is sent away twice", () => (other.status?.hubs[0]?.opened ?? 0) >= 3);
      expect(other.status?.hubs[0]?.received).toBe(0);
      expect(await pair.pings(pair.near)).toBe(true);
      expect(tls.uplink).toMatchObject({ state: "open", opened: 1 });
    });

    test("a port that is taken is told, and taken when it is free; a certificate that is replaced is served", async () => {
      await using tls = await open();
      const { netns } = tls.pair.far;
      expect(await tls.pair.pings(tls.pair.near)).toBe(true);
      const { child } = netns.run(() => ({
        child: Bun.spawn(
          [process.execPath, "-e", 'Bun.listen({ hostname: "::", port: 444, socket: { data() {} } })'],
          { stderr: "inherit" },
        ),
      }));
      try {
        await until("somebody has the port", () => tool(netns, "ss -Hltn sport = 444") !== "");
        const moved = {
          ...tls.hubConfig,
          listener: { ...(tls.hubConfig.listener as never as object), port: 444 } as never,
        };
        expect(tls.hub.configure(moved)?.problems.join()).toContain(
          "Cannot listen on TCP port 444: another program has it",
        );
      } finally {
        child.kill();
        await child.exited;
      }
      await until("it listens", () => tls.hub.status?.listener?.port === 444);
      const next = makeCertificate();
      writeAtomic(`${tls.pair.folder}/cert.pem`, next.certificatePem);
      writeAtomic(`${tls.pair.folder}/key.pem`, next.keyPem, 0o600);
      await until("the new certificate is served", () => tls.hub.status?.listener?.pin === next.pin);
      tls.node.configure(tls.nodeConfig({ port: 444, pin: next.pin }));
      expect(await tls.pair.pings(tls.pair.near)).toBe(true);
      tls.hub.configure({ tunnelPort: 51820, hubs: [] });
      expect(tool(netns, "ss -Hltn")).not.toContain(":444");
    });
  },
);
