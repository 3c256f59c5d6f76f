/** What a data plane shares with others for a moment: its sockets with a successor that is not yet one, its orders with threads that lag behind. */
import { existsSync } from "node:fs";
import { describe, expect, test } from "bun:test";
import { parseEndpoint } from "../../src/net/mod.ts";
import {
  connectUnix,
  isAlive,
  libc,
  receiveWithDescriptors,
  sendAll,
  spawnDetached,
  stable,
  unixPeer,
  unixRequest,
} from "../../src/sys/mod.ts";
import { OthersClient } from "../../src/tunnel/dataplane/mod.ts";
import { ownBackend } from "../../src/tunnel/own.ts";
import { dataplaneBackend } from "../support/dataplane.ts";
import { ownLacks } from "../support/own-needs.ts";
import { type Side, tool, TunnelPair, until } from "../support/tunnel-pair.ts";

const executable = process.env.CAUSEWAY_EXECUTABLE ?? "dist/causeway";
const cannot = ownLacks ?? (existsSync(executable) ? undefined : "needs dist/causeway: npm run build");
const backend = () => ownBackend({ command: [executable], build: "any" });
const socketOf = (side: Side) => `/var/run/wireguard/${side.link}.sock`;
const serving = (side: Side) => unixPeer(socketOf(side)).pid;

async function opened(far = backend()): Promise<TunnelPair> {
  const pair = await TunnelPair.open({ near: backend(), far });
  pair.meet();
  expect(await pair.pings(pair.near)).toBe(true);
  return pair;
}

describe.skipIf(cannot !== undefined)(
  `what a data plane shares${cannot === undefined ? "" : ` (skipped: ${cannot})`}`,
  () => {
    test("a successor that is still starting takes nothing from the sockets", async () => {
      // Many threads: so it is starting for a while.
      await using pair = await opened(dataplaneBackend("--workers", "16"));
      const { near, far } = pair;
      const before = serving(far);
      using speaker = OthersClient.open(socketOf(near));
      using listener = OthersClient.open(socketOf(far));
      const to = parseEndpoint(`${far.underlay4}:51820`);
      let [sent, heard] = [0, 0];
      const listen = (waitMs: number) => {
        for (let found = listener.receive(waitMs); found?.length; found = listener.receive(waitMs))
          heard += found.length;
      };
      for (const ms of [100, 150, 200, 250, 300, 350, 400]) {
        const argv = [executable, "dataplane", far.link, "--take-over"];
        const pid = spawnDetached(argv, { netns: far.netns, cwd: "/" });
        const sentBefore = sent;
        for (const endMs = performance.now() + ms; performance.now() < endMs; await Bun.sleep(1)) {
          speaker.send(to, new Uint8Array(8));
          sent++;
          listen(0);
        }
        process.kill(pid, "SIGKILL");
        await until("it is gone", () => !isAlive(pid));
        // It was ready, and has taken over: what came afterwards is not accounted for.
        if (!isAlive(before)) {
          sent = sentBefore;
          break;
        }
        listen(200);
      }
      expect(heard).toBeGreaterThanOrEqual(sent);
    }, 60_000);

    test("a successor that has sockets of a port that the link has left is refused", async () => {
      await using pair = await opened();
      const { near } = pair;
      const before = serving(near);
      using connection = connectUnix(socketOf(near), { timeoutMs: 5000 });
      sendAll(connection, new Uint8Array(Buffer.from("take_over=1\n\n")));
      expect(receiveWithDescriptors(connection.number, stable(4096))?.length ?? 1).toBeGreaterThan(0);
      tool(near.netns, `wg set ${near.link} listen-port 51999`);
      sendAll(connection, new Uint8Array(Buffer.from("ready\n")));
      // Whatever was on its way, and then the end.
      const chunk = stable(4096);
      for (let count = 1; count > 0;) {
        const got = libc.pollReadable(connection.number, 20_000)
          ? receiveWithDescriptors(connection.number, chunk)
          : { length: -1, descriptors: [] };
        for (const fd of got?.descriptors ?? []) fd.close();
        count = got?.length ?? 1;
        expect(count).not.toBe(-1);
      }
      expect(serving(near)).toBe(before);
      expect(await pair.pings(near)).toBe(true);
    }, 60_000);

    test("addresses of a peer that was added and removed by one request stay nobody's", async () => {
      await using pair = await opened();
      const { near, far } = pair;
      const hex = (key: Uint8Array) => Buffer.from(key).toString("hex");
      const stranger = hex(crypto.getRandomValues(new Uint8Array(32)));
      const known = hex(Buffer.from(far.key.publicKey, "base64"));
      const change = [
        "set=1",
        `public_key=${known}`,
        "allowed_ip=0.0.0.0/0",
        `public_key=${stranger}`,
        "allowed_ip=10.77.0.0/16",
        `public_key=${stranger}`,
        "remove=true",
        "",
        "",
      ].join("\n");
      const complete = (text: string) => text.endsWith("\n\n");
      expect(unixRequest(socketOf(near), { text: change, complete })).toContain("errno=0");
      tool(near.netns, `ip route add 10.77.0.1 dev ${near.link}`);
      tool(far.netns, `ip addr add 10.77.0.1/32 dev ${far.link}`);
      expect(tool(near.netns, "ping -n -c 1 -W 5 10.77.0.1")).toContain("1 received");
    }, 60_000);
  },
);
