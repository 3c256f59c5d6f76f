/** What the command line asks about hubs: which there are, removing one, and moving the register into etcd. */
import { etcdPrefix } from "../hub/mod.ts";
import { randomBytes } from "../sys/mod.ts";
import type { Agent } from "./agent.ts";
import type { Results } from "./api.ts";
import type { Handlers } from "./control.ts";
import { checkEtcd, etcdOf, loadEtcdConfig, openLog, storeEtcdConfig } from "./etcd-config.ts";
import { HubRole } from "./hub-role.ts";
import { MemberRole } from "./member-role.ts";

function hubOf(agent: Agent, what: string): HubRole {
  if (agent.role instanceof HubRole) return agent.role;
  throw new Error(
    `Cannot ${what}: this node is not a hub${agent.role === undefined ? "; it has not joined a mesh" : "; ask there"}`,
  );
}

/** writesOf says whether the register can be written, on a hub. */
export function writesOf(role: HubRole): NonNullable<NonNullable<Results["status"]["hub"]>["writes"]> {
  const { kind, problem } = role.registrar.state();
  return { register: kind, possible: problem === undefined, ...(problem === undefined ? {} : { problem }) };
}

function ownEntry(role: HubRole): Results["hub-list"]["hubs"][number] {
  const { problem, position } = role.registrar.state();
  return {
    name: role.name,
    self: true,
    connected: true,
    revision: role.revision,
    position,
    ...(problem === undefined ? {} : { problem }),
  };
}

/** hubHandlers answer the operations on hubs. */
export const hubHandlers: Pick<Handlers, "hub-list" | "hub-remove" | "hub-migrate"> = {
  async "hub-list"(agent) {
    const { role } = agent;
    if (role === undefined) return { hubs: [], members: [] };
    const view = role.view();
    const names = [...(view.self === undefined ? [] : [view.self]), ...view.nodes]
      .filter((node) => node.hub)
      .map((node) => node.name)
      .sort();
    if (!(role instanceof HubRole)) {
      const followed = role instanceof MemberRole && role.connected ? role.followedHub : undefined;
      const hubs = names.map((name) => ({ name, self: false, connected: name === followed }));
      return { hubs, members: [] };
    }
    const links = role.server?.hubs() ?? [];
    const hubs = names.map((name) => {
      if (name === role.name) return ownEntry(role);
      const link = links.find((one) => one.name === name);
      return {
        name,
        self: false,
        connected: link?.connected ?? false,
        ...(link?.rttMs === undefined ? {} : { rttMs: link.rttMs }),
        ...link?.health,
      };
    });
    const config = loadEtcdConfig();
    const members = config === undefined ? [] : await etcdOf(config, "list hubs").members();
    return { hubs, members };
  },

  async "hub-remove"(agent, { name }) {
    const role = hubOf(agent, "remove a hub");
    if (name === role.name)
      throw new Error(`Cannot remove hub ${name}: it is this node; use causeway leave here`);
    await role.registrar.removeHub(name);
    return {};
  },

  async "hub-migrate"(agent, { etcd: given }, progress) {
    const what = "move the register into etcd";
    const role = hubOf(agent, what);
    const hubs = role.register.hubs().length;
    if (role.registrar.state().kind === "etcd" && role.registrar.state().problem === undefined)
      throw new Error(`Cannot ${what}: it is there already, and can be written`);
    const etcd = etcdOf(given, what);
    progress("asking etcd");
    await checkEtcd(etcd, what);
    // Of a log that was lost nothing is taken over: this one has a name of its own.
    const again = loadEtcdConfig() === undefined ? "" : `-${Buffer.from(randomBytes(4)).toString("hex")}`;
    const config = { ...given, prefix: `${etcdPrefix(role.register.epoch)}${again}` };
    progress("writing the register into etcd");
    const log = openLog(role.register, { config, hub: role.name, etcd });
    await role.registrar.begin(log, () => storeEtcdConfig(config));
    if (hubs > 1)
      progress("the other hubs follow the old log: on each, causeway leave --force, and join again");
    return { prefix: config.prefix };
  },
};
