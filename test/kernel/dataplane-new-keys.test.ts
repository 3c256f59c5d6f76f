/** A successor that cannot read its predecessor's memory, or finds other sessions in it, makes new keys; it never begins an old one again. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import {
  acceptUnix,
  connectUnix,
  createSharedMemory,
  type Fd,
  isAlive,
  libc,
  sendAll,
  spawnDetached,
  terminate,
  unixPeer,
  waitAtMost,
} from "../../src/sys/mod.ts";
import {
  DONE,
  READY,
  receiveEstate,
  receiveText,
  sendEstate,
  sendText,
  TAKE_OVER,
  type Testament,
} from "../../src/tunnel/dataplane/handover.ts";
import { ownBackend } from "../../src/tunnel/own.ts";
import { ownLacks } from "../support/own-needs.ts";
import { type Side, TunnelPair, until } from "../support/tunnel-pair.ts";

const executable = process.env.CAUSEWAY_EXECUTABLE ?? "dist/causeway";
const cannot = ownLacks ?? (existsSync(executable) ? undefined : "needs dist/causeway: npm run build");

let pair: TunnelPair;
let successor = 0;

const path = (side: Side) => `/var/run/wireguard/${side.link}.sock`;
const bytes = (text: string) => new Uint8Array(Buffer.from(text));

function expectWord(connection: Fd, word: string): void {
  const read = new Uint8Array(new ArrayBuffer(word.length));
  if (!libc.pollReadable(connection.number, 20_000)) throw new Error(`waited in vain for ${word}`);
  expect(Buffer.from(read.subarray(0, libc.recv(connection.number, read))).toString()).toBe(word);
}

/** Takes a side over by hand, and hands it to a real successor with what `change` makes of it. */
async function between(
  side: Side,
  change: (descriptors: Fd[], testament: Testament) => { readonly memory: Fd; readonly testament: Testament },
): Promise<void> {
  // Nobody is to start it again.
  side.tunnel.close();
  const old = unixPeer(path(side)).pid;
  using first = connectUnix(path(side), { timeoutMs: 20_000 });
  sendAll(first, bytes(TAKE_OVER));
  const { estate, descriptors } = receiveEstate(first);
  sendAll(first, bytes(READY));
  const testament = JSON.parse(receiveText(first)) as Testament;
  sendAll(first, bytes(DONE));
  // It stays until the connection ends.
  first.close();
  await until("the first one ends", () => !isAlive(old));
  const [, listener] = descriptors as [Fd, Fd];
  successor = spawnDetached([executable, "dataplane", side.link, "--take-over"], {
    netns: side.netns,
    cwd: "/",
  });
  let connection: Fd | undefined;
  await until("a successor asks", () => (connection = acceptUnix(listener.number)) !== undefined);
  using second = connection as Fd;
  waitAtMost(second.number, 20_000);
  expectWord(second, TAKE_OVER);
  const changed = change([...descriptors], testament);
  sendEstate(
    second,
    estate,
    [changed.memory, ...descriptors.slice(1)].map(({ number }) => number),
  );
  expectWord(second, READY);
  sendText(second, JSON.stringify(changed.testament));
  expectWord(second, DONE);
  for (const fd of [...descriptors, changed.memory]) fd.close();
}

beforeEach(async () => {
  if (cannot !== undefined) return;
  const backend = ownBackend({ command: [executable], build: "any" });
  pair = await TunnelPair.open({ near: backend, far: backend });
  pair.meet();
  expect(await pair.pings(pair.near)).toBe(true);
});

afterEach(async () => {
  if (cannot !== undefined) return;
  if (successor !== 0) await terminate(successor);
  await pair[Symbol.asyncDispose]();
});

describe.skipIf(cannot !== undefined)(
  `new keys${cannot === undefined ? "" : ` (skipped: ${cannot})`}`,
  () => {
    const handshake = () => pair.seen(pair.near)?.lastHandshakeMs as number;

    test("handed on as it was, the sessions go on: the way of this test changes nothing", async () => {
      const before = handshake();
      await between(pair.near, ([memory], testament) => ({ memory: memory as Fd, testament }));
      expect(await pair.pings(pair.near)).toBe(true);
      expect(handshake()).toBe(before);
    }, 60_000);

    test.each([
      ["a memory of another size", () => createSharedMemory("test", 4096)],
      ["a memory of zeros", (real: Fd) => createSharedMemory("test", sizeOf(real))],
    ])(
      "%s: peers and link stay, sessions are made anew",
      async (_, make) => {
        const before = handshake();
        await between(pair.near, ([memory], testament) => ({ memory: make(memory as Fd), testament }));
        expect(pair.seen(pair.near)?.allowedIps).toHaveLength(2);
        expect(await pair.pings(pair.near)).toBe(true);
        expect(handshake()).toBeGreaterThan(before);
      },
      60_000,
    );

    test("a piece of memory that is another session's is not taken", async () => {
      const before = handshake();
      await between(pair.near, ([memory], testament) => {
        const peers = testament.image.peers.map((peer) => ({
          ...peer,
          sessions: Object.fromEntries(
            Object.entries(peer.sessions).map(([name, one]) => [
              name,
              { ...one, localIndex: one.localIndex ^ 1 },
            ]),
          ),
        }));
        return { memory: memory as Fd, testament: { ...testament, image: { ...testament.image, peers } } };
      });
      expect(await pair.pings(pair.near)).toBe(true);
      expect(handshake()).toBeGreaterThan(before);
    }, 60_000);
  },
);

/** The size of a memory, without reading it. */
function sizeOf(memory: Fd): number {
  return Number(Bun.file(`/proc/self/fd/${memory.number}`).size);
}
