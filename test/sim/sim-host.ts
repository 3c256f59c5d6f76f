/** A machine with its plugs in networks; one UDP port. */
import { type Endpoint, type Ip, ipEqual, prefixContains, prefixOf } from "../../src/net/mod.ts";
import type { Attachment, Datagram, Network, Weather } from "./internet.ts";

/** PORT is everybody's. */
export const PORT = 51820;

interface Plug {
  readonly network: Network;
  readonly attachment: Attachment;
}

/** SimHost sends from the plug that leads there. */
export class SimHost {
  readonly name: string;
  receive: (datagram: Datagram) => void = () => {};
  asleep = false;
  /** Datagrams and their IP bytes, sent and received. */
  readonly sent = { packets: 0, bytes: 0 };
  readonly got = { packets: 0, bytes: 0 };
  #plugs: Plug[] = [];

  constructor(name: string) {
    this.name = name;
  }

  plug(network: Network, ip: Ip, weather: Weather): void {
    const attachment: Attachment = {
      owner: this.name,
      ip,
      weather,
      receive: (datagram) => {
        if (this.asleep || datagram.to.port !== PORT) return;
        this.got.packets++;
        this.got.bytes += datagram.bytes + (ip.family === 4 ? 28 : 48);
        this.receive(datagram);
      },
    };
    network.attach(attachment);
    this.#plugs.push({ network, attachment });
  }

  /** unplug takes it off all networks, and returns the weather that it had. */
  unplug(): Weather {
    const weather = this.#plugs[0]?.attachment.weather ?? { delayMs: 10 };
    for (const { network, attachment } of this.#plugs) network.detach(attachment.ip);
    this.#plugs = [];
    return weather;
  }

  get ips(): readonly Ip[] {
    return this.#plugs.map(({ attachment }) => attachment.ip);
  }

  /** weather changes that of all plugs. */
  weather(change: (weather: Weather) => Weather): void {
    for (const { attachment } of this.#plugs) attachment.weather = change(attachment.weather);
  }

  send(to: Endpoint, content: unknown, options: { readonly bytes: number; readonly fromIp?: Ip }): void {
    if (this.asleep) return;
    const { bytes, fromIp } = options;
    const family = this.#plugs.filter(({ attachment }) => attachment.ip.family === to.ip.family);
    const near = ({ attachment: { ip } }: Plug) =>
      prefixContains(prefixOf(ip, ip.family === 4 ? 24 : 64), to.ip);
    const plug =
      family.find(({ attachment }) => fromIp !== undefined && ipEqual(attachment.ip, fromIp)) ??
      family.find(near) ??
      family[0];
    if (plug === undefined) return;
    this.sent.packets++;
    this.sent.bytes += bytes + (to.ip.family === 4 ? 28 : 48);
    const from = { ip: plug.attachment.ip, port: PORT };
    plug.network.send({ from, to, bytes, content }, plug.attachment);
  }
}
