import { describe, expect, test } from "bun:test";
import { formatIp, type Ip, parseIp, PrivateKey, SigningSecret } from "../net/mod.ts";
import { connectTcp, sleep } from "../sys/mod.ts";
import type { GossipLocal } from "./gossip.ts";
import { Gossip } from "./gossip-service.ts";
import type { Loan } from "./loan.ts";
import { mergeRemovals, operatorRemoval, type Removals } from "./removal.ts";

const operator = SigningSecret.random();
const trust = { signingKey: SigningSecret.random().publicKey, operatorKey: operator.publicKey };
// On the loopback each node has an address of its own; the port is the same for all, as it is on an overlay.
const addresses = new Map<string, Ip>(["a", "b", "c"].map((name, i) => [name, parseIp(`127.7.4.${i + 2}`)]));
const port = 20_000 + (process.pid % 20_000);

/** A node: it takes everybody for a node, since on the loopback sources tell nothing. */
class TestNode implements Disposable {
  removals: Removals = new Map();
  readonly loans: Loan[] = [];
  readonly failed: string[] = [];
  readonly gossip: Gossip;

  constructor(name: string, options: { readonly stranger?: boolean } = {}) {
    const local = (): GossipLocal => ({
      epoch: "e",
      revision: 1,
      removals: this.removals,
      loan: () => undefined,
    });
    this.gossip = Gossip.start({
      addresses: [addresses.get(name) as Ip],
      port,
      hooks: {
        local,
        nodeAt: () => (options.stranger === true ? undefined : "somebody"),
        addressOf: (peer) => addresses.get(peer),
        onRemovals: (heard) => {
          const { removals, added } = mergeRemovals(this.removals, heard, trust);
          this.removals = removals;
          return added.length > 0;
        },
        onLoan: (loan) => {
          this.loans.push(loan);
          return false;
        },
        onFailed: (peer, reason) => void this.failed.push(`${peer}: ${reason}`),
      },
    });
  }

  [Symbol.dispose](): void {
    this.gossip.close();
  }
}

async function until(what: string, look: () => boolean): Promise<void> {
  for (let i = 0; i < 300; i++) {
    if (look()) return;
    await sleep(10);
  }
  throw new Error(`it never came: ${what}`);
}

const removal = () => operatorRemoval(PrivateKey.random().publicKey, operator);

describe("gossip over sockets", () => {
  test("a removal goes from one node to the next, in either direction of the connection", async () => {
    using a = new TestNode("a");
    using b = new TestNode("b");
    using c = new TestNode("c");
    const [one, two] = [removal(), removal()];
    a.removals = mergeRemovals(new Map(), [one], trust).removals;
    c.removals = mergeRemovals(new Map(), [two], trust).removals;
    // b hears of it, and tells c by itself, which is within its reach.
    b.gossip.look(new Set(["c"]));
    await until("c's at b", () => b.removals.size === 1);
    a.gossip.look(new Set(["b"]));
    await until("all at a", () => a.removals.size === 2);
    await until("all at b", () => b.removals.size === 2);
    await until("all at c", () => c.removals.size === 2);
    expect([a.failed, b.failed, c.failed]).toEqual([[], [], []]);
  });

  test("who is no node of the mesh hears nothing", async () => {
    using a = new TestNode("a", { stranger: true });
    a.removals = mergeRemovals(new Map(), [removal()], trust).removals;
    const lines: string[] = [];
    let closed = false;
    const connection = await connectTcp({
      address: formatIp(addresses.get("a") as Ip),
      port,
      maxLineBytes: 1000,
      timeoutMs: 2000,
      events: { line: (text) => void lines.push(text), closed: () => (closed = true) },
    });
    connection.send('{"type":"have","version":1,"epoch":"e","revision":1,"digest":""}');
    await until("the end", () => closed);
    expect(lines).toEqual([]);
  });

  test("a node that is not there is a failure, and can be met later", async () => {
    using a = new TestNode("a");
    a.gossip.meet("b");
    await until("the failure", () => a.failed.length === 1);
    using b = new TestNode("b");
    b.removals = mergeRemovals(new Map(), [removal()], trust).removals;
    a.gossip.meet("b");
    await until("b's at a", () => a.removals.size === 1);
  });

  test("a node has two visits open at most, and another one when they end", async () => {
    using _ = new TestNode("a");
    const ends: number[] = [];
    const visit = (number: number) =>
      connectTcp({
        address: formatIp(addresses.get("a") as Ip),
        port,
        maxLineBytes: 1000,
        timeoutMs: 2000,
        events: { line: () => {}, closed: () => void ends.push(number) },
      });
    const [first] = [await visit(1), await visit(2), await visit(3)];
    await until("the third one's end", () => ends.length === 1);
    expect(ends).toEqual([3]);
    first?.close();
    await until("the first one's end", () => ends.length === 2);
    const fourth = await visit(4);
    fourth.send("nonsense");
    await until("an end that says that it was heard", () => ends.length === 3);
    expect(ends).toEqual([3, 1, 4]);
  });

  /** A visitor of `a` that says lines, and hears some. */
  async function visit() {
    const heard: string[] = [];
    const ended: (string | undefined)[] = [];
    const connection = await connectTcp({
      address: formatIp(addresses.get("a") as Ip),
      port,
      maxLineBytes: 2 << 20,
      timeoutMs: 2000,
      events: {
        line: (text) => void heard.push((JSON.parse(text) as { type: string }).type),
        closed: (reason) => void ended.push(reason),
      },
    });
    const say = (message: unknown) => connection.send(JSON.stringify(message));
    return { heard, ended, say, connection };
  }
  const have = { type: "have", version: 1, epoch: "e", revision: 5, digest: "other" };

  test("lines are short but for a loan; few loans are awaited at a time, and none of who lent a wrong one", async () => {
    using a = new TestNode("a");
    let over = false;
    const waiting = Buffer.alloc(2 << 20, "x");
    await Bun.connect({
      hostname: formatIp(addresses.get("a") as Ip),
      port,
      socket: {
        open: (socket) => void socket.write(waiting),
        drain: (socket) => void socket.write(waiting),
        data: () => {},
        close: () => void (over = true),
      },
    });
    await until("the end of a long line that nobody asked for, before it is complete", () => over);

    const lender = await visit();
    lender.say(have);
    await until("the question for a loan", () => lender.heard.includes("want"));
    const header = { epoch: "e", revision: 5, node: "b", digest: "0".repeat(64), signature: "x" };
    const set = [["node/b", "x".repeat(3 << 20)]];
    lender.say({ type: "loan", header, set, own: "0".repeat(64) });
    await until("the loan", () => a.loans.length === 1);
    lender.connection.close();

    const again = await visit();
    again.say(have);
    await until("an answer", () => again.heard.includes("ids"));
    expect(again.heard).not.toContain("want");
    again.connection.close();
  });

  test("who hands over too many removals that do not hold is shown out", async () => {
    using a = new TestNode("a");
    const forged = Array.from({ length: 1024 }, () => ({ ...removal(), signature: "" }));
    const reasons: (string | undefined)[] = [];
    for (let visits = 0; visits < 4; visits++) {
      const visitor = await visit();
      visitor.say(have);
      visitor.say({ type: "removals", list: forged });
      visitor.say("nonsense");
      await until("the end", () => visitor.ended.length === 1);
      reasons.push(visitor.heard.length > 0 ? "heard" : "refused");
    }
    expect([reasons, a.removals.size]).toEqual([["heard", "heard", "refused", "refused"], 0]);
  });

  test("a visitor that says nonsense is shown out", async () => {
    using _ = new TestNode("a");
    let closed = false;
    const connection = await connectTcp({
      address: formatIp(addresses.get("a") as Ip),
      port,
      maxLineBytes: 1000,
      timeoutMs: 2000,
      events: { line: () => {}, closed: () => (closed = true) },
    });
    connection.send("nonsense");
    await until("the end", () => closed);
  });
});
