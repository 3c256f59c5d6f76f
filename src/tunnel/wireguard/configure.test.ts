/** A configuration of which a part cannot be applied: what was applied of it is told, with the error, so that the data path follows. */
import { expect, test } from "bun:test";
import { Network } from "../../../test/support/wireguard-ends.ts";
import { parsePrefix } from "../../net/mod.ts";

/** A list that fails as the tables do when they are full; filling them takes too long for a test. */
function* full() {
  yield { prefix: parsePrefix("10.0.0.0/8") };
  throw new Error("there are too many");
}

test("sessions that ended before the error are told, and the error is the last thing told", () => {
  using network = new Network(1);
  const [near, far] = [network.add("near"), network.add("far")];
  network.meet(near, far);
  network.send(near, far, 1);
  network.pass(100);
  const { publicKey } = far.key;
  const peer = near.device.numberOf(publicKey) as number;
  expect(near.device.peer(peer)?.keypairs.current).toBeDefined();
  const peers = [{ publicKey, allowedIps: full() as never }];
  const effects = near.device.step(
    { kind: "configure", configuration: { replacePeers: true, listenPort: 4242, peers } },
    { nowMs: network.nowMs, wallMs: network.nowMs },
  );
  expect(effects.map(({ kind }) => kind)).toEqual([
    "listen",
    "ended",
    "removed",
    "added",
    "insert",
    "refused",
  ]);
  expect(effects.at(-1)).toMatchObject({ error: { message: "there are too many" } });
});

test("a peer that is removed and made again by one request is made anew, whether or not its removal may fail; one that is only to be changed is gone", () => {
  for (const [removal, addition, left] of [
    [{}, {}, "anew"],
    [{ updateOnly: true }, {}, "anew"],
    [{}, { updateOnly: true }, "gone"],
    [{ updateOnly: true }, { updateOnly: true }, "gone"],
  ] as const) {
    using network = new Network(1);
    const [near, far] = [network.add("near"), network.add("far")];
    network.meet(near, far);
    network.send(near, far, 1);
    network.pass(100);
    const { publicKey } = far.key;
    const peers = [
      { publicKey, remove: true, ...removal },
      { publicKey, ...addition },
    ];
    network.step(near, { kind: "configure", configuration: { peers } });
    const number = near.device.numberOf(publicKey);
    const state = number === undefined ? undefined : near.device.peer(number);
    const { previous, current } = state?.keypairs ?? {};
    expect(state === undefined ? "gone" : current === undefined && previous !== undefined && "anew").toBe(
      left,
    );
  }
});
