/** PCP and NAT-PMP as a machine, in virtual time, against a gateway written down from the RFCs. */
import { describe, expect, test } from "bun:test";
import { formatEndpoint, ip, type Ip, ipBytes, parseEndpoint, parseIp } from "../net/mod.ts";
import { ControlClient, type ControlEffect } from "./control-client.ts";
import type { MappingAnswer } from "./mapping-answer.ts";

const HOUR_MS = 3_600_000;
const wish = {
  gateway: parseIp("192.168.1.1"),
  local: parseIp("192.168.1.7"),
  port: 51820,
  secret: new Uint8Array(32).fill(7),
};
const external = parseEndpoint("81.2.69.1:51820");

/** Gateway answers as RFC 6887 and RFC 6886 say; `epochMs` is when it started to count. */
class Gateway {
  startedMs = 0;
  pcp = true;
  natPmp = true;
  result = 0;
  lifetimeSeconds = 7200;
  external = external;
  readonly asked: string[] = [];
  mapped = false;

  answer(bytes: Uint8Array, nowMs: number): Uint8Array | undefined {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const epoch = Math.floor((nowMs - this.startedMs) / 1000);
    if (bytes[0] === 2) {
      const lifetime = view.getUint32(4);
      this.asked.push(`pcp ${lifetime}`);
      if (!this.pcp) return this.natPmp ? Uint8Array.of(0, 0x81, 0, 1, 0, 0, 0, 0) : undefined;
      const answer = bytes.slice();
      const out = new DataView(answer.buffer);
      out.setUint8(1, 0x81);
      out.setUint8(3, this.result);
      out.setUint32(4, lifetime === 0 ? 0 : this.lifetimeSeconds);
      out.setUint32(8, epoch);
      answer.fill(0, 12, 24);
      out.setUint16(42, this.external.port);
      answer.set(mapped4(this.external.ip), 44);
      this.mapped = this.result === 0 && lifetime > 0;
      return answer;
    }
    if (!this.natPmp) return undefined;
    const answer = new Uint8Array(bytes[1] === 0 ? 12 : 16);
    const out = new DataView(answer.buffer);
    out.setUint8(1, 0x80 + (bytes[1] as number));
    out.setUint16(2, this.result);
    out.setUint32(4, epoch);
    if (bytes[1] === 0) {
      answer.set(ipBytes(this.external.ip), 8);
      return answer;
    }
    const lifetime = view.getUint32(8);
    this.asked.push(`nat-pmp ${lifetime}`);
    out.setUint16(8, view.getUint16(4));
    out.setUint16(10, lifetime === 0 ? 0 : this.external.port);
    out.setUint32(12, lifetime === 0 ? 0 : this.lifetimeSeconds);
    this.mapped = this.result === 0 && lifetime > 0;
    return answer;
  }
}

const mapped4 = (address: Ip) => ipBytes(ip(6, (0xffffn << 32n) | address.value));

/** Life is a client and a gateway, or nobody, on one clock. */
class Life {
  readonly client: ControlClient;
  readonly answers: MappingAnswer[] = [];
  gateway: Gateway | undefined;
  nowMs = 1000;
  /** Datagrams of the client that are lost before the gateway hears one. */
  lose = 0;

  constructor(gateway: Gateway | undefined, versions?: ConstructorParameters<typeof ControlClient>[1]) {
    this.gateway = gateway;
    this.client = new ControlClient(wish, versions);
  }

  step(event: Parameters<ControlClient["step"]>[0]): void {
    this.#do(this.client.step(event, this.nowMs));
  }

  #do(effects: readonly ControlEffect[]): void {
    for (const effect of effects)
      if (effect.kind === "answer") this.answers.push(effect.answer);
      else if (this.lose > 0) this.lose--;
      else {
        const answer = this.gateway?.answer(effect.bytes, this.nowMs);
        if (answer !== undefined) this.step({ kind: "datagram", bytes: answer });
      }
  }

  /** pass lets time go by, with all that is due in it. */
  pass(ms: number): void {
    const endMs = this.nowMs + ms;
    while (this.client.dueMs <= endMs) {
      this.nowMs = Math.max(this.nowMs, this.client.dueMs);
      this.step({ kind: "due" });
    }
    this.nowMs = endMs;
  }

  get last(): string {
    const answer = this.answers.at(-1);
    if (answer === undefined) return "nothing";
    return answer.kind === "mapped" ? `${answer.protocol} ${formatEndpoint(answer.external)}` : answer.reason;
  }
}

describe("PCP and NAT-PMP", () => {
  test("mapped at once, renewed at half of the lifetime, told once", () => {
    const life = new Life(new Gateway());
    life.step({ kind: "start" });
    expect(life.last).toBe("pcp 81.2.69.1:51820");
    life.pass(10 * HOUR_MS);
    expect(life.gateway?.asked).toEqual(Array.from({ length: 11 }, () => "pcp 7200"));
    expect(life.answers).toHaveLength(1);
  });

  test("a gateway that speaks NAT-PMP only says so, and is asked in that; one that says nothing is asked in both", () => {
    const [says, silent] = [new Gateway(), new Gateway()];
    says.pcp = false;
    const life = new Life(says);
    life.step({ kind: "start" });
    expect(life.last).toBe("nat-pmp 81.2.69.1:51820");
    silent.answer = function (this: Gateway, bytes, nowMs) {
      return bytes[0] === 2 ? undefined : Gateway.prototype.answer.call(this, bytes, nowMs);
    };
    const quiet = new Life(silent);
    quiet.step({ kind: "start" });
    quiet.pass(5000);
    expect(quiet.last).toBe("nat-pmp 81.2.69.1:51820");
    quiet.pass(HOUR_MS);
    expect(silent.asked).toEqual(["nat-pmp 7200", "nat-pmp 7200"]);
  });

  test("lost datagrams are sent again, and silence ends", () => {
    const life = new Life(new Gateway());
    life.lose = 2;
    life.step({ kind: "start" });
    life.pass(5000);
    expect(life.last).toBe("pcp 81.2.69.1:51820");
    const nobody = new Life(undefined);
    nobody.step({ kind: "start" });
    nobody.pass(10_000);
    expect(nobody.answers).toEqual([
      { kind: "refused", protocol: "nat-pmp", reason: "no answer", answered: false, retryMs: 300_000 },
    ]);
    expect(nobody.client.dueMs).toBe(Number.POSITIVE_INFINITY);
  });

  for (const versions of [["pcp"], ["nat-pmp"]] as const)
    test(`${versions[0]}: a refusal is told with its reason; PCP's lasts as long as it says, within bounds`, () => {
      const gateway = new Gateway();
      gateway.result = 2;
      gateway.lifetimeSeconds = 1e9;
      const life = new Life(gateway, versions);
      life.step({ kind: "start" });
      expect(life.last).toBe("not authorised (2)");
      expect(life.answers[0]).toMatchObject({ answered: true });
      if (versions[0] === "pcp") expect(life.answers[0]).toMatchObject({ retryMs: 1_800_000 });
    });

  test("a mapping is kept through a gateway's silence until it expires", () => {
    const life = new Life(new Gateway());
    life.step({ kind: "start" });
    const { gateway } = life;
    life.gateway = undefined;
    life.pass(1.9 * HOUR_MS);
    expect(life.last).toBe("pcp 81.2.69.1:51820");
    life.pass(0.2 * HOUR_MS);
    expect(life.last).toBe("no answer");
    // Silence for an hour and a half, but no more.
    const other = new Life(gateway);
    other.step({ kind: "start" });
    other.gateway = undefined;
    other.pass(1.5 * HOUR_MS);
    other.gateway = gateway;
    other.pass(HOUR_MS);
    expect(other.answers).toHaveLength(1);
  });

  test("a restarted gateway is noticed by its count of seconds, at the next answer or after an announcement", () => {
    const gateway = new Gateway();
    const life = new Life(gateway);
    life.step({ kind: "start" });
    life.pass(60_000);
    gateway.startedMs = life.nowMs;
    gateway.mapped = false;
    // Anybody can send announcements: many are worth one question.
    for (let i = 0; i < 1000; i++) life.step({ kind: "hint" });
    life.pass(5000);
    expect(gateway.mapped).toBe(true);
    // The renewal showed it, and one more made sure.
    expect(gateway.asked).toHaveLength(3);
    gateway.external = parseEndpoint("81.2.69.9:40000");
    for (let i = 0; i < 100; i++) {
      life.step({ kind: "hint" });
      life.pass(1000);
    }
    expect(gateway.asked.length).toBeLessThan(3 + 25);
    expect(life.last).toBe("pcp 81.2.69.9:40000");
  });

  test("leaving deletes, and is done when the gateway said so, or says nothing", () => {
    for (const versions of [["pcp"], ["nat-pmp"]] as const) {
      const life = new Life(new Gateway(), versions);
      life.step({ kind: "start" });
      life.lose = 1;
      life.step({ kind: "leave" });
      expect(life.client.leaving).toBe(true);
      life.pass(300);
      expect(life.client.leaving).toBe(false);
      expect(life.gateway?.mapped).toBe(false);
    }
    const life = new Life(new Gateway());
    life.step({ kind: "start" });
    life.gateway = undefined;
    life.step({ kind: "leave" });
    life.pass(2000);
    expect(life.client.leaving).toBe(false);
  });

  test("IPv6 knows no NAT-PMP; who listens nowhere is not asked twice", () => {
    const six = { ...wish, gateway: parseIp("fe80::1"), local: parseIp("2001:db8::7") };
    const client = new ControlClient(six);
    const [effect] = client.step({ kind: "start" }, 0);
    expect(effect?.kind === "send" && effect.bytes[0]).toBe(2);
    expect(client.step({ kind: "unreachable" }, 1)).toMatchObject([
      { answer: { reason: "nothing listens there", answered: false } },
    ]);
    expect(new ControlClient(six, ["nat-pmp"]).step({ kind: "start" }, 0)).toEqual([]);
  });
});
