/** Weather: what the kernel refuses, and clocks that jump, delay an engine and never end it. */
import { expect, setSystemTime, test } from "bun:test";
import { Engine } from "../../src/engine/mod.ts";
import { PrivateKey } from "../../src/net/mod.ts";
import { runSync } from "../../src/sys/mod.ts";
import { lacksTool, notRoot, Scratch } from "../support/scratch.ts";

const cannot = notRoot ?? lacksTool("ip") ?? lacksTool("setpriv");
const why = cannot === undefined ? "" : ` (skipped: ${cannot})`;

/** Runs the engine in a process that may change nothing. */
function inBadWeather(...words: string[]) {
  using scratch = new Scratch();
  scratch.text("ip link set lo up");
  const program = new URL("../support/engine-weather.ts", import.meta.url).pathname;
  const bare = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"];
  return runSync([...bare, process.execPath, program, ...words], { netns: scratch.netns, timeoutMs: 50_000 });
}

test.skipIf(cannot !== undefined)(
  `tables that cannot be read fail with a reason, and nothing ends${why}`,
  () => {
    const done = inBadWeather();
    expect(done.stderr).toBe("");
    expect(done.status).toBe(0);
    const { reason, removal, ...rest } = JSON.parse(done.stdout);
    expect(reason).toStartWith("Cannot read ruleset inet: ");
    expect(reason).toContain("EPERM");
    expect(removal).toStartWith("Cannot read ruleset inet: ");
    expect(rest).toEqual({ retried: true, reads: true });
  },
);

test.skipIf(cannot !== undefined)(`a bug escapes${why}`, () => {
  const done = inBadWeather("bug");
  expect(done.status).not.toBe(0);
  expect(done.stderr).toContain("a mistake of ours");
});

test.skipIf(cannot !== undefined)(`a clock that jumps delays no retry${why}`, async () => {
  using scratch = new Scratch();
  scratch.text("ip link set lo up");
  const { publicKey } = PrivateKey.random();
  let works = false;
  const device = {
    read: () => {
      if (!works) throw new Error("not now");
      return { publicKey, listenPort: 0, peers: [] };
    },
    change: () => {},
  };
  using engine = Engine.open({ netns: scratch.netns, wireguard: () => device });
  const state = () => engine.status()[0]?.state;
  const before = Date.now();
  try {
    engine.set("peer", [{ kind: "peer", link: "lo", publicKey, allowedIps: [] }]);
    engine.start();
    while (engine.status()[0]?.nextTryMs === undefined) await Bun.sleep(5);
    setSystemTime(new Date(before - 86_400_000));
    // What is shown follows the clock.
    expect(engine.status()[0]?.nextTryMs as number).toBeLessThan(before - 80_000_000);
    works = true;
    while (state() !== "ready") await Bun.sleep(5);
  } finally {
    setSystemTime();
  }
});
