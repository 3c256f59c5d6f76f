/** `causeway kube rights`: what agents must be allowed so that they find the passwords of an edge's sessions. */
import { type PasswordReference, parseManifest, formatProblem } from "../resources/mod.ts";
import { formatKubeManifests, type NamedSecret, secretRights } from "../kube/mod.ts";
import { type Command, type Given, withJson } from "./command.ts";
import { printJson, printText, readFile, readStandardInput } from "./output.ts";

function secretsIn(text: string): NamedSecret[] {
  const { resources, problems } = parseManifest(text);
  if (problems.length > 0) throw new Error(problems.map(formatProblem).join("\n"));
  return resources
    .flatMap((resource) => {
      if (resource.kind === "Underlay") return [...resource.value.neighbors, ...resource.value.hostSessions];
      if (resource.kind === "VPC") return resource.value.hostSession ?? [];
      return [];
    })
    .flatMap(({ password }) => secretOf(password));
}

function secretOf(password: PasswordReference | undefined): NamedSecret[] {
  return password !== undefined && "secret" in password ? [password.secret] : [];
}

function run(given: Given): Promise<number> {
  const texts = given.positionals.map((path) => (path === "-" ? readStandardInput() : readFile(path)));
  const secrets = texts.flatMap(secretsIn);
  if (secrets.length === 0)
    throw new Error(
      `Cannot tell rights: ${given.positionals.join(", ")} names no Secret; sessions do by password: {secret: …}`,
    );
  const rights = secretRights(secrets);
  if (given.flag("json")) return Promise.resolve(printJson(rights));
  printText(formatKubeManifests(rights));
  return Promise.resolve(0);
}

export const kubeRightsCommand: Command = {
  name: "rights",
  about: "Print the rights to the Secrets that an edge's sessions name",
  more: `Reads Underlays and VPCs; - is standard input. In each namespace a Role that
lets agents list and watch the Secrets that are named, and no other one, bound
to the identities of the agents' pods.`,
  positionals: ["FILE…"],
  options: withJson(),
  examples: ["causeway kube rights edge.yaml | kubectl apply --server-side -f -"],
  run,
};
