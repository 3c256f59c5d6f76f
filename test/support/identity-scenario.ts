/**
 * Identity and policy over real sockets: a hub and its nodes in one process and one throw-away namespace, as in hub-scenario.ts. Prints one
 * JSON object; run it inside a new namespace.
 */
import {
  enrol,
  FactBook,
  HubClient,
  HubServer,
  type MeshView,
  operatorRemoval,
  PairKeys,
  parseToken,
  Refusal,
  Register,
  Registrar,
  type Removal,
  rotationProof,
  type TokenUse,
} from "../../src/hub/mod.ts";
import { enrolServiceAddress } from "../../src/mesh/mod.ts";
import { formatIp, type Ip, PrivateKey, type Secret, SigningSecret } from "../../src/net/mod.ts";
import { newMesh, type Node } from "../../src/resources/mod.ts";
import { runSync, sleep } from "../../src/sys/mod.ts";

const result: Record<string, unknown> = {};
const hubKey = PrivateKey.random();
const [signing, operator] = [SigningSecret.random(), SigningSecret.random()];
const mesh = newMesh("home", {
  endpoints: ["hub.example.com:51820"],
  overlay6: "fd01:2:3::/64",
  operatorKey: operator.publicKey,
  presharedKeys: true,
  rules: [{ from: { role: "worker", site: "attic" }, to: { role: "control" } }],
});
using register = Register.open(":memory:");
const registrar = new Registrar(register);
const hub = await registrar.init(mesh, { name: "hub", publicKey: hubKey.publicKey, endpoints: [] });
await registrar.updateMesh(mesh);
const enrolAddress = enrolServiceAddress(mesh);

function ip(...words: string[]): void {
  const done = runSync(["ip", ...words]);
  if (done.status !== 0 && !done.stderr.includes("exists") && !done.stderr.includes("already assigned"))
    throw new Error(`ip ${words.join(" ")}: ${done.stderr}`);
}

function own(address: Ip): void {
  ip("addr", "add", formatIp(address), "dev", "lo", ...(address.family === 6 ? ["nodad"] : []));
}

/** From now on connections to `to` come from `from`. */
function comeFrom(from: Ip, to: Ip): void {
  own(from);
  const route = [formatIp(to), "dev", "lo", "table", "local"];
  const family = to.family === 6 ? "-6" : "-4";
  while (to.family === 6 && runSync(["ip", family, "route", "del", "local", ...route]).status === 0);
  ip(family, "route", "replace", "local", ...route, "src", formatIp(from));
}

async function until<T>(what: string, look: () => T | undefined | false): Promise<T> {
  for (let i = 0; i < 500; i++) {
    const found = look();
    if (found !== undefined && found !== false) return found;
    await sleep(20);
  }
  throw new Error(`it never came: ${what}`);
}

ip("link", "set", "lo", "up");
for (const address of [hub.overlay4, hub.overlay6, enrolAddress]) own(address);
const failures: string[] = [];
const server = HubServer.start({
  registrar,
  facts: new FactBook(),
  enrolAddress,
  overlayAddresses: [hub.overlay4, hub.overlay6],
  signing,
  hubKey,
  hooks: { onEvent: (event) => void (event.kind === "failed" && failures.push(event.message)) },
});

// Tokens bind role and site; what is refused is counted.
async function token(role: string, site: string) {
  const nowMs = Date.now();
  const { text } = await registrar.createToken({
    uses: 1,
    nowMs,
    expiresAtMs: nowMs + 60_000,
    signingKey: signing.publicKey,
    role,
    site,
  });
  return parseToken(text);
}
async function join(of: Awaited<ReturnType<typeof token>>, name: string, site?: string) {
  const key = PrivateKey.random();
  const newcomer = { name, key, endpoints: [], ...(site === undefined ? {} : { site }) };
  const setUse = (use: TokenUse) => comeFrom(use.address, enrolAddress);
  try {
    return { key, ...(await enrol({ token: of, newcomer, setUse, tryMs: 3000 })) };
  } catch (error) {
    return error instanceof Refusal ? error.code : String(error);
  }
}
type Joined = Exclude<Awaited<ReturnType<typeof join>>, string>;
const workers = await token("worker", "attic");
result.otherSite = await join(workers, "w1", "cellar");
const w1 = (await join(workers, "w1")) as Joined;
result.replayed = await join(workers, "thief");
const w2 = (await join(await token("worker", "attic"), "w2", "attic")) as Joined;
const c1 = (await join(await token("control", "cellar"), "c1")) as Joined;
result.bound = register.nodes().map(({ name, role, site }) => [name, role ?? "", site ?? ""].join(" "));
result.counts = Object.fromEntries(server.admission.counts());
result.ofToken = server.admission.ofToken(workers.id)?.count;

class Follower {
  view: MeshView | undefined;
  removals: Removal[] = [];
  asked = false;
  readonly pairs: PairKeys;
  readonly client: HubClient;

  constructor(name: string, joined: Joined) {
    const node = register.node(name) as Node;
    comeFrom(node.overlay4, hub.overlay4);
    this.pairs = new PairKeys({ node: name, secret: joined.nodeSecret, save: () => true });
    this.client = HubClient.start({
      node: name,
      hubs: [{ name: "hub", addresses: [hub.overlay4] }],
      signingKey: signing.publicKey,
      facts: { local: [], mapped: [], hubs: [], mtuBytes: 1420, version: "test" },
      hooks: {
        onState: (view) => (this.view = view),
        onRemovals: (removals) => void this.removals.push(...removals),
        onRotate: () => (this.asked = true),
        onPairKeys: (keys) => void this.pairs.take(keys),
      },
    });
  }

  sees(): string {
    return (this.view?.nodes ?? []).map((node) => node.name).join(" ");
  }

  key(peer: string): Secret | undefined {
    const view = this.view as MeshView;
    return this.pairs.use({ self: view.self as Node, nodes: view.nodes, states: [], wallMs: 0 }).get(peer);
  }
}

const fw1 = new Follower("w1", w1);
await until("the state of w1", () => fw1.view);
const fw2 = new Follower("w2", w2);
await until("the state of w2", () => fw2.view);
const fc1 = new Follower("c1", c1);
await until("the state of c1", () => fc1.view);
result.sees = [fw1.sees(), fw2.sees(), fc1.sees()];

// Pre-shared keys: handed over sealed, the same at both ends; none for a pair that may not talk.
for (const follower of [fw1, fw2, fc1]) {
  const { nodes, pskGeneration } = follower.view as MeshView;
  follower.client.askPairKeys([...follower.pairs.missing(nodes, pskGeneration, 0), "w1", "w2"]);
}
await until("keys", () => fw1.key("c1") && fc1.key("w1"));
const hex = (secret: Secret | undefined) => Buffer.from(secret?.reveal() ?? []).toString("hex");
result.samePsk = hex(fw1.key("c1")) === hex(fc1.key("w1"));
const atHub = register.pairKeys(hub, register.node("w1") as Node).get(1);
result.hubPsk = hex(fw1.key("hub")) === hex(atHub);
result.notForOthers = fw1.key("w2") === undefined;

// A key is announced with its proof, and not without.
result.asked = server.askRotate("w1") && (await until("the wish", () => fw1.asked));
const next = PrivateKey.random();
const node = register.node("w1") as Node;
const keys = { now: node.publicKey, next: next.publicKey };
const claim = { node: "w1", epoch: register.epoch, address: node.overlay6, ...keys };
fw1.client.announceKey({ ...keys, proof: new Uint8Array(32) });
await until("the refusal", () => failures.length > 0);
result.unproven = register.node("w1")?.nextPublicKey === undefined && failures[0];
fw1.client.announceKey({ ...keys, proof: rotationProof(next, hubKey.publicKey, claim) });
await until("the next key at c1", () =>
  fc1.view?.nodes.some((other) => other.nextPublicKey === next.publicKey),
);
await registrar.promoteKey("w1", next.publicKey);
await until("the new key at c1", () => fc1.view?.nodes.some((other) => other.publicKey === next.publicKey));
await until("the old key's removal", () => fc1.removals.some((one) => one.key === keys.now));

// A removal is told by itself, also to those who may not see the node; the operator's word is heard from a node.
const from = register.revision;
fc1.client.tellRemovals([
  operatorRemoval(w2.key.publicKey, SigningSecret.random()),
  operatorRemoval(w2.key.publicKey, operator),
]);
await until("w2 is gone", () => register.node("w2") === undefined);
await until("the removal at w1", () => fw1.removals.some((one) => one.key === w2.key.publicKey));
result.removed = fw1.removals.find((one) => one.key === w2.key.publicKey)?.revision === from + 1;
await until("c1 does not see it", () => fc1.sees() === "hub w1");

// Who connects again hears only what is new.
fc1.client.close();
for (const follower of [fw1, fw2]) follower.client.close();
server.close();
console.log(JSON.stringify(result));
