/** The images that kubeadm asks for, made from programs of this machine under the names that it asks for: none is downloaded. */
import { join } from "node:path";
import { archiveOf, type ImageRecipe } from "./runtime-image.ts";

/** Libraries that programs are linked with, where the loader looks for them. */
const LIBRARIES = `libraries() {
      ldd "$@" 2>/dev/null | grep -o '/[^ :]*' | sort -u | while read -r file; do
        case " $* " in *" $file "*) ;; *) cp --parents -L "$file" . ;; esac
      done
    }`;

/** What kube-proxy calls, with the extensions that iptables loads while it runs. */
const NETFILTER = `set -- /usr/sbin/xtables-nft-multi /usr/sbin/conntrack /usr/lib/*-linux-gnu/xtables/*.so
    cp --parents -L "$@" .; libraries "$@"
    for name in iptables ip6tables; do
      for verb in "" -save -restore; do ln -s xtables-nft-multi usr/sbin/$name$verb; done
    done`;

/** AGENT_IMAGE is the agent's, as deploy/Containerfile makes it but for the tools of administrators. */
export const AGENT_IMAGE = "localhost/causeway:1";

/** agentImage returns it, with the libraries that the executable opens by name, and sleep(1), which a pod ends with that removes the plugin. */
export async function agentImage(executable: string): Promise<Uint8Array> {
  // As in every distribution's: sockets of WireGuard are below /var/run, and the node's are mounted below /run.
  const script = `mkdir -p usr/bin tmp run var; ln -s /run var/run; cp "$0" usr/bin/causeway
    ${LIBRARIES}
    set -- "$0" "$(command -v sleep)" /usr/lib/*-linux-gnu/libnftables.so.1 /usr/lib/*-linux-gnu/libcrypto.so.3
    libraries "$@"; shift; cp --parents -L "$@" .`;
  return archiveOf({ name: AGENT_IMAGE, script, words: [executable], command: ["/usr/bin/causeway"] });
}

/** Where each image's program comes from. */
export interface KubePrograms {
  /** Folder of Kubernetes' own. */
  readonly kubernetes: string;
  readonly etcd: string;
}

/** kubeImage returns the image of a name such as `k8s.gcr.io/kube-proxy:v1.20.2`; undefined for what there is no program of. */
export async function kubeImage(name: string, programs: KubePrograms): Promise<Uint8Array | undefined> {
  const program = /([a-z-]+):[^:]*$/.exec(name)?.[1] ?? "";
  const recipe = recipes[program]?.(program, programs);
  return recipe === undefined ? undefined : archiveOf({ name, ...recipe });
}

type Recipe = Omit<ImageRecipe, "name">;

const ofKubernetes = (program: string, { kubernetes }: KubePrograms): Recipe => ({
  script: `mkdir -p usr/local/bin tmp; cp "$0" usr/local/bin/`,
  words: [join(kubernetes, program)],
  command: [program],
});

const recipes: Readonly<Record<string, (program: string, programs: KubePrograms) => Recipe>> = {
  "kube-apiserver": ofKubernetes,
  "kube-controller-manager": ofKubernetes,
  "kube-scheduler": ofKubernetes,
  "kube-proxy": (program, programs) => {
    const { script, ...rest } = ofKubernetes(program, programs);
    return { script: `${script}; mkdir run\n${LIBRARIES}\n${NETFILTER}`, ...rest };
  },
  etcd: (_, { etcd }) => ({
    script: `mkdir -p usr/local/bin tmp; cp "$0" usr/local/bin/\n${LIBRARIES}\nlibraries "$0"`,
    words: [etcd],
    command: ["etcd"],
  }),
};
