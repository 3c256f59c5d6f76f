/** The kernel's ESP with associations and policies made by our netlink; ip-xfrm(8) is the witness. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { KeyMaterial, parseIp, parsePrefix } from "../../src/net/mod.ts";
import {
  addPolicy,
  addSa,
  deleteSa,
  probeEsp,
  updatePolicy,
  updateSa,
  type XfrmEvent,
  XfrmMonitor,
} from "../../src/netlink/mod.ts";
import { randomBytes } from "../../src/sys/mod.ts";
import { CountedFlow } from "../support/counted-flow.ts";
import { notRoot, refusal, Scratch } from "../support/scratch.ts";
import { answers, type SaPair, XfrmPair } from "../support/xfrm-pair.ts";
import { policyText, saText, witnessedPolicies, witnessedSas } from "../support/xfrm-text.ts";

setDefaultTimeout(300_000);

function lacks(): string | undefined {
  if (notRoot !== undefined) return notRoot;
  using scratch = new Scratch();
  const { netns } = scratch;
  const answer = probeEsp({ algorithm: "aes-128-gcm", outer: 4, netns });
  return answer.answer === "yes" ? undefined : `needs a kernel with ESP: ${String(answer.cause?.message)}`;
}
const skip = lacks();

const usual = { outer: 4, algorithm: "aes-128-gcm", extended: true } as const;
const kinds = [
  ["over IPv4, AES-128, ESN", usual],
  ["over IPv6, AES-256, ESN", { outer: 6, algorithm: "aes-256-gcm", extended: true }],
  ["over IPv4, AES-256, 32 bits", { outer: 4, algorithm: "aes-256-gcm", extended: false }],
  [
    "in UDP over IPv4, ChaCha20-Poly1305, ESN",
    { outer: 4, algorithm: "chacha20-poly1305", extended: true, udp: true },
  ],
] as const;

/** What both ends say of their associations, and ip-xfrm(8) too. */
function expectWitnessed(pair: XfrmPair): void {
  for (const { netns, xfrm } of [pair.near, pair.far]) {
    expect(xfrm.sas().map(saText).sort()).toEqual(
      witnessedSas(pair.scratch.text("ip xfrm state", netns)).sort(),
    );
    expect(xfrm.policies().map(policyText).sort()).toEqual(
      witnessedPolicies(pair.scratch.text("ip xfrm policy", netns)).sort(),
    );
  }
}

async function until(what: string, done: () => boolean): Promise<void> {
  for (let tries = 0; !done(); tries++) {
    if (tries === 600) throw new Error(`${what} does not come`);
    await Bun.sleep(100);
  }
}

describe.skipIf(skip !== undefined)(`XFRM with ESP${skip === undefined ? "" : ` (${skip})`}`, () => {
  test.each(kinds)("both families pass %s, and each packet is counted", async (_, agreement) => {
    using pair = new XfrmPair(agreement);
    pair.policies();
    const directions = pair.ways.map(([from, to]) => pair.direct(from, to));
    let sent = 0;
    for (const [from, to] of pair.ways)
      for (const address of [to.inner4, to.inner6]) {
        expect([address, await answers(from, address, { count: 3, bytes: 1300 })]).toEqual([address, 3]);
        sent += 3;
      }
    expectWitnessed(pair);
    for (const { from, to, id, keyText } of directions) {
      const [out, into] = [from.xfrm.sa(id), to.xfrm.sa(id)];
      expect(out).toMatchObject({ algorithm: agreement.algorithm, extended: agreement.extended });
      expect(out?.usage.packets).toBeGreaterThanOrEqual(BigInt(sent));
      expect(into?.usage).toMatchObject({
        packets: out?.usage.packets as bigint,
        bytes: out?.usage.bytes as bigint,
      });
      expect(out?.replay?.sent).toBe(out?.usage.packets as bigint);
      expect(into?.replay?.received).toBe(out?.usage.packets as bigint);
      expect(into).toMatchObject({ forged: 0, replayed: 0, late: 0 });
      // The kernel tells the key to ip(8), and we to nobody.
      expect(pair.scratch.text("ip xfrm state", to.netns)).toContain(keyText.slice(0, 32));
      expect(Bun.inspect([to.xfrm.sas(), into], { depth: 9 })).not.toContain(keyText.slice(0, 16));
    }
    expect(pair.trouble()).toEqual([]);
  });

  test("an association is replaced five times without the loss of a packet", async () => {
    using pair = new XfrmPair(usual);
    pair.policies();
    let now: SaPair[] = pair.ways.map(([from, to]) => pair.direct(from, to));
    expect(await answers(pair.near, pair.far.inner4, { count: 1, bytes: 56 })).toBe(1);
    using flow = new CountedFlow(pair.near.netns, {
      netns: pair.far.netns,
      address: pair.far.inner4,
      port: 9000,
      perSecond: 100,
    });
    for (let times = 0; times < 5; times++) {
      const before = flow.received;
      now = await pair.rekey(now);
      await until("a packet under the new key", () => flow.received > before + 20);
      const [first] = now as [SaPair];
      expect(first.to.xfrm.sa(first.id)?.usage.packets).toBeGreaterThan(0n);
      expect(pair.near.xfrm.sas()).toHaveLength(2);
    }
    expect(await flow.stop()).toMatchObject({ lost: 0, duplicates: 0 });
    expect(pair.trouble()).toEqual([]);
  });

  test("the soft limit of packets is told, at the hard one the association goes", async () => {
    using pair = new XfrmPair(usual);
    pair.policies();
    const [near, far] = [pair.near, pair.far];
    const limited = pair.direct(near, far, { soft: { packets: 3n }, hard: { packets: 6n } });
    pair.direct(far, near);
    const events: XfrmEvent[] = [];
    using monitor = XfrmMonitor.open({
      netns: near.netns,
      onEvent: (event) => events.push(event),
      onOverrun: () => expect.unreachable(),
    });
    const expiries = () =>
      events.flatMap((event) =>
        event.kind === "expire" && event.sa.spi === limited.id.spi ? [event.hard ? "hard" : "soft"] : [],
      );
    expect(await answers(near, far.inner4, { count: 4, bytes: 56 })).toBe(4);
    await until("a soft expiry", () => expiries().length > 0);
    expect(expiries()).toEqual(["soft"]);
    expect(near.xfrm.sa(limited.id)?.limits).toEqual({ soft: { packets: 3n }, hard: { packets: 6n } });
    expect(await answers(near, far.inner4, { count: 6, bytes: 56 })).toBeLessThan(6);
    await until("a hard expiry", () => expiries().includes("hard"));
    expect(near.xfrm.sa(limited.id)).toBeUndefined();
    // A packet without an association makes the kernel ask for one.
    await answers(near, far.inner4, { count: 1, bytes: 56 });
    await until("a question", () => events.some(({ kind }) => kind === "acquire"));
    monitor.drain();
    const asked = events.find((event) => event.kind === "acquire");
    expect(asked).toMatchObject({ acquire: { source: near.outer, destination: far.outer } });
  });

  test("a decrypted packet must come from the route's prefixes", async () => {
    using pair = new XfrmPair(usual);
    pair.policies();
    for (const [from, to] of pair.ways) pair.direct(from, to);
    const { near, far } = pair;
    // The other end seals what it may not send.
    pair.scratch.text("ip addr add 10.66.0.1/32 dev lo", near.netns);
    near.xfrm.request(
      addPolicy({
        direction: "out",
        selector: { source: parsePrefix("10.66.0.0/16"), destination: parsePrefix("10.8.2.0/24") },
        priority: 50,
        templates: [{ source: near.outer, destination: far.outer, reqid: 77 }],
      }),
    );
    pair.scratch.text("ip route add 10.66.0.0/16 via 198.51.100.1", far.netns);
    const { scratch } = pair;
    const words = `ping -n -c 3 -i 0.05 -W 1 -I 10.66.0.1 ${far.inner4}`;
    expect(() => scratch.text(words, near.netns)).toThrow();
    expect(pair.trouble().join()).toMatch(/^Xfrm(InTmplMismatch|InNoPols)\s+3$/);
    expect(await answers(near, far.inner4, { count: 3, bytes: 56 })).toBe(3);
  });

  test("numbers go on after those that were used up; changes and refusals are as documented", async () => {
    using pair = new XfrmPair(usual);
    const { xfrm } = pair.near;
    using material = new KeyMaterial(randomBytes(20));
    const change = {
      source: pair.near.outer,
      destination: pair.far.outer,
      spi: 0x1000,
      algorithm: "aes-128-gcm",
      material,
      extended: true,
      direction: "out",
      reqid: 5,
      sent: 2n ** 40n + 7n,
      ifId: 3,
      mark: { value: 0x10, mask: 0xf0 },
      tfcBytes: 1000,
      outputMark: { value: 5, mask: 0xff },
      flags: ["nopmtudisc", "af-unspec", "dont-encap-dscp"],
      limits: { soft: { bytes: 10n ** 12n, addSeconds: 3000n }, hard: { useSeconds: 4000n } },
    } as const;
    xfrm.request(addSa(change));
    const { direction: _direction, material: _material, sent, ...same } = change;
    expect(xfrm.sa(change)).toMatchObject({ ...same, replay: { sent, received: 0n }, mode: "tunnel" });
    expect(refusal(() => xfrm.request(addSa(change)))).toMatchObject({ code: "EEXIST" });
    xfrm.request(updateSa({ ...change, limits: { hard: { packets: 9n } } }));
    expect(xfrm.sa(change)).toMatchObject({ limits: { hard: { packets: 9n } }, replay: { sent } });
    // All else is taken without an effect: what was used stays used, and the source what it was.
    const source = parseIp("198.51.100.77");
    xfrm.request(updateSa({ ...change, source, sent: 3n, tfcBytes: 5, reqid: 6 }));
    expect(xfrm.sa(change)).toMatchObject({
      source: change.source,
      replay: { sent },
      tfcBytes: 1000,
      reqid: 5,
      limits: {},
    });
    const encapsulation = { sourcePort: 4500, destinationPort: 4500 };
    expect(refusal(() => xfrm.request(updateSa({ ...change, encapsulation })))).toMatchObject({
      code: "EINVAL",
    });
    const { mark: _mark, ...unmarked } = change;
    expect(refusal(() => xfrm.request(deleteSa(unmarked)))).toMatchObject({ code: "ESRCH" });
    xfrm.request(deleteSa(change));
    expect(xfrm.sas()).toEqual([]);
    const selector = { source: parsePrefix("10.0.0.0/8"), destination: parsePrefix("10.1.0.0/16") };
    const policy = { direction: "out", selector, priority: 9, templates: [] } as const;
    const ends = { source: parseIp("192.0.2.1"), destination: parseIp("192.0.2.2") };
    xfrm.request(updatePolicy(policy));
    xfrm.request(updatePolicy({ ...policy, templates: [{ ...ends, reqid: 9 }] }));
    expect(xfrm.policies()).toMatchObject([{ templates: [{ ...ends, reqid: 9 }] }]);
  });
});
