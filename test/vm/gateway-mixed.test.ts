/** A site gateway in user space on AF_XDP, and at the other end the kernel's ESP by ip-xfrm(8). */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { parseIp, parsePrefix } from "../../src/net/mod.ts";
import { associationOf } from "../support/gateway-suite.ts";
import { GatewaySite, SITE_MTU } from "../support/gateway-sites.ts";
import { Scratch } from "../support/scratch.ts";
import { wholeStream } from "../support/whole-stream.ts";
import { lacksXdp } from "../support/xdp-pair.ts";
import { kernelAlgorithms, lacksXfrm, XfrmSite } from "../support/xfrm-sites.ts";

setDefaultTimeout(300_000);

const skip = lacksXfrm() ?? lacksXdp();
const NAMES = {
  "aes-128-gcm": "rfc4106(gcm(aes))",
  "aes-256-gcm": "rfc4106(gcm(aes))",
  "chacha20-poly1305": "rfc7539esp(chacha20,poly1305)",
} as const;

/** The user-space gateway and the kernel's end. */
class MixedSites implements Disposable {
  readonly one = new GatewaySite(1, "xdp");
  readonly scratch = new Scratch();
  readonly two = new XfrmSite(this.scratch, 2);

  constructor() {
    this.one.lan.ip("near", `link add p0 type veth peer name p0 netns ${this.two.gate.path}`);
    this.one.lan.ip("near", "link set p0 up");
    this.two.address();
    this.two.ip("gate", "route add 10.10.1.0/24 via 192.0.2.1");
    this.two.ip("gate", "-6 route add fd01::/64 via 2001:db8::1");
    this.one.start();
    const prefixes = ["10.10.2.0/24", "fd02::/64"].map((text) => parsePrefix(text));
    this.one.obey({ kind: "route", route: { name: "other", prefixes } });
  }

  /** agree gives both ends the associations of one agreement. */
  agree(outer: 4 | 6, algorithm: keyof typeof NAMES, spi: number): void {
    const address = (number: 1 | 2) => (outer === 4 ? `192.0.2.${number}` : `2001:db8::${number}`);
    this.two.ip("gate", "xfrm state flush");
    this.two.ip("gate", "xfrm policy flush");
    for (const [from, to] of [
      [1, 2],
      [2, 1],
    ] as const) {
      const association = associationOf({ spi, algorithm }, to);
      const key = Buffer.from(association.keyMaterial).toString("hex");
      const ends = `src ${address(from)} dst ${address(to)}`;
      this.two.ip(
        "gate",
        `xfrm state add ${ends} proto esp spi ${association.spi} reqid 1 mode tunnel flag af-unspec flag esn replay-window 128 aead ${NAMES[algorithm]} 0x${key} 128`,
      );
      for (const prefix of ["10.10.", "fd0"])
        for (const direction of from === 2 ? ["out"] : ["in", "fwd"]) {
          const net = (number: 1 | 2) => (prefix === "fd0" ? `fd0${number}::/64` : `10.10.${number}.0/24`);
          this.two.ip(
            "gate",
            `xfrm policy add src ${net(from)} dst ${net(to)} dir ${direction} tmpl ${ends} proto esp reqid 1 mode tunnel`,
          );
        }
      if (to === 1) this.one.obey({ kind: "inbound", association });
      else
        this.one.obey(
          { kind: "outbound", association: { ...association, to: parseIp(address(2)), next: 1 } },
          { kind: "move-outbound", route: "other", spi: association.spi },
        );
    }
  }

  turn = (): void => {
    for (let i = 0; i < 64 && this.one.queue.once(0); i++);
  };

  async during<T>(work: Promise<T>): Promise<T> {
    let isRunning = true;
    const done = work.finally(() => (isRunning = false));
    while (isRunning) {
      this.turn();
      await Bun.sleep(1);
    }
    return done;
  }

  [Symbol.dispose](): void {
    this.one[Symbol.dispose]();
    this.two[Symbol.dispose]();
    this.scratch[Symbol.dispose]();
  }
}

describe.skipIf(skip !== undefined)(
  `a gateway in user space and the kernel's ESP${skip === undefined ? "" : ` (skipped: ${skip})`}`,
  () => {
    let sites: MixedSites;
    beforeAll(() => {
      sites = new MixedSites();
    });
    afterAll(() => sites?.[Symbol.dispose]());

    test.each([
      [4, "aes-128-gcm", 1000],
      [6, "aes-256-gcm", 2000],
      [4, "chacha20-poly1305", 3000],
    ] as const)("both families inside IPv%d, by %s", async (outer, algorithm, spi) => {
      if (!kernelAlgorithms().includes(algorithm)) return;
      sites.agree(outer, algorithm, spi);
      for (const host of ["10.10.2.2", "fd02::2"])
        for (const bytes of [0, SITE_MTU - (host.includes(":") ? 48 : 28)]) {
          const text = await sites.one.lan.ping(`-s ${bytes} ${host}`, sites.turn);
          expect(text).toContain("3 received");
        }
      const { inbound } = sites.one.queue.path.report();
      const one = inbound.find((each) => each.spi === spi + 1);
      expect(one).toMatchObject({ decryptErrors: 0, replayed: 0, protocolErrors: 0, refusedSource: 0 });
      expect(one?.packets).toBeGreaterThanOrEqual(12);
    });

    test("TCP streams arrive whole, both ways", async () => {
      const [one, two] = [sites.one.lan.far, sites.two.host];
      const there = wholeStream(one, { netns: two, address: "10.10.2.2" }, 100_000);
      expect(await sites.during(there)).toBe(true);
      const back = wholeStream(two, { netns: one, address: "fd01::2" }, 100_000);
      expect(await sites.during(back)).toBe(true);
    });

    test("nothing that the kernel received was wrong", () => {
      const text = sites.scratch.text("cat /proc/net/xfrm_stat", sites.two.gate);
      expect(text.split("\n").filter((line) => /^XfrmIn.*\s[1-9]\d*$/.test(line))).toEqual([]);
    });
  },
);
