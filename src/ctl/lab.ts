/** Commands of the laboratory: whole clusters of namespaces on one machine. */
import { graphSvg, graphText, Lab, parseLab } from "../lab/mod.ts";
import { formatIp } from "../net/mod.ts";
import { exists as fileExists, onSignal, runInherited } from "../sys/mod.ts";
import { type Command, type Option, withJson } from "./command.ts";
import { printJson, printText, progress, readFile } from "./output.ts";
import { table } from "./table.ts";

const which: Option = { about: "name of the lab, when several are up", value: "NAME" };

function manifest(path: string): string {
  return readFile(path, "examples of topologies are in examples/");
}

/** nameOf accepts a file or the name of a lab. */
function nameOf(fileOrName: string): string {
  return fileExists(fileOrName) ? parseLab(readFile(fileOrName)).name : fileOrName;
}

export const lab: Command = {
  name: "lab",
  about: "Run a laboratory: nodes, NAT boxes and networks on this machine",
  more: "All of it is in namespaces, beside this machine's network. It needs root.",
  commands: [
    {
      name: "up",
      about: "Bring up a topology: wire it, start agents, make the mesh, attach pods",
      positionals: ["FILE"],
      options: withJson({
        "network-only": { about: "wire it, and start nothing" },
        keep: { about: "when it fails, leave what was made" },
      }),
      examples: ["causeway lab up examples/demo.yaml"],
      async run(given) {
        const stop = new AbortController();
        using _ = onSignal(["SIGINT", "SIGTERM", "SIGHUP"], () => stop.abort());
        const up = await Lab.up(manifest(given.positionals[0] as string), {
          onProgress: progress,
          signal: stop.signal,
          keep: given.flag("keep"),
          networkOnly: given.flag("network-only"),
        });
        if (given.flag("json")) return printJson({ name: up.name, up: true });
        printText(
          `Lab ${up.name} is up.\n  causeway lab status\n  causeway lab exec NODE -- causeway peers\n  causeway lab down ${up.name}\n`,
        );
        return 0;
      },
    },
    {
      name: "down",
      about: "Take a laboratory down, whole or half up, and remove all of it",
      positionals: ["FILE|NAME"],
      options: withJson(),
      examples: ["causeway lab down demo"],
      async run(given) {
        const name = nameOf(given.positionals[0] as string);
        const removed = await Lab.remove(name);
        if (given.flag("json")) return printJson({ name, removed });
        progress(removed ? `lab ${name} is down` : `there is no lab ${name}`);
        return 0;
      },
    },
    {
      name: "exec",
      about: "Run a command in a node, a pod, a NAT box or a host",
      more: "The program causeway, there and in a shell that you start, is the lab's.",
      positionals: ["WHERE", "COMMAND…"],
      options: { lab: which },
      examples: ["causeway lab exec a1 -- causeway peers", "causeway lab exec a1-p1 -- bash"],
      async run(given) {
        const [target, ...command] = given.positionals;
        return runInherited(Lab.open(given.value("lab")).interactive(target as string, command));
      },
    },
    {
      name: "status",
      about: "Show the nodes and pods of a laboratory",
      options: withJson({ lab: which }),
      async run(given) {
        const open = Lab.open(given.value("lab"));
        const nodes = await Promise.all(
          open.topology.boxes
            .filter((box) => box.kind === "node")
            .map(async (box) => {
              const status = await open.status(box.name).catch(() => undefined);
              return {
                name: box.name,
                role: box.role,
                address: open.address(box.name),
                overlay4: status?.node?.overlay4,
                tunnel: status?.tunnel?.provider,
                hub: status?.hub?.connected,
                pods: open
                  .pods()
                  .filter((pod) => pod.node === box.name)
                  .map((pod) => ({
                    name: pod.name,
                    address: [pod.ip4, pod.ip6].filter((ip) => ip !== undefined).map(formatIp)[0] ?? "",
                  })),
              };
            }),
        );
        if (given.flag("json")) return printJson({ name: open.name, nodes });
        printText(
          table(
            ["NODE", "ROLE", "ADDRESS", "OVERLAY", "PODS"],
            nodes.map((node) => [
              node.name,
              node.role,
              node.address,
              node.overlay4 ?? "",
              node.pods.map((pod) => `${pod.name} ${pod.address}`).join(", "),
            ]),
          ),
        );
        return 0;
      },
    },
    {
      name: "graph",
      about: "Print the picture of a topology",
      positionals: ["FILE"],
      options: { svg: { about: "as SVG instead of text" } },
      examples: [
        "causeway lab graph examples/demo.yaml",
        "causeway lab graph --svg examples/demo.yaml > demo.svg",
      ],
      async run(given) {
        const topology = parseLab(manifest(given.positionals[0] as string));
        printText(given.flag("svg") ? graphSvg(topology) : graphText(topology));
        return 0;
      },
    },
  ],
};
