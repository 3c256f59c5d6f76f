/** ServicesLab: a DomainLab whose hosts serve their domains. The world outside is on the underlay's switch, at 192.0.2.9 and fd00:2::9. */
import { existsSync } from "node:fs";
import { DomainServices, type ServicesWish } from "../../src/agent/domain-services.ts";
import {
  domainMtu,
  type FloatingIp,
  groupTag,
  guardText,
  LEG_RULES,
  type LocalAttachment,
  type NatGateway,
  portOf,
  type SecurityGroup,
  type Tunnel,
} from "../../src/domain/mod.ts";
import type { Domain } from "../../src/domain/mod.ts";
import { formatIp, type Ip, parseIp } from "../../src/net/mod.ts";
import type { Netns } from "../../src/sys/mod.ts";
import { DomainLab, Host } from "./domain-lab.ts";

export const WORLD = { 4: "192.0.2.9", 6: "fd00:2::9" } as const;

/** ServicesLab owns the lab and its services. */
export class ServicesLab implements Disposable {
  readonly lab: DomainLab;
  readonly services = new Map<Host, DomainServices>();
  readonly #hosts: readonly Host[];
  readonly #dead = new Set<Host>();
  #hasLegs = false;
  /** Address → groups of whoever has it. */
  readonly groupsAt = new Map<string, readonly string[]>();
  /** Whether the kernel is taken for one with br_netfilter. */
  bridged = existsSync("/proc/sys/net/bridge");
  #wish: Omit<ServicesWish, "vtepOf"> = {
    domains: [],
    gateways: [],
    floating: [],
    groups: new Map(),
    tunnels: [],
  };

  constructor(hosts = 3) {
    this.lab = new DomainLab({ hosts });
    this.#hosts = this.lab.hosts;
    const { scratch } = this.lab;
    scratch.text(`ip address add ${WORLD[4]}/24 dev underlay`);
    scratch.text(`ip address add ${WORLD[6]}/64 dev underlay nodad`);
    for (const host of this.#hosts) this.#serve(host);
  }

  get world(): Netns {
    return this.lab.scratch.netns;
  }

  #serve(host: Host): void {
    host.text("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
    this.#setRules(host);
    const { domains, netns, engine } = host;
    const [apply, attach] = [domains.apply.bind(domains), domains.attach.bind(domains)];
    const services = new DomainServices({
      places: {
        setScope: (vni, scope, objects) => domains.setScope(vni, scope, objects),
        changeScope: (vni, scope, change) => domains.changeScope(vni, scope, change),
        keep: (vni, who, wanted) => domains.keep(vni, who, wanted),
        netns: (vni) => domains.netns(vni),
        attachments: (vni) => domains.attachments(vni),
        active: () => domains.active(),
        onActive: (listener) => domains.onActive(listener),
        problems: (vni, scope) => domains.problems(vni, scope),
        apply,
      },
      home: { netns, engine },
      outsideLinks: () => ["nic"],
      self: host.name,
      mtuBytes: () => domainMtu(host.node),
      bridged: () => this.bridged,
      portOf,
    });
    this.services.set(host, services);
    domains.apply = (changes) => services.hear(changes);
    domains.attach = (attachment, pod, options) => {
      const member = this.#member(attachment);
      return services.guard(member, () => attach(member, pod, options));
    };
    const detach = domains.detach.bind(domains);
    domains.detach = (id) => {
      const wasThere = detach(id);
      for (const { vni } of this.#wish.domains) services.detached(vni);
      return wasThere;
    };
    const announced = Host.prototype.announced.bind(host);
    host.announced = () => {
      if (this.#dead.has(host)) return [];
      const { vtep } = host.node;
      const hops = [{ vtep, routerMac: domains.routerMac }];
      return [
        ...announced().map((remote) =>
          remote.kind === "host" ? { ...remote, groups: this.#groupsOf(remote.ip).map(groupTag) } : remote,
        ),
        ...this.#wish.domains.flatMap(({ vni }) =>
          services.announced(vni).map((prefix) => ({ kind: "prefix", vni, prefix, hops }) as const),
        ),
      ];
    };
  }

  /** As agent/vpc-underlay.ts has it. */
  #setRules(host: Host): void {
    this.#hasLegs ||= this.#wish.gateways.length + this.#wish.tunnels.length > 0;
    host.rules = `${guardText(host.node.underlayLink, { hasLegs: this.#hasLegs })}${this.#hasLegs ? LEG_RULES : ""}`;
    host.engine.set("guard", [{ kind: "ruleset", family: "inet", text: host.rules }]);
    host.engine.apply("guard");
  }

  /** set is what the register says; nodes are `h1`, `h2`, …. */
  set(wish: {
    readonly domains: readonly Domain[];
    readonly gateways?: readonly NatGateway[];
    readonly floating?: readonly FloatingIp[];
    readonly groups?: readonly SecurityGroup[];
    readonly tunnels?: readonly Tunnel[];
  }): void {
    const { domains, gateways = [], floating = [], groups = [], tunnels = [] } = wish;
    this.#wish = {
      ...{ domains, gateways, floating, tunnels },
      groups: new Map(domains.map(({ vni }) => [vni, new Map(groups.map((group) => [group.name, group]))])),
    };
    for (const host of this.#hosts) this.#setRules(host);
    this.lab.setDomains(...domains);
    this.#renew(...this.#hosts);
    this.lab.sync();
  }

  /** restart has a host's agent begin anew; it has heard nothing until the next `sync`. */
  restart(host: Host): void {
    this.services.get(host)?.[Symbol.dispose]();
    host.stop();
    host.start((adopt) => {
      this.#serve(host);
      const attached = host.attachments.map((one) => this.#member(one));
      this.services.get(host)?.takeOver(attached, () => {
        this.#renew(host);
        adopt(attached);
      });
    });
  }

  #renew(...hosts: readonly Host[]): void {
    for (const host of hosts)
      this.services.get(host)?.set({
        ...this.#wish,
        vtepOf: (name) => this.#hosts.find((one) => one.name === name)?.node.vtep,
      });
  }

  #member(attachment: LocalAttachment): LocalAttachment {
    const groups = attachment.addresses.flatMap((one) => this.#groupsOf(one));
    return { ...attachment, groups: [...new Set(groups)] };
  }

  #groupsOf(address: Ip | undefined): readonly string[] {
    return (address && this.groupsAt.get(formatIp(address))) ?? [];
  }

  /** die lets the others hear nothing more of a host, and the world neither. */
  die(host: Host): void {
    this.#dead.add(host);
    host.text("ip link set nic down");
    this.lab.sync();
  }

  /** live has it be there again. */
  live(host: Host): void {
    this.#dead.delete(host);
    host.text("ip link set nic up");
    this.lab.sync();
  }

  /** outsideAt has the world send to an outside address where it leads to now. */
  outsideAt(): Map<string, string> {
    const found = new Map<string, string>();
    for (const [host, services] of this.services)
      if (!this.#dead.has(host)) for (const ip of services.outside()) found.set(formatIp(ip), host.name);
    for (const [address, name] of found) {
      const { vtep } = (this.#hosts.find((one) => one.name === name) as Host).node;
      if (parseIp(address).family === 4)
        this.lab.scratch.text(`ip route replace ${address} via ${formatIp(vtep)}`);
    }
    return found;
  }

  problems(): string[] {
    return this.#hosts.flatMap((host) => host.problems.map((problem) => `${host.name}: ${problem}`));
  }

  [Symbol.dispose](): void {
    for (const services of this.services.values()) services[Symbol.dispose]();
    this.lab[Symbol.dispose]();
  }
}
