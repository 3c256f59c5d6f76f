/** Commands on what nodes are and may: mesh may-talk, node assign, and the operator's offline key. */
import { operatorRemoval } from "../hub/mod.ts";
import { parsePublicKey, type PublicKey, SigningSecret } from "../net/mod.ts";
import { type NodeLabels, parseLabelChange } from "../resources/mod.ts";
import { exists, removeTree, writeAtomic } from "../sys/mod.ts";
import { ask } from "./client.ts";
import { type Command, withJson } from "./command.ts";
import { printJson, printText, progress, readFile } from "./output.ts";

export const mayTalk: Command = {
  name: "may-talk",
  about: "Tell whether the mesh's rules let two nodes talk, and why",
  more: "The exit status is 1 if they may not. A member knows only of nodes that it may\ntalk to itself; a hub knows all.",
  positionals: ["A", "B"],
  options: withJson(),
  examples: ["causeway mesh may-talk worker-3 nas"],
  async run(given) {
    const [a, b] = given.positionals as [string, string];
    const result = await ask({ op: "may-talk", a, b }, progress);
    if (given.flag("json")) printJson(result);
    else printText(`${result.allowed ? "yes" : "no"}: ${result.reason}\n`);
    return result.allowed ? 0 : 1;
  },
};

export const assign: Command = {
  name: "assign",
  about: "Change a node's role or site, as rules see it (on the hub)",
  positionals: ["NAME"],
  options: withJson({
    role: { about: "what the node is: one word", value: "ROLE" },
    site: { about: "where the node stands", value: "SITE" },
  }),
  examples: ["causeway node assign worker-3 --role worker --site attic"],
  async run(given) {
    const name = given.positionals[0] as string;
    const [role, site] = [given.value("role"), given.value("site")];
    if (role === undefined && site === undefined) throw new Error("Nothing to change: give --role or --site");
    await ask(
      {
        op: "node-assign",
        name,
        ...(role === undefined ? {} : { role }),
        ...(site === undefined ? {} : { site }),
      },
      progress,
    );
    if (given.flag("json")) return printJson({ name, role, site });
    progress("changed");
    return 0;
  },
};

/** labelsText returns labels as they are set: `rack=a gpu=`; nothing for none. */
export function labelsText(labels: NodeLabels = {}): string {
  return Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .join(" ");
}

/** label is `causeway node label`. */
export const label: Command = {
  name: "label",
  about: "Label a node, for selections of nodes (on the hub)",
  more: `KEY=VALUE sets a label, KEY- takes it away; causeway node list shows them.
Where a node is a Node of a cluster with a controller, labels that selections
name become as the Node has them: label that one, by kubectl.`,
  positionals: ["NAME", "LABEL…"],
  options: withJson(),
  examples: ["causeway node label worker-3 rack=a example.com/zone=b", "causeway node label worker-3 rack-"],
  async run(given) {
    const [name = "", ...words] = given.positionals;
    const { labels } = await ask({ op: "node-label", name, labels: parseLabelChange(words) }, progress);
    if (given.flag("json")) return printJson({ name, labels });
    progress(`${name} has ${labelsText(labels) || "no labels"}`);
    return 0;
  },
};

export const rotate: Command = {
  name: "rotate",
  about: "Change a node's key, without losing its tunnels",
  more: `On the node itself, or at its hub with NAME. The node makes another key and
tells the hub; the others know it for 45 s before it is used. The mesh's
keyMaxAge does the same by age.

A hub changes its own key only on the hub itself, and with our tunnel engine
(--tunnel user). It goes on to answer to the key before, until every node and
external peer was heard with the new one and older tokens are over, for 30 days
at most; --drop-former ends that at once.`,
  positionals: ["[NAME]"],
  options: withJson({ "drop-former": { about: "at a hub: answer to the key before no more" } }),
  examples: ["causeway node rotate", "causeway node rotate worker-3", "causeway node rotate --drop-former"],
  async run(given) {
    const [name] = given.positionals;
    const dropFormer = given.flag("drop-former");
    const result = await ask(
      { op: "node-rotate", ...(name === undefined ? {} : { name }), ...(dropFormer ? { dropFormer } : {}) },
      progress,
    );
    if (given.flag("json")) return printJson(result);
    if (dropFormer) {
      progress(`${result.name} answers to its present key only`);
      return 0;
    }
    progress(`asked for; ${result.name} has another key in about a minute`);
    return 0;
  },
};

export const rotatePsk: Command = {
  name: "rotate-psk",
  about: "Begin another generation of pre-shared keys (at a hub)",
  more: `Every pair goes over to it at its next handshake, without loss. A node that
reaches no hub meanwhile keeps the present one.`,
  options: withJson(),
  async run(given) {
    const result = await ask({ op: "psk-rotate" }, progress);
    if (given.flag("json")) return printJson(result);
    progress(`generation ${result.generation}`);
    return 0;
  },
};

export const operator: Command = {
  name: "operator",
  about: "The key with which nodes are removed while all hubs are down",
  commands: [
    {
      name: "key",
      about: "Make the key; the file is kept offline, its public half is in the mesh",
      more: `Run it at a hub, once. With the file, any node can remove another one, whether
a hub is there or not: causeway node remove NAME --operator-key FILE`,
      positionals: ["FILE"],
      options: withJson({ replace: { about: "give up the key that the mesh has" } }),
      examples: ["causeway operator key /media/usb/causeway-operator.key"],
      async run(given) {
        const path = given.positionals[0] as string;
        if (exists(path)) throw new Error(`Cannot write ${path}: it exists; name another file`);
        const secret = SigningSecret.random();
        // First the file: a mesh that believes a key which nobody has would be of no use.
        writeAtomic(path, secret.toFile(), 0o600);
        try {
          await ask({ op: "operator-set", key: secret.publicKey, replace: given.flag("replace") }, progress);
        } catch (error) {
          removeTree(path);
          throw error;
        }
        if (given.flag("json")) return printJson({ file: path, publicKey: secret.publicKey });
        progress(`the mesh knows the key; move ${path} to a place that is not on the network`);
        return 0;
      },
    },
  ],
};

/** removeAsOperator removes a node with the operator's key, from any node; the name may be a public key. */
export async function removeAsOperator(nameOrKey: string, path: string): Promise<readonly string[]> {
  const secret = SigningSecret.fromBase64(readFile(path));
  const removal = operatorRemoval(await keyOf(nameOrKey), secret);
  return (await ask({ op: "removal-add", removal }, progress)).nodes;
}

async function keyOf(nameOrKey: string): Promise<PublicKey> {
  const { nodes } = await ask({ op: "node-list" }, progress);
  const node = nodes.find((one) => one.name === nameOrKey);
  if (node !== undefined) return parsePublicKey(node.publicKey);
  try {
    return parsePublicKey(nameOrKey);
  } catch {
    throw new Error(
      `Cannot remove ${nameOrKey}: this node knows none of that name; give its public key instead, or ask another node`,
    );
  }
}
