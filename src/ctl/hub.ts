/** The command `causeway hub`: the hubs of the mesh, and the register that they share. */
import { ask } from "./client.ts";
import { type Command, type Given, withJson } from "./command.ts";
import { printJson, printText, progress } from "./output.ts";
import { table } from "./table.ts";

/** etcdOptions are the options of all commands that need etcd. */
export const etcdOptions = {
  etcd: { about: "etcd's client URLs, with commas between them", value: "URL,…" },
  "etcd-ca": { about: "who signed etcd's certificates (PEM)", value: "FILE" },
  "etcd-cert": { about: "this hub's certificate for etcd (PEM)", value: "FILE" },
  "etcd-key": { about: "its key, readable by root only (PEM)", value: "FILE" },
} as const;

/** etcdOf returns what was given of etcd; undefined when nothing was. */
export function etcdOf(given: Given) {
  const file = (name: "ca" | "cert" | "key") => given.value(`etcd-${name}`);
  const endpoints = (given.value("etcd") ?? "").split(",").filter((text) => text !== "");
  const [ca, certificate, key] = [file("ca"), file("cert"), file("key")];
  if (endpoints.length === 0 && ca === undefined && certificate === undefined && key === undefined)
    return undefined;
  return {
    endpoints,
    ...(ca === undefined ? {} : { ca }),
    ...(certificate === undefined ? {} : { certificate }),
    ...(key === undefined ? {} : { key }),
  };
}

export const hub: Command = {
  name: "hub",
  about: "List and remove hubs, and share the register between several",
  more: `One hub keeps the register in a file. Several share it in etcd, which runs at
the operator's, for example on three of the hubs; nodes never speak to it. With
three members of etcd, writes go on when one is lost. While too few members run,
hubs still serve the register, relay, and help nodes find paths; what writes is
refused: new nodes, tokens, settings.

  first hub   causeway init --endpoint HOST:51820 --etcd URL,URL,URL …
              or, of a mesh that exists: causeway hub migrate --etcd …
              causeway token create --role hub
  other hubs  causeway join TOKEN --endpoint HOST:51820 --etcd …`,
  commands: [
    {
      name: "list",
      about: "List the hubs, how far each is, and the members of etcd",
      options: withJson(),
      async run(given) {
        const result = await ask({ op: "hub-list" }, progress);
        if (given.flag("json")) return printJson(result);
        printText(
          table(
            ["HUB", "STATE", "REVISION", "RTT", "WRITES"],
            result.hubs.map((one) => [
              one.name,
              one.self ? "this node" : one.connected ? "connected" : "away",
              one.revision === undefined ? "" : String(one.revision),
              one.rttMs === undefined ? "" : `${one.rttMs.toFixed(1)} ms`,
              one.revision === undefined ? "" : (one.problem ?? "possible"),
            ]),
          ),
        );
        if (result.members.length > 0)
          printText(
            `\n${table(
              ["ETCD", "STATE"],
              result.members.map((member) => [
                member.endpoint,
                "problem" in member
                  ? member.problem
                  : `${member.version}, ${member.leader ? "has a leader" : "no leader"}`,
              ]),
            )}`,
          );
        return 0;
      },
    },
    {
      name: "remove",
      about: "Remove a hub from the mesh: its key is revoked, nodes take others",
      positionals: ["NAME"],
      options: withJson(),
      examples: ["causeway hub remove hub-2"],
      async run(given) {
        const name = given.positionals[0] as string;
        await ask({ op: "hub-remove", name }, progress);
        if (given.flag("json")) return printJson({ name, removed: true });
        progress("removed");
        return 0;
      },
    },
    {
      name: "migrate",
      about: "Move this hub's register into etcd, so that other hubs can share it",
      more: "Also where etcd's content was lost: the log begins anew with what this hub has.",
      options: withJson(etcdOptions),
      examples: ["causeway hub migrate --etcd https://10.0.0.1:2379 --etcd-ca …"],
      async run(given) {
        const result = await ask({ op: "hub-migrate", etcd: etcdOf(given) ?? { endpoints: [] } }, progress);
        if (given.flag("json")) return printJson(result);
        progress("the register is in etcd; let hubs join: causeway token create --role hub");
        return 0;
      },
    },
  ],
};
