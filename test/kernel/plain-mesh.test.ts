/**
 * Generated files and the real programs: wg-quick(8) strips them, wg(8) takes what is left, and machines that `wg-quick up` makes of them,
 * each in a namespace with wireguard-go, reach each other. Nothing of Causeway runs there.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { createNetns, Netns, removeNetns, removeTree, run, runSync, which } from "../../src/sys/mod.ts";
import { notRoot } from "../support/scratch.ts";
import { until } from "../support/tunnel-pair.ts";

setDefaultTimeout(180_000);
const needs = ["wg", "wg-quick", "wireguard-go", "ip", "iptables", "ping", "unshare", "nsenter"].find(
  (name) => which(name) === undefined,
);
const skip = notRoot ?? (needs === undefined ? undefined : `needs ${needs}`);
const command =
  process.env.CAUSEWAY_EXECUTABLE === undefined
    ? [process.execPath, `${import.meta.dir}/../../src/main.ts`]
    : [process.env.CAUSEWAY_EXECUTABLE];

const base = `/run/causeway-test/${process.pid}-plain`;

/** Place is a cable plan: machines at one switch, each in a namespace of its own. */
class Place {
  readonly #spaces = new Map<string, Netns>();
  readonly #switch: Netns;

  constructor(addresses: Readonly<Record<string, string>>) {
    this.#switch = this.#space("switch");
    this.ip("switch", "link add br0 type bridge");
    this.ip("switch", "link set br0 up");
    let port = 0;
    for (const [name, address] of Object.entries(addresses)) {
      this.#space(name);
      const cable = `p${++port}`;
      this.ip(
        name,
        `link add eth0 type veth peer name ${cable} netns /proc/${process.pid}/fd/${this.#switch.fd.number}`,
      );
      this.ip("switch", `link set ${cable} master br0 up`);
      this.ip(name, "link set lo up");
      this.ip(name, `addr add ${address}/24 dev eth0`);
      this.ip(name, "link set eth0 up");
    }
  }

  #space(name: string): Netns {
    createNetns(`${base}/net/${name}`);
    const space = Netns.open(`${base}/net/${name}`);
    this.#spaces.set(name, space);
    return space;
  }

  space(name: string): Netns {
    return this.#spaces.get(name) as Netns;
  }

  ip(name: string, words: string): string {
    return must(runSync(["ip", ...words.split(" ")], { netns: this.space(name) }), `ip ${words}`);
  }

  /** up runs `wg-quick up` with a folder of sockets of its own: all interfaces have the same name. */
  async up(name: string, file: string): Promise<void> {
    const script = 'mkdir -p /run/wireguard && mount -t tmpfs none /run/wireguard && exec wg-quick up "$0"';
    const argv = ["unshare", "-m", "sh", "-c", script, file];
    const done = await run(argv, { netns: this.space(name), timeoutMs: 30_000 });
    must(done, `wg-quick up ${file}`);
  }

  /** sync gives a machine that is up its new file, as its operator would. */
  async sync(name: string, file: string): Promise<void> {
    const inode = statSync(`${base}/net/${name}`).ino;
    const [pid] = left().filter((process) => statSync(`/proc/${process}/ns/net`).ino === inode);
    const script = 'wg-quick strip "$0" > /run/wireguard/stripped && wg syncconf wg0 /run/wireguard/stripped';
    must(await run(["nsenter", "-t", `${pid}`, "-m", "-n", "sh", "-c", script, file]), `wg syncconf ${file}`);
  }

  /** down removes the link, with which wireguard-go ends. */
  down(name: string, link: string): void {
    runSync(["ip", "link", "del", link], { netns: this.space(name) });
  }

  /** The first one may come before an IPv6 address is sure to be nobody else's: it goes on asking. */
  async pings(from: string, to: string): Promise<boolean> {
    const argv = ["ping", "-n", "-c", "1", "-w", "15", to];
    return (await run(argv, { netns: this.space(from) })).status === 0;
  }

  [Symbol.dispose](): void {
    for (const [name, space] of this.#spaces) {
      this.down(name, "wg0");
      space.close();
      removeNetns(`${base}/net/${name}`);
    }
  }
}

function must(
  done: { readonly status: number | null; readonly stdout: string; readonly stderr: string },
  what: string,
): string {
  if (done.status !== 0) throw new Error(`${what}: ${done.stderr.trim()}`);
  return done.stdout;
}

function generate(folder: string, ...args: string[]): string {
  const argv = [...command, "mesh", "generate", "--output", `${base}/${folder}`, ...args];
  return must(runSync(argv, { timeoutMs: 60_000 }), argv.join(" "));
}

/** Names of processes of wireguard-go that live in our namespaces. */
function left(): number[] {
  const inodes = new Set<string>();
  for (const name of readdirSync(`${base}/net`)) inodes.add(String(statSync(`${base}/net/${name}`).ino));
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return inodes.has(String(statSync(`/proc/${pid}/ns/net`).ino));
      } catch {
        return false;
      }
    })
    .map(Number)
    .filter((pid) => pid !== process.pid);
}

describe.skipIf(skip !== undefined)(
  `a generated mesh and the real programs${skip === undefined ? "" : ` (${skip})`}`,
  () => {
    beforeAll(() => removeTree(base));
    afterAll(() => removeTree(base));

    test("what `wg-quick strip` leaves of every file is what `wg setconf` takes, and the device has it all", async () => {
      using place = new Place({ any: "192.0.2.1" });
      generate(
        "all",
        "10.6.0.0/28",
        "fd06::/120",
        "--endpoint",
        "192.0.2.1:15220",
        "--endpoint",
        "[2001:db8::1]:51820",
        "--peers",
        "13",
        "--psk",
        "--forward",
        "--mtu",
        "1380",
        "--dns",
        "10.6.0.1",
        "--topology",
        "full",
        "--peer",
        "a=192.0.2.7:51820",
        "--peer",
        "b",
      );
      const { machines } = JSON.parse(generate("all", "--dry-run", "--json"));
      expect(machines).toHaveLength(14);
      const script =
        'mount -t tmpfs none /run/wireguard; wireguard-go wg1; for file; do wg-quick strip "$file" > /run/wireguard/c && wg setconf wg1 /run/wireguard/c && wg showconf wg1 || exit 1; echo @@; done';
      const files = machines.map(({ file }: { readonly file: string }) => `${base}/all/${file}`);
      const done = await run(["unshare", "-m", "sh", "-c", script, "sh", ...files], {
        netns: place.space("any"),
        timeoutMs: 60_000,
      });
      place.down("any", "wg1");
      const shown = must(done, "wg setconf")
        .split("@@\n")
        .filter((text) => text.trim() !== "");
      expect(done.stderr).not.toContain("world accessible");
      expect(shown.map((text) => (text.match(/^\[Peer\]/gm) ?? []).length)).toEqual([
        13,
        13,
        ...Array(12).fill(2),
      ]);
      for (const [i, text] of shown.entries()) {
        const file = readFileSync(files[i] as string, "utf8");
        const lines = (of: string, keys: RegExp) =>
          of
            .split("\n")
            .filter((line) => keys.test(line))
            .sort();
        const same = /^(?:PublicKey|PresharedKey|PrivateKey|Endpoint|PersistentKeepalive)/;
        expect(lines(text, same)).toEqual(lines(file, same));
      }
      await until("wireguard-go has ended", () => left().length === 0);
    });

    const shapes: readonly (readonly [string, readonly string[], boolean])[] = [
      ["hub and spokes", ["--endpoint", "192.0.2.1:51820", "--peer", "a", "--peer", "b"], false],
      [
        "hub and spokes with pre-shared keys",
        ["--endpoint", "192.0.2.1:51820", "--peer", "a", "--peer", "b", "--psk"],
        false,
      ],
      [
        "full mesh",
        ["--endpoint", "192.0.2.1:51820", "--topology", "full", "--peer", "a=192.0.2.2:51820", "--peer", "b"],
        true,
      ],
    ];
    for (const [shape, args, direct] of shapes)
      test(`three machines that wg-quick brings up reach each other: ${shape}`, async () => {
        using place = new Place({ hub: "192.0.2.1", a: "192.0.2.2", b: "192.0.2.3" });
        const folder = shape.replaceAll(" ", "-");
        generate(folder, "10.6.0.0/24", "fd06::/64", ...args, "--forward");
        for (const name of ["hub", "a", "b"]) await place.up(name, `${base}/${folder}/${name}/wg0.conf`);
        // The hub is told of no address of theirs: they call first.
        for (const from of ["b", "a", "hub"])
          for (const to of ["10.6.0.1", "10.6.0.2", "10.6.0.3", "fd06::1", "fd06::2", "fd06::3"])
            expect(await place.pings(from, to), `${from} ${to}`).toBe(true);
        if (direct) {
          // Without the hub those of whom one has an endpoint still do, the hub's own network is gone.
          place.down("hub", "wg0");
          expect(await place.pings("b", "10.6.0.2")).toBe(true);
          expect(await place.pings("a", "fd06::3")).toBe(true);
        }
        for (const name of ["hub", "a", "b"]) place.down(name, "wg0");
        await until("wireguard-go has ended", () => left().length === 0);
      });

    test("a machine that is revoked is not heard any more once the hub has its new file; the others notice nothing", async () => {
      using place = new Place({ hub: "192.0.2.1", a: "192.0.2.2", b: "192.0.2.3" });
      generate(
        "revoked",
        "10.6.0.0/24",
        "--endpoint",
        "192.0.2.1:51820",
        "--peer",
        "a",
        "--peer",
        "b",
        "--forward",
      );
      for (const name of ["hub", "a", "b"]) await place.up(name, `${base}/revoked/${name}/wg0.conf`);
      expect(await place.pings("b", "10.6.0.2")).toBe(true);
      const before = readFileSync(`${base}/revoked/a/wg0.conf`, "utf8");
      generate("revoked", "--remove", "b");
      expect(readdirSync(`${base}/revoked`).sort()).toEqual(["a", "hub", "mesh.json"]);
      expect(readFileSync(`${base}/revoked/a/wg0.conf`, "utf8")).toBe(before);
      await place.sync("hub", `${base}/revoked/hub/wg0.conf`);
      expect(await place.pings("a", "10.6.0.1")).toBe(true);
      const argv = ["ping", "-n", "-c", "3", "-W", "1", "10.6.0.1"];
      expect((await run(argv, { netns: place.space("b") })).status).toBe(1);
    });
  },
);
