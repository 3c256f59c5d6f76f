/**
 * An engine in bad weather, for a process of its own: run it in a namespace, without capabilities, so that nf_tables refuses even to be
 * listened to. Prints one JSON object. With the argument `bug` a callback of ours throws a TypeError.
 */
import { Engine, type KernelObject, type ObjectStatus } from "../../src/engine/mod.ts";
import { PrivateKey } from "../../src/net/mod.ts";

const bug = process.argv[2] === "bug";
const publicKey = PrivateKey.random().publicKey;
let reads = 0;

/** A WireGuard device that cannot be read, nor even be closed, and works from the third time on. */
const device = {
  read() {
    if (++reads < 3) throw new Error("the device has no answer");
    return {
      publicKey,
      listenPort: 0,
      peers: [{ publicKey, allowedIps: [], presharedKey: false, rxBytes: 0, txBytes: 0 }],
    };
  },
  change() {},
  [Symbol.dispose]() {
    throw new Error("the device cannot be closed");
  },
};

const changes: ObjectStatus[] = [];
const engine = Engine.open({
  wireguard: () => device,
  onChange: (status) => {
    if (bug) throw new TypeError("a mistake of ours");
    changes.push(status);
  },
});
const table: KernelObject[] = [
  { kind: "ruleset", family: "inet", text: "set s { type ipv4_addr; }" },
  { kind: "element", family: "inet", set: "s", key: ["10.0.0.1"] },
];

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await Bun.sleep(5);
}

const of = (kind: string) => engine.status().find((status) => status.key.startsWith(kind));

engine.set("table", table);
engine.set("peer", [{ kind: "peer", link: "lo", publicKey, allowedIps: [] }]);
engine.start();
await until(() => of("ruleset")?.state === "failed" && of("element")?.state === "failed");
await until(() => of("peer")?.state === "ready");
const { reason, sinceMs, nextTryMs = 0 } = of("ruleset") as ObjectStatus;
const tries = () => changes.length;
engine.remove("table");
await until(() => of("ruleset")?.state === "failed");
console.log(
  JSON.stringify({
    reason,
    retried: nextTryMs > sinceMs && tries() > 0,
    removal: of("ruleset")?.reason,
    reads: reads >= 3,
  }),
);
engine[Symbol.dispose]();
