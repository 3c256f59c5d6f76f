/**
 * The other side of a router under test, in one process: a peer that sends a load and others that receive it. Prints one JSON line for each
 * phase. `traffic.ts PLAN`, in the namespace whose addresses the plan names.
 */
import { parseIp, ipBytes } from "../../src/net/mod.ts";
import { encodeKeepalive, encodeOpen, EVPN, IPV4_UNICAST } from "../../src/bgp/wire/mod.ts";
import { openTcpSocket, startConnecting, TcpStream } from "../../src/sys/mod.ts";
import { Counter } from "./counter.ts";
import { ASN, churnUpdates, type LoadName, makeLoad } from "./load.ts";

/** TrafficPlan says what is sent, from and to where. */
export interface TrafficPlan {
  readonly router: string;
  /** The first is the sender's. */
  readonly addresses: readonly string[];
  readonly load: LoadName;
  readonly routes: number;
  /** `sessions` is until all of them, begun at once, are up. */
  readonly phases: readonly ("sessions" | "announce" | "withdraw" | "churn")[];
  /** Changes a second, and for how long. */
  readonly churn: { readonly rate: number; readonly seconds: number };
  /** A phase that takes longer has failed. */
  readonly limitSeconds: number;
}

/** PhaseResult is one line. */
export interface PhaseResult {
  readonly phase: string;
  readonly seconds: number;
  readonly failed?: string;
  /** Time from sending a change to the last receiver's having it, for churn; milliseconds. */
  readonly lagMs?: { readonly p50: number; readonly p99: number; readonly max: number };
}

const plan = JSON.parse(process.argv[2] as string) as TrafficPlan;

class Session {
  readonly counter: Counter;
  #stream: TcpStream | undefined;
  #queue: Uint8Array[] = [];
  open = false;
  closed: string | undefined;
  onProgress = () => {};

  constructor(address: string, onRoute?: (number: number) => void) {
    this.counter = new Counter(onRoute);
    const from = ipBytes(parseIp(address));
    const fd = openTcpSocket(4, { address: from, trafficClass: 0xc0 });
    startConnecting(fd.number, { address: ipBytes(parseIp(plan.router)), port: 179 });
    const capabilities = [
      { kind: "multiprotocol", family: plan.load === "evpn" ? EVPN : IPV4_UNICAST },
      { kind: "refresh" },
      { kind: "as4", as: ASN },
    ] as const;
    const open = { as: ASN, holdSeconds: 180, routerId: parseIp(address), capabilities };
    this.#stream = TcpStream.connecting(fd, {
      connected: () => this.send([encodeOpen(open), encodeKeepalive()]),
      data: (bytes) => {
        this.open = true;
        this.counter.feed(bytes);
        this.onProgress();
      },
      writable: () => this.#flush(),
      closed: (reason) => {
        this.closed = reason ?? "closed";
        this.onProgress();
      },
    });
  }

  send(chunks: readonly Uint8Array[]): void {
    this.#queue.push(...chunks);
    this.#flush();
  }

  #flush(): void {
    while (this.#queue.length > 0) {
      const first = this.#queue[0] as Uint8Array;
      const taken = this.#stream?.write(first) ?? 0;
      if (taken < first.length) {
        this.#queue[0] = first.subarray(taken);
        return;
      }
      this.#queue.shift();
    }
  }

  get idle(): boolean {
    return this.#queue.length === 0;
  }
}

const sentMs = new Float64Array(plan.routes);
const seen = new Uint8Array(plan.routes);
const lags: number[] = [];
let churning = false;

function arrived(number: number): void {
  if (!churning || number >= seen.length) return;
  const count = (seen[number] as number) + 1;
  seen[number] = count;
  if (count === plan.addresses.length - 1) lags.push(performance.now() - (sentMs[number] as number));
}

const beganMs = performance.now();
const [senderAddress = "", ...others] = plan.addresses;
const receivers = others.map(
  (address) => new Session(address, plan.phases.includes("churn") ? arrived : undefined),
);
const sender = new Session(senderAddress);
const sessions = [sender, ...receivers];
setInterval(() => {
  for (const session of sessions) if (session.idle && session.open) session.send([encodeKeepalive()]);
}, 20_000);

async function until(what: string, fits: () => boolean): Promise<string | undefined> {
  const end = performance.now() + plan.limitSeconds * 1000;
  return await new Promise((resolve) => {
    const look = () => {
      const closed = sessions.find((session) => session.closed !== undefined);
      if (closed !== undefined) done(`a session ended: ${closed.counter.ended ?? closed.closed}`);
      else if (fits()) done(undefined);
      else if (performance.now() > end) {
        const counts = receivers.map(({ counter }) => `${counter.announced}/${counter.withdrawn}`).join(" ");
        done(`waited in vain: ${what}: ${counts}`);
      }
    };
    const timer = setInterval(look, 20);
    const done = (result: string | undefined) => {
      clearInterval(timer);
      for (const session of sessions) session.onProgress = () => {};
      resolve(result);
    };
    for (const session of sessions) session.onProgress = look;
    look();
  });
}

function print(result: PhaseResult): void {
  process.stdout.write(`${JSON.stringify(result)}\n`);
}

async function loadPhase(phase: "announce" | "withdraw"): Promise<PhaseResult> {
  const chunks = makeLoad(plan.load, plan.routes, phase);
  for (const { counter } of receivers) counter.announced = counter.withdrawn = 0;
  const field = phase === "announce" ? "announced" : "withdrawn";
  // What is not needed any more is thrown away before the clock starts.
  Bun.gc(true);
  process.stdout.write("ready\n");
  await new Promise<void>((resolve) => process.stdin.once("data", () => resolve()));
  const start = performance.now();
  sender.send(chunks);
  const failed = await until(phase, () => receivers.every(({ counter }) => counter[field] >= plan.routes));
  return { phase, seconds: (performance.now() - start) / 1000, ...(failed === undefined ? {} : { failed }) };
}

async function churnPhase(): Promise<PhaseResult> {
  const { rate, seconds } = plan.churn;
  process.stdout.write("ready\n");
  await new Promise<void>((resolve) => process.stdin.once("data", () => resolve()));
  churning = true;
  const start = performance.now();
  let next = 0;
  let round = 1;
  let total = 0;
  let counted = 0;
  while (performance.now() - start < seconds * 1000) {
    const due = Math.floor(((performance.now() - start) / 1000) * rate) - total;
    // Whole hundreds share their attributes; one route after another is another route.
    const count = Math.min(due, plan.routes - next, 500);
    if (count > 0) {
      const now = performance.now();
      for (let i = 0; i < count; i++) sentMs[next + i] = now;
      sender.send([churnUpdates(next, count, round)]);
      next += count;
      total += count;
    }
    if (next === plan.routes) {
      const failed = await until("churn", () => lags.length - counted >= plan.routes);
      if (failed !== undefined) return { phase: "churn", seconds, failed };
      counted = lags.length;
      seen.fill(0);
      next = 0;
      round++;
    }
    await Bun.sleep(1);
  }
  const failed = await until("churn", () => lags.length >= total);
  const sorted = lags.sort((a, b) => a - b);
  const at = (share: number) =>
    sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
  const lagMs = { p50: at(0.5), p99: at(0.99), max: at(1) };
  return {
    phase: "churn",
    seconds: (performance.now() - start) / 1000,
    lagMs,
    ...(failed === undefined ? {} : { failed }),
  };
}

const up = await until("sessions", () => sessions.every(({ open }) => open));
if (up === undefined && plan.phases.includes("sessions"))
  print({ phase: "sessions", seconds: (performance.now() - beganMs) / 1000 });
// Keepalives, and what a router says before it has anything to say.
await Bun.sleep(1000);
if (up !== undefined) print({ phase: "sessions", seconds: 0, failed: up });
else
  for (const phase of plan.phases) {
    if (phase === "sessions") continue;
    const result = phase === "churn" ? await churnPhase() : await loadPhase(phase);
    print(result);
    if (result.failed !== undefined) break;
  }
process.exit(0);
