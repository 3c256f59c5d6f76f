/** Ports of a home router, by Debian's miniupnpd: each protocol maps, renews and deletes; what a router refuses or forgets is noticed. */
import { describe, expect, test } from "bun:test";
import { type Endpoint, formatEndpoint } from "../../src/net/mod.ts";
import { Rtnetlink } from "../../src/netlink/mod.ts";
import { defaultRouters, type MappingProtocol, PortMapper } from "../../src/portmap/mod.ts";
import { type Netns, openUdp } from "../../src/sys/mod.ts";
import { gatewayLacks, PortGateway } from "../support/port-gateway.ts";
import { ip, until } from "../support/tunnel-pair.ts";

const PORT = 51820;
const secretOf = (byte: number) => new Uint8Array(32).fill(byte);

/** Asker is a node inside, with what it was told last. */
class Asker implements Disposable {
  readonly mapper: PortMapper;
  endpoints: string[] = [];
  readonly #route: Rtnetlink;

  constructor(
    netns: Netns,
    options: { readonly protocols?: readonly MappingProtocol[]; readonly secret?: number } = {},
  ) {
    const route = Rtnetlink.open({ netns });
    this.#route = route;
    this.mapper = PortMapper.start({
      listenPort: PORT,
      secret: secretOf(options.secret ?? 1),
      netns,
      gateways: () => defaultRouters(route.routes({ table: 254 })),
      onMapped: (endpoints: readonly Endpoint[]) => {
        this.endpoints = endpoints.map(formatEndpoint);
      },
      ...(options.protocols === undefined ? {} : { protocols: options.protocols }),
    });
  }

  [Symbol.dispose](): void {
    this.mapper[Symbol.dispose]();
    this.#route[Symbol.dispose]();
  }
}

let asked = 0;

/** Whether a datagram from outside arrives at the tunnel's port: sent until it does, or until the sentinel of another way had time to. */
async function arrives(gateway: PortGateway, host: string, port: number): Promise<boolean> {
  let isHeard = false;
  // What was sent before, and is late, is another's.
  const text = `from outside ${asked++}`;
  using inbox = await openUdp({
    netns: gateway.inside,
    host: host.includes(":") ? "::" : "0.0.0.0",
    port: PORT,
    onDatagram: ({ data }) => {
      isHeard ||= Buffer.from(data).toString() === text;
    },
  });
  expect(inbox.port).toBe(PORT);
  using sender = await openUdp({
    netns: gateway.outside,
    host: host.includes(":") ? "::" : "0.0.0.0",
    onError: () => {},
  });
  for (let tries = 0; tries < 20 && !isHeard; tries++) {
    sender.send(text, host, port);
    await Bun.sleep(25);
  }
  return isHeard;
}

/** Whether nothing arrives any more: what was sent before may be on its way for a while on a busy machine. */
async function closes(gateway: PortGateway, host: string, port: number): Promise<boolean> {
  for (let i = 0; i < 20; i++) if (!(await arrives(gateway, host, port))) return true;
  return false;
}

describe.skipIf(gatewayLacks !== undefined)(
  `ports of a router${gatewayLacks === undefined ? "" : ` (${gatewayLacks})`}`,
  () => {
    for (const [protocol, name, settings] of [
      ["pcp", "PCP", ["enable_upnp=no"]],
      ["nat-pmp", "NAT-PMP", ["enable_upnp=no"]],
      ["upnp-igd", "UPnP", ["enable_natpmp=no"]],
      ["upnp-igd", "UPnP", ["enable_natpmp=no", "force_igd_desc_v1=yes"]],
    ] as const)
      test(`${name} (${settings.join(", ")}): mapped, used from outside, renewed by the next agent, deleted`, async () => {
        await using gateway = new PortGateway();
        await gateway.start(...settings);
        using asker = new Asker(gateway.inside, protocol === "upnp-igd" ? {} : { protocols: [protocol] });
        await until("the port is mapped", () => asker.endpoints.includes(`81.2.69.1:${PORT}`));
        expect(asker.mapper.describe()[0]).toBe(`192.168.7.1: 81.2.69.1:${PORT} by ${name}`);
        expect(await arrives(gateway, "81.2.69.1", PORT)).toBe(true);
        // The agent restarts: what it finds is its own.
        asker.mapper[Symbol.dispose]();
        expect(gateway.rules).toContain("dnat");
        using next = new Asker(gateway.inside, protocol === "upnp-igd" ? {} : { protocols: [protocol] });
        await until("the port is mapped again", () => next.endpoints.includes(`81.2.69.1:${PORT}`));
        expect(gateway.rules.match(/dnat/g)).toHaveLength(1);
        await next.mapper.leave();
        expect(gateway.rules).not.toContain("dnat");
        expect(await closes(gateway, "81.2.69.1", PORT)).toBe(true);
      });

    for (const router of ["global", "link-local"] as const)
      test(`IPv6, the router's address ${router}: a firewall lets the port in, and closes it again`, async () => {
        await using gateway = new PortGateway();
        await gateway.start("enable_upnp=no");
        expect(await arrives(gateway, "2a01:db8:7::2", PORT)).toBe(false);
        if (router === "link-local") {
          const address = /fe80::[0-9a-f:]+/.exec(ip(gateway.router, "-6 addr show dev lan"))?.[0];
          // Until it is known to be unique nobody answers for it (RFC 4862).
          const tentative = () => ip(gateway.router, "-6 addr show dev lan tentative").trim() !== "";
          await until("the router's address is its own", () => !tentative());
          ip(gateway.inside, `-6 route replace default via ${address} dev eth0`);
        }
        using asker = new Asker(gateway.inside);
        await until("the port is open", () => asker.endpoints.includes(`[2a01:db8:7::2]:${PORT}`));
        expect(await arrives(gateway, "2a01:db8:7::2", PORT)).toBe(true);
        await asker.mapper.leave();
        expect(await closes(gateway, "2a01:db8:7::2", PORT)).toBe(true);
      });

    test("two nodes inside with one port get two", async () => {
      for (const settings of [["enable_upnp=no"], ["enable_natpmp=no"]] as const) {
        await using gateway = new PortGateway();
        await gateway.start(...settings);
        using first = new Asker(gateway.inside, { protocols: ["pcp", "upnp-igd"] });
        const four = ({ endpoints }: Asker) => endpoints.find((endpoint) => !endpoint.startsWith("["));
        await until("the first has one", () => four(first) !== undefined);
        // The same machine under another address, as another node.
        ip(gateway.inside, "addr add 192.168.7.3/24 dev eth0");
        ip(gateway.inside, "route replace default via 192.168.7.1 src 192.168.7.3");
        ip(gateway.inside, "route replace 192.168.7.0/24 dev eth0 src 192.168.7.3");
        using second = new Asker(gateway.inside, { protocols: ["pcp", "upnp-igd"], secret: 2 });
        await until("the second has one", () => four(second) !== undefined);
        expect(four(first)).toBe(`81.2.69.1:${PORT}`);
        expect(four(second)).not.toBe(four(first));
        expect(gateway.rules.match(/dnat/g)).toHaveLength(2);
      }
    });

    test("a router that restarts and has forgotten is asked again at once, since it announces itself", async () => {
      await using gateway = new PortGateway();
      await gateway.start("enable_upnp=no");
      using asker = new Asker(gateway.inside, { protocols: ["pcp"] });
      await until("the port is mapped", () => asker.endpoints.includes(`81.2.69.1:${PORT}`));
      await gateway.stop();
      expect(gateway.rules).not.toContain("dnat");
      await gateway.start("enable_upnp=no");
      await until("the port is mapped again", () => gateway.rules.includes("dnat"));
      expect(asker.endpoints).toContain(`81.2.69.1:${PORT}`);
    });

    test("a router that refuses, one that is behind a NAT, and none: each says so", async () => {
      await using gateway = new PortGateway();
      {
        using nobody = new Asker(gateway.inside, { protocols: ["pcp", "nat-pmp"] });
        await until(
          "nobody listens",
          () => nobody.mapper.describe()[0]?.includes("nothing listens there") === true,
        );
        expect(nobody.endpoints).toEqual([]);
      }
      await gateway.start("enable_natpmp=no", "force_igd_desc_v1=yes", "allow 80 192.168.7.0/24 80");
      {
        using refused = new Asker(gateway.inside, { protocols: ["upnp-igd"] });
        await until("it is refused", () => /UPnP: .+ \(\d+\)$/.test(refused.mapper.describe()[0] ?? ""));
        expect(refused.endpoints).toEqual([]);
      }
      await gateway.stop();
      ip(gateway.router, "addr flush dev wan");
      ip(gateway.router, "addr add 10.11.12.13/24 dev wan");
      await gateway.start();
      using asker = new Asker(gateway.inside);
      await until("it is refused", () => asker.mapper.describe()[0]?.includes("UPnP") === true);
      expect(asker.mapper.describe()[0]).toBe(
        "192.168.7.1: PCP: no resources left (8); UPnP: it has no external address",
      );
      expect(asker.endpoints.filter((endpoint) => !endpoint.startsWith("["))).toEqual([]);
    });

    test("a node with an address of the Internet asks nobody", async () => {
      await using gateway = new PortGateway();
      await gateway.start();
      using asker = new Asker(gateway.outside);
      expect(asker.mapper.describe().filter((line) => !line.includes("2a01"))).toEqual([]);
    });
  },
);
