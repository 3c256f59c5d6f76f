/** Three hubs on a real etcd of three members with mutual TLS, through losses and returns. Prints one JSON object; run it inside a new namespace. */
import {
  Etcd,
  EtcdLog,
  etcdPrefix,
  Refusal,
  Register,
  Registrar,
  type Token,
  tokenUse,
} from "../../src/hub/mod.ts";
import { PrivateKey, SigningSecret } from "../../src/net/mod.ts";
import { newMesh } from "../../src/resources/mod.ts";
import { httpsPost, runSync, sleep, type TlsIdentity } from "../../src/sys/mod.ts";
import { Authority, EtcdCluster } from "./etcd.ts";

const EPOCH = "0123456789abcdef";
const SNAPSHOT_ENTRIES = 60;
const result: Record<string, unknown> = {};
const root = process.argv[2] as string;
runSync(["ip", "link", "set", "lo", "up"]);

await using cluster = new EtcdCluster(root);
cluster.startAll();
const signing = SigningSecret.random();
const nowMs = Date.now();

function etcdOf(identity: TlsIdentity): Etcd {
  return new Etcd({ endpoints: cluster.endpoints, tls: () => identity });
}

class Hub implements Disposable {
  readonly register = Register.open(":memory:");
  readonly registrar: Registrar;
  readonly problems: (string | undefined)[] = [];

  constructor(name: string) {
    const log = new EtcdLog(this.register, {
      etcd: etcdOf(cluster.authority.identity(name)),
      prefix: etcdPrefix(EPOCH),
      hub: name,
      snapshotEntries: SNAPSHOT_ENTRIES,
      onProblem: (problem) => this.problems.push(problem),
    });
    this.registrar = new Registrar(this.register, log);
  }

  [Symbol.dispose](): void {
    this.registrar[Symbol.dispose]();
    this.register.close();
  }
}

async function until<T>(
  what: string,
  look: () => T | undefined | false | Promise<T | undefined | false>,
): Promise<T> {
  for (let i = 0; i < 600; i++) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
    await sleep(50);
  }
  throw new Error(`it never came: ${what}`);
}

const dump = (hub: Hub) => JSON.stringify(hub.register.dump());
const message = (work: Promise<unknown>) =>
  work.then(
    () => "done",
    (error: Error) => error.message,
  );
const token = async (hub: Hub, uses = 1): Promise<Token> =>
  (
    await hub.registrar.createToken({
      uses,
      nowMs,
      expiresAtMs: nowMs + 3_600_000,
      signingKey: signing.publicKey,
    })
  ).token;
const join = (hub: Hub, from: Token, use: number, name: string) =>
  hub.registrar.registerNode(
    { address: tokenUse(from, use).address, publicKey: PrivateKey.random().publicKey, name, endpoints: [] },
    nowMs,
  );

using a = new Hub("a");
using b = new Hub("b");
let c = new Hub("c");
const mesh = newMesh("home", { endpoints: ["h:1"], overlay6: "fd01:2:3::/64" });
await until("the first leader", () =>
  a.registrar
    .init(mesh, { name: "a", publicKey: PrivateKey.random().publicKey, endpoints: [] }, EPOCH)
    .catch((error: unknown) => {
      if (error instanceof Refusal) return undefined;
      throw error;
    }),
);

// The watch tells others by itself.
await until("the mesh at b", () => b.register.initialised);
const first = await token(a, 200);
await join(b, first, 0, "n0");
await until("the node at all hubs", () => [a, b, c].every((hub) => hub.register.node("n0") !== undefined));
result.equal = dump(a) === dump(b) && dump(b) === dump(c);
result.revisions = new Set([a, b, c].map((hub) => hub.register.revision)).size;

// Who has not our authority's certificate is refused, on either side.
const other = new Authority(cluster.folder, "other");
const ours = cluster.authority.identity("x");
const theirs = other.identity("y");
const ask = (identity: TlsIdentity) =>
  message(etcdOf(identity).transact({ success: [{ range: "/causeway" }] }));
result.wrongCertificate = (await ask({ ...theirs, ca: ours.ca })).replace(/\(.*/, "");
result.wrongAuthority = (await ask({ ...ours, ca: theirs.ca })).replace(/\(.*/, "");
result.plain = await message(
  new Etcd({ endpoints: ["http://127.0.0.1:2379"], tls: () => undefined }).transact({
    success: [{ range: "/" }],
  }),
);
result.right = await ask(ours);

// One hub is away while the log is cut off behind it; one member is lost meanwhile.
c[Symbol.dispose]();
await cluster.kill(0);
for (let i = 1; i < 100; i++) {
  await join(i % 2 === 0 ? a : b, first, i, `n${i}`);
  await a.registrar.setConfigured("a", { endpoints: [`h:${i}`] });
}
result.afterOne = a.register.nodes().length;
const keys = async (prefix: string) => {
  const { read } = await etcdOf(ours).transact({
    success: [{ range: prefix, end: `${prefix.slice(0, -1)}0`, limit: 10_000 }],
  });
  return (read[0] ?? []).length;
};
await until("the snapshot", async () => (await keys(`${etcdPrefix(EPOCH)}/snapshot/`)) > 0);
await until("the cut", async () => (await keys(`${etcdPrefix(EPOCH)}/log/`)) < a.register.position);
await until("etcd forgets old revisions", async () => {
  const body = JSON.stringify({ key: Buffer.from("/causeway").toString("base64"), revision: "3" });
  const ask = { body, tls: ours, timeoutMs: 5000, maxBytes: 65536 };
  const { text } = await httpsPost({ ...ask, url: `${cluster.endpoints[1]}/v3/kv/range` });
  return text.includes("compacted");
});
c = new Hub("c");
await c.registrar.catchUp();
await Promise.all([a.registrar.catchUp(), b.registrar.catchUp()]);
result.caughtUp = dump(c) === dump(a) && dump(b) === dump(a);

// Both others: nobody has a majority.
await cluster.kill(1);
const refusal = await token(a).then(
  () => undefined,
  (error: unknown) => error,
);
result.refused = refusal instanceof Refusal ? refusal.code : String(refusal);
const words =
  /^Cannot write the register now: etcd has no majority \(.*no leader.*\); reading and relaying go on/;
result.words = await until("the reason", async () => words.test(await message(token(a))));
await until("b knows", () => b.registrar.state().problem !== undefined);
result.again = (await message(token(b))).startsWith("Cannot write the register now: etcd");
result.reads = b.register.nodes().length;
result.problem = b.problems.at(-1) !== undefined;

// One comes back: all goes on.
cluster.start(0);
await until("writes again", () => token(b).catch(() => undefined));
await join(b, first, 150, "late");
await until("the late one at a", () => a.register.node("late") !== undefined);
await until(
  "no problem",
  () => a.registrar.state().problem === undefined && b.registrar.state().problem === undefined,
);
await until("the same everywhere", () => dump(a) === dump(b) && dump(b) === dump(c));
result.members = (await etcdOf(ours).members()).map((member) =>
  "problem" in member ? "away" : member.version,
);
c[Symbol.dispose]();
console.log(JSON.stringify(result));
