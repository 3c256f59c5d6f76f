/** `causeway kube manifests`: what a cluster must have so that resources can be applied there. */
import {
  formatKubeManifests,
  type KubernetesVersion,
  kubeManifests,
  kubeRemoval,
  type Manifest,
  parseKubernetesVersion,
  usualSettings,
} from "../kube/mod.ts";
import { type Command, type Given, UsageError, withJson } from "./command.ts";
import { printJson, printText } from "./output.ts";

/** The oldest release that is supported upstream has all that newer ones know of definitions. */
const USUAL_VERSION: KubernetesVersion = { major: 1, minor: 30 };

const NAME = "causeway kube manifests";

function manifestsOf(given: Given, version: KubernetesVersion): Manifest[] {
  const image = given.value("image");
  const pods = image === undefined ? undefined : { ...usualSettings, image };
  if (!given.flag("uninstall")) return kubeManifests(version, pods);
  if (pods === undefined) throw new UsageError(NAME, "--uninstall needs --image: pods take the plugin away");
  return kubeRemoval(pods);
}

function run(given: Given): Promise<number> {
  const said = given.value("kubernetes-version");
  const version = said === undefined ? USUAL_VERSION : parseKubernetesVersion(said);
  if (version === undefined)
    throw new UsageError(NAME, `--kubernetes-version "${said}" is no release; write it like v1.30`);
  const manifests = manifestsOf(given, version);
  if (given.flag("json")) return Promise.resolve(printJson(manifests));
  printText(formatKubeManifests(manifests));
  return Promise.resolve(0);
}

export const kubeManifestsCommand: Command = {
  name: "manifests",
  about: "Print definitions, rights and the agent's pods, for kubectl apply",
  more: `One definition for each kind of resource that a cluster's API can hold, with
the schema that this version has. An API server of 1.25 or later also gets
rules for what never changes; older ones do not know them. With --image the
agent is there too, as a DaemonSet, for nodes on which it is no service.`,
  options: withJson({
    image: { about: "also the agent as a DaemonSet of this image", value: "IMAGE" },
    uninstall: { about: "pods that remove the plugin, instead" },
    "kubernetes-version": { about: "the API server's release (default v1.30)", value: "VERSION" },
  }),
  examples: [
    "causeway kube manifests | kubectl apply --server-side -f -",
    "causeway kube manifests --kubernetes-version v1.20",
    "causeway kube manifests --image registry.example.com/causeway:0.1.0",
  ],
  run,
};
