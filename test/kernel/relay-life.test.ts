/** A relayed flow, and what happens beside it: renewals, moves, a hub that is succeeded, ends and permissions that go. */
import { describe, expect, test } from "bun:test";
import { parsePrefix } from "../../src/net/mod.ts";
import { signal } from "../../src/sys/mod.ts";
import type { TunnelBackend } from "../../src/tunnel/backend.ts";
import { ownBackend } from "../../src/tunnel/own.ts";
import { wireguardGoBackend } from "../../src/tunnel/wireguard-go.ts";
import { CountedFlow } from "../support/counted-flow.ts";
import { dataplaneBackend, socketOf } from "../support/dataplane.ts";
import { ownLacks as skip } from "../support/own-needs.ts";
import { ping, type RelayEnd, RelayLab, type RelayLabOptions } from "../support/relay-lab.ts";
import { ip, until } from "../support/tunnel-pair.ts";
import { pidOf } from "../support/user-suite.ts";

const go = wireguardGoBackend();
const PER_SECOND = 500;

/** Two ends that talk. */
async function talking(options: RelayLabOptions = {}): Promise<RelayLab> {
  const lab = await RelayLab.open(options);
  await lab.meet();
  lab.join();
  expect(await lab.pings(lab.a)).toBe(true);
  return lab;
}

function flow(lab: RelayLab, from: RelayEnd, port = 7001): CountedFlow {
  const to = lab.other(from);
  return new CountedFlow(from.netns, { netns: to.netns, address: to.overlay, port, perSecond: PER_SECOND });
}

/** Waits until so many more came. */
async function goesOn(running: CountedFlow, count = 100): Promise<void> {
  const before = running.received;
  await until("the flow goes on", () => running.received >= before + count);
}

/** Makes `a`'s peer anew, which begins a handshake, and waits for an answer. (By itself WireGuard gives up a session without answers after 15 s.) */
async function found(lab: RelayLab): Promise<void> {
  const { a, b } = lab;
  a.tunnel.device.change({
    peers: [
      { publicKey: b.key.publicKey, remove: true },
      {
        publicKey: b.key.publicKey,
        endpoint: lab.hubEndpoint(a),
        allowedIps: [parsePrefix(`${b.overlay}/32`)],
      },
    ],
  });
  await until("they find each other again", () => ping(lab.a.netns, lab.b.overlay));
}

const none = { lost: 0, duplicates: 0 };

describe.skipIf(skip !== undefined)(`relayed flows${skip === undefined ? "" : ` (${skip})`}`, () => {
  for (const starter of ["a", "b"] as const)
    test(`the other end need not know where anybody is: ${starter} begins`, async () => {
      await using lab = await RelayLab.open();
      await lab.meet();
      lab.join(lab[starter]);
      expect(await lab.pings(lab[starter])).toBe(true);
      expect(await lab.pings(lab.other(lab[starter]))).toBe(true);
      // It learnt the hub's address as that of its peer.
      const learnt = lab.seen(lab.other(lab[starter]), lab[starter].key)?.endpoint;
      expect(learnt).toEqual(lab.hubEndpoint(lab.other(lab[starter])));
    });

  test("a peer that is made anew in one request begins anew, and what waited for it comes through", async () => {
    await using lab = await talking();
    const { a, b } = lab;
    using there = flow(lab, a);
    await goesOn(there);
    const before = lab.seen(b, a.key)?.lastHandshakeMs ?? 0;
    for (let i = 0; i < 3; i++) {
      a.tunnel.device.change({
        peers: [
          { publicKey: b.key.publicKey, remove: true },
          {
            publicKey: b.key.publicKey,
            endpoint: lab.hubEndpoint(a),
            allowedIps: [parsePrefix(`${b.overlay}/32`)],
            keepaliveSeconds: 25,
          },
        ],
      });
      await goesOn(there, 300);
    }
    expect(await there.stop()).toMatchObject(none);
    expect(lab.seen(b, a.key)?.lastHandshakeMs ?? 0).toBeGreaterThan(before);
    expect(lab.status.pairs).toBe(1);
  });

  test.skipIf(go === undefined)(
    `sessions are renewed for their age, with ours and wireguard-go as initiators, and nothing is lost${go === undefined ? " (needs wireguard-go)" : ""}`,
    async () => {
      await using lab = await RelayLab.open({ b: go as TunnelBackend });
      await using other = await RelayLab.open({ a: go as TunnelBackend });
      const flows: CountedFlow[] = [];
      for (const one of [lab, other]) {
        await one.meet();
        one.join(one.a);
        expect(await one.pings(one.a)).toBe(true);
        flows.push(flow(one, one.a, 7001), flow(one, one.b, 7002));
      }
      const seen = () => [lab, other].map((one) => one.seen(one.a, one.b.key)?.lastHandshakeMs as number);
      const before = seen();
      // Rekey-After-Time is two minutes.
      await until(
        "both were renewed",
        () => seen().every((ms, i) => ms > (before[i] as number) + 60_000),
        200_000,
      );
      for (const running of flows) await goesOn(running, 500);
      for (const running of flows) expect(await running.stop()).toMatchObject(none);
    },
    240_000,
  );

  test("the hub's data plane is succeeded again and again: nothing is lost, no handshake is made", async () => {
    await using lab = await talking();
    const { a, b } = lab;
    using there = flow(lab, a);
    using back = flow(lab, b, 7002);
    const handshake = lab.seen(a, b.key)?.lastHandshakeMs as number;
    for (let i = 0; i < 3; i++) {
      await goesOn(there);
      lab.hubTunnel = await dataplaneBackend("--take-over").open(lab.hubLink, { netns: lab.hub });
    }
    await goesOn(back);
    expect([await there.stop(), await back.stop()]).toMatchObject([none, none]);
    expect(lab.seen(a, b.key)?.lastHandshakeMs).toBe(handshake);
    expect(lab.status).toMatchObject({ nodes: 2, liveNodes: 2, pairs: 1 });
  });

  for (const [name, options] of [
    ["ours", {}],
    ["wireguard-go", go === undefined ? undefined : { a: go, b: go }],
  ] as const)
    test.skipIf(options === undefined)(
      `an end moves (${name}): its circuits come along with its next packet for the hub`,
      async () => {
        await using lab = await talking(options);
        const { a, b } = lab;
        using there = flow(lab, a);
        using back = flow(lab, b, 7002);
        await goesOn(there);
        const handshake = lab.seen(b, a.key)?.lastHandshakeMs as number;
        for (const host of [2, 3]) {
          ip(a.netns, `addr add 10.1.0.${host}/24 dev eth0`);
          ip(a.netns, `addr del 10.1.0.${host - 1}/24 dev eth0`);
          // The sockets' cached routes end with the address.
          await until("the hub hears from there", () => ping(a.netns, "10.9.0.254"));
          await goesOn(there);
          await goesOn(back);
        }
        expect(lab.seen(b, a.key)?.lastHandshakeMs).toBe(handshake);
        expect(lab.status).toMatchObject({ liveNodes: 2, pairs: 1 });
      },
    );

  test("an end behind a NAT, which gives it another address: likewise", async () => {
    await using lab = await talking({ nat: true });
    const { a, b } = lab;
    using there = flow(lab, a);
    using back = flow(lab, b, 7002);
    await goesOn(there);
    await goesOn(back);
    const handshake = lab.seen(b, a.key)?.lastHandshakeMs as number;
    const before = lab.seen({ tunnel: lab.hubTunnel }, a.key)?.endpoint;
    ip(a.gate, "addr add 10.1.0.8/24 dev eth0");
    ip(a.gate, "addr del 10.1.0.9/24 dev eth0");
    await until("the hub hears from there", () => ping(a.netns, "10.9.0.254"));
    await goesOn(there);
    await goesOn(back);
    expect(lab.seen({ tunnel: lab.hubTunnel }, a.key)?.endpoint).not.toEqual(before);
    expect(lab.seen(b, a.key)?.lastHandshakeMs).toBe(handshake);
  });

  test("permission, class, peer or the whole relay go: the flow ends at once, and comes back with them", async () => {
    await using lab = await talking();
    const { a, b } = lab;
    const [keyA, keyB] = [a.key.publicKey, b.key.publicKey];
    const { config } = lab;
    const silent = async () => {
      expect(lab.status.circuits).toBe(0);
      // Until the workers have heard of it, and said what they had done before.
      await Bun.sleep(300);
      const before = lab.status.datagrams;
      expect(ping(a.netns, b.overlay)).toBe(false);
      expect(lab.status.datagrams).toBe(before);
    };
    const talksAgain = async () => {
      lab.relay.set(config);
      await found(lab);
      expect(await lab.pings(b)).toBe(true);
    };
    lab.relay.set({
      ...config,
      classes: new Map([
        [keyA, 1],
        [keyB, 2],
      ]),
    });
    await silent();
    lab.relay.set({
      ...config,
      classes: new Map([
        [keyA, 1],
        [keyB, 2],
      ]),
      allow: [[2, 1]],
    });
    await found(lab);
    lab.relay.set({
      ...config,
      classes: new Map([
        [keyA, 1],
        [keyB, 2],
      ]),
      allow: [
        [1, 1],
        [2, 2],
      ],
    });
    await silent();
    lab.relay.set({ ...config, allow: [] });
    await silent();
    lab.relay.set({ ...config, classes: new Map([[keyA, 1]]) });
    await silent();
    await talksAgain();
    lab.relay.set({ ...config, enabled: false });
    await silent();
    await talksAgain();
    lab.hubTunnel.device.change({ peers: [{ publicKey: keyB, remove: true }] });
    await silent();
    lab.introduce();
    await until("it has a session again", () => ping(b.netns, "10.9.0.254"));
    await found(lab);
  });

  test("the hub's data plane is killed: the next one relays without being told again", async () => {
    await using lab = await RelayLab.open({ hub: ownBackend() });
    await lab.meet();
    lab.join();
    expect(await lab.pings(lab.a)).toBe(true);
    const before = pidOf(lab.hubLink);
    signal(before, "SIGKILL");
    await until("another one serves", () => {
      try {
        return pidOf(lab.hubLink) !== before && lab.relay.status()?.nodes === 0;
      } catch {
        return false;
      }
    });
    // What the engine does with a link that is new.
    lab.addressHub();
    lab.introduce();
    for (const end of lab.ends) await until("the hub is heard", () => ping(end.netns, "10.9.0.254"));
    await found(lab);
    expect(lab.status).toMatchObject({ nodes: 2, liveNodes: 2, pairs: 1 });
    expect(socketOf(lab.hubLink)).toContain(lab.hubLink);
  });

  test("datagrams that do not fit the way on are sent in fragments, also those that came joined", async () => {
    await using lab = await talking();
    const { a, b } = lab;
    ip(lab.hub, "link set b0 mtu 1400");
    ip(b.netns, "link set eth0 mtu 1400");
    const argv = [
      "nsenter",
      `--net=${a.netns.path}`,
      "ping",
      "-n",
      "-c",
      "3",
      "-i",
      "0.2",
      "-s",
      "1372",
      b.overlay,
    ];
    expect(Bun.spawnSync(argv).success).toBe(true);
    // TSO makes super-packets of it.
    const { child } = b.netns.run(() => ({
      child: Bun.spawn(["iperf3", "-s", "-1", "--forceflush"], { stdout: "pipe" }),
    }));
    await child.stdout.getReader().read();
    const client = ["nsenter", `--net=${a.netns.path}`, "iperf3", "-c", b.overlay, "-n", "5M", "-J"];
    const { end } = JSON.parse(Bun.spawnSync(client).stdout.toString());
    await child.exited;
    expect(end.sum_received.bytes).toBeGreaterThan(2e6);
  });

  test("a rate holds for a pair, and is taken away again", async () => {
    await using lab = await talking();
    const { a } = lab;
    lab.relay.set({ ...lab.config, bytesPerSecond: 20_000 });
    {
      using there = flow(lab, a);
      await until("too much is dropped", () => (lab.status.drops["rate"] ?? 0) > 100);
      expect(there.received).toBeGreaterThan(100);
    }
    lab.relay.set(lab.config);
    using again = flow(lab, a, 7003);
    await goesOn(again, 1000);
    expect(await again.stop()).toMatchObject(none);
  });
});
