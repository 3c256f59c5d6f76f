/**
 * A node changes its key while packets flow to it and from it, directly and through a relay, and so do the pre-shared keys of all pairs: every
 * packet is counted.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { runSync } from "../../src/sys/mod.ts";
import { CountedFlow } from "../support/counted-flow.ts";
import { executable } from "../support/lab-needs.ts";
import { ownLacks } from "../support/own-needs.ts";
import { lacksTool } from "../support/scratch.ts";
import { SmallMesh } from "../support/small-mesh.ts";
import { tool } from "../support/tunnel-pair.ts";

setDefaultTimeout(300_000);
const PER_SECOND = 200;
const OURS = ["--tunnel", "user"];
/** No way from ann to bob but by the hub. */
const APART = "table ip apart { chain o { type filter hook output priority 0; ip daddr 10.77.0.3 drop; }; }";

/** In the node's own folder of sockets. */
const WG_SHOW = [
  'cd "$0"',
  "mount -n -t tmpfs node /run",
  "mkdir /run/wireguard",
  "mount -n --bind wireguard /run/wireguard",
  "wg show cw0 preshared-keys",
].join(" && ");
const cannot = ownLacks ?? lacksTool("wg");

describe.skipIf(cannot !== undefined)(`a change of key${cannot === undefined ? "" : ` (${cannot})`}`, () => {
  let mesh: SmallMesh;
  let port = 7_000;

  beforeAll(async () => {
    mesh = await SmallMesh.open(
      [executable],
      ["hub", "ann", "bob"].map((name) => ({ name, agentOptions: OURS })),
    );
    await Promise.all(["hub", "ann", "bob"].map((name) => mesh.start(name)));
    const given = { endpoints: [`${mesh.node("hub").address}:51820`], exposedPorts: [] };
    await mesh.ask("hub", { op: "init", name: "hub", ...given });
    const { token } = await mesh.ask("hub", { op: "token-create", uses: 2, expiresMs: 3_600_000 });
    for (const name of ["ann", "bob"]) await mesh.ask(name, { op: "join", name, token, endpoints: [] });
    const { resource } = await mesh.ask("hub", { op: "mesh-show" });
    const { spec, ...rest } = resource as { spec: object };
    const manifest = JSON.stringify({ ...rest, spec: { ...spec, presharedKeys: true } });
    await mesh.ask("hub", { op: "mesh-apply", manifest });
  });
  afterAll(async () => {
    await mesh?.[Symbol.asyncDispose]();
  });

  const path = (...kinds: string[]) =>
    mesh.wait(`a path ${kinds.join(" or ")}`, async () => {
      for (const [one, other] of [
        ["ann", "bob"],
        ["bob", "ann"],
      ] as const) {
        const shown = await mesh.peer(one, other);
        if (!kinds.includes(shown?.path ?? "")) return `${one}: ${shown?.path}: ${shown?.reason}`;
      }
      return undefined;
    });
  const keyOf = async (name: string) =>
    (await mesh.ask("hub", { op: "node-list" })).nodes.find((node) => node.name === name)?.publicKey;

  async function flow(from: string, to: string): Promise<CountedFlow> {
    const address = (await mesh.ask("hub", { op: "node-list" })).nodes.find((node) => node.name === to)
      ?.overlay4 as string;
    const [source, sink] = [mesh.node(from).netns, mesh.node(to).netns];
    return new CountedFlow(source, { netns: sink, address, port: port++, perSecond: PER_SECOND });
  }

  /** What a node's tunnel mixes into handshakes with another, as wg(8) tells; undefined: nothing. */
  async function mixedIn(name: string, other: string): Promise<string | undefined> {
    const { netns, folder } = mesh.node(name);
    const shell = ["unshare", "--mount", "--propagation", "private", "sh", "-c", WG_SHOW, folder];
    const { stdout, stderr, status } = runSync(shell, { netns });
    if (status !== 0) throw new Error(`${name}: wg show: ${stderr}`);
    const key = await keyOf(other);
    const line = stdout.split("\n").find((one) => key !== undefined && one.startsWith(key));
    const psk = line?.split("\t")[1];
    return psk === "(none)" ? undefined : psk;
  }

  const PAIRS = [
    ["ann", "bob"],
    ["ann", "hub"],
    ["bob", "hub"],
  ] as const;

  /** Both ends of all pairs mix in the same, which none of them did before; returns it. */
  async function otherPsks(before: readonly (string | undefined)[]): Promise<(string | undefined)[]> {
    let keys: (string | undefined)[] = [];
    await mesh.wait("other pre-shared keys", async () => {
      keys = [];
      for (const [one, other] of PAIRS) {
        const [near, far] = [await mixedIn(one, other), await mixedIn(other, one)];
        if (near === undefined || near !== far || before.includes(near)) return `${one} and ${other}`;
        keys.push(near);
      }
      return undefined;
    });
    return keys;
  }

  /** Changes the key of a node and counts what was lost of each flow meanwhile. */
  async function change(
    name: string,
    first: () => Promise<void> = async () => {},
  ): Promise<Record<string, number>> {
    const before = await keyOf(name);
    const pairs = [
      ["ann", "bob"],
      ["bob", "ann"],
      [name, "hub"],
      ["hub", name],
    ] as const;
    const flows = await Promise.all(pairs.map(([from, to]) => flow(from, to)));
    await mesh.wait("all to flow", () =>
      flows.every(({ received }) => received > PER_SECOND) ? undefined : "not yet",
    );
    await first();
    await mesh.ask(name, { op: "node-rotate" });
    await mesh.wait("the other key", async () => ((await keyOf(name)) === before ? "not yet" : undefined));
    // What follows in the register and at the ends disturbs nobody either.
    await Bun.sleep(5_000);
    const lost: Record<string, number> = {};
    for (const [index, [from, to]] of pairs.entries())
      lost[`${from} → ${to}`] = (await (flows[index] as CountedFlow).stop()).lost;
    return lost;
  }

  test("of a node that is met directly loses nothing", async () => {
    await path("lan", "direct");
    expect(await change("ann")).toEqual({ "ann → bob": 0, "bob → ann": 0, "ann → hub": 0, "hub → ann": 0 });
    await path("lan", "direct");
  });

  test("of all pairs' pre-shared keys, and right after it of a node, so that handshakes need the new ones, loses nothing", async () => {
    const before = await otherPsks([]);
    expect(new Set(before).size).toBe(PAIRS.length);
    let now: readonly (string | undefined)[] = [];
    const lost = await change("ann", async () => {
      await mesh.ask("hub", { op: "psk-rotate" });
      now = await otherPsks(before);
    });
    expect(lost).toEqual({ "ann → bob": 0, "bob → ann": 0, "ann → hub": 0, "hub → ann": 0 });
    for (const name of ["hub", "ann", "bob"])
      for (const psk of [...before, ...now]) expect(mesh.log(name)).not.toContain(psk as string);
    await path("lan", "direct");
  });

  test("of a node that is met through the hub loses nothing", async () => {
    tool(mesh.node("ann").netns, "nft -f -", APART);
    await path("relay");
    // Until the peers that were made anew for the relay are the same for a while.
    await Bun.sleep(5_000);
    expect(await change("bob")).toEqual({ "ann → bob": 0, "bob → ann": 0, "bob → hub": 0, "hub → bob": 0 });
  });
});
