import { expect, test } from "bun:test";
import { Arena } from "../../sys/mod.ts";
import { chooseAead } from "../path/mod.ts";
import { SessionStore } from "./session-store.ts";
import { SharedSession } from "./shared-session.ts";
import { WorkerPeer } from "./worker-peer.ts";

test("packets under the session before say where the peer is again once the present one is some seconds old", () => {
  const arena = new Arena({ bytes: 16 << 20 });
  const { provider } = chooseAead(arena, { folders: [] });
  const store = SessionStore.create();
  const session = (bornMs: number) => {
    const memory = store.take() as Uint8Array<ArrayBuffer>;
    const slot = store.slotOf(memory);
    const indices = { localIndex: bornMs, remoteIndex: 1 };
    const times = { endsMs: bornMs + 180_000, settledMs: bornMs + 5_000 };
    const order = { kind: "started", peer: 1, slot, ...indices, ...times } as const;
    return new SharedSession({ memory, place: store.place(slot) }, order, provider);
  };
  using before = session(1_000);
  using present = session(121_000);
  const peer = new WorkerPeer(arena.allocate(128), { arena, sender: () => undefined });
  expect(peer.follows(before, 121_000)).toBe(true);
  peer.session = before;
  expect(peer.follows(before, 121_000)).toBe(true);
  // A later one that the control thread has not spoken of yet.
  expect(peer.follows(present, 121_000)).toBe(true);
  peer.session = present;
  expect([121_000, 125_999, 126_000].map((nowMs) => peer.follows(before, nowMs))).toEqual([
    false,
    false,
    true,
  ]);
  expect(peer.follows(present, 121_000)).toBe(true);
});
