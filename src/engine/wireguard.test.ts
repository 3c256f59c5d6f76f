import { expect, test } from "bun:test";
import { viewOf } from "../../test/support/engine-view.ts";
import {
  type DeviceState,
  parseEndpoint,
  parsePrefix,
  type PeerState,
  PrivateKey,
  type PublicKey,
  Secret,
} from "../net/mod.ts";
import type { Verdict, View } from "./kind.ts";
import type { KernelObject, Peer } from "./object.ts";
import { WireguardDevices } from "./wireguard-devices.ts";
import { type DeviceView, emptyView, noteChange, renewView } from "./wireguard-view.ts";
import { peer, SILENT_MS, wireguard } from "./wireguard.ts";

/** Wall time; monotonic time begins anywhere. */
const NOW = 1_000_000_000;
const secret = PrivateKey.random();
const [a, b] = [PrivateKey.random().publicKey, PrivateKey.random().publicKey];

function viewDevice(state: DeviceState): DeviceView {
  const device = emptyView();
  renewView(device, state);
  return device;
}

function view(
  peers: readonly PeerState[],
  wanted: Record<string, { object: KernelObject; serial: number }> = {},
): View {
  const device = viewDevice({ publicKey: secret.publicKey, listenPort: 51820, peers });
  return viewOf([], {
    nowMs: 5_000,
    wallMs: NOW,
    wireguard: (link) => (link === "cw0" ? device : undefined),
    wanted: (key) => wanted[key],
  });
}

const state = (publicKey: PublicKey, more: Partial<PeerState> = {}): PeerState => ({
  publicKey,
  allowedIps: [parsePrefix("10.1.0.0/24")],
  presharedKey: false,
  rxBytes: 0,
  txBytes: 0,
  ...more,
});

const wish = (publicKey: PublicKey, more: Partial<Peer> = {}): Peer => ({
  kind: "peer",
  link: "cw0",
  publicKey,
  allowedIps: [parsePrefix("10.1.0.0/24")],
  ...more,
});

const text = (verdict: Verdict) => (verdict.is === "step" ? verdict.text : verdict.is);

test("key and port are set only where they differ, and never shown", () => {
  const config = { kind: "wireguard", link: "cw0", privateKey: secret, listenPort: 51820 } as const;
  expect(wireguard.compare(config, view([])).is).toBe("same");
  expect(wireguard.compare({ ...config, listenPort: 0 }, view([])).is).toBe("same");
  const other = { ...config, privateKey: PrivateKey.random(), listenPort: 1 };
  expect(text(wireguard.compare(other, view([])))).toBe("wg set cw0 listen-port 1 private-key (hidden)");
  expect(wireguard.compare({ ...config, link: "cw1" }, view([]))).toEqual({
    is: "waits",
    reason: "waits for the WireGuard device cw1",
  });
});

test("a peer is made, changed and removed by itself", () => {
  const endpoint = parseEndpoint("192.0.2.1:51820");
  const full = wish(a, { endpoint, keepaliveSeconds: 25, presharedKey: Secret.random() });
  expect(text(peer.compare(full, view([])))).toBe(
    `wg set cw0 peer ${a} preshared-key (hidden) endpoint 192.0.2.1:51820 persistent-keepalive 25 allowed-ips 10.1.0.0/24`,
  );
  expect(peer.compare(wish(a), view([state(a)])).is).toBe("same");
  const more = wish(a, { allowedIps: [parsePrefix("10.1.0.0/24"), parsePrefix("fd00::/64")] });
  expect(text(peer.compare(more, view([state(a)])))).toBe(
    `wg set cw0 peer ${a} allowed-ips 10.1.0.0/24,fd00::/64`,
  );
  expect(peer.remove(wish(a), view([state(a)]))?.text).toBe(`wg set cw0 peer ${a} remove`);
  expect(peer.remove(wish(a), view([]))).toBeUndefined();
});

test("what is no longer wanted of a peer is turned off", () => {
  expect(text(peer.compare(wish(a), view([state(a, { keepaliveSeconds: 25, presharedKey: true })])))).toBe(
    `wg set cw0 peer ${a} preshared-key /dev/null persistent-keepalive off`,
  );
});

test("a peer that roamed keeps its endpoint, unless the wish changed or it is silent", () => {
  const wanted = wish(a, { endpoint: parseEndpoint("192.0.2.1:51820") });
  const roamed = { endpoint: parseEndpoint("198.51.100.9:4000") };
  const heard = view([state(a, { ...roamed, lastHandshakeMs: NOW - 60_000 })]);
  expect(peer.compare(wanted, heard).is).toBe("same");
  peer.settled?.(wanted, heard);
  expect(peer.compare(wanted, heard).is).toBe("same");
  const moved = wish(a, { endpoint: parseEndpoint("192.0.2.2:51820") });
  expect(text(peer.compare(moved, heard))).toBe(`wg set cw0 peer ${a} endpoint 192.0.2.2:51820`);
  const silent = view([state(a, { ...roamed, lastHandshakeMs: NOW - SILENT_MS - 1 })]);
  expect(text(peer.compare(wanted, silent))).toBe(`wg set cw0 peer ${a} endpoint 192.0.2.1:51820`);
});

test("a peer is silent when no byte came for long enough, whatever the machine's clock does", () => {
  const wanted = wish(a, { endpoint: parseEndpoint("192.0.2.1:51820") });
  const roamed = { endpoint: parseEndpoint("198.51.100.9:4000"), lastHandshakeMs: NOW - 60_000 };
  const first = view([state(a, { ...roamed, rxBytes: 100 })]);
  expect(peer.compare(wanted, first).is).toBe("same");
  peer.settled?.(wanted, first);
  const later = (ms: number, wallMs: number, rxBytes: number) => ({
    ...view([state(a, { ...roamed, rxBytes })]),
    memory: first.memory,
    nowMs: first.nowMs + ms,
    wallMs,
  });
  for (const jump of [86_400_000, -86_400_000]) {
    const soon = later(60_000, NOW + jump, 100);
    expect(peer.compare(wanted, soon).is).toBe("same");
    peer.settled?.(wanted, soon);
  }
  expect(peer.compare(wanted, later(SILENT_MS + 1, NOW, 200)).is).toBe("same");
  for (const jump of [86_400_000, 0, -86_400_000])
    expect(text(peer.compare(wanted, later(SILENT_MS + 1, NOW + jump, 100)))).toBe(
      `wg set cw0 peer ${a} endpoint 192.0.2.1:51820`,
    );
});

test("a peer that went elsewhere comes back when that is wished again", () => {
  const wanted = wish(a, { endpoint: parseEndpoint("192.0.2.1:51820"), endpointSerial: 1 });
  const elsewhere = {
    endpoint: parseEndpoint("203.0.113.5:51820"),
    lastHandshakeMs: NOW - 1_000,
    rxBytes: 9,
  };
  const has = view([state(a, elsewhere)]);
  peer.settled?.(wanted, has);
  expect(peer.compare(wanted, has).is).toBe("same");
  expect(text(peer.compare({ ...wanted, endpointSerial: 2 }, has))).toBe(
    `wg set cw0 peer ${a} endpoint 192.0.2.1:51820`,
  );
  const there = {
    ...view([state(a, { ...elsewhere, endpoint: wanted.endpoint } as never)]),
    memory: has.memory,
  };
  expect(peer.compare({ ...wanted, endpointSerial: 2 }, there).is).toBe("same");
});

test("a peer is made anew when its generation changes, and not because nobody knows what it was", () => {
  const wanted = wish(a, { endpoint: parseEndpoint("192.0.2.1:51820"), generation: 3, keepaliveSeconds: 5 });
  const has = view([state(a, { endpoint: wanted.endpoint, keepaliveSeconds: 5, rxBytes: 9 } as never)]);
  expect(peer.compare(wanted, has).is).toBe("same");
  peer.settled?.(wanted, has);
  expect(peer.compare(wanted, has).is).toBe("same");
  expect(text(peer.compare({ ...wanted, generation: 4 }, has))).toBe(
    `wg set cw0 peer ${a} (anew) endpoint 192.0.2.1:51820 persistent-keepalive 5 allowed-ips 10.1.0.0/24`,
  );
  const device = viewDevice({ listenPort: 1, peers: [state(a, { rxBytes: 9 })] });
  noteChange(device, { peers: [{ publicKey: a, anew: true, allowedIps: [parsePrefix("10.2.0.0/24")] }] });
  expect(device.peers.get(a)?.rxBytes).toBe(0);
  expect([...device.owners.keys()]).toEqual(["10.2.0.0/24"]);
});

test("a pre-shared key is set again only when the wish changed", () => {
  const first = wish(a, { presharedKey: Secret.random() });
  const has = view([state(a, { presharedKey: true })]);
  expect(peer.compare(first, has).is).toBe("same");
  peer.settled?.(first, has);
  expect(peer.compare(first, has).is).toBe("same");
  expect(text(peer.compare(wish(a, { presharedKey: Secret.random() }), has))).toBe(
    `wg set cw0 peer ${a} preshared-key (hidden)`,
  );
});

test("allowed prefixes move in any order, also within one view", () => {
  const device = viewDevice({ listenPort: 1, peers: [state(a), state(b, { allowedIps: [] })] });
  noteChange(device, { peers: [{ publicKey: b, allowedIps: [parsePrefix("10.1.0.0/24")] }] });
  expect(device.peers.get(a)?.allowedIps).toEqual([]);
  noteChange(device, { peers: [{ publicKey: a, allowedIps: [] }] });
  expect(device.owners.get("10.1.0.0/24")).toBe(b);
  noteChange(device, { peers: [{ publicKey: b, remove: true }] });
  expect(device.owners.size).toBe(0);
});

test("of two peers that claim a prefix, the later has it and the earlier waits", () => {
  const [first, second] = [wish(a), wish(b)];
  const both = {
    [peer.key(first)]: { object: first, serial: 1 },
    [peer.key(second)]: { object: second, serial: 2 },
  };
  const held = view([state(a, { allowedIps: [] }), state(b)], both);
  expect(peer.compare(second, held).is).toBe("same");
  expect(peer.compare(first, held)).toEqual({
    is: "waits",
    reason: `10.1.0.0/24 belongs to peer ${b}, which claimed it later`,
  });
});

test("a reading brings a view to what the device says, also where a prefix moved and a peer went", () => {
  const [first, second] = [state(a), state(b, { allowedIps: [parsePrefix("10.2.0.0/24")] })];
  const device = emptyView();
  const read = (...peers: PeerState[]) => [...renewView(device, { listenPort: 1, peers })].sort();
  expect(read(first, second)).toEqual([a, b].sort());
  expect(read(first, second)).toEqual([]);
  // What was only expected gives way to what is.
  noteChange(device, { peers: [{ publicKey: a, endpoint: parseEndpoint("192.0.2.1:1") }] });
  expect(read(first, second)).toEqual([a]);
  expect(device.peers.get(a)).toBe(first);
  const moved = [
    state(a, { allowedIps: [] }),
    state(b, { allowedIps: [parsePrefix("10.1.0.0/24")] }),
  ] as const;
  expect(read(...moved)).toEqual([a, b].sort());
  expect([...device.owners]).toEqual([["10.1.0.0/24", b]]);
  expect(read(moved[0])).toEqual([b]);
  expect([...device.peers.keys()]).toEqual([a]);
  expect(device.owners.size).toBe(0);
});

test("of a device's peers, those are looked at of which something is new", () => {
  const held = state(b, { allowedIps: [] });
  let peers: PeerState[] = [state(a), held];
  let away = false;
  using devices = new WireguardDevices(() =>
    away ? undefined : { read: () => ({ listenPort: 1, peers }), change: () => {} },
  );
  expect(devices.changes()).toEqual([]);
  devices.view("cw0");
  expect(devices.changes()).toEqual([{ link: "cw0", peers: [a, b] }]);
  peers = [state(a, { rxBytes: 5 }), held];
  // Nothing is read again until it is forgotten.
  expect(devices.changes()).toEqual([{ link: "cw0", peers: [] }]);
  devices.forget();
  expect(devices.view("cw0")?.peers.get(a)?.rxBytes).toBe(5);
  expect(devices.changes()).toEqual([{ link: "cw0", peers: [a] }]);
  // Another device under the name: everything is new.
  away = true;
  devices.close("cw0");
  expect(devices.changes()).toEqual([{ link: "cw0", peers: [] }]);
  away = false;
  expect(devices.changes()).toEqual([{ link: "cw0", peers: [a, b] }]);
});
