/** Two site gateways on AF_XDP: the list of behaviours that every back-end has. */
import { setDefaultTimeout } from "bun:test";
import type { GatewayQueue } from "../../src/tunnel/gateway/mod.ts";
import { gatewaySuite, type SuiteQueue, type SuiteSite, type SuiteSites } from "../support/gateway-suite.ts";
import { type GatewaySite, GatewaySites, SITE_MTU } from "../support/gateway-sites.ts";
import { lacksXdp } from "../support/xdp-pair.ts";

setDefaultTimeout(120_000);

function siteOf(site: GatewaySite): SuiteSite {
  return {
    number: site.number,
    host: site.lan.far,
    news: site.news,
    obey: (...orders) => site.obey(...orders),
    report: () => site.queue.path.report(),
  };
}

function make(): SuiteSites {
  const sites = new GatewaySites("xdp", 2);
  return {
    one: siteOf(sites.one),
    two: siteOf(sites.two),
    async during(work) {
      let isRunning = true;
      const done = work.finally(() => (isRunning = false));
      while (isRunning) {
        sites.turn();
        await Bun.sleep(1);
      }
      return done;
    },
    second() {
      sites.startSecond();
      const queueOf = ({ number, second }: GatewaySite): SuiteQueue => ({
        number,
        obey: (...orders) => {
          for (const order of orders) second?.obey(order);
        },
        report: () => (second as GatewayQueue).path.report(),
      });
      return { one: queueOf(sites.one), two: queueOf(sites.two) };
    },
    detour(isOn) {
      for (const site of [sites.one, sites.two]) site.detour("other", isOn);
    },
    [Symbol.dispose]: () => sites[Symbol.dispose](),
  };
}

gatewaySuite("site gateways on AF_XDP", {
  skip: lacksXdp(),
  mtuBytes: SITE_MTU,
  algorithms: () => ["aes-128-gcm", "aes-256-gcm", "chacha20-poly1305"],
  make,
});
