/** The agent's side of ctl.sock: who asks may or may not, what is asked is checked, the answer is JSON lines. */
import { natKind } from "../mesh/mod.ts";
import { formatEndpoint, formatPrefix } from "../net/mod.ts";
import { formatManifest, formatProblem, nodeRole, parseManifest, resourceJson } from "../resources/mod.ts";
import { type LineConnection, LineServer, wallMs } from "../sys/mod.ts";
import type { Agent } from "./agent.ts";
import {
  type Answer,
  costly,
  type Operation,
  type Request,
  requestSchema,
  type Results,
  writing,
} from "./api.ts";
import { addressHandlers } from "./control-addresses.ts";
import { hubHandlers, writesOf } from "./control-hubs.ts";
import { metrics } from "./control-metrics.ts";
import { peerHandlers } from "./control-peers.ts";
import { policyHandlers, unseen } from "./control-policy.ts";
import { resourceHandlers } from "./control-resources.ts";
import { tokenHandlers } from "./control-tokens.ts";
import { HubRole } from "./hub-role.ts";
import { MemberRole } from "./member-role.ts";
import { CTL_SOCKET, MANIFESTS } from "./paths.ts";
import type { Role } from "./role.ts";
import { SharedWork } from "./shared-work.ts";
import { shownNode, shownPeer, shownTls } from "./shown.ts";
import { VERSION } from "./version.ts";

/** Group whose members may read. */
const GROUP = "causeway";

type Progress = (text: string) => void;
type Of<O extends Operation> = Extract<Request, { op: O }>;
/** Handlers answer each operation. */
export type Handlers = {
  readonly [O in Operation]: (
    agent: Agent,
    request: Of<O>,
    progress: Progress,
  ) => Promise<Results[O]> | Results[O];
};

function hub(agent: Agent, what: string): HubRole {
  if (agent.role instanceof HubRole) return agent.role;
  throw new Error(
    `Cannot ${what}: this node is not the hub${agent.role === undefined ? "; it has not joined a mesh" : "; ask there"}`,
  );
}

function shownHub(role: Role): NonNullable<Results["status"]["hub"]> {
  const { connected, revision, ageProblem: problem } = role;
  const common = { connected, revision, ...(problem === undefined ? {} : { problem }) };
  if (role instanceof HubRole) return { ...common, writes: writesOf(role) };
  const followed = role instanceof MemberRole ? role.followedHub : undefined;
  return { ...common, ...(followed === undefined ? {} : { followed }) };
}

const handlers: Handlers = {
  ...hubHandlers,
  ...peerHandlers,
  ...policyHandlers,
  ...resourceHandlers,
  ...tokenHandlers,
  ...addressHandlers,

  status(agent) {
    const { role, joined } = agent;
    const edge = agent.bgp.edge();
    const view = role?.view();
    const all = agent.engine.status();
    const description = agent.tunnel.describe();
    const relay = joined?.relay;
    return {
      version: VERSION,
      ...(view?.self === undefined ? {} : { node: shownNode(view.self), mesh: view.mesh.name }),
      ...(description === undefined || joined === undefined || view === undefined
        ? {}
        : { tunnel: { ...description, listenPort: view.mesh.listenPort, mtuBytes: joined.mtuBytes } }),
      ...(role === undefined ? {} : { hub: shownHub(role) }),
      ...(relay === undefined ? {} : { relay }),
      ...(view?.self === undefined || view.self.hub
        ? {}
        : {
            nat: natKind(view.self.observed, {
              local: view.self.local,
              hubs: new Map(joined?.hubs.map(({ name, endpoint }) => [name, endpoint.ip])),
            }),
          }),
      portMappings: joined?.ways.portMappings ?? [],
      ...(joined?.ways.tls === undefined ? {} : { tls: shownTls(joined.ways.tls) }),
      objects: {
        ready: all.filter(({ state }) => state === "ready").length,
        pending: all.filter(({ state }) => state === "pending").length,
        failed: all
          .filter(({ state }) => state === "failed")
          .map(({ key, reason }) => ({ key, reason: reason ?? "unknown" })),
      },
      pods: agent.cni.count,
      ...(edge === undefined ? {} : { edge }),
    };
  },

  peers(agent, { name }) {
    const { joined } = agent;
    const view = joined?.view();
    if (joined === undefined || view?.self === undefined) {
      if (name !== undefined) throw new Error(`Cannot show ${name}: this node has not joined a mesh`);
      return { peers: [] };
    }
    const context = {
      self: view.self,
      peers: new Map(joined.peers().map((peer) => [peer.publicKey, peer])),
      wallMs: wallMs(),
      explain: (peer: string) => joined.explain(peer),
      hubAnswers: (hub: string) => joined.hubs.find(({ name }) => name === hub)?.state !== "down",
    };
    const wanted = view.nodes.filter((node) => name === undefined || node.name === name);
    if (name !== undefined && wanted.length === 0)
      throw new Error(
        view.mesh.rules !== undefined && !view.self.hub
          ? unseen(name, true)
          : `There is no node ${name}; there are ${view.nodes.map((node) => node.name).join(", ") || "none"}`,
      );
    return { peers: wanted.map((node) => shownPeer(node, context)) };
  },

  metrics: (agent) => metrics(agent, handlers),

  plan: (agent) => {
    const { steps, blocked } = agent.engine.plan();
    return {
      steps: steps.map(({ action, text }) => ({ action, text })),
      blocked: blocked.map(({ key, reason }) => ({ key, reason })),
    };
  },

  init: async (agent, { op: _, name, endpoints, imported, etcd, ...spec }) =>
    shownNode(await agent.init({ name, endpoints, spec, imported, etcd })),

  join: async (agent, request, progress) => shownNode(await agent.join({ ...request, progress })),

  async leave(agent, { force, edge }, progress) {
    if (edge !== true || force || agent.role !== undefined) await agent.leave({ force, progress });
    if (edge === true) await agent.bgp.leave(progress);
    else if ((agent.bgp.edge()?.routers.length ?? 0) > 0)
      progress(
        `the edge that files in ${MANIFESTS} ask for goes on; to give its links back too: causeway leave --edge`,
      );
    return {};
  },

  "node-list"(agent) {
    if (agent.role === undefined) return { nodes: [] };
    const view = agent.role.view();
    const heard = agent.role instanceof HubRole ? agent.role.heardMs : new Map<string, number>();
    const edges = agent.role instanceof HubRole ? agent.role.edges : undefined;
    const nodes = [...(view.self === undefined ? [] : [view.self]), ...view.nodes];
    return {
      nodes: nodes.map((node) => {
        const heardMs = heard.get(node.name);
        const edge = edges?.of(node.name);
        return {
          ...shownNode(node),
          role: nodeRole(node),
          ...(node.site === undefined ? {} : { site: node.site }),
          ...(node.labels === undefined ? {} : { labels: node.labels }),
          ...(node.subnets === undefined ? {} : { subnets: node.subnets.map(formatPrefix) }),
          ...(node.announced === undefined ? {} : { announced: node.announced.map(formatPrefix) }),
          ...(node.observed.length === 0
            ? {}
            : {
                observed: [...new Set(node.observed.map((seen) => formatEndpoint(seen.endpoint)))].join(", "),
              }),
          ...(heardMs === undefined
            ? {}
            : { heardSeconds: Math.max(0, Math.round((wallMs() - heardMs) / 1000)) }),
          ...(edge === undefined ? {} : { edge }),
        };
      }),
    };
  },

  "mesh-show"(agent) {
    if (agent.role === undefined) throw new Error("Cannot show the mesh: this node has not joined one");
    const resource = { kind: "Mesh", value: agent.role.view().mesh } as const;
    return { manifest: formatManifest([resource]), resource: resourceJson(resource) };
  },

  async "mesh-apply"(agent, { manifest }) {
    const { register, registrar } = hub(agent, "change the mesh");
    const { resources, problems } = parseManifest(manifest);
    if (problems.length > 0) throw new Error(problems.map(formatProblem).join("\n"));
    const [resource] = resources;
    if (resources.length !== 1 || resource?.kind !== "Mesh")
      throw new Error(
        "Cannot change the mesh: the manifest must hold one object, of kind Mesh; see causeway mesh show",
      );
    await registrar.updateMesh(resource.value);
    agent.joined?.changed();
    return { revision: register.revision };
  },

  async "node-remove"(agent, { name }) {
    // The register tells the node first; its peer goes with the refresh that follows, when the news is on its way.
    await hub(agent, "remove a node").registrar.removeNode(name);
    return {};
  },
};

const shared = new SharedWork();

async function answer(agent: Agent, line: string, connection: LineConnection): Promise<void> {
  const say = (text: Answer) => connection.reply(JSON.stringify(text));
  try {
    const request = parse(line);
    if (writing.has(request.op) && connection.peer.uid !== 0)
      throw new Error(`Only root may do that (${request.op}); use sudo`);
    const handler = handlers[request.op] as (agent: Agent, request: Request, progress: Progress) => unknown;
    const work = async () => handler(agent, request, (text) => say({ progress: text }));
    say({
      result: await (writing.has(request.op)
        ? agent.inTurn(work)
        : costly.has(request.op)
          ? shared.ask(request.op, work)
          : work()),
    });
  } catch (error) {
    say({ error: { message: error instanceof Error ? error.message : String(error) } });
  } finally {
    connection.end();
  }
}

function parse(line: string): Request {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    throw new Error("The request is not JSON; use the command line of the same version");
  }
  const parsed = requestSchema.safeParse(value);
  if (!parsed.success)
    throw new Error(
      `The request does not fit this agent (${VERSION}): ${parsed.error.issues[0]?.path.join(".")}; use the same version`,
    );
  return parsed.data;
}

/** serveControl answers the command line until it is closed. */
export function serveControl(agent: Agent): LineServer {
  return LineServer.listen(CTL_SOCKET, {
    mode: 0o660,
    group: GROUP,
    // A generated mesh that is taken over: 4096 machines of about 200 bytes.
    maxLineBytes: 2 ** 20,
    onRequest: (line, connection) => void answer(agent, line, connection),
  });
}
