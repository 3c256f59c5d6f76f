/** Routes of our own between two gateways as processes: our exchange with its liveness, keys in files, and associations of an operator. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { rmSync, writeFileSync } from "node:fs";
import { BEHIND, type City, exampleOf, GatewayStory } from "../support/gateway-story.ts";
import { labLacks } from "../support/lab-needs.ts";
import { lacksXdp } from "../support/xdp-pair.ts";

const skip = labLacks ?? lacksXdp();
const CITIES = ["paris", "tokyo"] as const;
const HOSTS = { paris: "172.31.0.1", tokyo: "172.32.0.1" } as const;
const NETS = { paris: "172.31.0.0/16", tokyo: "172.32.0.0/16" } as const;
const OUTSIDE = { paris: ["203.0.113.2", "203.0.113.3"], tokyo: ["203.0.113.5", "203.0.113.6"] } as const;
const other = (city: City) => (city === "paris" ? "tokyo" : "paris");

/** The interfaces of the examples, of the first queue. */
function interfacesOf(city: City): string {
  const text = exampleOf(city).slice(0, exampleOf(city).indexOf("mtu 1440"));
  return text.slice(0, text.lastIndexOf("public-interface4"));
}

describe.skipIf(skip !== undefined)(
  `routes of our own${skip === undefined ? "" : ` (skipped: ${skip})`}`,
  () => {
    let story: GatewayStory;

    beforeAll(async () => {
      story = new GatewayStory(1);
      for (const city of CITIES) await story.start(city);
    });

    afterAll(async () => {
      await story?.[Symbol.asyncDispose]();
    });

    async function ping(city: City, words: string): Promise<string> {
      for (let tries = 0; ; tries++) {
        const { stdout } = await story.on(city, `ping -n -c 3 -i 0.1 -W 2 ${words}`);
        if (stdout.includes("3 received") || tries === 5) return stdout;
      }
    }

    const configure = (city: City, rest: string) =>
      story.config(["set", city, "/"], `${interfacesOf(city)} mtu 1440; ${rest}`);

    test("with public keys, which each gateway made for itself", async () => {
      const keys = {} as Record<City, string>;
      for (const city of CITIES)
        keys[city] = (await story.causeway(["gateway", "public-key", city])).stdout.trim();
      expect(keys.paris).not.toBe(keys.tokyo);
      for (const city of CITIES) {
        const far = other(city);
        await configure(
          city,
          `route { id ${far}; spi 700; net ${NETS[far]}; public-key "${keys[far]}"; gateway { ip ${OUTSIDE[far][0]}; } }`,
        );
      }
      for (const city of CITIES) await story.up(city);
      expect(await ping("paris", HOSTS.tokyo)).toContain("3 received");
      expect(await story.state("paris", "/route[id=tokyo]/exchange")).toBe("causeway");
      expect(await story.state("paris", "/outbound-sa")).toContain("aes-256-gcm");
      await story.until("the round trip is known", async () =>
        /round-trip-microseconds \d+/.test(await story.state("paris", "/route[id=tokyo]")),
      );
    }, 120_000);

    test("in UDP, and by another algorithm", async () => {
      for (const city of CITIES) {
        const path = `/route[id=${other(city)}]`;
        const before = await story.config(["get", city, path]);
        await story.config(
          ["set", city, path],
          `${before} encapsulation always; algorithm chacha20-poly1305;`,
        );
      }
      await story.until("it is agreed on", async () =>
        (await story.state("paris", "/outbound-sa")).includes("chacha20-poly1305"),
      );
      expect(await ping("paris", HOSTS.tokyo)).toContain("3 received");
    }, 120_000);

    test("a gateway that ends for good says so, and is called again when it is back", async () => {
      await story.end("tokyo", "SIGINT");
      await story.until("paris knows", async () =>
        (await story.state("paris", "/route[id=tokyo]/up")).includes("false"),
      );
      expect(await story.state("paris", "/route[id=tokyo]/reason")).not.toBe("");
      await story.start("tokyo");
      for (const city of CITIES) await story.up(city);
      expect(await ping("tokyo", HOSTS.paris)).toContain("3 received");
    }, 120_000);

    test("a key file that is not there is its route's status, and is used when it comes", async () => {
      const file = `${story.folder}/tokyo.psk`;
      const key = "5a".repeat(32);
      const route = (far: City, secret: string) =>
        `exchange vita; spi 800; net ${NETS[far]}; ${secret} gateway { ip ${OUTSIDE[far][0]}; }`;
      await configure("tokyo", `route { id paris; ${route("paris", `preshared-key ${key};`)} }`);
      await configure("paris", `route { id tokyo; ${route("tokyo", `preshared-key-file ${file};`)} }`);
      expect(await story.state("paris", "/route[id=tokyo]/reason")).toContain(`cannot be read from ${file}`);
      writeFileSync(file, `${key}\n`, { mode: 0o600 });
      for (const city of CITIES) await story.up(city);
      expect(await ping("paris", HOSTS.tokyo)).toContain("3 received");
      for (const city of CITIES) expect(story.log(city)).not.toContain(key);
    }, 120_000);

    test("behind a 1:1 NAT, without nat-ip both count that they are not who they say, and with it they reach each other", async () => {
      const route = (far: City) =>
        `route4 { id ${far}; spi 850; net ${NETS[far]}; preshared-key ${"3c".repeat(32)}; gateway { ip ${OUTSIDE[far][0]}; } }`;
      const set = (city: City, interfaces: string) =>
        story.config(["set", city, "/"], `${interfaces} mtu 1440; negotiation-ttl 1; ${route(other(city))}`);
      await set("paris", interfacesOf("paris").replace(/nat-ip [^;]*;/, ""));
      await set("tokyo", interfacesOf("tokyo"));
      for (const city of CITIES)
        await story.until(`${city} counts it`, async () =>
          /^[1-9]/.test(await story.state(city, "/key-manager/authentication-errors")),
        );
      const reason = () => story.state("paris", "/route[id=tokyo]/reason");
      const why = /no answer.*172\.31\.1\.30 is private, without nat-ip.*1:1.*nat-ip/;
      await story.until("it says why", async () => why.test(await reason()));
      for (const city of CITIES)
        expect(await story.state(city, `/route[id=${other(city)}]/up`)).toBe("false");
      await set("paris", interfacesOf("paris"));
      for (const city of CITIES) await story.up(city);
      expect(await ping("paris", HOSTS.tokyo)).toContain("3 received");
    }, 120_000);

    /** Associations as an operator gives them, the same at both ends. */
    function managed(city: City): string {
      const [out, back] = city === "paris" ? [1000, 2000] : [2000, 1000];
      const sa = (list: string, spi: number, far: City) =>
        `${list} { spi ${spi}; route ${far}; aead aes-gcm-16-icv; key "${`${spi}`.repeat(8)}"; salt "0000${spi}"; }`;
      const far = other(city);
      return `data-plane true; route { id ${far}; spi 900; net ${NETS[far]}; preshared-key ${"77".repeat(32)}; gateway { ip ${OUTSIDE[far][0]}; } }
        ${sa("outbound-sa", out, far)} ${sa("inbound-sa", back, far)}`;
    }

    test("an operator's associations never use a sequence number twice, however the gateway ends", async () => {
      for (const city of CITIES) await configure(city, managed(city));
      expect(await ping("paris", HOSTS.tokyo)).toContain("3 received");
      const sequence = async () =>
        Number(await story.state("paris", "/outbound-sa[queue=1][spi=1000]/sequence"));
      const before = await sequence();
      expect(before).toBeGreaterThan(0);
      expect(before).toBeLessThan(1000);
      await story.end("paris", "SIGKILL");
      await story.start("paris");
      expect(await ping("paris", HOSTS.tokyo)).toContain("3 received");
      // A block of 2^24 was reserved before.
      expect(await sequence()).toBeGreaterThan(2 ** 24);
    }, 120_000);

    test("without its book nothing of them goes out, and the route says why", async () => {
      await story.end("paris", "SIGTERM");
      rmSync(`${story.folder}/paris/sequence-numbers`);
      await story.start("paris");
      await story.until("it is refused", async () =>
        (await story.state("paris", "/route[id=tokyo]")).includes("sequence-numbers is missing"),
      );
      expect(await story.state("paris", "/outbound-sa")).toBe("");
      expect(await story.state("paris", "/inbound-sa")).toContain("spi 2000;");
    }, 120_000);

    test("both behind NATs that let nobody in: each says why, and with the port that it names they reach each other", async () => {
      story.natsOfMany({});
      const route = (far: City) =>
        `route { id ${far}; spi 950; net ${NETS[far]}; preshared-key ${"96".repeat(32)}; gateway { ip ${OUTSIDE[far][0]}; } }`;
      const moved = (city: City) => interfacesOf(city).replace("172.32.1.30", BEHIND.tokyo);
      const hidden = (city: City) => moved(city).replace(/nat-ip [^;]*;/, "");
      const set = (city: City, interfaces: string) =>
        story.config(["set", city, "/"], `${interfaces} mtu 1440; negotiation-ttl 1; ${route(other(city))}`);
      for (const city of CITIES) await set(city, hidden(city));
      for (const city of CITIES) {
        const reason = () => story.state(city, `/route[id=${other(city)}]/reason`);
        const why = /no answer.*this gateway is behind a NAT.*no relay.*forward UDP port 4500.*nat-ip/;
        await story.until("it says why", async () => why.test(await reason()));
        expect((await story.causeway(["top", city, "--once"])).stdout).toContain("behind a NAT");
      }
      story.natsOfMany({ tokyo: 4500 });
      await set("tokyo", moved("tokyo"));
      for (const city of CITIES) await story.up(city);
      for (const city of CITIES) expect(await ping(city, HOSTS[other(city)])).toContain("3 received");
    }, 120_000);
  },
);
