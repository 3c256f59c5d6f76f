/** A reflector at full load, as a process: a peer that does not read holds up nobody, stays, and has all in the end. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { makeLoad } from "../../bench/bgp/load.ts";
import type { Outbox } from "../../src/bgp/io/mod.ts";
import { EVPN, NlriCursor, UpdateView } from "../../src/bgp/wire/mod.ts";
import { parseIp } from "../../src/net/mod.ts";
import { bgpEnds, Speaker, until } from "../support/bgp-ends.ts";
import { executable, labLacks } from "../support/lab-needs.ts";
import type { Scratch } from "../support/scratch.ts";

setDefaultTimeout(180_000);

const ASN = 65_000;
const ROUTES = 200_000;
const HOLD_MS = 9_000;
/** Sender, a peer that reads, and one that does not. */
const HOSTS = [2, 3, 4] as const;

/** Chunks of whole messages, one after the other. */
class Chunks implements Outbox {
  readonly #chunks: Uint8Array[];
  #at = 0;

  constructor(chunks: readonly Uint8Array[]) {
    this.#chunks = [...chunks];
  }

  peek(): Uint8Array | undefined {
    return this.#chunks[0]?.subarray(this.#at);
  }

  advance(bytes: number): void {
    this.#at += bytes;
    if (this.#at < (this.#chunks[0]?.length ?? 0)) return;
    this.#chunks.shift();
    this.#at = 0;
  }
}

describe.skipIf(labLacks !== undefined)(
  `BGP at full load${labLacks === undefined ? "" : ` (${labLacks})`}`,
  () => {
    let ends: Scratch & ReturnType<typeof bgpEnds>;
    let folder: string;
    let process: Bun.Subprocess;
    const peers = new Map<number, Speaker>();
    /** Routes that each peer has now. */
    const routes = new Map<number, Set<string>>();

    beforeAll(async () => {
      ends = bgpEnds();
      for (const host of [3, 4]) ends.text(`ip addr add 192.0.2.${host}/24 dev e2`, ends.second);
      folder = mkdtempSync(`${tmpdir()}/causeway-bgp-load-`);
      const client = (host: number) => ({
        address: `192.0.2.${host}`,
        asn: "internal",
        passive: true,
        hold: `${HOLD_MS / 1000}s`,
        routeReflectorClient: true,
        families: { "l2vpn-evpn": {} },
      });
      const manifest = {
        apiVersion: "causeway.network/v1alpha1",
        kind: "BgpRouter",
        metadata: { name: "reflector" },
        spec: { asn: ASN, routerId: "192.0.2.1", neighbors: HOSTS.map(client) },
      };
      writeFileSync(`${folder}/bgp.yaml`, JSON.stringify(manifest));
      const log = Bun.file(`${folder}/log`);
      process = ends.first.run(() =>
        Bun.spawn([executable, "bgp", "run", `${folder}/bgp.yaml`, "--folder", folder], {
          stdout: log,
          stderr: log,
        }),
      );
      await until("it listens", () => ends.text("ss -Hltn sport = :179", ends.first).length > 0);
    });

    afterAll(async () => {
      for (const peer of peers.values()) peer[Symbol.dispose]();
      process?.kill("SIGKILL");
      await process?.exited;
      ends?.[Symbol.dispose]();
      if (folder !== undefined) rmSync(folder, { recursive: true });
    });

    /** A peer that remembers which routes it was told. */
    function join(host: number, outbox?: Outbox): Speaker {
      const peer = new Speaker({ netns: ends.second, listen: [] });
      const told = new Set<string>();
      peers.set(host, peer);
      routes.set(host, told);
      peer.keepUpdates = false;
      if (outbox !== undefined) peer.outboxes.set("us", outbox);
      const view = new UpdateView();
      const cursor = new NlriCursor(EVPN);
      peer.judge = (body) => {
        const negotiated = peer.io.session("us")?.negotiated;
        if (negotiated === undefined) return undefined;
        view.parse(body, 0, body.length, negotiated);
        const each = (at: number, end: number, work: (key: string) => void) => {
          while (at >= 0 && at < end) {
            at = cursor.next(body, at, end, false);
            work(Buffer.from(cursor.key.subarray(0, cursor.keyBytes)).toString("latin1"));
          }
        };
        each(view.reachAt, view.reachEnd, (key) => told.add(key));
        each(view.unreachAt, view.unreachEnd, (key) => told.delete(key));
        return undefined;
      };
      peer.io.add({
        name: "us",
        remote: { kind: "address", address: parseIp("192.0.2.1") },
        source: parseIp(`192.0.2.${host}`),
        session: {
          localAs: ASN,
          remoteAs: "internal",
          routerId: parseIp(`192.0.2.${host}`),
          holdMs: HOLD_MS,
          families: [{ family: EVPN }],
        },
      });
      return peer;
    }

    const has = (host: number) => routes.get(host)?.size ?? 0;

    test("who reads has everything while the other reads nothing for longer than its hold time; then that one too", async () => {
      // Made before there is a session that would wait for us meanwhile.
      const load = makeLoad("evpn", ROUTES, "announce");
      const [fast, slow] = [join(3), join(4)];
      await Promise.all([fast.up("us"), slow.up("us")]);
      slow.io.session("us")?.hold();
      const sender = join(2, new Chunks(load));
      await sender.up("us");
      await until("the fast one has all", () => has(3) === ROUTES, 90_000);
      expect(has(4)).toBeLessThan(ROUTES);
      await Bun.sleep(HOLD_MS + 3_000);
      // Changes meanwhile reach the one that reads at once, and of the other's queue they take the place.
      sender.io.remove("us");
      await until("the fast one has none", () => has(3) === 0, 90_000);
      slow.io.session("us")?.release();
      await until("the slow one has none", () => has(4) === 0, 90_000);
      expect([fast.downs, slow.downs]).toEqual([[], []]);
      expect(slow.updateBytes).toBeLessThan(fast.updateBytes);
    });
  },
);
