/**
 * One side of a gateway, private or public: its link address, and for each family its own address and the one neighbour that everything goes
 * to.
 *
 * A neighbour's link address is either given, and then stays, or asked for (neighbour.ts).
 */
import { formatIp, type Ip, ipEqual, type Mac, macBytes } from "../../net/mod.ts";
import { ETHER_TYPE, ETHERNET } from "../xdp/ethernet.ts";
import { OwnAddress } from "./own-address.ts";

/** SideAddress is a family of one side. */
export interface SideAddress {
  readonly ip: Ip;
  readonly nextHop: Ip;
  /** Absent: it is asked for. */
  readonly nextHopMac?: Mac;
}

/** SideConfiguration says what a side is. */
export interface SideConfiguration {
  readonly mac: Mac;
  readonly four?: SideAddress;
  readonly six?: SideAddress;
}

/** SideFamily is one family of a side, at work. */
export class SideFamily {
  readonly own: OwnAddress;
  readonly nextHop: OwnAddress;
  readonly isFixed: boolean;
  /** Whether the neighbour's link address is known. */
  isResolved = false;
  nextHopMac: Uint8Array<ArrayBuffer> = new Uint8Array(6);
  readonly #mac: Uint8Array<ArrayBuffer>;
  // The Ethernet header as words, in network order.
  #first = 0;
  #second = 0;
  #third = 0;
  readonly #type: number;

  constructor(mac: Mac, address: SideAddress) {
    const { ip, nextHop, nextHopMac } = address;
    if (ip.family !== nextHop.family)
      throw new RangeError(`${formatIp(ip)} and its next hop ${formatIp(nextHop)} are of two families`);
    this.own = new OwnAddress(ip);
    this.nextHop = new OwnAddress(nextHop);
    this.isFixed = nextHopMac !== undefined;
    this.#mac = macBytes(mac);
    this.#type = ip.family === 4 ? ETHER_TYPE.ip4 : ETHER_TYPE.ip6;
    if (nextHopMac !== undefined) this.resolve(macBytes(nextHopMac));
  }

  /** resolve takes a link address for the neighbour's. */
  resolve(mac: Uint8Array): void {
    const view = new DataView(new ArrayBuffer(12));
    new Uint8Array(view.buffer).set(mac.subarray(0, 6));
    new Uint8Array(view.buffer).set(this.#mac, 6);
    this.#first = view.getInt32(0);
    this.#second = view.getInt32(4);
    this.#third = view.getInt32(8);
    this.nextHopMac = mac.slice(0, 6) as Uint8Array<ArrayBuffer>;
    this.isResolved = true;
  }

  /** lay writes the Ethernet header of a frame to the neighbour. */
  lay(view: DataView, frame: number): void {
    view.setInt32(frame, this.#first);
    view.setInt32(frame + 4, this.#second);
    view.setInt32(frame + 8, this.#third);
    view.setUint16(frame + ETHERNET.type, this.#type);
  }
}

/** Side is the configuration at work. */
export class Side {
  readonly mac: Uint8Array<ArrayBuffer>;
  readonly four: SideFamily | undefined;
  readonly six: SideFamily | undefined;

  constructor({ mac, four, six }: SideConfiguration) {
    if (four !== undefined && four.ip.family !== 4) throw new RangeError(`${formatIp(four.ip)} is not IPv4`);
    if (six !== undefined && six.ip.family !== 6) throw new RangeError(`${formatIp(six.ip)} is not IPv6`);
    this.mac = macBytes(mac);
    this.four = four === undefined ? undefined : new SideFamily(mac, four);
    this.six = six === undefined ? undefined : new SideFamily(mac, six);
  }

  /** remember takes over what another configuration of the side has learnt of neighbours that both have. */
  remember(before: Side): void {
    for (const family of [4, 6] as const) {
      const [now, old] = [this.family(family), before.family(family)];
      if (now === undefined || now.isResolved || old === undefined || old.isFixed || !old.isResolved)
        continue;
      if (ipEqual(now.nextHop.ip, old.nextHop.ip)) now.resolve(old.nextHopMac);
    }
  }

  /** family returns one of the two. */
  family(family: 4 | 6): SideFamily | undefined {
    return family === 4 ? this.four : this.six;
  }
}
