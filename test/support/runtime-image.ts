/** An image without a registry: busybox and nothing else, as an OCI layout (image-spec, "Image Layout") that every runtime imports. */
import { createHash } from "node:crypto";

/** IMAGE is its name. It sleeps, so it serves as a pod's pause image as well. */
export const IMAGE = "localhost/tiny:1";

/** BUSYBOX is what it is made of: Debian's package busybox-static. */
export const BUSYBOX = "/bin/busybox";

/** imageArchive returns the layout as a tar archive. */
export async function imageArchive(busybox = BUSYBOX): Promise<Uint8Array> {
  return archiveOf({
    name: IMAGE,
    script: `mkdir -p bin etc tmp www; cp "$0" bin/busybox; echo hello > www/index.html
      for name in sh sleep ip ping wget httpd cat echo nc hostname; do ln -s busybox bin/$name; done`,
    words: [busybox],
    command: ["/bin/sleep", "1000000"],
  });
}

/** ImageRecipe is an image of one layer, made from this machine's files. */
export interface ImageRecipe {
  readonly name: string;
  /** Shell commands that fill the working folder, with `words` as `$0`, `$1` and so on. */
  readonly script: string;
  readonly words: readonly string[];
  readonly command: readonly string[];
}

/** archiveOf returns an image as a tar archive. */
export async function archiveOf({ name, script, words, command }: ImageRecipe): Promise<Uint8Array> {
  const packed = `set -e; work=$(mktemp -d); trap 'rm -r $work' EXIT; mkdir $work/root; cd $work/root
    ${script}
    tar --sort=name --owner=0 --group=0 -c .`;
  const layer = await output(["sh", "-c", packed, ...words]);
  const config = json({
    architecture: process.arch === "arm64" ? "arm64" : "amd64",
    os: "linux",
    config: { Cmd: command, Env: ["PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"] },
    rootfs: { type: "layers", diff_ids: [digest(layer)] },
  });
  const manifest = json({
    schemaVersion: 2,
    mediaType: "application/vnd.oci.image.manifest.v1+json",
    config: descriptor("application/vnd.oci.image.config.v1+json", config),
    layers: [descriptor("application/vnd.oci.image.layer.v1.tar", layer)],
  });
  const index = json({
    schemaVersion: 2,
    manifests: [
      {
        ...descriptor("application/vnd.oci.image.manifest.v1+json", manifest),
        annotations: { "io.containerd.image.name": name, "org.opencontainers.image.ref.name": name },
      },
    ],
  });
  const blob = (bytes: Uint8Array) => [`blobs/sha256/${digest(bytes).slice(7)}`, bytes] as const;
  const files = { "oci-layout": json({ imageLayoutVersion: "1.0.0" }), "index.json": index };
  return await new Bun.Archive(
    Object.fromEntries([...Object.entries(files), blob(config), blob(manifest), blob(layer)]),
  ).bytes();
}

async function output(argv: string[]): Promise<Uint8Array> {
  const child = Bun.spawn(argv, { stdout: "pipe", stderr: "inherit" });
  const bytes = await child.stdout.bytes();
  if ((await child.exited) !== 0) throw new Error(`${argv[0]} ended with ${child.exitCode}`);
  return bytes;
}

function json(value: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(value));
}

function digest(bytes: Uint8Array): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

function descriptor(mediaType: string, bytes: Uint8Array): object {
  return { mediaType, digest: digest(bytes), size: bytes.length };
}
