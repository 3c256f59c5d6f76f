/** A place of its own for a program: session, network, mounts (/run is empty), process ids. Whatever it starts or makes ends with it. */

const NAMESPACES = [
  "--net",
  "--mount",
  "--pid",
  "--fork",
  "--kill-child",
  "--mount-proc",
  "--propagation",
  "private",
];

/** privately runs a program of ours in such a place and returns what it printed. */
export async function privately(argv: readonly string[]): Promise<string> {
  const script = 'mount -t tmpfs -o mode=0755 tmpfs /run && exec setsid "$@"';
  const child = Bun.spawn(["unshare", ...NAMESPACES, "sh", "-c", script, "sh", process.execPath, ...argv], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "inherit",
  });
  const text = await child.stdout.text();
  if ((await child.exited) !== 0)
    throw new Error(`Cannot measure: ${argv[0]} ended with ${child.exitCode} ${text}`);
  return text;
}
