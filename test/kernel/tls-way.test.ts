/** A hub's door and a node's way to it, with the real processes; whether UDP works is the test's to say. */
import { expect, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { UPLINK } from "../../src/mesh/mod.ts";
import { makeCertificate, TlsProcess } from "../../src/tunnel/tls/mod.ts";
import { TlsDoor } from "../../src/agent/tls-door.ts";
import { TlsHolder } from "../../src/agent/tls-holder.ts";
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
    const files = (name: string) => ({
      certificatePath: `${folder}/${name}.crt`,
      keyPath: `${folder}/${name}.key`,
    });
    const made = files("made");
    const door = new TlsDoor({
      given: files("given"),
      made,
      place: { socket: `${folder}/hub.sock` },
      changed: () => {},
    });
    const port = freePort();
    door.update({ port: undefined, tunnelPort: TUNNEL_PORT });
    expect([door.pin, existsSync(made.keyPath)]).toEqual([undefined, false]);
    door.update({ port, tunnelPort: TUNNEL_PORT });
    expect(statSync(made.keyPath).mode & 0o777).toBe(0o600);
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
      proxy: () => undefined,
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
      // Left by an agent that wanted it, for one that does not.
      const place = { socket: `${folder}/left.sock` };
      using left = new TlsHolder(place);
      left.set(() => ({ tunnelPort: TUNNEL_PORT, hubs: [hub] }), { idle: false });
      await until("it runs", () => TlsProcess.running(place.socket)?.hubs.length === 1);
      left[Symbol.dispose]();
      await TlsHolder.end(place);
      expect(TlsProcess.running(place.socket)).toBeUndefined();
      await TlsHolder.end(place);
    } finally {
      clearInterval(asking);
      await way?.destroy();
      await door.destroy();
      rmSync(folder, { recursive: true });
    }
  },
  UPLINK.holdMs + 60_000,
);

test("who is sent elsewhere while TLS is in use is told of it", async () => {
  const folder = mkdtempSync(`${tmpdir()}/causeway-way-`);
  let changes = 0;
  const hub = { name: "one", host: "127.0.0.1", port: freePort(), pin: makeCertificate().pin };
  const options: TlsWayOptions = {
    mode: "auto",
    proxy: () => undefined,
    place: { socket: `${folder}/tls.sock` },
    changed: () => void changes++,
    probe: () => {},
  };
  const door = new TlsDoor({
    given: { certificatePath: `${folder}/given.crt`, keyPath: `${folder}/given.key` },
    made: { certificatePath: `${folder}/made.crt`, keyPath: `${folder}/made.key` },
    place: { socket: `${folder}/hub.sock` },
    changed: () => {},
  });
  door.update({ port: hub.port, tunnelPort: TUNNEL_PORT });
  const targets = (...hubs: object[]) => ({ tunnelPort: TUNNEL_PORT, hubs: hubs as never[] });
  const way = new TlsWay({ ...options, mode: "always" }, targets({ ...hub, pin: door.pin }));
  try {
    await until("TLS is used", () => way.using && way.endpoint("one") !== undefined);
    const before = changes;
    way.update(targets({ ...hub, pin: door.pin, name: "two" }));
    await until("the other has a port", () => way.endpoint("two") !== undefined);
    expect(changes).toBeGreaterThan(before);
    expect(way.endpoint("one")).toBeUndefined();
  } finally {
    await way.destroy();
    await door.destroy();
    rmSync(folder, { recursive: true });
  }
});

test("the operator's certificate is served while it is there, else one that was made once; each change is told", async () => {
  const folder = mkdtempSync(`${tmpdir()}/causeway-door-`);
  const files = (name: string) => ({
    certificatePath: `${folder}/${name}.crt`,
    keyPath: `${folder}/${name}.key`,
  });
  const given = files("given");
  let changes = 0;
  const door = new TlsDoor({
    given,
    made: files("made"),
    place: { socket: `${folder}/hub.sock` },
    changed: () => void changes++,
  });
  try {
    door.update({ port: freePort(), tunnelPort: TUNNEL_PORT });
    const first = door.pin as string;
    await until("it is served", () => door.status?.listener?.pin === first);
    const other = makeCertificate();
    // The key first: with it alone nothing can be served.
    writeFileSync(given.keyPath, other.keyPem, { mode: 0o600 });
    writeFileSync(given.certificatePath, other.certificatePem);
    await until("the operator's is known", () => door.pin === other.pin);
    await until("and served", () => door.status?.listener?.pin === other.pin);
    writeFileSync(given.certificatePath, "half");
    await Bun.sleep(6000);
    expect([door.pin, changes]).toEqual([other.pin, 2]);
    rmSync(given.certificatePath);
    await until("the first is known again", () => door.pin === first);
    expect(changes).toBe(3);
  } finally {
    await door.destroy();
    rmSync(folder, { recursive: true });
  }
}, 60_000);
