/**
 * The Container Runtime Interface, runtime.v1, as kubelet speaks it: the calls of a pod's life and the fields of them that networks are
 * concerned with. Numbers are those of `api.proto` in k8s.io/cri-api.
 */
import { GrpcClient } from "./grpc.ts";
import { decode, encode, type Read, type Shape, type Written } from "./protobuf.ts";

const metadata = {
  name: [1, "string"],
  uid: [2, "string"],
  namespace: [3, "string"],
  attempt: [4, "int"],
} as const satisfies Shape;

const dnsConfig = {
  servers: [1, ["string"]],
  searches: [2, ["string"]],
  options: [3, ["string"]],
} as const satisfies Shape;

/** Protocol 0 is TCP, 1 is UDP. */
const portMapping = {
  protocol: [1, "int"],
  containerPort: [2, "int"],
  hostPort: [3, "int"],
  hostIp: [4, "string"],
} as const satisfies Shape;

const sandboxConfig = {
  metadata: [1, metadata],
  hostname: [2, "string"],
  logDirectory: [3, "string"],
  dnsConfig: [4, dnsConfig],
  portMappings: [5, [portMapping]],
  labels: [6, "map"],
  annotations: [7, "map"],
  linux: [8, { cgroupParent: [1, "string"] }],
} as const satisfies Shape;

const containerConfig = {
  metadata: [1, { name: [1, "string"], attempt: [2, "int"] }],
  image: [2, { image: [1, "string"] }],
  command: [3, ["string"]],
  linux: [15, { resources: [1, {}] }],
} as const satisfies Shape;

const sandboxStatus = {
  id: [1, "string"],
  state: [3, "int"],
  network: [5, { ip: [1, "string"], additionalIps: [2, [{ ip: [1, "string"] }]] }],
} as const satisfies Shape;

const sandboxId = { podSandboxId: [1, "string"] } as const satisfies Shape;
const containerId = { containerId: [1, "string"] } as const satisfies Shape;

/** A call: what is sent, what comes back. */
const calls = {
  Version: [{}, { runtimeName: [2, "string"], runtimeVersion: [3, "string"] }],
  Status: [
    {},
    {
      status: [
        1,
        {
          conditions: [
            1,
            [{ type: [1, "string"], status: [2, "bool"], reason: [3, "string"], message: [4, "string"] }],
          ],
        },
      ],
    },
  ],
  RunPodSandbox: [{ config: [1, sandboxConfig] }, sandboxId],
  StopPodSandbox: [sandboxId, {}],
  RemovePodSandbox: [sandboxId, {}],
  PodSandboxStatus: [
    { podSandboxId: [1, "string"], verbose: [2, "bool"] },
    { status: [1, sandboxStatus], info: [2, "map"] },
  ],
  ListPodSandbox: [{}, { items: [1, [{ id: [1, "string"] }]] }],
  CreateContainer: [
    { podSandboxId: [1, "string"], config: [2, containerConfig], sandboxConfig: [3, sandboxConfig] },
    containerId,
  ],
  StartContainer: [containerId, {}],
  ExecSync: [
    { containerId: [1, "string"], command: [2, ["string"]], timeoutSeconds: [3, "int"] },
    { stdout: [1, "bytes"], stderr: [2, "bytes"], exitCode: [3, "int"] },
  ],
} as const satisfies Record<string, readonly [Shape, Shape]>;

type Calls = typeof calls;

/** SandboxConfig is what kubelet says of a pod. */
export type SandboxConfig = Written<typeof sandboxConfig>;

/** CriClient calls one container runtime. */
export class CriClient implements Disposable {
  readonly #grpc: GrpcClient;

  constructor(socketPath: string) {
    this.#grpc = new GrpcClient(socketPath);
  }

  /** call makes one call of RuntimeService. */
  async call<N extends keyof Calls>(name: N, request: Written<Calls[N][0]>): Promise<Read<Calls[N][1]>> {
    const [question, answer] = calls[name] as readonly [Shape, Shape];
    const bytes = await this.#grpc.call(`/runtime.v1.RuntimeService/${name}`, encode(question, request));
    return decode(answer, bytes) as Read<Calls[N][1]>;
  }

  /** hasImage tells whether the runtime knows an image. */
  async hasImage(image: string): Promise<boolean> {
    const question = encode({ image: [1, { image: [1, "string"] }] } as const, { image: { image } });
    const answer = await this.#grpc.call("/runtime.v1.ImageService/ImageStatus", question);
    return decode({ image: [1, { id: [1, "string"] }] } as const, answer).image !== undefined;
  }

  [Symbol.dispose](): void {
    this.#grpc[Symbol.dispose]();
  }
}
