/** `causeway agent`. */
import { parseLinks, portMappingModes, runAgent } from "../agent/mod.ts";
import { type TunnelWish, tunnelWishes } from "../tunnel/mod.ts";
import { hostName } from "../sys/mod.ts";
import { type Command, UsageError } from "./command.ts";
import { tlsOf, tlsOptions } from "./tls-options.ts";

export const agent: Command = {
  name: "agent",
  about: "Run the agent of this node, in the foreground (as a service does)",
  more: `State is kept in /var/lib/causeway, sockets in /run/causeway. Start it
before init and join, which talk to it. Stopping it does not touch traffic.

WHICH runs the tunnel: the kernel's WireGuard, Causeway's own engine in user
space (user), or the program wireguard-go.`,
  options: {
    tunnel: {
      about: "which WireGuard (default auto: kernel, else user)",
      value: "WHICH",
      choices: tunnelWishes,
    },
    "port-mapping": {
      about: "ask the router to let the port in (default auto)",
      value: "WHEN",
      choices: portMappingModes,
    },
    ...tlsOptions,
    kubeconfig: {
      about: "watch pods' annotations by it, or in-cluster",
      value: "PATH",
    },
    "kube-node": { about: "this node in the cluster (default the host's name)", value: "NAME" },
    "kube-controller": {
      about: "on a hub: control the cluster by it, or in-cluster",
      value: "PATH",
    },
    "in-pod": { about: "as a DaemonSet runs it: act among the host's mounts" },
    "pod-files": { about: "read pods' annotations from manifests instead", value: "FOLDER" },
    "relay-xdp": { about: "on a hub: relay in the kernel at these interfaces", value: "LINK,…" },
  },
  examples: [
    "causeway agent",
    "causeway agent --tunnel user",
    "causeway agent --tls auto",
    "causeway agent --relay-xdp eth0,eth1",
    "causeway agent --kubeconfig /etc/kubernetes/kubelet.conf",
    "causeway agent --kube-controller /etc/causeway/controller.conf",
  ],
  async run(given) {
    const relayXdp = given.value("relay-xdp");
    const [kubeconfig, podFiles] = [given.value("kubeconfig"), given.value("pod-files")];
    if (kubeconfig !== undefined && podFiles !== undefined)
      throw new UsageError(
        "causeway agent",
        "--kubeconfig and --pod-files exclude each other; give one of them",
      );
    const controls = given.value("kube-controller");
    await runAgent({
      inPod: given.flag("in-pod"),
      ...(controls === undefined ? {} : { controls }),
      relayXdp: relayXdp === undefined ? [] : parseLinks(relayXdp),
      tunnel: (given.value("tunnel") ?? "auto") as TunnelWish,
      portMapping: (given.value("port-mapping") ?? "auto") as (typeof portMappingModes)[number],
      tls: tlsOf(given),
      pods: {
        kubeNode: given.value("kube-node") ?? hostName(),
        ...(kubeconfig === undefined ? {} : { kubeconfig }),
        ...(podFiles === undefined ? {} : { podFiles }),
      },
    });
    return 0;
  },
};
