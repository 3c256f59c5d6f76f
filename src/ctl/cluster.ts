/** Commands that make and change the mesh: init, token, join, leave, node. */
import type { Results } from "../agent/mod.ts";
import { wallMs } from "../sys/mod.ts";
import { announce, approve, revoke } from "./announce.ts";
import { ask } from "./client.ts";
import { type Command, withJson } from "./command.ts";
import { generate } from "./generate.ts";
import { etcdOf, etcdOptions } from "./hub.ts";
import { importGiven } from "./import.ts";
import { printJson, printText, progress, readFile, readStandardInput } from "./output.ts";
import { assign, label, labelsText, mayTalk, removeAsOperator, rotate, rotatePsk } from "./policy.ts";
import { ago, facts, table } from "./table.ts";
import { tlsOf, tlsOptions } from "./tls-options.ts";

const DAY_MS = 86_400_000;

/** defined drops what was not given, so that the agent's defaults apply. */
function defined<T extends Record<string, unknown>>(
  values: T,
): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as never;
}

export const init: Command = {
  name: "init",
  about: "Make a new mesh, with this node as its hub",
  more: `The hub is the only node that must be reachable: one UDP port at the endpoint.
Prefixes that are not given are chosen: IPv6 from a new random ULA /48.

With --from a folder of causeway mesh generate is taken over, on the machine
that is its hub: networks, key, name and addresses stay, and the others go on
with their files as external peers until they join.`,
  options: withJson({
    endpoint: {
      about: "where nodes reach this hub (repeat for several)",
      value: "HOST:PORT",
      many: true,
    },
    from: { about: "take over a generated mesh", value: "DIR" },
    name: { about: "name of this node (default: the host name)", value: "NAME" },
    overlay4: { about: "IPv4 addresses of nodes (default 10.90.0.0/16)", value: "PREFIX" },
    overlay6: { about: "IPv6 addresses of nodes (default: chosen)", value: "PREFIX" },
    pods4: { about: "IPv4 addresses of pods (default 10.244.0.0/16)", value: "PREFIX" },
    pods6: { about: "IPv6 addresses of pods (default: chosen)", value: "PREFIX" },
    "node-bits": { about: "bits of the pod prefix that number nodes (default 8)", value: "BITS" },
    service: {
      about: "services, not masqueraded (default 10.96.0.0/12; repeat)",
      value: "PREFIX",
      many: true,
    },
    port: { about: "UDP port that nodes listen on (default 51820)", value: "PORT" },
    mtu: { about: "MTU of the overlay (default: from the underlay)", value: "BYTES" },
    expose: { about: "port that stays open to the world (repeat)", value: "tcp/PORT", many: true },
    ...etcdOptions,
  }),
  examples: [
    "causeway init --endpoint 203.0.113.10:51820",
    "causeway init --endpoint hub.example.org:51820 --pods4 10.8.0.0/14",
    "causeway init --from wg",
  ],
  async run(given) {
    const result = await ask(
      {
        op: "init",
        endpoints: [...given.values("endpoint")],
        ...importGiven(given),
        exposedPorts: [...given.values("expose")],
        ...defined({
          etcd: etcdOf(given),
          services: given.values("service").length > 0 ? [...given.values("service")] : undefined,
          name: given.value("name"),
          overlay4: given.value("overlay4"),
          overlay6: given.value("overlay6"),
          pods4: given.value("pods4"),
          pods6: given.value("pods6"),
          nodeBits: given.number("node-bits"),
          listenPort: given.number("port"),
          mtuBytes: given.number("mtu"),
        }),
      },
      progress,
    );
    if (given.flag("json")) return printJson(result);
    printText(
      `This node is the hub.\n${facts([
        ["name", result.name],
        ["overlay", `${result.overlay4}, ${result.overlay6}`],
        ["pods", [result.pods4, result.pods6].filter(Boolean).join(", ")],
      ])}Let nodes join: causeway token create --uses 10\n`,
    );
    return 0;
  },
};

export const mesh: Command = {
  name: "mesh",
  about: "Show and change the mesh's settings; make meshes without Causeway",
  more: `May change while nodes are there: endpoints, exposedPorts, services, listenPort,
mtuBytes, rules, keyMaxAge, presharedKeys, snapshotMaxAge and the like. Networks
and nodeBits are in use; nothing is ever renumbered.`,
  commands: [
    generate,
    mayTalk,
    rotatePsk,
    {
      name: "show",
      about: "Print the mesh as a manifest (YAML)",
      options: withJson(),
      examples: ["causeway mesh show > mesh.yaml"],
      async run(given) {
        const result = await ask({ op: "mesh-show" }, progress);
        if (given.flag("json")) return printJson(result.resource);
        printText(result.manifest);
        return 0;
      },
    },
    {
      name: "apply",
      about: "Change the mesh to what a manifest says, on the hub (-: stdin)",
      positionals: ["FILE"],
      options: withJson(),
      examples: [
        "causeway mesh apply mesh.yaml",
        "causeway mesh show | sed 's/1420/1380/' | causeway mesh apply -",
      ],
      async run(given) {
        const path = given.positionals[0] as string;
        const manifest = path === "-" ? readStandardInput() : readFile(path);
        const result = await ask({ op: "mesh-apply", manifest }, progress);
        if (given.flag("json")) return printJson(result);
        progress(`the mesh is at revision ${result.revision}`);
        return 0;
      },
    },
  ],
};

/** The hub, whose clock alone counts, is this machine. */
function tokenState(entry: Results["token-list"]["tokens"][number]): string {
  if (entry.revoked === true) return entry.reason === undefined ? "revoked" : `revoked: ${entry.reason}`;
  if (entry.spent >= entry.uses) return "spent";
  if (entry.used >= entry.uses) return "taken";
  return Date.parse(entry.expiresAt) <= wallMs() ? "expired" : "open";
}

export const token: Command = {
  name: "token",
  about: "Make, list and revoke the tokens with which nodes join",
  commands: [
    {
      name: "create",
      about: "Make a joining token (on the hub); it is shown once",
      options: withJson({
        uses: { about: "how many nodes may join with it (default 1)", value: "N" },
        expires: { about: "how long it is valid (default 24h)", value: "DURATION" },
        node: {
          about: "for a reinstalled node: it gets its addresses back",
          value: "NAME",
        },
        role: { about: "what the nodes become, for rules: one word (default node)", value: "ROLE" },
        site: { about: "where the nodes stand; they cannot choose another", value: "SITE" },
      }),
      examples: [
        "causeway token create",
        "causeway token create --uses 20 --expires 2h",
        "causeway token create --node worker-3",
        "causeway token create --role worker --site attic",
      ],
      async run(given) {
        const result = await ask(
          {
            op: "token-create",
            uses: given.number("uses") ?? 1,
            expiresMs: given.durationMs("expires") ?? DAY_MS,
            ...defined({ node: given.value("node"), role: given.value("role"), site: given.value("site") }),
          },
          progress,
        );
        if (given.flag("json")) return printJson(result);
        printText(`${result.token}\n`);
        progress(
          `valid for ${result.uses} node(s) until ${result.expiresAt}; on the node: causeway join TOKEN`,
        );
        return 0;
      },
    },
    {
      name: "list",
      about: "List tokens: how often used, how long valid; never the token itself",
      options: withJson(),
      async run(given) {
        const result = await ask({ op: "token-list" }, progress);
        if (given.flag("json")) return printJson(result);
        printText(
          table(
            ["ID", "STATE", "USED", "USES", "EXPIRES", "NODE", "ROLE", "SITE", "REFUSED", "LAST REFUSAL"],
            result.tokens.map((entry) => [
              entry.id,
              tokenState(entry),
              String(entry.used),
              String(entry.uses),
              entry.expiresAt,
              entry.node ?? "",
              entry.role,
              entry.site ?? "",
              entry.refused === undefined ? "" : String(entry.refused),
              entry.lastRefusal === undefined ? "" : `${entry.lastRefusal.reason} at ${entry.lastRefusal.at}`,
            ]),
          ),
        );
        const refusals = Object.entries(result.refusals);
        if (refusals.length > 0)
          printText(
            `Refused since the agent started: ${refusals.map(([reason, count]) => `${reason} ${count}`).join(", ")}\n`,
          );
        return 0;
      },
    },
    {
      name: "revoke",
      about: "Make a token useless; nodes that joined with it stay",
      positionals: ["ID"],
      options: withJson({ reason: { about: "why, for the list (at most 64 characters)", value: "TEXT" } }),
      examples: ["causeway token revoke 3f9a1c", 'causeway token revoke 3f9a1c --reason "was mailed"'],
      async run(given) {
        const id = given.positionals[0] as string;
        await ask({ op: "token-revoke", id, ...defined({ reason: given.value("reason") }) }, progress);
        if (given.flag("json")) return printJson({ id, revoked: true });
        progress("revoked");
        return 0;
      },
    },
  ],
};

export const join: Command = {
  name: "join",
  about: "Join the mesh that a token belongs to",
  more: `The node makes its own key; the hub learns only the public half. Nothing but the
hub's UDP port is used. With - the token is read from standard input.

Where UDP is blocked, and the mesh has TLS: --tls auto tries UDP and then TLS,
--tls always TLS only. The node keeps to that, unless its agent is started with
another --tls.`,
  positionals: ["TOKEN"],
  options: withJson({
    name: { about: "name of this node (default: the host name)", value: "NAME" },
    endpoint: {
      about: "where others reach this node, if it is public (repeat)",
      value: "HOST:PORT",
      many: true,
    },
    site: { about: "name of the place where this node stands", value: "NAME" },
    ...tlsOptions,
    ...etcdOptions,
  }),
  examples: [
    "causeway join cw1.eyJ…",
    "causeway join - < token.txt",
    "causeway join cw1.eyJ… --site berlin",
    "causeway join cw1.eyJ… --tls auto --tls-proxy http://proxy.example:3128",
  ],
  async run(given) {
    const text = given.positionals[0] as string;
    const result = await ask(
      {
        op: "join",
        token: (text === "-" ? readStandardInput() : text).trim(),
        endpoints: [...given.values("endpoint")],
        tls: tlsOf(given),
        ...defined({ name: given.value("name"), site: given.value("site"), etcd: etcdOf(given) }),
      },
      progress,
    );
    if (given.flag("json")) return printJson(result);
    printText(
      `Joined.\n${facts([
        ["name", result.name],
        ["overlay", `${result.overlay4}, ${result.overlay6}`],
        ["pods", [result.pods4, result.pods6].filter(Boolean).join(", ")],
      ])}`,
    );
    return 0;
  },
};

export const leave: Command = {
  name: "leave",
  about: "Leave the mesh: remove what was made here",
  options: withJson({
    force: { about: "leave although the hub cannot be told" },
    edge: { about: "also give back the links of an edge that files ask for" },
  }),
  examples: ["causeway leave", "causeway leave --edge"],
  async run(given) {
    await ask({ op: "leave", force: given.flag("force"), edge: given.flag("edge") }, progress);
    if (given.flag("json")) return printJson({ left: true });
    progress("left");
    return 0;
  },
};

/** Networks behind a node: those that are routed to it, and those that wait for an approval. */
function behind(entry: Results["node-list"]["nodes"][number]): string {
  const { subnets = [], announced = [] } = entry;
  return [
    ...subnets,
    ...announced.filter((prefix) => !subnets.includes(prefix)).map((prefix) => `(${prefix})`),
  ].join(", ");
}

/** How much is wrong in the node's edge in fabrics; empty where it has none. */
function edgeText(edge: Results["node-list"]["nodes"][number]["edge"]): string {
  if (edge === undefined) return "";
  const wrong = edge.failed.length + edge.more;
  return wrong === 0 ? "up" : `${wrong} wrong`;
}

export const node: Command = {
  name: "node",
  about: "List, change and remove nodes, and networks behind them",
  commands: [
    announce,
    approve,
    revoke,
    assign,
    label,
    rotate,
    {
      name: "list",
      about: "List the nodes in the register",
      more: "BEHIND IT: networks that are routed to the node; in brackets, what it announces\nand nobody has approved. EDGE, on a hub: whether\nall is as resources ask in the node's edge in fabrics; what is not, and why,\nhas --json.",
      options: withJson(),
      async run(given) {
        const result = await ask({ op: "node-list" }, progress);
        if (given.flag("json")) return printJson(result);
        printText(
          table(
            ["NAME", "ROLE", "OVERLAY", "PODS", "BEHIND IT", "SITE", "LABELS", "EDGE", "SEEN FROM", "HEARD"],
            result.nodes.map((entry) => [
              entry.name,
              entry.hub ? "hub" : entry.role,
              entry.overlay4,
              entry.pods4 ?? entry.pods6 ?? "",
              behind(entry),
              entry.site ?? "",
              labelsText(entry.labels),
              edgeText(entry.edge),
              entry.observed ?? "",
              entry.heardSeconds === undefined ? "" : `${ago(entry.heardSeconds)} ago`,
            ]),
          ),
        );
        return 0;
      },
    },
    {
      name: "remove",
      about: "Remove a node: its key is revoked, its addresses are released",
      more: `At a hub. With the operator's key at any node, also while all hubs are down:
the removal goes from node to node. NAME may then be the node's public key.`,
      positionals: ["NAME"],
      options: withJson({
        "operator-key": { about: "the file that causeway operator key made", value: "FILE" },
      }),
      examples: [
        "causeway node remove worker-3",
        "causeway node remove worker-3 --operator-key /media/usb/key",
      ],
      async run(given) {
        const name = given.positionals[0] as string;
        const key = given.value("operator-key");
        if (key !== undefined) {
          const nodes = await removeAsOperator(name, key);
          if (given.flag("json")) return printJson({ nodes, removed: true });
          progress(`removed ${nodes.join(", ")}; the news spreads from node to node`);
          return 0;
        }
        await ask({ op: "node-remove", name }, progress);
        if (given.flag("json")) return printJson({ name, removed: true });
        progress("removed");
        return 0;
      },
    },
  ],
};
