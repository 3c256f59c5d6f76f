/** `causeway convert`: OpenPERouter's manifests as ours. */
import { convert as convertTexts, type SourceText } from "../edge/mod.ts";
import { formatManifest, formatProblem, resourceJson } from "../resources/mod.ts";
import { type Command, withJson } from "./command.ts";
import { printJson, printText, progress, readFile, readStandardInput } from "./output.ts";

function readTexts(paths: readonly string[]): SourceText[] {
  return paths.map((path) =>
    path === "-"
      ? { name: "standard input", text: readStandardInput() }
      : { name: path, text: readFile(path) },
  );
}

/** convert is `causeway convert`. */
export const convert: Command = {
  name: "convert",
  about: "Turn OpenPERouter's manifests into ours",
  more: `Reads manifests of network.openperouter.io and openpe.openperouter.github.io,
and OpenPERouter's static files (openpe_*.yaml, node-config.yaml); - is
standard input. All files are read together: an L2VNI may name an L3VNI of
another. Prints an Underlay, VPCs and Subnets that give each node the same
addresses, names of links, sessions and VNIs. L3VPN, SRv6, IS-IS,
RawFRRConfig, OVS, grout and passwords in clear text are refused by name.
No agent is needed.`,
  positionals: ["FILE…"],
  options: withJson(),
  examples: [
    "causeway convert openpe.yaml > edge.yaml && causeway apply -f edge.yaml",
    "kubectl get underlays,l3vnis,l2vnis -A -o yaml | causeway convert -",
    "causeway convert openpe_*.yaml node-config.yaml > edge.yaml",
  ],
  async run(given) {
    const { resources, problems, notes } = convertTexts(readTexts(given.positionals));
    if (problems.length > 0) throw new Error(problems.map(formatProblem).join("\n"));
    if (resources.length === 0)
      throw new Error(
        `Cannot convert ${given.positionals.join(", ")}: no object of OpenPERouter is in it; give manifests of network.openperouter.io`,
      );
    if (given.flag("json")) return printJson({ resources: resources.map(resourceJson), notes });
    for (const note of notes) progress(`note: ${note}`);
    printText(formatManifest(resources));
    return 0;
  },
};
