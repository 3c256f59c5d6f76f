/** The agent hears of changes of its own network when they happen, and answers those that come together once. */
import { expect, test } from "bun:test";
import { NetworkWatch, REST_MS, SOON_MS } from "../../src/agent/network-watch.ts";
import { sleep } from "../../src/sys/mod.ts";
import { notRoot, Scratch } from "../support/scratch.ts";

test.skipIf(notRoot !== undefined)(
  `addresses, links and default routes; many at once are few answers${notRoot === undefined ? "" : ` (${notRoot})`}`,
  async () => {
    using scratch = new Scratch();
    const { netns } = scratch;
    const run = (command: string) => {
      for (const one of command.split("; ")) scratch.text(one);
    };
    run(
      "ip link set lo up; ip link add eth0 type veth peer name eth1; ip link set eth0 up; ip link set eth1 up",
    );
    let told = 0;
    using _ = netns.run((): NetworkWatch => new NetworkWatch(() => void told++));
    const next = async (command: string) => {
      const before = told;
      run(command);
      while (told === before) await sleep(5);
    };
    await next("ip addr add 192.0.2.7/24 dev eth0");
    await next("ip route add default via 192.0.2.1");
    await next("ip link set eth0 mtu 1400");
    await next("ip route replace default via 192.0.2.2");
    await next("ip addr del 192.0.2.7/24 dev eth0");
    await sleep(REST_MS + 2 * SOON_MS);
    told = 0;
    for (let i = 0; i < 200; i++) run(`ip addr add 198.51.100.${i + 1}/32 dev eth0`);

    await sleep(2 * REST_MS);
    expect(told).toBeGreaterThan(0);
    // One soon, and one for each rest while it lasted.
    expect(told).toBeLessThan(100);
  },
  60_000,
);
