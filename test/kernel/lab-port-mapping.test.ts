/** A laboratory's NAT boxes with `portMapping`: who asks from inside is reached from outside, whatever the kind of NAT. */
import { afterAll, describe, expect, test } from "bun:test";
import { existsSync, rmSync } from "node:fs";
import { Lab } from "../../src/lab/mod.ts";
import { type Endpoint, formatEndpoint, formatIp } from "../../src/net/mod.ts";
import { Rtnetlink } from "../../src/netlink/mod.ts";
import { defaultRouters, PortMapper } from "../../src/portmap/mod.ts";
import { openUdp } from "../../src/sys/mod.ts";
import { gatewayLacks } from "../support/port-gateway.ts";
import { until } from "../support/tunnel-pair.ts";

const root = `/run/causeway-test/${process.pid}-lab-ports`;

afterAll(() => rmSync(root, { recursive: true, force: true }));

const manifest = (prefix: string) => `apiVersion: causeway.network/v1alpha1
kind: Lab
metadata: { name: ports }
spec:
  networks:
    - { name: internet, prefix4: ${prefix} }
    - { name: home, prefix4: 192.168.1.0/24 }
  routers:
    - { name: nat, kind: symmetric, inside: home, outside: internet, portMapping: true }
  nodes:
    - { name: attic, role: none, networks: [home] }
  hosts:
    - { name: stranger, networks: [internet] }
`;

describe.skipIf(gatewayLacks !== undefined)(
  `port mapping in a laboratory${gatewayLacks === undefined ? "" : ` (${gatewayLacks})`}`,
  () => {
    test("a symmetric NAT that maps ports lets in what was asked for, and nothing else", async () => {
      const lab = await Lab.up(manifest("81.2.69.0/24"), { root, networkOnly: true });
      try {
        using attic = lab.netns("attic");
        using stranger = lab.netns("stranger");
        using route = Rtnetlink.open({ netns: attic });
        let mapped: readonly Endpoint[] = [];
        using mapper = PortMapper.start({
          listenPort: 51820,
          secret: new Uint8Array(32),
          netns: attic,
          gateways: () => defaultRouters(route.routes({ table: 254 })),
          onMapped: (endpoints) => {
            mapped = endpoints;
          },
        });
        await until("the port is mapped", () => mapped.length > 0);
        const [external] = mapped as [Endpoint];
        expect(formatEndpoint(external)).toBe("81.2.69.1:51820");
        const heard: string[] = [];
        const hear = (port: number) =>
          openUdp({
            netns: attic,
            host: "0.0.0.0",
            port,
            onDatagram: ({ data }) => void heard.push(Buffer.from(data).toString()),
          });
        using inbox = await hear(51820);
        using other = await hear(51821);
        using sender = await openUdp({ netns: stranger, host: "0.0.0.0" });
        await until("it is reached", () => {
          sender.send("other", formatIp(external.ip), other.port);
          sender.send("mapped", formatIp(external.ip), inbox.port);
          return heard.includes("mapped");
        });
        expect(heard).not.toContain("other");
        await mapper.leave();
      } finally {
        await lab.down();
      }
      expect(existsSync(`${root}/ports`)).toBe(false);
    });

    test("an outside network whose addresses are reserved is refused before anything is made", async () => {
      await expect(Lab.up(manifest("203.0.113.0/24"), { root, networkOnly: true })).rejects.toThrow(
        "spec.routers[nat].portMapping: miniupnpd maps nothing at 203.0.113.1, which is no address of the Internet",
      );
    });
  },
);
