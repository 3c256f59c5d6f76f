/**
 * Two gateways that are configured by manifests, Paris's as docs/gateway.md shows it. Routes come and change under traffic, one is wrong, and the
 * Gateway itself goes from the folder: what has not changed loses nothing.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { type City, GatewayStory } from "../support/gateway-story.ts";
import { labLacks } from "../support/lab-needs.ts";
import { lostPings } from "../support/lost-pings.ts";
import { lacksXdp } from "../support/xdp-pair.ts";

const skip = labLacks ?? lacksXdp();
const CITIES = ["paris", "tokyo"] as const;
const HOSTS = { paris: "172.31.0.1", tokyo: "172.32.0.1" } as const;
const GATEWAYS = { paris: "203.0.113.2", tokyo: "203.0.113.5" } as const;
const NUMBERS = { paris: 31, tokyo: 32 } as const;
const other = (city: City) => (city === "paris" ? "tokyo" : "paris");

const page = readFileSync(`${import.meta.dir}/../../docs/gateway.md`, "utf8");
const example = /^```yaml\n([^]*?)^```$/m.exec(page)?.[1] as string;

describe.skipIf(skip !== undefined)(
  `gateways from manifests${skip === undefined ? "" : ` (skipped: ${skip})`}`,
  () => {
    let story: GatewayStory;
    const folder = (city: City) => `${story.folder}/${city}-manifests`;
    const keyFile = (city: City, name: string) => `${story.folder}/${city}-${name}.psk`;
    const write = (city: City, name: string, text: string) => {
      writeFileSync(`${story.folder}/new`, text, { mode: 0o600 });
      renameSync(`${story.folder}/new`, `${folder(city)}/${name}.yaml`);
    };
    const writeKey = (name: string, digits: string) => {
      for (const city of CITIES)
        writeFileSync(keyFile(city, name), `${digits.repeat(32)}\n`, { mode: 0o600 });
    };
    /** The page's, for either end. */
    const manifestOf = (city: City) => {
      const here = example.replace("/etc/causeway/tokyo.psk", keyFile(city, "main"));
      if (city === "paris") return here;
      const swap: Readonly<Record<string, string>> = {
        "172.31.": "172.32.",
        "172.32.": "172.31.",
        paris: "tokyo",
        tokyo: "paris",
        "203.0.113.2": "203.0.113.5",
        "203.0.113.5": "203.0.113.2",
      };
      return example
        .replaceAll(/172\.3[12]\.|paris|tokyo|203\.0\.113\.[25]/g, (word) => swap[word] as string)
        .replace("/etc/causeway/paris.psk", keyFile(city, "main"));
    };
    /** A Route beside that one, of our own exchange, to a network of its own. */
    const lab = (city: City, net: number) =>
      `apiVersion: causeway.network/v1alpha1
kind: Route
metadata: {name: lab}
spec:
  gateway: ${city}
  prefixes: [10.${NUMBERS[other(city)]}.${net}.0/24]
  gateways: [{ip: ${GATEWAYS[other(city)]}}]
  spi: 700
  presharedKeyFile: ${keyFile(city, "lab")}
`;

    beforeAll(async () => {
      story = new GatewayStory(1);
      for (const city of CITIES) {
        mkdirSync(folder(city), { recursive: true });
        write(city, "gateway", manifestOf(city));
        const host = NUMBERS[city];
        for (const net of [0, 1]) await story.on(city, `ip addr add 10.${host}.${net}.1/32 dev lo`);
        await story.on(city, `ip route add 10.${NUMBERS[other(city)]}.0.0/16 via 172.${host}.1.20 mtu 1440`);
      }
      writeKey("main", "5a");
      writeKey("lab", "6b");
      for (const city of CITIES) await story.start(city, "--manifests", folder(city), "--node", `gw-${city}`);
      for (const city of CITIES) await story.up(city);
    });

    afterAll(async () => {
      await story?.[Symbol.asyncDispose]();
    });

    const answers = (what: string, from: City, words: string) =>
      story.until(what, async () =>
        (await story.on(from, `ping -n -c 1 -W 1 ${words}`)).stdout.includes("1 received"),
      );
    const reasonOf = async (route: string) =>
      await story.config(["get-state", "paris", `/gateway-state/route[id=${route}]`]);
    const problems = () => story.config(["get-state", "paris", "/gateway-state/configuration"]);

    test("say where their configuration comes from, and only there it is changed", async () => {
      for (const city of CITIES) await answers("a host answers", city, HOSTS[other(city)]);
      const from = `Gateway "paris" in ${folder("paris")}`;
      expect(await story.state("paris", "/configuration/source")).toBe(JSON.stringify(from));
      expect((await story.causeway(["top", "paris", "--json"])).stdout).toContain(
        JSON.stringify(from).slice(1, -1),
      );
      expect(await story.config(["get", "paris", "/mtu"])).toBe("1440\n");
      for (const words of [
        ["set", "paris", "/mtu", "1400"],
        ["add", "paris", "/cpu", "1"],
        ["remove", "paris", "/route[id=tokyo]"],
        ["load", "paris", `${import.meta.dir}/../../examples/gateway/paris.conf`],
      ]) {
        const { status, stderr } = await story.causeway(["config", ...words]);
        expect(status).not.toBe(0);
        expect(stderr).toContain(`the configuration comes from ${from}; change it there`);
      }
      expect(await story.config(["get", "paris", "/mtu"])).toBe("1440\n");
    }, 60_000);

    test("Routes come, change and are wrong, and another one loses nothing", async () => {
      const agreed = () => story.state("paris", "/route[id=tokyo]/rekeys");
      const before = await agreed();
      const pings = CITIES.map((city) => story.serve(city, `ping -n -i 0.02 -W 5 ${HOSTS[other(city)]}`));
      try {
        for (const city of CITIES) write(city, "lab", lab(city, 0));
        write("paris", "wrong", lab("paris", 7).replace("name: lab", "name: wrong").replace("700", "7"));
        await answers("the new route carries", "paris", "-I 10.31.0.1 10.32.0.1");
        await story.until("the wrong one is told", async () =>
          (await reasonOf("wrong")).includes('Route \\"wrong\\": spec.spi 7'),
        );
        expect(await reasonOf("wrong")).toContain("up false");
        expect(await problems()).toContain('Route \\"wrong\\": spec.spi 7');

        const rekeys = async () => Number(await story.state("paris", "/route[id=lab]/rekeys"));
        const first = await rekeys();
        for (const city of CITIES) write(city, "lab", lab(city, 1));
        writeKey("lab", "7c");
        await answers("the changed route carries", "tokyo", "-I 10.32.1.1 10.31.1.1");
        await story.until("its new key is used", async () => (await rekeys()) > first);
        rmSync(`${folder("paris")}/gateway.yaml`);
        await story.until("the missing Gateway is told", async () =>
          (await problems()).includes('Gateway \\"paris\\": is not in'),
        );
      } finally {
        for (const ping of pings) ping.kill("SIGINT");
      }
      for (const ping of pings) expect(lostPings(await ping.stdout.text())).toEqual([]);
      expect(await agreed()).toBe(before);
      for (const city of CITIES) expect(story.log(city)).not.toContain("7c7c");
    }, 120_000);
  },
);
