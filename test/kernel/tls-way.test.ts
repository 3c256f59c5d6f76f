/** A hub's door and a node's way to it, with the real processes; whether UDP works is the test's to say. */
import { expect, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { UPLINK } from "../../src/mesh/mod.ts";
import { TlsProcess } from "../../src/tunnel/tls/mod.ts";
import { TlsDoor } from "../../src/agent/tls-door.ts";
import { TlsWay, type TlsWayOptions } from "../../src/agent/tls-way.ts";

const TUNNEL_PORT = 9;

function freePort(): number {
  const listener = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
  listener.stop(true);
  return listener.port;
}

async function until(what: string, predicate: () => boolean): Promise<void> {
  for (const end = performance.now() + 60_000; !predicate(); await Bun.sleep(20))
    if (performance.now() > end) throw new Error(`waited in vain: ${what}`);
}

test(
  "UDP is blocked: TLS, also for the next agent; UDP works again: back, and the connection is closed",
  async () => {
    const folder = mkdtempSync(`${tmpdir()}/causeway-way-`);
    const files = { certificatePath: `${folder}/tls.crt`, keyPath: `${folder}/tls.key` };
    const door = new TlsDoor({ ...files, place: { socket: `${folder}/hub.sock` } });
    const port = freePort();
    door.update({ port: undefined, tunnelPort: TUNNEL_PORT });
    expect([door.pin, existsSync(files.keyPath)]).toEqual([undefined, false]);
    door.update({ port, tunnelPort: TUNNEL_PORT });
    expect(statSync(files.keyPath).mode & 0o777).toBe(0o600);
    const { pin } = door;
    if (pin === undefined) throw new Error("the hub has no pin");
    const hub = { name: "hub", host: "127.0.0.1", port, pin };
    let udp = false;
    let changes = 0;
    let way: TlsWay | undefined;
    const probe = () => {
      way?.asked();
      if (udp) way?.answered();
    };
    const options: TlsWayOptions = {
      mode: "auto",
      place: { socket: `${folder}/tls.sock` },
      changed: () => void changes++,
      probe,
    };
    const targets = { tunnelPort: TUNNEL_PORT, hubs: [hub] };
    const asking = setInterval(() => {
      if (way?.using === false) probe();
    }, 200);
    try {
      way = new TlsWay(options, targets);
      expect([way.using, way.endpoint("hub")]).toEqual([false, undefined]);
      await until("TLS is used", () => way?.using === true);
      const endpoint = way.endpoint("hub");
      expect(endpoint?.port).toBeGreaterThan(0);
      expect(way.endpoint("other")).toBeUndefined();
      expect(changes).toBe(1);
      const pid = way.status?.pid as number;
      way[Symbol.dispose]();
      way = new TlsWay(options, targets);
      expect(way.using).toBe(true);
      await until("the process is taken over", () => way?.status !== undefined);
      expect([way.status?.pid, way.endpoint("hub")]).toEqual([pid, endpoint]);
      udp = true;
      way.moved();
      await until("UDP is used", () => way?.using === false);
      expect(way.endpoint("hub")).toBeUndefined();
      await until("the connection is closed", () => way?.status?.hubs.length === 0);
      await way.destroy();
      door.update({ port: undefined, tunnelPort: TUNNEL_PORT });
      expect(door.status?.listener).toBeUndefined();
      expect(TlsProcess.running(`${folder}/tls.sock`)).toBeUndefined();
    } finally {
      clearInterval(asking);
      await way?.destroy();
      await door.destroy();
      rmSync(folder, { recursive: true });
    }
  },
  UPLINK.holdMs + 60_000,
);
