import { expect, test } from "bun:test";
import { agentPods, removalPods, usualSettings } from "./agent-pod.ts";
import { CONTROLLER_NAME } from "./cluster-controller.ts";
import type { Manifest } from "./definition.ts";
import { formatKubeManifests, kubeManifests } from "./manifests.ts";

const settings = { image: "r/causeway:1", ...usualSettings };
const version = { major: 1, minor: 30 };

/** As much of a DaemonSet as is looked at. */
interface Pods {
  readonly metadata: { readonly name: string };
  readonly spec: { readonly template: { readonly metadata: Manifest; readonly spec: PodSpec } };
}
interface PodSpec {
  readonly serviceAccountName?: string;
  readonly containers: readonly Container[];
  readonly initContainers: readonly Container[];
  readonly securityContext?: Manifest;
  readonly volumes: readonly { readonly name: string }[];
}
interface Container {
  readonly command: readonly string[];
  readonly securityContext: { readonly capabilities: { readonly drop: string[]; readonly add?: string[] } };
  readonly volumeMounts?: readonly { readonly name: string }[];
}
const specs = (all: readonly Manifest[]) => (all as unknown as Pods[]).map(({ spec }) => spec.template.spec);

test("no container is privileged, and none has a capability without a reason that is printed", () => {
  const text = formatKubeManifests(kubeManifests(version, settings));
  expect(text).not.toContain("privileged: true");
  for (const { containers, initContainers } of specs([
    ...agentPods(settings, version),
    ...removalPods(settings),
  ]))
    for (const { securityContext } of [...containers, ...initContainers]) {
      expect(securityContext.capabilities.drop).toEqual(["ALL"]);
      for (const name of securityContext.capabilities.add ?? []) expect(text).toContain(`# ${name}: `);
    }
});

test("only hubs' pods have the identity that controls the cluster, and control it", () => {
  const [agent, hub] = specs(agentPods(settings, version)) as [PodSpec, PodSpec];
  const words = (spec: PodSpec) => spec.containers.flatMap(({ command }) => command);
  expect([agent.serviceAccountName, hub.serviceAccountName]).toEqual(["causeway-agent", CONTROLLER_NAME]);
  expect(words(agent)).not.toContain("--kube-controller");
  expect(words(hub)).toContain("--kube-controller");
  // The API refuses a kubelet that labels its own Node so.
  expect(usualSettings.hub).toMatch(/\.node-restriction\.kubernetes\.io\/\w+$/);
});

test("where SELinux is on, no pod has containers' usual type", () => {
  for (const { securityContext } of specs([...agentPods(settings, version), ...removalPods(settings)]))
    expect(securityContext).toMatchObject({ seLinuxOptions: { type: "spc_t" } });
});

test("all volumes are mounted, and all mounts have a volume", () => {
  for (const { containers, initContainers, volumes } of specs(agentPods(settings, version))) {
    const mounted = [...containers, ...initContainers].flatMap(({ volumeMounts = [] }) =>
      volumeMounts.map(({ name }) => name),
    );
    expect(mounted.sort()).toEqual(volumes.map(({ name }) => name).sort());
  }
});

test("AppArmor is told by the field that its release has", () => {
  const text = (minor: number) => JSON.stringify(agentPods(settings, { major: 1, minor }));
  expect(text(30)).toContain('"appArmorProfile":{"type":"Unconfined"}');
  expect(text(30)).not.toContain("container.apparmor");
  expect(text(29)).not.toContain("appArmorProfile");
  expect(text(29)).toContain('"container.apparmor.security.beta.kubernetes.io/agent":"unconfined"');
});
