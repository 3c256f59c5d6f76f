/** Two gateways with two queues each, of which one is cut: its flows go by the other one, at both ends, and back when it is mended; for either back-end. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { runSync } from "../../src/sys/mod.ts";
import { CITIES as CITY_NUMBERS, type City, exampleOf, GatewayStory } from "./gateway-story.ts";

const CITIES = ["paris", "tokyo"] as const;
const ENDS = {
  paris: { far: "tokyo", net: "172.32.0.0/16", gateways: ["203.0.113.5", "203.0.113.6"] },
  tokyo: { far: "paris", net: "172.31.0.0/16", gateways: ["203.0.113.2", "203.0.113.3"] },
} as const;
/** So many flows that both queues of each private interface surely have some. By the kernel the first queue has all pings. */
const FLOWS = { user: flows(12), kernel: flows(3) } as const;
/** The queue that is cut, and that which has its packets then. */
const CUT = { user: [2, 1], kernel: [1, 2] } as const;

function flows(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `172.31.0.${10 + i}`);
}

/** What the cities' gateways are told: their own interfaces, and a route with a gateway for each queue. */
function configurationOf(city: City, by: keyof typeof CUT): string {
  const text = exampleOf(city);
  const { far, net, gateways } = ENDS[city];
  const list = gateways.map((ip, i) => `gateway { ip ${ip}; queue ${i + 1}; }`).join(" ");
  return `${text.slice(0, text.indexOf("mtu 1440"))} mtu 1440; backend ${by};
    route { id ${far}; spi 700; net ${net}; preshared-key ${"5a".repeat(32)}; ${list} }`;
}

/** By the kernel, addresses and routes are the host's: each of the other's gateways by the uplink of its queue. */
function addresses(story: GatewayStory, city: City): void {
  const net = `172.${CITY_NUMBERS[city]}`;
  for (const words of [
    "ip link set lo up",
    `ip addr add ${net}.1.20/16 dev eth1`,
    ...ENDS[city].gateways.flatMap((gateway, i) => [
      `ip addr add ${net}.1.3${i}/32 dev eth${i + 2}`,
      `ip route add ${gateway}/32 via ${net}.0.1 dev eth${i + 2} onlink src ${net}.1.3${i}`,
    ]),
    "sysctl -q -w net.ipv4.ip_forward=1",
  ])
    story.beside(city, words);
}

/** detoursOfQueues describes them; `skip` is why a back-end cannot be. */
export function detoursOfQueues(by: keyof typeof CUT, skip: string | undefined): void {
  const [cut, other] = CUT[by];
  describe.skipIf(skip !== undefined)(
    `a queue that is cut, by ${by}${skip === undefined ? "" : ` (skipped: ${skip})`}`,
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
          if (by === "kernel") addresses(story, city);
          await story.startBy([], city, ...(by === "kernel" ? [] : ["--xdp"]));
          await story.config(["set", city, "/"], configurationOf(city, by));
        }
        for (const ip of FLOWS[by]) await story.on("paris", `ip addr add ${ip}/32 dev eth0`);
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
          FLOWS[by].map(
            async (ip) => (await story.on("paris", `ping -n -q -I ${ip} ${words} 172.32.0.1`)).stdout,
          ),
        );
        return texts.map((text) => {
          const [, sent, received] = /(\d+) packets transmitted, (\d+) received/.exec(text) ?? [];
          return Number(sent) - Number(received);
        });
      }

      const packets = async (queue: number) =>
        Number(await story.state("paris", `/queue[queue=${queue}]/txpackets`));

      /** How much is lost while something is cut, of pings each 20 ms. */
      async function whileCut(work: () => void): Promise<number> {
        const before = await packets(cut);
        const most = losses("-i 0.02 -c 300 -W 2");
        await story.until("packets go", async () => (await packets(cut)) > before + 20);
        work();
        return Math.max(...(await most));
      }

      const nothingIsLost = () =>
        story.until("nothing is lost", async () => (await losses("-i 0.05 -c 5 -W 5")).every((n) => n === 0));

      async function allGoByTheOther(city: City): Promise<void> {
        await story.until(`${city} tells of the detour`, async () =>
          (await detour(city)).includes(`packets of queue ${cut} go by queue ${other}: `),
        );
        const before = await packets(other);
        await nothingIsLost();
        expect((await packets(other)) - before).toBeGreaterThan(5);
        expect(await detour(city)).toContain("up true");
        expect(story.log(city)).toContain('"packets of a queue go by another one"');
      }

      async function mended(): Promise<void> {
        await story.until("each queue has its own packets", isWell);
        const before = await packets(cut);
        await nothingIsLost();
        expect((await packets(cut)) - before).toBeGreaterThan(5);
      }

      test.skipIf(by === "kernel")(
        "both have flows at first",
        async () => {
          const before = [await packets(1), await packets(2)];
          expect(await losses("-i 0.05 -c 5 -W 5")).toEqual(FLOWS[by].map(() => 0));
          for (const queue of [1, 2])
            expect((await packets(queue)) - (before[queue - 1] as number)).toBeGreaterThan(5);
        },
        300_000,
      );

      test("somewhere on its way", async () => {
        const nft = (input: string) => {
          const done = runSync(["nft", "-f", "-"], { netns: story.wan, input });
          if (done.status !== 0) throw new Error(done.stderr);
        };
        const most = await whileCut(() =>
          nft(`add table ip cut
add chain ip cut way { type filter hook forward priority 0; }
add rule ip cut way ip daddr { 172.31.1.${29 + cut}, 172.32.1.${29 + cut} } drop
add rule ip cut way ip saddr { 172.31.1.${29 + cut}, 172.32.1.${29 + cut} } drop
`),
        );
        console.log(`lost by a cut somewhere on the way: ${most * 20} ms`);
        for (const city of CITIES) await allGoByTheOther(city);
        nft("delete table ip cut");
        await mended();
      }, 300_000);

      test("at its own cable", async () => {
        const most = await whileCut(() => story.scratch.text(`ip link set peth${cut + 1} down`, story.wan));
        console.log(`lost by a cut at its own cable: ${most * 20} ms`);
        // Tokyo's goes to Paris's other one.
        await allGoByTheOther("paris");
        expect(await detour("paris")).toContain(`the interface eth${cut + 1} has no carrier`);
        story.scratch.text(`ip link set peth${cut + 1} up`, story.wan);
        story.scratch.text(`ip route replace 172.31.1.${29 + cut}/32 dev peth${cut + 1}`, story.wan);
        await mended();
      }, 300_000);
    },
  );
}
