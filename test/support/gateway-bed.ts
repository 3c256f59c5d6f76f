/** A gateway with its files in a folder, on a back-end in memory, for tests of what it makes of configurations and news. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { defaultConfig, perform, readConfig } from "../../src/gateway/mod.ts";
import { GatewayFiles } from "../../src/gatewayd/files.ts";
import { Gateway } from "../../src/gatewayd/gateway.ts";
import { MemoryBackEnd } from "./memory-back-end.ts";

/** INTERFACES of a gateway with one queue; its public address is that of the data path in memory. */
export const INTERFACES = `private-interface4 { ifname eth1; ip 10.0.0.1; nexthop-ip 10.0.0.2; }
public-interface4 { ifname eth2; ip 203.0.113.1; nexthop-ip 203.0.113.2; }
`;

/** GatewayBed is all of it. */
export class GatewayBed implements Disposable {
  readonly folder: string;
  readonly files: GatewayFiles;
  readonly log: { readonly event: string; readonly reason?: string }[] = [];
  readonly gateway: Gateway;
  readonly backEnd: MemoryBackEnd;
  /** Names of interfaces by their place on the PCI bus. */
  readonly places = new Map<string, readonly string[]>();

  /** The gateway begins with this configuration; it has a folder of its own, or that of one before. */
  constructor(
    text = "",
    folder: string = mkdtempSync(join(tmpdir(), "causeway-gateway-")),
    cpus: readonly number[] = [],
  ) {
    this.folder = folder;
    this.files = new GatewayFiles(folder);
    const made: MemoryBackEnd[] = [];
    this.gateway = new Gateway(
      {
        files: this.files,
        log: (event, { reason } = {}) =>
          this.log.push({ event, ...(reason === undefined ? {} : { reason }) }),
        backEnd: (tell) => {
          const backEnd = new MemoryBackEnd(tell);
          made.push(backEnd);
          return backEnd;
        },
        cpus,
        interfacesAt: (address) => this.places.get(address) ?? [],
      },
      text === "" ? defaultConfig : readConfig(text).config,
    );
    this.backEnd = made[0] as MemoryBackEnd;
  }

  /** set replaces the configuration, and waits until all is done. */
  async set(text: string): Promise<void> {
    const { gateway } = this;
    const store = { config: gateway.config, state: { "gateway-state": gateway.state(new Map()) } };
    gateway.keep(perform(store, { verb: "set", path: "/", value: text }).config);
    await gateway.settled();
  }

  /** route returns a route's state. */
  async route(id: string) {
    await this.gateway.settled();
    return this.gateway.state(await this.gateway.report()).route.get(id);
  }

  [Symbol.dispose](): void {
    this.gateway[Symbol.dispose]();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
