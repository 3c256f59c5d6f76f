/** A gateway that may not use AF_XDP has packet sockets, says so, and speaks with one that may; with --xdp it has none. */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { exampleOf, GatewayStory } from "../support/gateway-story.ts";
import { labLacks } from "../support/lab-needs.ts";
import { lacksXdp } from "../support/xdp-pair.ts";

const skip = labLacks;
const noXdp = lacksXdp();
/** Without these rights the kernel loads no XDP program. */
const WITHOUT_XDP = ["setpriv", "--bounding-set", "-bpf,-sys_admin,-perfmon"] as const;

/** Paris of the examples, with its first queue. */
const PARIS = exampleOf("paris").replace(/public-interface4 \{\s*ifname eth3;[^}]*\}/, "");

describe.skipIf(skip !== undefined)(
  `a gateway on packet sockets${skip === undefined ? "" : ` (skipped: ${skip})`}`,
  () => {
    let story: GatewayStory;
    const queue = () => story.state("paris", "/queue[queue=1]");
    const isUp = async () => (await queue()).includes("up true");

    beforeAll(async () => {
      story = new GatewayStory(1);
      for (const link of ["eth1", "eth2"])
        for (const family of ["ipv4", "ipv6"])
          story.beside("paris", `sysctl -q -w net.${family}.conf.${link}.forwarding=0`);
      await story.startBy(WITHOUT_XDP, "paris");
      await story.config(["set", "paris", "/"], PARIS);
    });

    afterAll(async () => {
      await story?.[Symbol.asyncDispose]();
    });

    test("says which driver it has and why, in state and log", async () => {
      await story.until("it is up", isUp);
      expect(await queue()).toMatch(
        /by ".*packet sockets, since AF_XDP cannot be used: eth1: .*not permitted/,
      );
      expect(story.log("paris")).toMatch(/"queue is up".*packet sockets, since AF_XDP cannot be used/);
    }, 60_000);

    test("carries packets like another", async () => {
      await story.startBy([], "tokyo");
      const text = exampleOf("tokyo").replace(/public-interface4 \{\s*ifname eth3;[^}]*\}/, "");
      await story.config(["set", "tokyo", "/"], text);
      for (const city of ["paris", "tokyo"] as const) await story.up(city);
      await story.until("a host answers", async () =>
        (await story.on("paris", "ping -n -c 3 -i 0.1 -W 2 172.32.0.1")).stdout.includes("3 received"),
      );
    }, 120_000);

    test("does not begin where the kernel would answer too, and says what to do", async () => {
      await story.end("paris", "SIGTERM");
      story.beside("paris", "ip addr add 172.31.1.30/24 dev eth2");
      await story.startBy(WITHOUT_XDP, "paris");
      await story.until("it says why", async () =>
        (await queue()).includes("run: ip addr del 172.31.1.30/24 dev eth2"),
      );
      expect(await queue()).toContain("It has no AF_XDP: eth1: ");
      story.beside("paris", "ip addr del 172.31.1.30/24 dev eth2");
      await story.until("it is up", isUp);
    }, 60_000);

    test.skipIf(noXdp !== undefined)(
      `has AF_XDP with no more rights than its service has${noXdp === undefined ? "" : ` (skipped: ${noXdp})`}`,
      async () => {
        await story.end("paris", "SIGTERM");
        const unit = readFileSync(`${import.meta.dir}/../../deploy/causeway-gateway@.service`, "utf8");
        const rights = /^CapabilityBoundingSet=(.*)$/m.exec(unit)?.[1]?.toLowerCase().split(" ") ?? [];
        // Which LimitMEMLOCK makes needless.
        const set = ["-all", "+ipc_lock", ...rights.map((right) => right.replace("cap_", "+"))].join(",");
        await story.startBy(["setpriv", "--no-new-privs", "--bounding-set", set], "paris", "--xdp");
        await story.until("it is up", isUp);
        expect(await queue()).toContain("AF_XDP");
        await story.up("paris");
      },
      60_000,
    );

    test("is not begun with --xdp", async () => {
      await story.end("paris", "SIGTERM");
      await story.startBy(WITHOUT_XDP, "paris", "--xdp");
      await story.until("it says why", async () =>
        (await queue()).includes("leave --xdp out for packet sockets"),
      );
      expect(await queue()).toContain("up false");
    }, 60_000);
  },
);
