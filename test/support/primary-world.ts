/** What is around pods whose primary network is a VPC: resources, annotations, services of the cluster, and who answers where. */
import { mkdirSync, writeFileSync } from "node:fs";
import type { Lab } from "../../src/lab/mod.ts";
import type { Netns } from "../../src/sys/mod.ts";

/** PODS_FOLDER is what the agents are told to read, as they see it. */
export const PODS_FOLDER = "/etc/causeway/pods";

type Annotations = Readonly<Record<string, string>>;

/** annotated returns a manifest of a Pod, or of a Namespace where no pod is named; keys without their prefix. */
export function annotated(namespace: string, pod: string | undefined, annotations: Annotations): object {
  const ours = Object.entries(annotations).map(([key, value]) => [`causeway.network/${key}`, value]);
  const metadata = { ...(pod === undefined ? { name: namespace } : { namespace, name: pod }) };
  return {
    ...{ apiVersion: "v1", kind: pod === undefined ? "Namespace" : "Pod" },
    metadata: { ...metadata, annotations: Object.fromEntries(ours) },
  };
}

/** writePods puts manifests where a node's agent reads them. */
export function writePods(lab: Lab, node: string, items: readonly object[]): void {
  const folder = `${lab.place.state(node)}/etc/pods`;
  mkdirSync(folder, { recursive: true });
  writeFileSync(`${folder}/pods.json`, JSON.stringify({ apiVersion: "v1", kind: "List", items }));
}

/** translate makes services of the cluster on a node as kube-proxy does: `service` is `tcp/10.96.0.10/53`, `backend` `10.0.0.1:53`. */
export async function translate(
  lab: Lab,
  node: string,
  services: readonly (readonly [service: string, backend: string])[],
): Promise<void> {
  const rules = services.map(([service, backend]) => {
    const [protocol, address = "", port] = service.split("/");
    const family = address.includes(":") ? "ip6" : "ip";
    return `meta nfproto ${family === "ip" ? "ipv4" : "ipv6"} ${family} daddr ${address} ${protocol} dport ${port} dnat ${family} to ${backend}`;
  });
  const input = `table inet services { chain prerouting { type nat hook prerouting priority dstnat; policy accept;
${rules.join("\n")}
}
}
`;
  const done = await lab.exec(node, ["nft", "-f", "-"], { input });
  if (done.status !== 0) throw new Error(`Cannot make the services of ${node}: ${done.stderr}`);
}

/** Answering listens in a namespace, and notes who came; TCP, and UDP too with `udp`, where it answers. */
export class Answering implements AsyncDisposable {
  readonly #stop: () => void;
  readonly callers: string[];

  private constructor(stop: () => void, callers: string[]) {
    this.#stop = stop;
    this.callers = callers;
  }

  static async at(
    netns: Netns,
    port: number,
    options: { readonly hostname?: string; readonly udp?: boolean } = {},
  ): Promise<Answering> {
    const { hostname = "::", udp = false } = options;
    const callers: string[] = [];
    const data = (socket: Bun.udp.Socket<"buffer">, bytes: Buffer, from: number, address: string) =>
      void socket.send(bytes, from, address);
    const open = () => ({
      tcp: Bun.listen({
        ...{ hostname, port },
        socket: { open: ({ remoteAddress }) => void callers.push(remoteAddress), data() {} },
      }),
      udp: udp ? Bun.udpSocket({ hostname, port, socket: { data, error() {} } }) : undefined,
    });
    let opened: ReturnType<typeof open> | undefined;
    netns.run(() => {
      opened = open();
    });
    const datagrams = await opened?.udp;
    return new Answering(() => {
      opened?.tcp.stop(true);
      datagrams?.close();
    }, callers);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop();
  }
}
