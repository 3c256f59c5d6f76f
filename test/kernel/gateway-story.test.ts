/** Paris and Tokyo: two gateways as processes of the real executable, with their configurations as people write them, behind 1:1 NAT. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { exampleOf, type City, GatewayStory } from "../support/gateway-story.ts";
import { labLacks } from "../support/lab-needs.ts";
import { lostPings } from "../support/lost-pings.ts";
import { fetchTraceroute, hopsOf } from "../support/traceroute.ts";
import { lacksXdp } from "../support/xdp-pair.ts";

const skip = labLacks ?? lacksXdp();
const traceroute = skip === undefined ? fetchTraceroute() : { lacks: skip };
const CITIES = ["paris", "tokyo"] as const;
const HOSTS = { paris: "172.31.0.1", tokyo: "172.32.0.1" } as const;
const KEY = /(3C ?5F ?A8 ?10|3c5fa810)/i;

describe.skipIf(skip !== undefined)(
  `the story of two regions${skip === undefined ? "" : ` (skipped: ${skip})`}`,
  () => {
    let story: GatewayStory;

    beforeAll(async () => {
      story = new GatewayStory();
      for (const city of CITIES) await story.start(city);
    });

    afterAll(async () => {
      await story?.[Symbol.asyncDispose]();
    });

    const other = (city: City) => (city === "paris" ? "tokyo" : "paris");

    /** A slow machine may answer after ping has given up. */
    async function ping(city: City, words: string, wanted = "3 received"): Promise<string> {
      for (let tries = 0; ; tries++) {
        const { stdout } = await story.on(city, `ping -n -c 3 -i 0.1 -W 2 ${words}`);
        if (stdout.includes(wanted) || tries === 5) return stdout;
      }
    }

    /** Goes on with pings from Paris until the work is done; none may be lost. */
    async function whilePinging(work: () => Promise<void>): Promise<void> {
      const pinging = story.serve("paris", `ping -n -i 0.02 -W 5 ${HOSTS.tokyo}`);
      try {
        await work();
      } finally {
        pinging.kill("SIGINT");
      }
      const text = await pinging.stdout.text();
      // Some may be under way when ping ends.
      expect(lostPings(text)).toEqual([]);
      expect(Number(/(\d+) received/.exec(text)?.[1])).toBeGreaterThan(10);
    }

    const rekeys = async (city: City) => Number(await story.state(city, `/route[id=${other(city)}]/rekeys`));
    const spis = async (city: City) =>
      [...(await story.state(city, "/outbound-sa")).matchAll(/spi (\d+);/g)].map((match) => match[1]).sort();

    test("configurations are taken verbatim, and keys are agreed on for both queues", async () => {
      for (const city of CITIES) {
        expect(await story.state(city, "/route")).toBe("");
        expect(await story.config(["set", city, "/"], exampleOf(city))).toBe("");
      }
      for (const city of CITIES) {
        await story.up(city);
        await story.until("both queues have keys", async () => (await spis(city)).length === 2);
      }
      expect(await story.config(["get", "paris", "/route4[id=tokyo]/gateway[ip=203.0.113.6]/queue"])).toBe(
        "2\n",
      );
      expect(await story.state("paris", "/route[id=tokyo]/exchange")).toBe("vita");
    }, 120_000);

    test("hosts reach each other, and a trace shows two hops between", async () => {
      for (const city of CITIES) expect(await ping(city, HOSTS[other(city)])).toContain("3 received");
      const hop = (ttl: number, from: string) => ping("paris", `-t ${ttl} ${HOSTS.tokyo}`, `From ${from}`);
      expect(await hop(1, "172.31.1.20")).toContain("From 172.31.1.20 icmp_seq=1 Time to live exceeded");
      expect(await hop(2, "172.32.1.20")).toContain("From 172.32.1.20 icmp_seq=1 Time to live exceeded");
      // The far gateway itself, through the tunnel.
      expect(await ping("paris", "172.32.1.20")).toContain("3 received");
    }, 120_000);

    test.skipIf(traceroute.lacks !== undefined).each([
      ["UDP", "-U"],
      ["ICMP", "-I"],
    ])(
      `traceroute by %s has three hops: both gateways and the host${traceroute.lacks === undefined ? "" : ` (skipped: ${traceroute.lacks})`}`,
      async (_name, by) => {
        const trace = async () =>
          hopsOf(
            (await story.on("paris", `${traceroute.path} -n ${by} -N 1 -q 1 -w 5 -m 5 ${HOSTS.tokyo}`))
              .stdout,
          );
        let hops = await trace();
        // A slow machine may answer later than it waits.
        for (let tries = 0; hops.includes("*") && tries < 5; tries++) hops = await trace();
        expect(hops).toEqual(["172.31.1.20", "172.32.1.20", HOSTS.tokyo]);
      },
      120_000,
    );

    test.each([
      ["TCP", "-n 4M", "paris"],
      ["TCP back", "-n 4M -R", "paris"],
      ["TCP of eight flows", "-n 4M -P 8", "tokyo"],
      ["UDP", "-u -b 5M -n 500K -l 1200", "tokyo"],
      ["UDP back", "-u -b 5M -n 500K -l 1200 -R", "tokyo"],
    ] as const)(
      "iperf3: %s",
      async (_name, words, from) => {
        const server = story.serve(other(from), "iperf3 -s");
        try {
          let bytes = 0;
          for (let tries = 0; bytes === 0 && tries < 20; tries++) {
            const { stdout } = await story.on(from, `iperf3 -J -c ${HOSTS[other(from)]} ${words}`);
            const end = JSON.parse(stdout).end;
            bytes = end?.sum_received?.bytes ?? end?.sum?.bytes ?? 0;
          }
          expect(bytes).toBeGreaterThan(100_000);
        } finally {
          server.kill("SIGKILL");
          await server.exited;
        }
      },
      180_000,
    );

    test("what was carried is counted, for each route, queue and SA", async () => {
      const { stdout } = await story.causeway(["top", "paris", "--json"]);
      const top = JSON.parse(stdout);
      const [route] = top.routes;
      expect(route).toMatchObject({ id: "tokyo", up: true });
      expect(route.txbytes).toBeGreaterThan(1_000_000);
      expect(route.rxbytes).toBeGreaterThan(1_000_000);
      const sent = top.associations.filter((one: { direction: string }) => one.direction === "outbound");
      expect(sent.reduce((sum: number, one: { bytes: number }) => sum + one.bytes, 0)).toBe(route.txbytes);
      expect(top.queues.map(({ queue, up }: { queue: number; up: boolean }) => [queue, up])).toEqual([
        [1, true],
        [2, true],
      ]);
      // Until the next keys, and until the end; and the numbers of packets both ways.
      expect(await story.state("paris", "/outbound-sa")).toMatch(
        /seconds-left \d+;\s+sequence [1-9]\d*;\s+soft-seconds-left \d+;/,
      );
      expect(await story.state("paris", "/inbound-sa")).toMatch(/sequence [1-9]/);
      const metrics = (await story.causeway(["gateway", "metrics", "paris"])).stdout;
      expect(metrics).toContain('causeway_gateway_route_up{gateway="paris",route="tokyo"} 1\n');
      expect(metrics).toMatch(/route_txpackets_total\{gateway="paris",route="tokyo"\} [1-9]/);
      expect(await story.state("paris", "/private-router/route-errors")).toBe("0");
      await story.until("history has a step", async () => {
        const looked = await story.causeway(["top", "paris", "--json"]);
        return JSON.parse(looked.stdout).history.length > 0;
      });
    }, 60_000);

    test("other routes come, change and go, and the MTU changes, without a packet lost or a key changed", async () => {
      const before = await spis("paris");
      const route = (number: number) =>
        `{ id r${number}; spi ${5000 + number}; net 10.${number}.0.0/16; preshared-key "${`${1000 + number}`.repeat(16)}"; gateway { ip 203.0.113.${100 + number}; } }`;
      await whilePinging(async () => {
        for (let number = 1; number <= 5; number++)
          await story.config(["add", "paris", "/route4", route(number)]);
        await story.config(["set", "paris", "/route4[id=r1]/net", "10.99.0.0/16"]);
        await story.config(["set", "paris", "/mtu", "1300"]);
        await story.config(["set", "paris", "/tfc", "true"]);
        await story.config(["set", "paris", "/mtu", "1440"]);
        await story.config(["set", "paris", "/tfc", "false"]);
        for (let number = 1; number <= 5; number++)
          await story.config(["remove", "paris", `/route4[id=r${number}]`]);
      });
      expect(await spis("paris")).toEqual(before);
    }, 120_000);

    test("what is wrong is refused with path, value and rule, and changes nothing", async () => {
      const refused = async (words: readonly string[], input?: string) => {
        const { status, stderr } = await story.causeway(["config", ...words], input);
        expect(status).toBe(1);
        return stderr;
      };
      expect(await refused(["set", "paris", "/mtu", "9000"])).toContain(
        "/mtu 9000: is not a whole number from 0 to 8923",
      );
      expect(await refused(["set", "paris", "/"], "mtu 1440; nonsense 5;")).toContain("nonsense");
      expect(await refused(["get", "nowhere", "/"])).toContain("causeway gateway run --name nowhere");
      await story.up("paris");
    });

    test("listen answers requests in order, and nobody else writes meanwhile", async () => {
      const requests = [
        { id: "1", verb: "set", path: "/mtu", value: "1400" },
        { id: "2", verb: "get", path: "/mtu" },
        { id: "3", verb: "set", path: "/mtu", value: "1" + "0".repeat(9) },
        { id: "4", verb: "set", path: "/mtu", value: "1440" },
      ];
      const text = requests.map((one) => JSON.stringify(one)).join(" ");
      const { stdout } = await story.causeway(["config", "listen", "paris"], text);
      const answers = stdout
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line));
      expect(answers.map(({ id, status }) => `${id} ${status}`)).toEqual(["1 ok", "2 ok", "3 error", "4 ok"]);
      expect(answers[1].value).toBe("1400\n");
    });

    test("the port of the exchange and processors change without a packet lost", async () => {
      const before = story.log("paris").length;
      await whilePinging(async () => {
        for (const port of ["304", "303"])
          for (const city of CITIES) await story.config(["set", city, "/protocol-port", port]);
        await story.config(["add", "paris", "/cpu", "0;"]);
        await story.config(["set", "paris", "/cpu[position()=1]", "1"]);
        // Answered when the thread is there: what comes after is done after.
        await story.until("both queues have keys", async () => (await spis("paris")).length >= 2);
      });
      expect(story.log("paris").slice(before)).not.toContain('"queue is ');
      await story.config(["remove", "paris", "/cpu[position()=1]"]);
      await story.until("queue 1 is up anew", () =>
        story.log("paris").slice(before).includes('"queue is up"'),
      );
      for (const city of CITIES) await story.up(city);
    }, 60_000);

    test("keys are changed under traffic without a packet lost", async () => {
      for (const city of CITIES) {
        await story.config(["set", city, "/negotiation-ttl", "1"]);
        await story.config(["set", city, "/sa-ttl", "8"]);
      }
      // Those of before live on for their time: a lifetime is agreed on with the keys.
      const start = await rekeys("paris");
      await story.config(["set", "paris", "/route4[id=tokyo]/spi", "1235"]);
      await story.config(["set", "tokyo", "/route4[id=paris]/spi", "1235"]);
      await story.until(
        "keys are agreed on under the other SPI",
        async () => (await rekeys("paris")) > start + 1,
      );
      expect(await ping("paris", HOSTS.tokyo)).toContain("3 received");
      const first = await rekeys("paris");
      await whilePinging(() =>
        story.until("keys were changed", async () => (await rekeys("paris")) >= first + 6),
      );
      for (const city of CITIES) expect(await story.state(city, "/public-router/route-errors")).toBe("0");
    }, 180_000);

    test("an interface that goes is the status of its queue, and one that comes back is used", async () => {
      story.beside("paris", "ip link set eth3 down");
      await story.until("queue 2 is down", () => story.log("paris").includes("the interface eth3 is down"));
      expect((await story.causeway(["top", "paris", "--once"])).stdout).toContain("ip link set eth3 up");
      expect(await story.state("paris", "/route[id=tokyo]/up")).toBe("true");
      story.beside("paris", "ip link set eth3 up");
      await story.until("queue 2 is up", async () => {
        const { stdout } = await story.causeway(["top", "paris", "--json"]);
        return JSON.parse(stdout).queues.every(({ up }: { up: boolean }) => up);
      });
      await story.until("queue 2 has keys", async () => (await spis("paris")).length === 2);
    }, 120_000);

    test("threads of queues that begin anew end", async () => {
      // A thread goes to a processor as it is; one that is to go anywhere again begins anew.
      const both = async () => {
        await story.config(["add", "paris", "/cpu", "0;"]);
        await story.config(["add", "paris", "/cpu", "1;"]);
        const before = story.log("paris").length;
        for (const place of [2, 1]) await story.config(["remove", "paris", `/cpu[position()=${place}]`]);
        await story.until("both queues are up anew", () => {
          const said = story.log("paris").slice(before);
          return ["1", "2"].every((queue) => new RegExp(`"queue is up".*"queue":${queue}`).test(said));
        });
      };
      await both();
      const before = story.threads("paris");
      for (let n = 0; n < 3; n++) await both();
      await story.until("threads have ended", () => story.threads("paris") <= before);
      await story.up("paris");
    }, 180_000);

    test("a second process is refused before it writes anything", async () => {
      const text = await story.config(["get", "paris", "/"]);
      const kept = story.kept("paris");
      const begin = (...words: readonly string[]) =>
        story.causeway([
          "gateway",
          "run",
          ...words,
          "--config",
          `${import.meta.dir}/../../examples/gateway/tokyo.conf`,
        ]);
      const state = ["--state", `${story.folder}/paris`];
      for (const name of ["paris", "lyon"]) {
        const { status, stderr } = await begin("--name", name, ...state);
        expect([status, stderr]).toEqual([1, expect.stringContaining("gateway paris, process ")]);
        expect(stderr).toContain(`has the state folder ${story.folder}/paris`);
      }
      const other = await begin("--name", "paris", "--state", `${story.folder}/lyon`);
      expect([other.status, other.stderr]).toEqual([
        1,
        expect.stringContaining("another process answers there"),
      ]);
      expect(story.kept("lyon")).toEqual([]);
      expect(story.kept("paris")).toEqual(kept);
      expect(await story.config(["get", "paris", "/"])).toBe(text);
    }, 60_000);

    test("a gateway that is killed goes on with its configuration when it is started again", async () => {
      await story.end("tokyo", "SIGKILL");
      await story.start("tokyo");
      await story.up("tokyo");
      expect(await ping("paris", HOSTS.tokyo)).toContain("3 received");
      expect(await ping("tokyo", HOSTS.paris)).toContain("3 received");
      await story.end("tokyo", "SIGTERM");
      await story.start("tokyo", "--cpu", "1,0");
      await story.up("tokyo");
      // A worker for each queue, and the first thread wherever it likes.
      await story.until("both queues are pinned", () =>
        ["0", "1"].every((cpu) => story.processors("tokyo").includes(cpu)),
      );
      expect(["0", "1"]).not.toContain(story.processors("tokyo")[0]);
      expect(await ping("tokyo", HOSTS.paris)).toContain("3 received");
    }, 180_000);

    test("no secret is in anything that can be read", async () => {
      const said = [
        await story.config(["get", "paris", "/"]),
        await story.config(["get", "paris", "/route4[id=tokyo]/preshared-key"]),
        await story.config(["get", "paris", "/", "--format", "xpath"]),
        await story.config(["get-state", "paris", "/"]),
        (await story.causeway(["top", "paris", "--json"])).stdout,
        (await story.causeway(["gateway", "metrics", "paris"])).stdout,
        ...CITIES.map((city) => story.log(city)),
      ];
      for (const text of said) expect(text).not.toMatch(KEY);
      expect(said[0]).toContain("(hidden)");
    });
  },
);
