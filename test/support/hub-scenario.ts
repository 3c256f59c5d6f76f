/**
 * A hub and its nodes in one process and one throw-away namespace: all addresses are on the loopback, and the source of what goes to
 * the hub is chosen by the preferred source of the hub's local route. Prints one JSON object; run it inside a new namespace.
 */
import {
  enrol,
  FactBook,
  HubClient,
  HubServer,
  type MeshView,
  parseToken,
  Refusal,
  Register,
  Registrar,
  STATE_INTERVAL_MS,
  type TokenUse,
} from "../../src/hub/mod.ts";
import type { ClaimError } from "../../src/ipam/mod.ts";
import { enrolServiceAddress } from "../../src/mesh/mod.ts";
import {
  formatIp,
  formatPrefix,
  type Ip,
  parseIp,
  parsePrefix,
  PrivateKey,
  SigningSecret,
} from "../../src/net/mod.ts";
import { newMesh, type Node } from "../../src/resources/mod.ts";
import { runSync, sleep } from "../../src/sys/mod.ts";

const result: Record<string, unknown> = {};
const hubKey = PrivateKey.random();
const signing = SigningSecret.random();
const mesh = newMesh("home", { endpoints: ["hub.example.com:51820"], overlay6: "fd01:2:3::/64" });
using register = Register.open(":memory:");
const registrar = new Registrar(register);
const facts = new FactBook();
const hub = await registrar.init(mesh, { name: "hub", publicKey: hubKey.publicKey, endpoints: [] });
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
  // IPv6 would keep the kernel's own route, with a better metric, beside ours.
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
const events: unknown[] = [];
const start = () =>
  HubServer.start({
    registrar,
    facts,
    enrolAddress,
    overlayAddresses: [hub.overlay4, hub.overlay6],
    signing,
    hubKey,
    hooks: { onEvent: (event) => events.push(event) },
  });
let server = start();

// Enrolment.
const nowMs = Date.now();
const { text } = await registrar.createToken({
  uses: 3,
  nowMs,
  expiresAtMs: nowMs + 60_000,
  signingKey: signing.publicKey,
});
const token = parseToken(text);
const setUse = (use: TokenUse) => comeFrom(use.address, enrolAddress);
const join = (name: string, key: PrivateKey) =>
  enrol({ token, newcomer: { name, key, endpoints: [] }, setUse, tryMs: 3000 });
const keys = { a: PrivateKey.random(), b: PrivateKey.random(), c: PrivateKey.random() };
const a = await join("a", keys.a);
const again = await join("a", keys.a);
result.sameAnswer = a.state.entries.get("node/a") === again.state.entries.get("node/a");
const refused = await join("a", keys.b).then(
  () => "accepted",
  (error) => (error instanceof Refusal ? error.code : String(error)),
);
result.sameName = refused;
const b = await join("b", keys.b);
const c = await join("c", keys.c);
result.joined = [a.name, b.name, c.name];
result.full = await join("d", PrivateKey.random()).then(
  () => "accepted",
  (error) => (error instanceof Refusal ? error.code : String(error)),
);

// Sync.
class Follower {
  view: MeshView | undefined;
  readonly probes: string[] = [];
  readonly connections: boolean[] = [];
  states = 0;
  tellings = 0;
  readonly client: HubClient;

  constructor(name: string, family: 4 | 6) {
    const node = register.node(name) as Node;
    const to = family === 4 ? hub.overlay4 : hub.overlay6;
    comeFrom(family === 4 ? node.overlay4 : node.overlay6, to);
    this.client = HubClient.start({
      node: name,
      hubs: [{ name: "hub", addresses: [to] }],
      signingKey: signing.publicKey,
      facts: { local: [], mapped: [], hubs: [], mtuBytes: 1420, version: "test" },
      hooks: {
        onState: (view) => {
          this.view = view;
          this.states++;
        },
        onFacts: (view) => {
          this.view = view;
          this.tellings++;
        },
        onProbe: (peer) => this.probes.push(peer),
        onConnection: (connected) => this.connections.push(connected),
      },
    });
  }
}

const fa = new Follower("a", 4);
await until("the state of a", () => fa.view);
const fb = new Follower("b", 4);
await until("the state of b", () => fb.view);
const fc = new Follower("c", 6);
await until("the state of c", () => fc.view);
result.seen = fa.view?.nodes.map((node) => node.name);
await until("facts", () => facts.of("c").mtuBytes === 1420);
const seenOf = (follower: Follower, name: string) => follower.view?.nodes.find((node) => node.name === name);
await until("facts at another node", () => seenOf(fa, "c")?.mtuBytes === 1420);
fa.client.invite("b");
await until("the invitation", () => fb.probes.includes("a") && fa.probes.includes("b"));

// A mesh that moves: many revisions, few states, and the last is told.
const [statesBefore, beginMs] = [fc.states, performance.now()];
for (let port = 1; port <= 101; port++) {
  await registrar.setConfigured("b", { endpoints: [`192.0.2.7:${port}`] });
  await sleep(5);
}
await until("the last of many", () => seenOf(fc, "b")?.endpoints[0] === "192.0.2.7:101");
const most = (performance.now() - beginMs) / STATE_INTERVAL_MS + 2;
await sleep(2 * STATE_INTERVAL_MS);
result.paced = fc.states - statesBefore <= most + 2;
result.current = fc.client.revision === register.revision;

// What is merely seen comes beside the state, in the same pace, and moves no revision.
const [tellingsBefore, seenMs] = [fc.tellings, performance.now()];
for (let port = 1; port <= 101; port++) {
  facts.observe("b", { hub: hub.name, endpoint: { ip: parseIp("192.0.2.7"), port } }, Date.now());
  server.tellFacts();
  await sleep(5);
}
await until("the last seen", () => seenOf(fc, "b")?.observed[0]?.endpoint.port === 101);
result.factsPaced = fc.tellings - tellingsBefore <= (performance.now() - seenMs) / STATE_INTERVAL_MS + 4;
result.factsAlone = fc.client.revision === register.revision;

// What a node says of its edge is the hub's to know: nodes are told nothing.
const toldBefore = facts.version;
const wrong = { kind: "VPC", name: "red", reason: "invalid", message: "spec.vni is taken" } as const;
const plain = { local: [], mapped: [], hubs: [], mtuBytes: 1420, version: "test" };
fa.client.setFacts({ ...plain, edge: { failed: [wrong], more: 0 } });
result.edge = await until("the edge of a", () => {
  const { up, reason } = facts.edges.ofAll("VPC", "red");
  return up === false && reason;
});
fa.client.setFacts({ ...plain, edge: { failed: [], more: 0 } });
await until("the edge of a to be well", () => facts.edges.ofAll("VPC", "red").up);
result.edgeAlone = facts.version === toldBefore;

// Addresses of subnets: many at once, over the connections that the register is followed by.
await registrar.putResources([
  { kind: "VPC", value: { name: "team", sharedTargets: [], services: [], routed: true } },
  ...Array.from({ length: 200 }, (_, i) => {
    const [prefix, gateway] = [parsePrefix(`10.7.${i}.0/24`), parseIp(`10.7.${i}.1`)];
    const lists = { reserved: [], fixed: [], dnsServers: [] };
    return {
      kind: "Subnet",
      value: { name: `s${i}`, vpc: "team", prefixes: [prefix], gateways: [gateway], ...lists },
    } as const;
  }),
]);
const claim = ({ client }: Follower, subnet: string) =>
  client.claims.claim({ subnet, wants: [{ family: 4, count: 1 }], have: [] });
const granted = await Promise.all(
  Array.from({ length: 200 }, (_, i) => [claim(fa, `s${i}`), claim(fc, `s${i}`)]).flat(),
);
result.granted = new Set(granted.flat().map(({ block }) => formatPrefix(block))).size;
const word = (error: ClaimError) => `${error.reason} ${error.code}`;
result.unknownSubnet = await claim(fa, "none").then(() => "granted", word);
const tooOften = await Promise.all(
  Array.from({ length: 500 }, () => fa.client.claims.held().then((all) => `${all.length}`, word)),
);
result.tooOften = [...new Set(tooOften)].sort();
result.stays = fa.client.connected;
const vm = { subnet: "s0", family: 4, owner: "vm team/db" } as const;
const [onA, onC] = [await fa.client.claims.claimAddress(vm), await fc.client.claims.claimAddress(vm)];
result.moved = [onA, onC].map((one) => (one.kind === "owned" ? formatIp(one.address) : one.kind));
await fc.client.claims.giveBack((await fc.client.claims.held()).map(({ number }) => number));
fc.client.claims.tellUsage(new Map([[granted[0]?.[0]?.number as number, 3]]));
await until("what c uses", () => registrar.usage.usedOf("c", granted[0]?.[0]?.number as number) === 3);
result.claimed = register.claims().blocks.length;

// The hub restarts: nodes come back by themselves, and what they asked meanwhile is answered.
server.close();
await until("a is alone", () => !fa.client.connected);
const asked = fa.client.claims.held();
comeFrom((register.node("a") as Node).overlay4, hub.overlay4);
fb.client.close();
server = start();
await until("a is back", () => fa.client.connected && server.connected().includes("a"));
result.answered = (await asked).length;

// A node leaves; an unknown source gets nothing.
await fc.client.leave();
await until("c is gone", () => fa.view?.nodes.every((node) => node.name !== "c"));
result.left = register.node("c") === undefined;
result.revoked = register.isRevoked(keys.c.publicKey);
comeFrom(parseIp("fd01:2:3::99"), hub.overlay6);
const stranger = Bun.connect({
  hostname: formatIp(hub.overlay6),
  port: 7473,
  socket: {
    data: (socket, data) => ((result.stranger = JSON.parse(data.toString()).code), void socket.end()),
  },
});
(await stranger).write('{"type":"hello"}\n');
await until("the refusal", () => result.stranger);
result.events = events;
for (const follower of [fa, fb, fc]) follower.client.close();
server.close();
console.log(JSON.stringify(result));
