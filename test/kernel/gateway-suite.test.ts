/** Two site gateways on AF_XDP: the list of behaviours that every back-end has. */
import { setDefaultTimeout } from "bun:test";
import { gatewaySuite, type SuiteSite, type SuiteSites } from "../support/gateway-suite.ts";
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
  const sites = new GatewaySites();
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
    [Symbol.dispose]: () => sites[Symbol.dispose](),
  };
}

gatewaySuite("site gateways on AF_XDP", {
  skip: lacksXdp(),
  mtuBytes: SITE_MTU,
  algorithms: () => ["aes-128-gcm", "aes-256-gcm", "chacha20-poly1305"],
  make,
});
