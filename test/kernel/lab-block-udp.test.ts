/** Boxes of the laboratory that let no UDP through: TLS and ping pass, and that is all. */
import { afterEach, describe, expect, test } from "bun:test";
import { mkdirSync, rmSync } from "node:fs";
import { Lab } from "../../src/lab/mod.ts";
import { Netns } from "../../src/sys/mod.ts";

const root = `/run/causeway-test/${process.pid}-block-udp`;
const isRoot = process.getuid?.() === 0;

const MANIFEST = `apiVersion: causeway.network/v1alpha1
kind: Lab
metadata: { name: blocked }
spec:
  networks:
    - { name: internet, prefix4: 203.0.113.0/24, prefix6: "2001:db8::/64" }
    - { name: office, prefix4: 192.168.1.0/24 }
    - { name: hotel, prefix4: 198.51.100.0/24, prefix6: "2001:db8:1::/64" }
    - { name: home, prefix4: 192.168.2.0/24 }
  routers:
    - { name: nat, kind: cone, inside: office, outside: internet, blockUdp: true }
    - { name: wall, kind: router, networks: [internet, hotel], blockUdp: true }
    - { name: open, kind: cone, inside: home, outside: internet }
  hosts:
    - { name: server, networks: [{ name: internet, address4: 203.0.113.10, address6: "2001:db8::10" }] }
    - { name: clerk, networks: [office] }
    - { name: guest, networks: [hotel] }
    - { name: free, networks: [home] }
`;

describe.skipIf(!isRoot)(`a laboratory without UDP${isRoot ? "" : " (needs root)"}`, () => {
  afterEach(async () => {
    await Lab.remove("blocked", { root });
    rmSync(root, { recursive: true, force: true });
  });

  test("TCP and ICMP pass, UDP of neither family does; other boxes are not touched", async () => {
    mkdirSync(root, { recursive: true });
    const lab = await Lab.up(MANIFEST, { root, networkOnly: true });
    const inside = <T extends object>(box: string, work: () => T): T => {
      using netns = Netns.open(lab.place.netns(box));
      return netns.run(work as () => never);
    };
    const heard: string[] = [];
    const listener = inside("server", () =>
      Bun.listen({
        hostname: "::",
        port: 443,
        socket: { data() {}, open: (socket) => void socket.end("x") },
      }),
    );
    const sockets = ["203.0.113.10", "2001:db8::10"].map((hostname) =>
      inside("server", () => ({
        opened: Bun.udpSocket({
          hostname,
          port: 51820,
          socket: { data: (_, bytes) => void heard.push(bytes.toString()) },
        }),
      })),
    );
    try {
      for (const { opened } of sockets) await opened;
      const says = (box: string, program: string) => lab.exec(box, ["bash", "-c", program]);
      for (const box of ["clerk", "guest", "free"]) {
        await says(box, `echo ${box} > /dev/udp/203.0.113.10/51820`);
        expect((await says(box, "exec 3<> /dev/tcp/203.0.113.10/443; head -c 1 <&3")).stdout).toBe("x");
        expect((await says(box, "ping -n -c 1 -W 5 203.0.113.10")).status).toBe(0);
      }
      await says("guest", "echo guest6 > /dev/udp/2001:db8::10/51820");
      expect((await says("guest", "exec 3<> /dev/tcp/2001:db8::10/443; head -c 1 <&3")).stdout).toBe("x");
      // Sent last, and not dropped: what was to come has come.
      await says("free", "echo end > /dev/udp/203.0.113.10/51820");
      for (let i = 0; i < 1000 && !heard.includes("end\n"); i++) await Bun.sleep(10);
      expect(heard).toEqual(["free\n", "end\n"]);
    } finally {
      listener.stop(true);
      for (const { opened } of sockets) (await opened).close();
    }
  });
});
