/** A place of its own for a program: session, network, mounts (/run is empty), process ids. Whatever it starts or makes ends with it. */
import { cpus } from "node:os";

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

const processors = cpus().map((_, number) => String(number));

/**
 * A laboratory binds mount namespaces to files, which is refused for those that are not younger than the one where it is done (mnt_ns_loop,
 * fs/namespace.c). Since Linux 6.18 each processor numbers the namespaces that it makes from a range of its own (seen there): so
 * the place is made on one whose numbers are lower than those of all others.
 */
function startingPoint(): string[] {
  const tries = processors.map(
    (number) => `touch /run/${number}; taskset -c ${number} unshare --mount=/run/${number} true`,
  );
  const script = `mount -t tmpfs tmpfs /run; ${tries.join(" && ")}`;
  const found = processors.find(
    (number) =>
      Bun.spawnSync([
        "taskset",
        "-c",
        number,
        "unshare",
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-c",
        script,
      ]).exitCode === 0,
  );
  return found === undefined ? [] : ["taskset", "-c", found];
}

/** privately runs a program of ours in such a place and returns what it printed. */
export async function privately(argv: readonly string[]): Promise<string> {
  const script = `taskset -cp ${processors.join(",")} $$ >/dev/null && mount -t tmpfs -o mode=0755 tmpfs /run && exec setsid "$@"`;
  // Whoever ends this process ends the place.
  const enter = [
    ...startingPoint(),
    "setpriv",
    "--pdeathsig",
    "KILL",
    "unshare",
    ...NAMESPACES,
    "sh",
    "-c",
    script,
    "sh",
  ];
  const child = Bun.spawn([...enter, process.execPath, ...argv], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "inherit",
  });
  const text = await child.stdout.text();
  if ((await child.exited) !== 0)
    throw new Error(`Cannot measure: ${argv[0]} ended with ${child.exitCode} ${text}`);
  return text;
}
