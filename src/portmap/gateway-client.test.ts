/** One gateway in all protocols, in virtual time: their order, UPnP's steps, a NAT before the NAT, and leaving. */
import { describe, expect, test } from "bun:test";
import { parseIp } from "../net/mod.ts";
import { decodeHttp, type HttpQuestion } from "./http-answer.ts";
import { describeGateway, GatewayClient, type GatewayEffect, type GatewayEvent } from "./gateway-client.ts";

const wish = {
  gateway: parseIp("192.168.1.1"),
  local: parseIp("192.168.1.7"),
  port: 51820,
  secret: new Uint8Array(32).fill(7),
};

const CONTROL = "/ctl";
const DESCRIPTION = (type: string) =>
  `<root><device><service><serviceType>urn:schemas-upnp-org:service:${type}</serviceType>` +
  `<controlURL>${CONTROL}</controlURL></service></device></root>`;

/** Router speaks UPnP only. */
class Router {
  external = "81.2.69.1";
  type = "WANIPConnection:1";
  there = true;
  /** Errors of the next attempts to add. */
  errors: number[] = [];
  readonly actions: string[] = [];

  answer(question: HttpQuestion): { readonly status: number; readonly body: string } | undefined {
    if (!this.there) return undefined;
    if (question.path !== CONTROL) return { status: 200, body: DESCRIPTION(this.type) };
    const action = /#(\w+)"/.exec(question.headers?.SOAPAction ?? "")?.[1] ?? "";
    const value = (name: string) => new RegExp(`<${name}>([^<]*)<`).exec(question.body ?? "")?.[1];
    const [port, lease] = [value("NewExternalPort"), value("NewLeaseDuration")];
    this.actions.push([action, port, lease].filter((part) => part !== undefined).join(" "));
    const error = action.startsWith("Add") ? this.errors.shift() : undefined;
    const inner =
      error === undefined
        ? `<u:${action}Response><NewExternalIPAddress>${this.external}</NewExternalIPAddress>` +
          `<NewReservedPort>${port ?? ""}</NewReservedPort></u:${action}Response>`
        : `<UPnPError><errorCode>${error}</errorCode><errorDescription>No</errorDescription></UPnPError>`;
    return { status: error === undefined ? 200 : 500, body: `<Envelope><Body>${inner}</Body></Envelope>` };
  }
}

class Life {
  readonly client: GatewayClient;
  readonly router: Router;
  nowMs = 0;
  changes = 0;
  sent = 0;
  searches = 0;
  from = "192.168.1.1";

  constructor(router: Router, protocols?: ConstructorParameters<typeof GatewayClient>[1]) {
    this.router = router;
    this.client = new GatewayClient(wish, protocols);
    this.step({ kind: "start" });
  }

  step(event: GatewayEvent): void {
    for (const effect of this.client.step(event, this.nowMs)) this.#do(effect);
  }

  #do(effect: GatewayEffect): void {
    if (effect.kind === "changed") this.changes++;
    else if (effect.kind === "send") this.sent++;
    else if (effect.kind === "http")
      this.step({ kind: "http", number: effect.number, answer: this.router.answer(effect.question) });
    else {
      this.searches++;
      const text = `HTTP/1.1 200 OK\r\nLOCATION: http://${this.from}:5000/desc.xml\r\n\r\n`;
      // More than one answer comes to several questions.
      for (let i = 0; i < 3 && this.router.there; i++)
        this.step({ kind: "found", datagram: new Uint8Array(Buffer.from(text)) });
    }
  }

  pass(ms: number): void {
    const endMs = this.nowMs + ms;
    while (this.client.dueMs <= endMs) {
      this.nowMs = Math.max(this.nowMs, this.client.dueMs);
      this.step({ kind: "due" });
    }
    this.nowMs = endMs;
  }

  get text(): string {
    return describeGateway(this.client);
  }
}

describe("a gateway", () => {
  test("that knows no PCP and no NAT-PMP is asked by UPnP; added again every ten minutes, which changes nothing", () => {
    const life = new Life(new Router());
    expect(life.text).toBe("192.168.1.1: is being asked");
    life.pass(10_000);
    expect(life.text).toBe("192.168.1.1: 81.2.69.1:51820 by UPnP");
    expect(life.router.actions).toEqual(["GetExternalIPAddress", "AddPortMapping 51820 3600"]);
    life.pass(3_600_000);
    expect(life.router.actions.filter((action) => action.startsWith("Add"))).toHaveLength(7);
    expect(life.changes).toBe(1);
  });

  test("a port that is taken, a router that knows no leases, and one that knows no AddAnyPortMapping", () => {
    const router = new Router();
    router.type = "WANIPConnection:2";
    router.errors = [401, 725, 718, 718];
    const life = new Life(router, ["upnp-igd"]);
    const ports = router.actions.slice(1).map((action) => action.split(" "));
    expect(ports.map(([action]) => action)).toEqual([
      "AddAnyPortMapping",
      "AddPortMapping",
      "AddPortMapping",
      "AddPortMapping",
      "AddPortMapping",
    ]);
    expect(ports.map(([, , lease]) => lease)).toEqual(["3600", "3600", "0", "0", "0"]);
    expect(new Set(ports.map(([, port]) => port)).size).toBe(3);
    expect(life.text).toBe(`192.168.1.1: 81.2.69.1:${ports.at(-1)?.[1]} by UPnP`);
    // The same ports the next time: a restarted agent finds its own.
    const again = new Router();
    again.errors = [718, 718];
    expect(new Life(again, ["upnp-igd"]).text).toBe(life.text);
  });

  test("that refuses says why, and is asked again later; a flood of announcements changes little", () => {
    const router = new Router();
    router.errors = Array.from({ length: 1000 }, () => 606);
    const life = new Life(router);
    life.pass(10_000);
    expect(life.text).toBe("192.168.1.1: NAT-PMP: no answer; UPnP: No (606)");
    const before = router.actions.length;
    for (let i = 0; i < 10_000; i++) {
      life.step({ kind: "hint" });
      life.pass(1);
    }
    expect(router.actions.length - before).toBeLessThan(10);
    router.errors = [];
    life.pass(400_000);
    expect(life.text).toBe("192.168.1.1: 81.2.69.1:51820 by UPnP");
  });

  test("that is behind a NAT itself is told apart, and nothing stays mapped", () => {
    const router = new Router();
    router.external = "100.64.3.4";
    const life = new Life(router);
    life.pass(10_000);
    expect(life.text).toBe("192.168.1.1: its own address 100.64.3.4 is private: it is behind a NAT itself");
    expect([life.changes, router.actions]).toEqual([0, ["GetExternalIPAddress"]]);
    router.external = "81.2.69.1";
    life.pass(2_000_000);
    expect(life.text).toBe("192.168.1.1: 81.2.69.1:51820 by UPnP");
  });

  test("that goes away: what was mapped is told to be gone, and asked for again soon", () => {
    const router = new Router();
    const life = new Life(router, ["upnp-igd"]);
    router.there = false;
    life.pass(660_000);
    expect(life.client.state.kind).toBe("refused");
    expect(life.changes).toBe(2);
    router.there = true;
    life.pass(400_000);
    expect(life.text).toBe("192.168.1.1: 81.2.69.1:51820 by UPnP");
  });

  test("that says nothing is asked less and less often, and soon at first: it may not be up yet", () => {
    const router = new Router();
    router.there = false;
    const life = new Life(router);
    life.pass(60_000);
    const soon = life.searches;
    life.pass(24 * 3_600_000);
    expect(soon).toBeGreaterThan(4);
    expect(life.searches - soon).toBeLessThan(2 * 24 * 6 + 20);
    router.there = true;
    life.pass(620_000);
    expect(life.text).toBe("192.168.1.1: 81.2.69.1:51820 by UPnP");
  });

  test("a description elsewhere than on the gateway is not fetched", () => {
    const router = new Router();
    router.there = false;
    const life = new Life(router, ["upnp-igd"]);
    life.from = "192.168.1.66";
    router.there = true;
    life.pass(10_000);
    expect(life.text).toBe("192.168.1.1: UPnP: no gateway found");
    expect(router.actions).toEqual([]);
  });

  test("leaving deletes what is mapped, once", () => {
    const router = new Router();
    const life = new Life(router, ["upnp-igd"]);
    life.step({ kind: "leave" });
    life.step({ kind: "leave" });
    life.pass(10_000_000);
    expect(router.actions.filter((action) => action.startsWith("Delete"))).toEqual([
      "DeletePortMapping 51820",
    ]);
    expect(decodeHttp(new Uint8Array(0), true)).toBeUndefined();
  });
});
