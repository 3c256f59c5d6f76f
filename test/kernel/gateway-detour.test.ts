/** Two gateways with two queues each, of which one is cut: its flows go by the other one, at both ends, and back when it is mended. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { runSync } from "../../src/sys/mod.ts";
import { type City, exampleOf, GatewayStory } from "../support/gateway-story.ts";
import { labLacks } from "../support/lab-needs.ts";
import { lacksXdp } from "../support/xdp-pair.ts";

const skip = labLacks ?? lacksXdp();
const CITIES = ["paris", "tokyo"] as const;
const ENDS = {
  paris: { far: "tokyo", net: "172.32.0.0/16", gateways: ["203.0.113.5", "203.0.113.6"] },
  tokyo: { far: "paris", net: "172.31.0.0/16", gateways: ["203.0.113.2", "203.0.113.3"] },
} as const;
/** So many flows that both queues of each private interface surely have some. */
const FLOWS = Array.from({ length: 12 }, (_, i) => `172.31.0.${10 + i}`);

/** What the cities' gateways are told: their own interfaces, and a route with a gateway for each queue. */
function configurationOf(city: City): string {
  const text = exampleOf(city);
  const { far, net, gateways } = ENDS[city];
  const list = gateways.map((ip, i) => `gateway { ip ${ip}; queue ${i + 1}; }`).join(" ");
  return `${text.slice(0, text.indexOf("mtu 1440"))} mtu 1440;
    route { id ${far}; spi 700; net ${net}; preshared-key ${"5a".repeat(32)}; ${list} }`;
}

describe.skipIf(skip !== undefined)(
  `a queue that is cut${skip === undefined ? "" : ` (skipped: ${skip})`}`,
  () => {
    let story: GatewayStory;
    const detour = (city: City) => story.state(city, `/route[id=${ENDS[city].far}]`);
    const isWell = async () => {
      for (const city of CITIES) {
        const text = await detour(city);
        if (!text.includes("up true") || text.includes("detour")) return false;
      }
      return true;
    };

    beforeAll(async () => {
      story = new GatewayStory();
      for (const city of CITIES) {
        await story.start(city);
        await story.config(["set", city, "/"], configurationOf(city));
      }
      for (const ip of FLOWS) await story.on("paris", `ip addr add ${ip}/32 dev eth0`);
      await story.until("both queues have keys at both ends", async () => {
        for (const city of CITIES) {
          const text = await story.state(city, "/outbound-sa");
          if (!/queue 1;/.test(text) || !/queue 2;/.test(text)) return false;
        }
        return isWell();
      });
    });

    afterAll(async () => {
      await story?.[Symbol.asyncDispose]();
    });

    /** Sends pings of all flows, and returns how many of each were lost. */
    async function losses(words: string): Promise<number[]> {
      const texts = await Promise.all(
        FLOWS.map(async (ip) => (await story.on("paris", `ping -n -q -I ${ip} ${words} 172.32.0.1`)).stdout),
      );
      return texts.map((text) => {
        const [, sent, received] = /(\d+) packets transmitted, (\d+) received/.exec(text) ?? [];
        return Number(sent) - Number(received);
      });
    }

    /** How much is lost while something is cut, of pings each 20 ms. */
    async function whileCut(cut: () => void): Promise<number> {
      const most = losses("-i 0.02 -c 100 -W 2");
      cut();
      return Math.max(...(await most));
    }

    const packets = async (queue: number) =>
      Number(await story.state("paris", `/queue[queue=${queue}]/txpackets`));

    const nothingIsLost = () =>
      story.until("nothing is lost", async () => (await losses("-i 0.05 -c 5 -W 5")).every((n) => n === 0));

    async function allGoByTheFirst(city: City): Promise<void> {
      await story.until(`${city} tells of the detour`, async () =>
        (await detour(city)).includes("packets of queue 2 go by queue 1: "),
      );
      await nothingIsLost();
      expect(await detour(city)).toContain("up true");
      expect(story.log(city)).toContain('"packets of a queue go by another one"');
    }

    async function mended(): Promise<void> {
      await story.until("each queue has its own packets", isWell);
      const before = await packets(2);
      await nothingIsLost();
      expect((await packets(2)) - before).toBeGreaterThan(5);
    }

    test("both have flows at first", async () => {
      const before = [await packets(1), await packets(2)];
      expect(await losses("-i 0.05 -c 5 -W 5")).toEqual(FLOWS.map(() => 0));
      for (const queue of [1, 2])
        expect((await packets(queue)) - (before[queue - 1] as number)).toBeGreaterThan(5);
    }, 60_000);

    test("somewhere on its way", async () => {
      const nft = (input: string) => {
        const done = runSync(["nft", "-f", "-"], { netns: story.wan, input });
        if (done.status !== 0) throw new Error(done.stderr);
      };
      const most = await whileCut(() =>
        nft(`add table ip cut
add chain ip cut way { type filter hook forward priority 0; }
add rule ip cut way ip daddr { 172.31.1.31, 172.32.1.31 } drop
`),
      );
      console.log(`lost by a cut somewhere on the way: ${most * 20} ms`);
      for (const city of CITIES) await allGoByTheFirst(city);
      nft("delete table ip cut");
      await mended();
    }, 120_000);

    test("at its own cable", async () => {
      const most = await whileCut(() => story.scratch.text("ip link set peth3 down", story.wan));
      console.log(`lost by a cut at its own cable: ${most * 20} ms`);
      // Tokyo's second queue goes to Paris's first.
      await allGoByTheFirst("paris");
      expect(await detour("paris")).toContain("the interface eth3 has no carrier");
      story.scratch.text("ip link set peth3 up", story.wan);
      story.scratch.text("ip route replace 172.31.1.31/32 dev peth3", story.wan);
      await mended();
    }, 120_000);
  },
);
