/** bench engine: what planning and applying cost, and whether one change costs what it touches. Works in its own namespaces. */
import { writeFileSync } from "node:fs";
import { Engine, type KernelObject } from "../src/engine/mod.ts";
import {
  formatIp,
  formatMac,
  hostPrefix,
  type Ip,
  ipPlus,
  type Mac,
  mac,
  parseInterfaceAddress,
  parseIp,
} from "../src/net/mod.ts";
import { createNetns, Netns, removeNetns, removeTree } from "../src/sys/mod.ts";
import { type Bench, compare, type Row, timeMs } from "./measure.ts";

const FOLDER = `/run/causeway-test/${process.pid}-bench`;
const GATEWAY = parseIp("10.0.0.2");

/** Place is one namespace with a bridge in it, for us or for them. */
class Place implements Disposable {
  static #serial = 0;
  readonly netns: Netns;
  readonly #path = `${FOLDER}/${Place.#serial++}`;

  constructor() {
    createNetns(this.#path);
    this.netns = Netns.open(this.#path);
  }

  /** run runs a program to its end; its output is read, as whoever asks for it would. */
  run(...command: string[]): void {
    const done = this.netns.run(() => Bun.spawnSync(command));
    if (done.exitCode !== 0) throw new Error(`${command.join(" ")}: ${done.stderr.toString()}`);
  }

  [Symbol.dispose](): void {
    this.netns.close();
    removeNetns(this.#path);
  }
}

const base: readonly KernelObject[] = [
  { kind: "link", name: "br0", type: "bridge" },
  { kind: "address", link: "br0", address: parseInterfaceAddress("10.0.0.1/16") },
  {
    kind: "ruleset",
    family: "bridge",
    text: "set pods { type ifname . ether_addr; }\nchain c { type filter hook input priority 0; iifname . ether saddr @pods accept; }",
  },
];

function podIp(index: number): Ip {
  return ipPlus(parseIp("10.100.0.0"), BigInt(index));
}

function podMac(index: number): Mac {
  return mac(0x020000000000 + index);
}

function route(index: number, mtuBytes: number): KernelObject {
  return {
    kind: "route",
    destination: hostPrefix(podIp(index)),
    hops: [{ via: GATEWAY, dev: "br0" }],
    mtuBytes,
  };
}

function neighbour(index: number): KernelObject {
  return {
    kind: "neighbour",
    link: "br0",
    ip: ipPlus(parseIp("10.0.1.0"), BigInt(index)),
    mac: podMac(index),
  };
}

function element(index: number): KernelObject {
  return { kind: "element", family: "bridge", set: "pods", key: [`cw${index}`, formatMac(podMac(index))] };
}

/** Fills an engine with scopes of four objects, and applies them. */
function fill(engine: Engine, objects: number): void {
  engine.set("base", base);
  for (let i = 0; i < objects / 4; i++)
    engine.set(`pod/${i}`, [route(2 * i, 1400), route(2 * i + 1, 1400), neighbour(i), element(i)]);
  const { failed } = engine.apply();
  if (failed.length > 0) throw new Error(`${failed.length} objects failed: ${failed[0]?.reason}`);
}

function plans(): Row[] {
  using place = new Place();
  using engine = Engine.open({ netns: place.netns });
  fill(engine, 10_000);
  const read = () =>
    timeMs(() => {
      place.run("ip", "-j", "route", "show", "proto", "67");
      place.run("ip", "-j", "neigh", "show", "nud", "permanent");
      place.run("nft", "-j", "list", "table", "bridge", "causeway");
    });
  const expectNothing = (steps: number) => {
    if (steps !== 0) throw new Error(`${steps} steps are planned though all is applied`);
  };
  const peer = "ip -j route, ip -j neigh, nft -j list: reading the same objects, without comparing them";
  return [
    compare({
      case: "plan-10000",
      unit: "ms",
      peer,
      runs: 15,
      ours: () => timeMs(() => expectNothing(engine.plan().steps.length)),
      theirs: read,
    }),
    compare({
      case: "round-10000 (read anew and compare)",
      unit: "ms",
      peer,
      runs: 15,
      ours: () => timeMs(() => expectNothing(engine.round().applied)),
      theirs: read,
    }),
  ];
}

function changeOne(objects: number): Row {
  using place = new Place();
  using engine = Engine.open({ netns: place.netns });
  fill(engine, objects);
  let mtuBytes = 1000;
  return compare({
    case: objects === 10_000 ? "change-1" : `change-1 of ${objects}`,
    unit: "ms",
    peer: `one process: ip route replace, with ${objects} objects in place`,
    runs: 100,
    warmUp: 50,
    ours: () => {
      const objects = [route(0, ++mtuBytes), route(1, 1400), neighbour(0), element(0)];
      return timeMs(() => {
        engine.set("pod/0", objects);
        if (engine.apply("pod/0").applied !== 1) throw new Error("the change was not applied");
      });
    },
    theirs: () =>
      timeMs(() =>
        place.run("ip", "route", "replace", "10.99.0.1/32", "via", "10.0.0.2", "mtu", String(++mtuBytes)),
      ),
  });
}

function applyPods(): Row {
  const pods = [...Array(1000).keys()];
  const scopes = pods.map((i): KernelObject[] => [
    {
      kind: "link",
      name: `cw${i}`,
      type: "veth",
      peer: { name: `eth${i}`, mac: podMac(i) },
      master: "br0",
      addrGen: "none",
      port: { isolated: true },
    },
    neighbour(i),
    element(i),
  ]);
  const links = pods.map((i) =>
    [
      `link add cw${i} master br0 type veth peer name eth${i} address ${formatMac(podMac(i))}`,
      `link set cw${i} addrgenmode none`,
      `link set cw${i} alias causeway up`,
      `link set cw${i} type bridge_slave isolated on`,
      `neigh add ${formatIp(ipPlus(parseIp("10.0.1.0"), BigInt(i)))} lladdr ${formatMac(podMac(i))} dev br0 nud permanent`,
    ].join("\n"),
  );
  const elements = pods.map((i) => `"cw${i}" . ${formatMac(podMac(i))}`);
  writeFileSync(`${FOLDER}/links`, `${links.join("\n")}\n`);
  writeFileSync(`${FOLDER}/elements`, `add element bridge causeway pods { ${elements.join(", ")} }\n`);
  const prepared = (work: (place: Place, engine: Engine) => number): number => {
    using place = new Place();
    using engine = Engine.open({ netns: place.netns });
    engine.set("base", base);
    engine.apply();
    return work(place, engine);
  };
  return compare({
    case: "apply-1000-pods",
    unit: "ms",
    peer: "ip -batch and nft -f with the same links, neighbours and elements",
    runs: 5,
    warmUp: 1,
    ours: () =>
      prepared((_place, engine) =>
        timeMs(() => {
          for (const [i, objects] of scopes.entries()) engine.set(`pod/${i}`, objects);
          const { applied, failed } = engine.apply();
          if (applied < 3000 || failed.length > 0)
            throw new Error(`applied ${applied}: ${failed[0]?.reason}`);
        }),
      ),
    theirs: () =>
      prepared((place) =>
        timeMs(() => {
          place.run("ip", "-batch", `${FOLDER}/links`);
          place.run("nft", "-f", `${FOLDER}/elements`);
        }),
      ),
  });
}

/** bench is what `bench engine` runs. */
export const bench: Bench = {
  about: "plan 10,000 objects; one change among 100, 1,000 and 10,000; apply 1,000 pods",
  run() {
    try {
      return [...plans(), changeOne(100), changeOne(1000), changeOne(10_000), applyPods()];
    } finally {
      removeTree(FOLDER);
    }
  },
};
