/** Gateways as processes whose packets the kernel's ESP carries, at both ends or at one: by both exchanges, in UDP over IPv6, killed, and changed. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { configOf, GatewayProcesses } from "../support/gateway-processes.ts";
import { labLacks } from "../support/lab-needs.ts";
import { lacksXdp } from "../support/xdp-pair.ts";
import { lacksXfrm } from "../support/xfrm-sites.ts";

setDefaultTimeout(300_000);

const skip = labLacks ?? lacksXfrm() ?? lacksXdp();
/** By our exchange, both families, and by Vita's. */
const FAR = ["10.10.2.2", "fd02::2", "-I 10.20.1.2 10.20.2.2"] as const;

describe.skipIf(skip !== undefined)(
  `gateways by the kernel as processes${skip === undefined ? "" : ` (skipped: ${skip})`}`,
  () => {
    let gateways: GatewayProcesses;
    beforeAll(async () => {
      gateways = new GatewayProcesses();
      await Promise.all([gateways.start(1, configOf(1, "kernel")), gateways.start(2, configOf(2, "kernel"))]);
    });
    afterAll(async () => {
      await gateways?.[Symbol.asyncDispose]();
    });

    /** A slow machine may answer after ping has given up. */
    async function reached(): Promise<void> {
      for (const host of FAR)
        for (let tries = 0; ; tries++) {
          const said = await gateways.ping(`-c 2 -i 0.05 -W 5 ${host}`);
          if (said.includes("2 received")) break;
          if (tries === 5) throw new Error(`${said}\n${gateways.log(1)}\n${gateways.log(2)}`);
        }
    }

    const policies = () => {
      const text = gateways.sites[1].ip("gate", "xfrm policy");
      return [text.split("\tdir ").length - 1, text.split(" action block ").length - 1];
    };

    test("keys are agreed on by both exchanges, packets go, and are counted", async () => {
      for (const number of [1, 2] as const) await gateways.up(number, /kernel/);
      await reached();
      const states = gateways.sites[1].ip("gate", "xfrm state");
      expect(states).toMatch(/src 2001:db8::1 dst 2001:db8::2(\n\t.*)*espinudp sport 4500 dport 4500/);
      expect(states).toMatch(/src 192\.0\.2\.1 dst 192\.0\.2\.2\n/);
      const { routes, associations, queues } = await gateways.top(1);
      expect(queues).toMatchObject([{ queue: 1, up: true, about: "the kernel's ESP" }]);
      for (const name of ["txpackets", "txbytes", "rxpackets", "rxbytes"] as const)
        expect([name, queues[0]?.[name]]).toEqual([
          name,
          routes.reduce((sum, route) => sum + route[name], 0),
        ]);
      expect(routes[0]?.txbytes).toBeGreaterThan(0);
      for (const [id, least] of [
        ["far", 4],
        ["vita", 2],
      ] as const) {
        const route = routes.find((one) => one.id === id);
        for (const count of [route?.txpackets, route?.rxpackets]) expect(count).toBeGreaterThanOrEqual(least);
        const sent = associations.filter((one) => one.direction === "outbound" && one.route === id);
        // Those that were replaced meanwhile have their part.
        const most = route?.txpackets as number;
        expect(sent.reduce((sum, { packets }) => sum + packets, 0)).toBeLessThanOrEqual(most);
      }
      const state = await gateways.state(1);
      expect(state).toContain('backend {\n  reason "the configuration says so";\n  used kernel;\n}');
      expect(state).toContain("exchange vita;");
      expect(state).toContain("public-router {");
      expect(state).not.toMatch(/-(interface|next-hop|dispatch|ttl|icmp\d) \{/);
      expect(state).not.toMatch(/a1a1|b2b2/i);
      expect(gateways.plain).toBe(0);
    });

    test("killed and started again: nothing leaves in the plain, and then packets go again", async () => {
      const [all] = policies();
      await gateways.whilePinging(FAR, async () => {
        await gateways.end(1, "SIGKILL");
        expect(policies()[0]).toBe(all);
        expect(await gateways.ping(`-c 2 -i 0.05 -W 1 ${FAR[0]}`)).toContain("2 packets transmitted");
        await gateways.start(1);
        await gateways.up(1, /kernel/);
      });
      await reached();
      expect(gateways.plain).toBe(0);
    });

    test("another back-end takes over while it runs: user space at one end, and the kernel again", async () => {
      await gateways.whilePinging(FAR, async () => {
        await gateways.set(1, "/backend", "user");
        await gateways.up(1, /"by":"(?!the kernel)/);
        await reached();
        // User space has the interfaces: nothing is blocked any more.
        expect(policies()).toEqual([0, 0]);
        await gateways.set(1, "/backend", "kernel");
        await gateways.up(1, /kernel/);
      });
      await reached();
      expect(gateways.plain).toBe(0);
    });

    test("a goodbye lets go of what was blocked", async () => {
      await gateways.end(1, "SIGINT");
      expect(policies()).toEqual([0, 0]);
      expect(gateways.plain).toBe(0);
      // So would it have been seen.
      await gateways.ping(`-c 1 -W 1 ${FAR[0]}`);
      expect(gateways.plain).toBeGreaterThan(0);
    });
  },
);
