/** What the command line asks about VPCs as they are, and about addresses of subnets. */
import { ones } from "../ipam/mod.ts";
import { formatIp, formatPrefix, tryParseIp } from "../net/mod.ts";
import type { Agent } from "./agent.ts";
import type { Handlers } from "./control.ts";
import { HubRole } from "./hub-role.ts";

function hubOf(agent: Agent, what: string): HubRole {
  if (agent.role instanceof HubRole) return agent.role;
  throw new Error(
    `Cannot ${what}: this node is not a hub${agent.role === undefined ? "; it has not joined a mesh" : "; ask there"}`,
  );
}

/** addressHandlers answer the operations on what is there of VPCs. */
export const addressHandlers: Pick<Handlers, "vpc-status" | "vpc-addresses" | "vpc-release"> = {
  "vpc-status"(agent, { name }) {
    const here = agent.joined?.vpcs.status() ?? [];
    const vpcs = here.filter((one) => name === undefined || one.name === name);
    if (name !== undefined && vpcs.length === 0)
      throw new Error(
        `VPC ${name} is not on this node: it is where pods of it are; see causeway vpc list, and causeway get vpc for all`,
      );
    return { vpcs };
  },

  async "vpc-addresses"(agent, { subnet }) {
    const hub = hubOf(agent, "show addresses");
    const { registrar } = hub;
    const claims = await registrar.claims(subnet);
    const none = claims.blocks.length + claims.owned.length === 0;
    if (subnet !== undefined && none && !hub.view().tenants.Subnet.has(subnet))
      throw new Error(`There is no Subnet ${subnet}; see causeway get subnet`);
    return {
      blocks: claims.blocks.map(({ number, subnet: of, block, usable, node }) => {
        const used = registrar.usage.usedOf(node, number);
        return {
          subnet: of,
          block: formatPrefix(block),
          node,
          usable: ones(usable),
          ...(used === undefined ? {} : { used }),
        };
      }),
      owned: claims.owned.map(({ subnet: of, address, owner, node }) => ({
        subnet: of,
        address: formatIp(address),
        owner,
        ...(node === undefined ? {} : { node }),
      })),
    };
  },

  async "vpc-release"(agent, { subnet, address }) {
    const { registrar } = hubOf(agent, "release an address");
    const parsed = tryParseIp(address);
    if (parsed === undefined) throw new Error(`Cannot release ${address}: it is not an address`);
    await registrar.releaseAddress(subnet, parsed);
    return {};
  },
};
