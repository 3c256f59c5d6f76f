/**
 * Keys are changed over and over, and routes are added one by one, while traffic flows: nothing is lost. For half a minute with a few routes; with
 * CAUSEWAY_LONG=1 for ten minutes with 1,000, and keys that are changed every 20 s.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { type City, exampleOf, GatewayStory } from "../support/gateway-story.ts";
import { labLacks } from "../support/lab-needs.ts";
import { lacksXdp } from "../support/xdp-pair.ts";

const skip = labLacks ?? lacksXdp();
const isLong = process.env["CAUSEWAY_LONG"] !== undefined;
/** Keys are changed after half of their time, and up to a quarter more. */
const { seconds, lifetime, routes, changes } = isLong
  ? { seconds: 600, lifetime: 34, routes: 1000, changes: 25 }
  : { seconds: 20, lifetime: 6, routes: 12, changes: 4 };
const CITIES = ["paris", "tokyo"] as const;
const ENDS = {
  paris: { far: "tokyo", net: "172.32.0.0/16", gateway: "203.0.113.5" },
  tokyo: { far: "paris", net: "172.31.0.0/16", gateway: "203.0.113.2" },
} as const;

/** A city with its first queue, and a route whose keys live for a short time. */
function configurationOf(city: City): string {
  const text = exampleOf(city).slice(0, exampleOf(city).indexOf("mtu 1440"));
  const { far, net, gateway } = ENDS[city];
  return `${text.slice(0, text.lastIndexOf("public-interface4"))} mtu 1440; negotiation-ttl 1; sa-ttl ${lifetime};
    route { id ${far}; spi 700; net ${net}; preshared-key ${"5a".repeat(32)}; gateway { ip ${gateway}; } }`;
}

describe.skipIf(skip !== undefined)(
  `keys and routes under traffic${skip === undefined ? "" : ` (skipped: ${skip})`}`,
  () => {
    let story: GatewayStory;

    beforeAll(async () => {
      story = new GatewayStory(1);
      for (const city of CITIES) {
        await story.start(city);
        await story.config(["set", city, "/"], configurationOf(city));
      }
      for (const city of CITIES) await story.up(city);
    });

    afterAll(async () => {
      await story?.[Symbol.asyncDispose]();
    });

    const rekeys = async () => Number(await story.state("paris", "/route[id=tokyo]/rekeys"));
    const route = (number: number) => {
      const net = `10.${number >> 8}.${number & 255}.0/24`;
      const key = number.toString(16).padStart(64, "0");
      return `{ id r${number}; spi ${5000 + number}; net ${net}; preshared-key ${key}; gateway { ip 203.0.113.9; } }`;
    };

    test(
      "nothing is lost",
      async () => {
        await story.until("a host answers", async () =>
          (await story.on("paris", "ping -n -c 3 -i 0.1 -W 2 172.32.0.1")).stdout.includes("3 received"),
        );
        const before = await rekeys();
        const pinging = story.serve("paris", "ping -n -q -i 0.01 -W 5 172.32.0.1");
        const end = Date.now() + seconds * 1000;
        let added = 0;
        try {
          // Spread over the time, or as fast as they can be added where that is too short.
          for (; added < routes; added++) {
            await story.config(["add", "paris", "/route"], route(added + 1));
            await Bun.sleep(Math.max(0, (end - Date.now()) / (routes - added)));
          }
          await story.until("keys were changed often", async () => (await rekeys()) >= before + changes);
        } finally {
          pinging.kill("SIGINT");
        }
        const text = await pinging.stdout.text();
        const [, sent, received] = /(\d+) packets transmitted, (\d+) received/.exec(text) ?? [];
        const changed = (await rekeys()) - before;
        console.log(
          `${sent} packets, ${received} came back; ${changed} changes of keys, ${added} routes added`,
        );
        // The last may be under way when ping ends.
        expect(Number(sent) - Number(received)).toBeLessThanOrEqual(1);
        expect(Number(received)).toBeGreaterThan(100);
        for (const city of CITIES) expect(await story.state(city, "/public-router/route-errors")).toBe("0");
        expect(await story.state("paris", `/route[id=r${routes}]`)).toContain("up false");
      },
      (seconds + 300) * 1000,
    );
  },
);
