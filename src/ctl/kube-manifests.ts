/** `causeway kube manifests`: what a cluster must have so that resources can be applied there. */
import {
  formatKubeManifests,
  type KubernetesVersion,
  kubeManifests,
  parseKubernetesVersion,
} from "../kube/mod.ts";
import { type Command, type Given, UsageError, withJson } from "./command.ts";
import { printJson, printText } from "./output.ts";

/** The oldest release that is supported upstream has all that newer ones know of definitions. */
const USUAL_VERSION: KubernetesVersion = { major: 1, minor: 30 };

function run(given: Given): Promise<number> {
  const said = given.value("kubernetes-version");
  const version = said === undefined ? USUAL_VERSION : parseKubernetesVersion(said);
  if (version === undefined)
    throw new UsageError(
      "causeway kube manifests",
      `--kubernetes-version "${said}" is no release; write it like v1.30`,
    );
  const manifests = kubeManifests(version);
  if (given.flag("json")) return Promise.resolve(printJson(manifests));
  printText(formatKubeManifests(manifests));
  return Promise.resolve(0);
}

export const kubeManifestsCommand: Command = {
  name: "manifests",
  about: "Print the custom resource definitions, for kubectl apply",
  more: `One definition for each kind of resource that a cluster's API can hold, with
the schema that this version has. An API server of 1.25 or later also gets
rules for what never changes; older ones do not know them.`,
  options: withJson({
    "kubernetes-version": { about: "the API server's release (default v1.30)", value: "VERSION" },
  }),
  examples: [
    "causeway kube manifests | kubectl apply --server-side -f -",
    "causeway kube manifests --kubernetes-version v1.20",
  ],
  run,
};
