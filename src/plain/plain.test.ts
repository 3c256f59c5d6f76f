import { describe, expect, test } from "bun:test";
import { formatIp, formatPrefix, parseIp, parsePrefix } from "../net/mod.ts";
import {
  addressesOf,
  changesBetween,
  filesOf,
  formatMesh,
  formatWgQuick,
  importOf,
  type PlainMesh,
  parseMesh,
  updated,
  type WgQuickFile,
  type Wishes,
} from "./mod.ts";

const V4 = [parsePrefix("10.6.0.0/24")];
const BOTH = [parsePrefix("10.6.0.0/24"), parsePrefix("fd06::/64")];
const HUB = ["hub.example.com:15220"];
const fresh = (wishes: Wishes = {}) =>
  updated(undefined, { prefixes: V4, endpoints: HUB, peers: 3, ...wishes });
const text = (mesh: PlainMesh, name: string) => formatWgQuick(filesOf(mesh).get(name) as WgQuickFile);
const names = (mesh: PlainMesh) => mesh.machines.map((machine) => machine.name);
/** Who has whom with which allowed IPs: `a>b 10.6.0.2/32`. */
const links = (mesh: PlainMesh) =>
  [...filesOf(mesh)].flatMap(([name, file]) =>
    file.peers.map((peer) => `${name}>${peer.name} ${peer.allowedIps.map(formatPrefix).join(" ")}`),
  );
const touched = (before: PlainMesh, after: PlainMesh) =>
  changesBetween(filesOf(before), filesOf(after)).map(({ machine, action }) => `${action} ${machine}`);

describe("hub and spokes", () => {
  test("what the tutorial's script makes of a /24: a hub with 253 peers, all keys distinct", () => {
    const mesh = updated(undefined, { prefixes: V4, endpoints: HUB });
    expect(mesh.machines).toHaveLength(254);
    const files = filesOf(mesh);
    expect(files.get("hub")?.peers).toHaveLength(253);
    expect(new Set([...files.values()].map((file) => file.publicKey)).size).toBe(254);
    for (const [name, file] of files)
      if (name !== "hub")
        expect(file.peers.map((peer) => peer.publicKey)).toEqual([files.get("hub")!.publicKey]);
    const addresses = mesh.machines.map((machine) =>
      addressesOf(mesh, machine).map(({ ip }) => formatIp(ip)),
    );
    expect([addresses[0], addresses[1], addresses[253]]).toEqual([
      ["10.6.0.1"],
      ["10.6.0.2"],
      ["10.6.0.254"],
    ]);
  });

  test("the text of hub and spoke", () => {
    const mesh = fresh({ mtuBytes: 1380, dns: [parseIp("10.6.0.1")], prefixes: BOTH, listenPort: 4500 });
    const masked = (name: string) => text(mesh, name).replaceAll(/[A-Za-z0-9+/]{43}=/g, "KEY");
    expect(masked("hub")).toStartWith(
      "# hub, hub of a generated mesh (hub and spokes)\n" +
        "# This hub must forward between its peers: sysctl net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1\n" +
        "# Public key: KEY\n[Interface]\nAddress = 10.6.0.1/24, fd06::1/64\nPrivateKey = KEY\nListenPort = 4500\nMTU = 1380\n\n" +
        "# peer-2\n[Peer]\nPublicKey = KEY\nAllowedIPs = 10.6.0.2/32, fd06::2/128\n\n# peer-3\n",
    );
    expect(masked("peer-2")).toBe(
      "# peer-2, machine of a generated mesh (hub and spokes)\n# Public key: KEY\n" +
        "[Interface]\nAddress = 10.6.0.2/24, fd06::2/64\nPrivateKey = KEY\nMTU = 1380\nDNS = 10.6.0.1\n\n" +
        "# hub\n[Peer]\nPublicKey = KEY\nAllowedIPs = 10.6.0.0/24, fd06::/64\nEndpoint = hub.example.com:15220\nPersistentKeepalive = 25\n",
    );
  });

  test("forwarding is switched on only when asked for, and the firewall's rules go again", () => {
    expect(text(fresh(), "hub")).not.toContain("Post");
    const hub = text(fresh({ forward: true, prefixes: BOTH }), "hub");
    expect(hub.match(/^Post.*$/gm)).toEqual([
      "PostUp = sysctl -q -w net.ipv4.ip_forward=1",
      "PostUp = sysctl -q -w net.ipv6.conf.all.forwarding=1",
      "PostUp = iptables -w -I FORWARD -i %i -o %i -j ACCEPT",
      "PostUp = ip6tables -w -I FORWARD -i %i -o %i -j ACCEPT",
      "PostDown = iptables -w -D FORWARD -i %i -o %i -j ACCEPT",
      "PostDown = ip6tables -w -D FORWARD -i %i -o %i -j ACCEPT",
    ]);
    expect(text(fresh({ forward: true }), "peer-2")).not.toContain("Post");
  });

  test("several endpoints of a hub: one is used, the others are told", () => {
    const mesh = fresh({ endpoints: ["a.example:1", "[2001:db8::1]:2"] });
    expect(text(mesh, "peer-2")).toContain("# Other endpoints: [2001:db8::1]:2\n[Peer]\n");
    expect(text(mesh, "peer-2")).toContain("\nEndpoint = a.example:1\n");
  });

  test("keepalive: other values, and none", () => {
    expect(text(fresh({ keepaliveSeconds: 10 }), "peer-2")).toContain("PersistentKeepalive = 10\n");
    expect(text(fresh({ keepaliveSeconds: 0 }), "peer-2")).not.toContain("Keepalive");
  });
});

describe("a second run", () => {
  const mesh = fresh({ psk: true });
  const again = parseMesh(formatMesh(mesh), "mesh.json");

  test("what is stored is what was made: all texts are the same", () => {
    for (const name of names(mesh)) expect(text(again, name)).toBe(text(mesh, name));
    expect(formatMesh(updated(again, {}))).toBe(formatMesh(mesh));
    expect(formatMesh(updated(again, { prefixes: V4, endpoints: HUB, peers: 3, psk: true }))).toBe(
      formatMesh(mesh),
    );
  });

  test("one more changes its own file and the hub's; so does one that goes, whose number is free again", () => {
    const more = updated(mesh, { machines: ["laptop"] });
    expect(touched(mesh, more)).toEqual(["change hub", "add laptop"]);
    const less = updated(more, { remove: ["peer-3"] });
    expect(touched(more, less)).toEqual(["change hub", "remove peer-3"]);
    expect(text(less, "hub")).not.toContain("peer-3");
    const next = updated(less, { machines: ["phone"] });
    expect(next.machines.find((machine) => machine.name === "phone")?.number).toBe(3);
    expect(touched(less, next)).toEqual(["change hub", "add phone"]);
  });

  test("a new key changes its own file and the hub's, and no other pair's pre-shared key", () => {
    const turned = updated(mesh, { rotate: ["peer-3"] });
    expect(changesBetween(filesOf(mesh), filesOf(turned))).toEqual([
      {
        machine: "hub",
        action: "change",
        details: ["peer peer-3: new key", "peer peer-3: new pre-shared key"],
      },
      { machine: "peer-3", action: "change", details: ["new key", "peer hub: new pre-shared key"] },
    ]);
  });

  test("settings are kept, changed, and taken back; what changes is told without a key", () => {
    const set = updated(mesh, {
      mtuBytes: 1400,
      dns: [parseIp("10.6.0.1")],
      forward: true,
      listenPort: 5000,
    });
    expect(updated(set, {})).toMatchObject({ mtuBytes: 1400, forward: true, listenPort: 5000 });
    const changes = changesBetween(filesOf(mesh), filesOf(set));
    expect(changes[0]?.details).toEqual([
      "listen port 51820 → 5000",
      "MTU 1400",
      "forwards between its peers",
    ]);
    expect(changes[1]?.details).toEqual(["MTU 1400", "DNS 10.6.0.1"]);
    const back = updated(set, { without: ["mtu", "dns", "forward", "psk"] });
    expect(back.pairSeed).toBeUndefined();
    expect(formatMesh(updated(back, { listenPort: 51820, psk: true }))).not.toBe(formatMesh(mesh));
    expect(JSON.stringify(changes)).not.toMatch(/[A-Za-z0-9+/]{43}=/);
  });

  test("an endpoint replaces what the hub had", () => {
    const moved = updated(mesh, { endpoints: ["new.example.com:1"] });
    expect(touched(mesh, moved)).toEqual(["change peer-2", "change peer-3", "change peer-4"]);
  });

  test("pre-shared keys: the same at both ends, another for each pair", () => {
    const keys = [...filesOf(mesh)].flatMap(([name, file]) =>
      file.peers.map((peer) => [[name, peer.name].sort().join(), peer.presharedKey?.toFile()]),
    );
    const byPair = new Map<string, Set<string>>();
    for (const [pair, key] of keys as [string, string][])
      byPair.set(pair, (byPair.get(pair) ?? new Set()).add(key));
    expect([...byPair.values()].every((set) => set.size === 1)).toBe(true);
    expect(new Set(keys.map(([, key]) => key)).size).toBe(byPair.size);
  });

  test("a file that is damaged, or newer, is refused without telling what is in it", () => {
    const read = (change: (json: Record<string, unknown>) => void) => {
      const json = JSON.parse(formatMesh(mesh));
      change(json);
      return () => parseMesh(JSON.stringify(json), "wg/mesh.json");
    };
    expect(() => parseMesh("{", "wg/mesh.json")).toThrow(
      "Cannot read wg/mesh.json: it is not JSON; restore it",
    );
    expect(read((json) => (json.version = 2))).toThrow("a newer version of causeway wrote it");
    expect(read((json) => (json.prefixes = ["10.6.0.1/24"]))).toThrow("has bits set after its length");
    expect(read((json) => ((json.machines as { name: string }[])[1]!.name = "../x"))).toThrow(
      "machines.1.name is damaged",
    );
    expect(read((json) => ((json.machines as { name: string }[])[1]!.name = "hub"))).toThrow("the same name");
    expect(read((json) => ((json.machines as { hub: string }[])[1]!.hub = "peer-4"))).toThrow(
      "which is no hub",
    );
    const secret = JSON.parse(formatMesh(mesh)).machines[0].privateKey as string;
    let said = "";
    try {
      read((json) => ((json.machines as { privateKey: string }[])[0]!.privateKey = secret.slice(1)))();
    } catch (error) {
      said = String(error);
    }
    expect(said).toContain("not a secret key");
    expect(said).not.toContain(secret.slice(1));
  });
});

describe("other shapes", () => {
  test("full mesh: n·(n−1) entries where all can be called; who cannot keeps the way open", () => {
    const machines = ["a=192.0.2.1:1", "b=192.0.2.2:1", "c=192.0.2.3:1"];
    const all = fresh({ topology: "full", machines, peers: 3 });
    expect(links(all)).toHaveLength(12);
    expect(text(all, "a")).not.toContain("Keepalive");
    expect(text(all, "a")).toContain("ListenPort = 51820");
    const mesh = fresh({ topology: "full", machines: ["a=192.0.2.1:1", "b", "c"], peers: 3 });
    expect(links(mesh)).toEqual([
      "hub>a 10.6.0.2/32",
      "hub>b 10.6.0.3/32",
      "hub>c 10.6.0.4/32",
      "a>hub 10.6.0.0/24",
      "a>b 10.6.0.3/32",
      "a>c 10.6.0.4/32",
      "b>hub 10.6.0.0/24",
      "b>a 10.6.0.2/32",
      "c>hub 10.6.0.0/24",
      "c>a 10.6.0.2/32",
    ]);
    expect(text(mesh, "b").match(/PersistentKeepalive = 25/g)).toHaveLength(2);
    expect(text(mesh, "a")).not.toContain("Keepalive");
    expect(touched(mesh, updated(mesh, { machines: ["d"] }))).toEqual(["change hub", "change a", "add d"]);
  });

  test("sites: machines go to their hub, hubs to each other's sites", () => {
    const mesh = updated(undefined, {
      prefixes: V4,
      endpoints: ["berlin=192.0.2.1:1", "paris=192.0.2.2:1"],
      machines: ["x@paris", "y", "z"],
    });
    expect(mesh.topology).toBe("sites");
    expect(links(mesh)).toEqual([
      "berlin>paris 10.6.0.2/32 10.6.0.3/32",
      "berlin>y 10.6.0.4/32",
      "berlin>z 10.6.0.5/32",
      "paris>berlin 10.6.0.1/32 10.6.0.4/32 10.6.0.5/32",
      "paris>x 10.6.0.3/32",
      "x>paris 10.6.0.0/24",
      "y>berlin 10.6.0.0/24",
      "z>berlin 10.6.0.0/24",
    ]);
    expect(touched(mesh, updated(mesh, { machines: ["v@paris"] }))).toEqual([
      "change berlin",
      "change paris",
      "add v",
    ]);
    const moved = updated(mesh, { machines: ["z@paris"] });
    expect(links(moved)).toContain("z>paris 10.6.0.0/24");
    expect(() => updated(mesh, { remove: ["paris"] })).toThrow("paris is a hub, of x; without it");
  });

  test.each([
    ["10.6.0.0/29", 6],
    ["10.6.0.0/30", 2],
    ["10.6.0.0/22", 254],
    ["10.0.0.0/16", 254],
    ["fd06::/126", 2],
    ["fd06::/64", 254],
  ])("%s: %i machines, unless more are asked for", (prefix, count) => {
    const mesh = updated(undefined, { prefixes: [parsePrefix(prefix)], endpoints: HUB });
    expect(mesh.machines).toHaveLength(count);
  });

  test("a /22 takes 1021 machines and no more", () => {
    const prefixes = [parsePrefix("10.6.0.0/22")];
    const mesh = updated(undefined, { prefixes, endpoints: HUB, peers: 1021 });
    expect(text(mesh, "peer-1022")).toContain("Address = 10.6.3.254/22");
    expect(() => updated(mesh, { peers: 1022 })).toThrow("10.6.0.0/22 has addresses for 1022 machines");
  });
});

describe("what cannot be is refused with its reason", () => {
  const refused: readonly [Wishes, string][] = [
    [{ prefixes: [] }, "no network is given"],
    [{ prefixes: [parsePrefix("10.6.0.0/31")] }, "too small for a hub and one more machine; give a /30"],
    [{ prefixes: [parsePrefix("fd06::/127")] }, "give a /126 or larger"],
    [{ prefixes: [parsePrefix("10.6.0.0/29")], peers: 6 }, "addresses for 6 machines"],
    [{ prefixes: [...V4, parsePrefix("10.7.0.0/24")] }, "one network of a family"],
    [{ prefixes: [parsePrefix("127.0.0.0/8")] }, "overlaps 127.0.0.0/8, which is reserved"],
    [{ endpoints: [] }, "no endpoint is given"],
    [{ endpoints: ["hub.example.com"] }, 'the endpoint "hub.example.com" is not host:port'],
    [{ endpoints: ["hub.example.com:0"] }, "is not host:port"],
    [{ endpoints: ["1.2.3:51820"] }, "is not host:port"],
    [{ endpoints: ["a.example:1\nx"] }, "is not host:port"],
    [{ endpoints: ["10.6.0.9:51820"] }, "the mesh's own network"],
    [{ endpoints: ["A=a.example:1"] }, 'the name "A" is not a name'],
    [{ endpoints: ["a=a.example:1", "b=b.example:1"], topology: "full" }, "a, b are several hubs"],
    [{ endpoints: ["a.example:1", "a.example:1"] }, "a.example:1 is given twice for hub"],
    [{ machines: ["x=a.example:1", "y=a.example:1"] }, "is given to x and to y"],
    [{ machines: ["x", "x"] }, "the name x is given twice"],
    [{ machines: ["hub"] }, "hub is a hub; every machine has a name of its own"],
    [{ machines: ["mesh.json"] }, 'the name "mesh.json" is not possible'],
    [{ machines: ["../x"] }, 'the name "../x" is not a name'],
    [{ machines: ["x@nowhere"] }, "there is no hub nowhere"],
    [{ machines: ["x", "y@x"] }, "x, to which y shall belong, is no hub"],
    [
      { machines: ["peer-2", "peer-3"], peers: 2, remove: ["x"] },
      "no machine is named x, so it cannot be removed",
    ],
    [{ rotate: ["x"] }, "so it cannot be given new keys"],
    [{ interfaceName: "../../etc" }, "is no name of an interface"],
    [{ interfaceName: "much-too-long-a-name" }, "is no name of an interface"],
    [{ mtuBytes: 1000 }, "the MTU is 1000; give 1280 to 65535"],
    [{ listenPort: 0 }, "the port is 0"],
    [{ keepaliveSeconds: 70000 }, "the keepalive is 70000"],
    [{ dns: [parseIp("fd06::1")] }, "fd06::1 is of a family that the mesh has not"],
    [{ prefixes: [parsePrefix("10.0.0.0/8")], peers: 4096 }, "4097 machines are more than the 4096"],
    [
      { prefixes: [parsePrefix("10.0.0.0/8")], peers: 512, topology: "full" },
      "513 machines are more than the 512",
    ],
  ];
  for (const [wishes, message] of refused) test(message, () => expect(() => fresh(wishes)).toThrow(message));

  test("on a second run: another network, fewer machines, the last hub", () => {
    const mesh = fresh();
    expect(() => updated(mesh, { prefixes: BOTH })).toThrow("nothing is renumbered; use another folder for");
    expect(() => updated(mesh, { peers: 2 })).toThrow("there are 3 machines beside the hubs, more than 2");
    expect(() => updated(mesh, { remove: ["hub"] })).toThrow("hub is a hub, of peer-2");
    expect(() => updated(mesh, { endpoints: ["peer-2=a.example:1"] })).toThrow(
      "peer-2 is no hub; give its endpoint as",
    );
  });
});

describe("as the beginning of a mesh of Causeway", () => {
  test("hub, networks, and all others as peers, with numbers and pre-shared keys", () => {
    const mesh = fresh({ prefixes: BOTH, psk: true, mtuBytes: 1400, listenPort: 4500 });
    const imported = importOf(mesh);
    expect(imported).toMatchObject({
      overlay4: BOTH[0],
      overlay6: BOTH[1],
      endpoints: HUB,
      listenPort: 4500,
      mtuBytes: 1400,
      nodeBits: 8,
      hub: { name: "hub", number: 1 },
    });
    expect(
      imported.peers.map((peer) => [
        peer.name,
        peer.number,
        formatIp(peer.overlay4!),
        formatIp(peer.overlay6!),
      ]),
    ).toEqual([
      ["peer-2", 2, "10.6.0.2", "fd06::2"],
      ["peer-3", 3, "10.6.0.3", "fd06::3"],
      ["peer-4", 4, "10.6.0.4", "fd06::4"],
    ]);
    const file = filesOf(mesh).get("peer-3")?.peers[0];
    expect(imported.peers[1]?.presharedKey?.toFile()).toBe(file?.presharedKey?.toFile() as string);
  });

  test("pod ranges for all of them; one family alone; no pre-shared keys where there are none", () => {
    const large = updated(undefined, { prefixes: [parsePrefix("10.6.0.0/16")], endpoints: HUB, peers: 600 });
    expect(importOf(large).nodeBits).toBe(10);
    const six = importOf(fresh({ prefixes: [parsePrefix("fd06::/64")] }));
    expect(six.overlay4).toBeUndefined();
    expect(Object.keys(six.peers[0] ?? {}).sort()).toEqual(["name", "number", "overlay6", "publicKey"]);
  });

  test("sites are not: a mesh begins with one hub", () => {
    const mesh = fresh({ endpoints: ["a=a.example:1", "b=b.example:1"] });
    expect(() => importOf(mesh)).toThrow("with 2 hubs (a, b): a mesh begins with one hub");
  });
});
