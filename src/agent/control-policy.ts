/** What the command line asks about who may talk, what nodes are, and removals that the operator signs. */
import { explainTalk, mayTalk } from "../mesh/mod.ts";
import { parseSigningKey } from "../net/mod.ts";
import type { Node } from "../resources/mod.ts";
import type { Agent } from "./agent.ts";
import type { Handlers } from "./control.ts";
import { HubRole } from "./hub-role.ts";

type Operations =
  "may-talk" | "node-assign" | "node-label" | "node-rotate" | "operator-set" | "psk-rotate" | "removal-add";

function hubOf(agent: Agent, what: string): HubRole {
  if (agent.role instanceof HubRole) return agent.role;
  throw new Error(
    `Cannot ${what}: this node is not a hub${agent.role === undefined ? "; it has not joined a mesh" : "; ask there"}`,
  );
}

/** policyHandlers answer what is asked about rules and removals. */
export const policyHandlers: Pick<Handlers, Operations> = {
  "may-talk"(agent, request) {
    if (agent.role === undefined)
      throw new Error("Cannot tell who may talk: this node has not joined a mesh");
    const { mesh, self, nodes } = agent.role.view();
    const find = (name: string): Node => {
      const node = [...(self === undefined ? [] : [self]), ...nodes].find((other) => other.name === name);
      if (node !== undefined) return node;
      throw new Error(unseen(name, mesh.rules !== undefined && agent.role?.hub === false));
    };
    const [a, b] = [find(request.a), find(request.b)];
    return { allowed: mayTalk(mesh, a, b), reason: explainTalk(mesh, a, b) };
  },

  async "node-assign"(agent, { name, role, site }) {
    await hubOf(agent, "change a node").registrar.assignNode(name, { role, site });
    return {};
  },

  async "node-label"(agent, { name, labels }) {
    const { registrar, register } = hubOf(agent, "label a node");
    await registrar.labelNodes(new Map([[name, labels]]));
    agent.joined?.changed();
    return { labels: register.node(name)?.labels ?? {} };
  },

  async "node-rotate"(agent, { name, dropFormer = false }) {
    const { role } = agent;
    if (role === undefined) throw new Error("Cannot change the key: this node has not joined a mesh");
    if (dropFormer) {
      if (name !== undefined && name !== role.name)
        throw new Error(`Cannot drop the former key of ${name}: a hub does so itself; ask there`);
      await hubOf(agent, "drop the former key").dropFormerKey();
      return { name: role.name };
    }
    if (name === undefined || name === role.name) {
      role.rotate();
      return { name: role.name };
    }
    const hub = hubOf(agent, `change the key of ${name}`);
    if (hub.register.node(name) === undefined) throw new Error(unseen(name, false));
    if (hub.server?.askRotate(name) !== true)
      throw new Error(
        `Cannot change the key of ${name}: it is not connected to this hub; try again when it is, or run causeway node rotate there`,
      );
    return { name };
  },

  async "psk-rotate"(agent) {
    const { register, registrar } = hubOf(agent, "change the pre-shared keys");
    if (!register.mesh().presharedKeys)
      throw new Error(
        "Cannot change the pre-shared keys: the mesh has none; set presharedKeys: true (causeway mesh apply)",
      );
    await registrar.newPsk();
    agent.joined?.changed();
    return { generation: register.pskGenerations()[0] as number };
  },

  async "operator-set"(agent, { key, replace }) {
    const { register, registrar } = hubOf(agent, "set the operator's key");
    const operatorKey = parseSigningKey(key);
    const mesh = register.mesh();
    if (mesh.operatorKey !== undefined && mesh.operatorKey !== operatorKey && !replace)
      throw new Error(
        "Cannot set the operator's key: the mesh has one; to give up what is signed with it, add --replace",
      );
    await registrar.updateMesh({ ...mesh, operatorKey });
    return {};
  },

  "removal-add"(agent, { removal }) {
    if (agent.role === undefined)
      throw new Error("Cannot remove the node: this machine has not joined a mesh");
    const { mesh } = agent.role.view();
    if (removal.by === "operator" && mesh.operatorKey === undefined)
      throw new Error(
        "Cannot remove the node: the mesh has no operator's key; it is set at a hub, beforehand: causeway operator key FILE",
      );
    const nodes = agent.role.addRemovals([removal]);
    if (nodes.length === 0)
      throw new Error(
        "Nothing was removed: the key of the file is not the mesh's operator's, or the node is gone already",
      );
    return { nodes };
  },
};

/** unseen says why a name is not known here. */
export function unseen(name: string, ruled: boolean): string {
  return ruled
    ? `There is no node ${name} that this one may talk to; the mesh has rules (causeway mesh show), and a node is told of no others. Ask at a hub: causeway mesh may-talk`
    : `There is no node ${name}; see causeway node list`;
}
