/** `causeway kube`: what Kubernetes needs to run over the overlay, and to know our resources. */
import type { ShownNode } from "../agent/mod.ts";
import {
  clusterWish,
  type Distribution,
  distributions,
  type KubernetesVersion,
  parseKubernetesVersion,
  prepared,
  Preparation,
  type PreparationStep,
} from "../kube/mod.ts";
import { LINK } from "../mesh/mod.ts";
import { formatIp } from "../net/mod.ts";
import { Rtnetlink } from "../netlink/mod.ts";
import { hostPortSchema, type Mesh, parseManifest } from "../resources/mod.ts";
import { executablePath, exists, monotonicMs, run, sleep, which } from "../sys/mod.ts";
import { ask } from "./client.ts";
import { type Command, type Given, UsageError, withJson } from "./command.ts";
import { kubeManifestsCommand } from "./kube-manifests.ts";
import { kubeRightsCommand } from "./kube-rights.ts";
import { printJson, printText, progress } from "./output.ts";

const PREPARE = "causeway kube prepare";
/** When neither is said nor installed: its format of kubeadm's configuration is read by 1.22 and all that came after. */
const USUAL_VERSION: KubernetesVersion = { major: 1, minor: 30 };
const WAIT_MS = 60_000;
const LOOK_MS = 250;

async function joined(): Promise<{ readonly node: ShownNode; readonly mesh: Mesh }> {
  const { node } = await ask({ op: "status" }, progress);
  if (node === undefined)
    throw new Error("This node is in no mesh; run: causeway join TOKEN (or causeway init), then this again");
  const { manifest } = await ask({ op: "mesh-show" }, progress);
  const [resource] = parseManifest(manifest).resources;
  if (resource?.kind !== "Mesh") throw new Error("The agent is of another version; restart it");
  return { node, mesh: resource.value };
}

async function versionOf(given: Given): Promise<KubernetesVersion> {
  const said = given.value("kubernetes-version");
  if (said !== undefined) {
    const version = parseKubernetesVersion(said);
    if (version === undefined)
      throw new UsageError(PREPARE, `--kubernetes-version "${said}" is no release; write it like v1.30`);
    return version;
  }
  if (which("kubeadm") === undefined) return USUAL_VERSION;
  const { stdout } = await run(["kubeadm", "version", "-o", "short"]);
  return parseKubernetesVersion(stdout) ?? USUAL_VERSION;
}

function endpointOf(given: Given): string | undefined {
  const endpoint = given.value("endpoint");
  if (endpoint === undefined) return undefined;
  const result = hostPortSchema.safeParse(endpoint);
  if (!result.success)
    throw new UsageError(
      PREPARE,
      `--endpoint "${endpoint}" is not HOST:PORT; write it like api.example.com:6443`,
    );
  return endpoint;
}

/** What a step would leave, line by line, as people write patches. */
function shown({ path, about, does, text, reason }: PreparationStep): string {
  if (does === "keep") return `keep ${path}: ${reason}`;
  if (does === "remove") return `remove ${path}`;
  return `${does} ${path}: ${about}\n${(text ?? "").replace(/^(?=.)/gm, "    ").trimEnd()}`;
}

const verbs = { write: "wrote", restore: "restored", remove: "removed", keep: "kept" } as const;

function tell(steps: readonly PreparationStep[], given: Given): void {
  if (steps.length === 0) progress("nothing to do: all is as it should be");
  else if (given.flag("dry-run")) printText(`${steps.map(shown).join("\n\n")}\n`);
  else
    for (const { path, does, about, reason } of steps) progress(`${verbs[does]} ${path}: ${reason ?? about}`);
}

async function prepare(given: Given): Promise<number> {
  const preparation = new Preparation(given.value("root"));
  const [distribution] = given.positionals as readonly [Distribution?];
  if (given.flag("undo")) return done(preparation, given, { steps: preparation.planUndo(), next: [] });
  if (distribution === undefined)
    throw new UsageError(PREPARE, `which Kubernetes is missing: one of ${distributions.join(", ")}`);
  const { node, mesh } = await joined();
  const endpoint = endpointOf(given);
  const { files, next } = prepared({
    distribution,
    controlPlane: given.flag("control-plane"),
    cluster: clusterWish({
      mesh,
      node,
      names: given.values("name"),
      ...(endpoint === undefined ? {} : { endpoint }),
    }),
    version: await versionOf(given),
    sysconfig: exists("/etc/sysconfig"),
    executable: executablePath(),
  });
  return done(preparation, given, { steps: preparation.plan(files), next });
}

function done(
  preparation: Preparation,
  given: Given,
  { steps, next }: { readonly steps: readonly PreparationStep[]; readonly next: readonly string[] },
): number {
  if (!given.flag("dry-run")) preparation.apply(steps);
  if (given.flag("json")) return printJson({ files: steps, next });
  tell(steps, given);
  if (next.length > 0) progress(`then:\n${next.map((line) => `  ${line}`).join("\n")}`);
  return 0;
}

/** Whether the overlay's addresses are on the tunnel's link; otherwise why not. */
async function missing(onlyAgent: boolean): Promise<string | undefined> {
  try {
    const { node } = await ask({ op: "status" }, progress);
    if (onlyAgent) return undefined;
    if (node === undefined) return "this node is in no mesh; run: causeway join TOKEN (or causeway init)";
    using rtnetlink = Rtnetlink.open();
    const link = rtnetlink.link(LINK);
    if (link === undefined) return `there is no link ${LINK} yet`;
    const there = new Set(
      rtnetlink.addresses({ linkIndex: link.index }).map(({ address }) => formatIp(address.ip)),
    );
    const lacks = [node.overlay4, node.overlay6].filter((address) => !there.has(address));
    return lacks.length === 0 ? undefined : `${lacks.join(" and ")} not on ${LINK} yet`;
  } catch (error) {
    return (error as Error).message;
  }
}

async function wait(given: Given): Promise<number> {
  const onlyAgent = given.flag("agent");
  const end = monotonicMs() + (given.durationMs("timeout") ?? WAIT_MS);
  for (;;) {
    const problem = await missing(onlyAgent);
    if (problem === undefined) return 0;
    if (monotonicMs() >= end)
      throw new Error(`The ${onlyAgent ? "agent" : "overlay"} is not there: ${problem}`);
    await sleep(LOOK_MS);
  }
}

export const kube: Command = {
  name: "kube",
  about: "What Kubernetes needs, of this node and of its API",
  commands: [
    {
      name: "prepare",
      about: "Write what kubeadm, k3s or rke2 needs on this node, before it runs",
      more: `The node's address becomes that of the overlay, the cluster's networks those
of the mesh; the unit starts after the overlay is there. Files that others
wrote keep what is theirs. Run it on every node, control plane included; what
is right already is not touched. What is to be done after it is printed.`,
      positionals: ["[kubeadm|k3s|rke2]"],
      options: withJson({
        "control-plane": { about: "this node runs the API" },
        endpoint: {
          about: "the API's address (default this node, 6443)",
          value: "HOST:PORT",
        },
        name: { about: "a further name in the API's certificate", value: "NAME", many: true },
        "kubernetes-version": { about: "the release (default that of kubeadm here)", value: "VERSION" },
        root: { about: "write below this folder, for an image", value: "DIR" },
        "dry-run": { about: "only show what would be written" },
        undo: { about: "take back all that was written" },
      }),
      examples: [
        "causeway kube prepare kubeadm --control-plane --dry-run",
        "causeway kube prepare kubeadm --control-plane --endpoint api.example.com:6443",
        "causeway kube prepare kubeadm",
        "causeway kube prepare k3s --control-plane",
        "causeway kube prepare --undo",
      ],
      run: prepare,
    },
    {
      name: "wait",
      about: "Wait until the overlay's addresses are there (kubelet's unit does)",
      options: {
        timeout: { about: "how long (default 60s)", value: "DURATION" },
        agent: { about: "only until the agent answers" },
      },
      examples: ["causeway kube wait", "causeway kube wait --timeout 2m"],
      run: wait,
    },
    kubeManifestsCommand,
    kubeRightsCommand,
  ],
};
