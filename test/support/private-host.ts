/**
 * A private host for container runtimes: namespaces of every kind, folders of its own over those that runtimes write to, control groups
 * below one of its own, and a neighbour on a wire. It lives as long as one process that reads from this one: when the test ends, in
 * whatever way, the kernel ends everything that runs in it, and nothing of it is left but empty control groups, which the next run removes.
 */
import type { Subprocess } from "bun";
import { existsSync, readFileSync } from "node:fs";
import { until } from "../../src/lab/wait.ts";
import { makeControlGroups, removeControlGroups, sweepControlGroups } from "./control-groups.ts";

export interface Outcome {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly stdin?: string;
  readonly env?: Record<string, string>;
}

/** HostOptions say what programs the host has beside those of the machine, and where it stands. */
export interface HostOptions {
  /** Root folders of unpacked packages. */
  readonly trees: readonly string[];
  /** Default `private-host`. */
  readonly name?: string;
  /** A network namespace that it lives in, as a path; default one of its own, with the wire and the neighbour. */
  readonly netns?: string;
}

/** Addresses on the wire between the host and its neighbour, which lives in the namespace `world`. */
export const WIRE = { host4: "192.0.2.1", world4: "192.0.2.2", host6: "2001:db8::1", world6: "2001:db8::2" };

/** Folders that get a writable layer, so that the machine's own stay as they are, whether or not they exist. */
const LAYERED = ["/etc", "/opt", "/var"];

/** Folders that must be empty, whatever the machine has there. */
const EMPTY = ["cni", "containerd", "containers", "causeway"].map((name) => `/var/lib/${name}`);

/** Settings that no namespace has for itself, and kubelet writes: its own are files of the host's. */
const MACHINE_SYSCTLS = [
  ...["vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops"],
  ...["kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes"],
];

const WIRING = `
  ip link set lo up
  ip netns add world
  ip link add uplink type veth peer name wire netns world
  ip addr add ${WIRE.host4}/24 dev uplink; ip addr add ${WIRE.host6}/64 dev uplink nodad; ip link set uplink up
  ip -n world link set lo up
  ip -n world addr add ${WIRE.world4}/24 dev wire; ip -n world addr add ${WIRE.world6}/64 dev wire nodad
  ip -n world link set wire up`;

/** The host's first process waits for the end of standard input, and buries what nobody else waits for. */
const init = ({ name = "private-host", netns }: HostOptions) => `set -e
  mount -t tmpfs -o mode=755 tmpfs /run
  mkdir -p /run/netns /run/lock /run/tmp /run/home /run/log /run/pid /run/layer
  mount -t tmpfs tmpfs /dev/shm
  for folder in ${LAYERED.join(" ")}; do
    layer=/run/layer$folder; mkdir -p $layer/upper $layer/work
    mount -t overlay -o lowerdir=$folder,upperdir=$layer/upper,workdir=$layer/work overlay $folder
  done
  for folder in ${EMPTY.join(" ")}; do mkdir -p $folder; mount -t tmpfs tmpfs $folder; done
  rm -f /etc/resolv.conf; echo nameserver ${WIRE.world4} > /etc/resolv.conf
  rm -rf /etc/cni /opt/cni; mkdir -p /etc/cni/net.d /opt/cni/bin
  mount -t sysfs sysfs /sys
  groups=$(cat /proc/self/cgroup)
  mount -t tmpfs tmpfs /sys/fs/cgroup
  if [ "$groups" = "\${groups#*[1-9]:}" ]; then
    mount -t cgroup2 cgroup /sys/fs/cgroup; echo /sys/fs/cgroup/init/cgroup.procs > /run/groups
  else
    echo "$groups" | while IFS=: read -r id name _; do
      [ -n "$name" ] || continue
      folder=/sys/fs/cgroup/\${name#name=}; mkdir -p $folder
      case $name in name=*) kind=none,$name;; *) kind=$name;; esac
      mount -t cgroup -o $kind cgroup $folder; echo $folder/cgroup.procs
    done > /run/groups
  fi
  cat > /run/enter <<'END'
#!/bin/bash
while read -r file; do echo 0 > $file; done < /run/groups
[ -z "$HOST_PID_FILE" ] || echo $$ > "$HOST_PID_FILE"
exec "$@"
END
  chmod 755 /run/enter
  for setting in ${MACHINE_SYSCTLS.join(" ")}; do
    [ -e /proc/sys/$setting ] || continue
    own=/run/layer/$(echo $setting | tr / -); cat /proc/sys/$setting > $own; mount --bind $own /proc/sys/$setting
  done
${netns === undefined ? WIRING : ""}
  hostname ${name}
  trap : CHLD
  echo ready
  until read -r _; status=$?; [ $status -le 128 ]; do :; done`;

/** inTrees returns those folders of packages that are there. */
function inTrees(trees: readonly string[], names: readonly string[]): string[] {
  return trees.flatMap((tree) => names.map((name) => `${tree}/${name}`).filter((path) => existsSync(path)));
}

/** PrivateHost owns the host's first process, and with it all others. */
export class PrivateHost implements AsyncDisposable {
  readonly #keeper: Subprocess<"pipe", "pipe", "pipe">;
  readonly #groups: string[];
  readonly #environment: Record<string, string>;
  readonly #daemons = new Map<string, Subprocess>();

  private constructor(
    keeper: Subprocess<"pipe", "pipe", "pipe">,
    groups: string[],
    trees: readonly string[],
  ) {
    this.#keeper = keeper;
    this.#groups = groups;
    this.#environment = {
      PATH: [...inTrees(trees, ["usr/bin", "usr/sbin", "bin", "sbin"]), "/usr/sbin:/usr/bin:/sbin:/bin"].join(
        ":",
      ),
      TMPDIR: "/run/tmp",
      HOME: "/run/home",
      LANG: "C.UTF-8",
      ...(process.env.CAUSEWAY_TEST_RUN !== undefined && {
        CAUSEWAY_TEST_RUN: process.env.CAUSEWAY_TEST_RUN,
      }),
    };
  }

  static async create(options: HostOptions): Promise<PrivateHost> {
    const { trees, netns } = options;
    const net = netns === undefined ? "unshare --net" : `nsenter --net=${netns} unshare`;
    sweepControlGroups();
    const groups = makeControlGroups();
    const script = [
      "set -e",
      ...groups.map((folder) => `echo 0 > ${folder}/cgroup.procs`),
      `exec unshare --cgroup bash -c '${[
        ...groups.map((folder) => `[ ! -d ${folder}/init ] || echo 0 > ${folder}/init/cgroup.procs`),
        `exec ${net} --mount --uts --ipc --pid --fork --kill-child --mount-proc --propagation private bash -c "$0"`,
      ].join("\n")}' "$0"`,
    ].join("\n");
    const keeper = Bun.spawn(["bash", "-c", script, init(options)], {
      ...{ stdin: "pipe", stdout: "pipe", stderr: "pipe" },
    });
    const host = new PrivateHost(keeper, groups, trees);
    const { value } = await keeper.stdout.getReader().read();
    if (
      Buffer.from(value ?? [])
        .toString()
        .trim() !== "ready"
    ) {
      await host[Symbol.asyncDispose]();
      throw new Error(`Cannot make a private host: ${(await keeper.stderr.text()).trim()}`);
    }
    await host.#addLibraries(trees);
    return host;
  }

  /** The loader's cache lies in /etc, which is the host's own; a variable would not do, since podman clears those of conmon. */
  async #addLibraries(trees: readonly string[]): Promise<void> {
    const machine = process.arch === "arm64" ? "aarch64" : "x86_64";
    const folders = inTrees(trees, [`usr/lib/${machine}-linux-gnu`, `lib/${machine}-linux-gnu`]);
    if (folders.length === 0) return;
    await Bun.write(this.path("/etc/ld.so.conf.d/runtimes.conf"), `${folders.join("\n")}\n`);
    // Without -X it would also mend links in the machine's own folders.
    await this.must("ldconfig -X");
  }

  #inside(argv: readonly string[]): string[] {
    const target = this.#keeper.pid;
    // The process that made the namespaces stays outside of the PID namespace itself.
    const pid = `--pid=/proc/${target}/ns/pid_for_children`;
    return ["nsenter", "-t", String(target), "-n", "-m", "-u", "-i", "-C", pid, "--", "/run/enter", ...argv];
  }

  /** path returns the name by which this process reaches a file of the host. */
  path(inside: string): string {
    return `/proc/${this.#keeper.pid}/root${inside}`;
  }

  /** run runs a program in the host and returns what came out. */
  async run(argv: readonly string[], options: RunOptions = {}): Promise<Outcome> {
    const child = Bun.spawn(this.#inside(argv), {
      stdin: Buffer.from(options.stdin ?? ""),
      stdout: "pipe",
      stderr: "pipe",
      env: { ...this.#environment, ...options.env },
    });
    const [stdout, stderr, status] = await Promise.all([
      child.stdout.text(),
      child.stderr.text(),
      child.exited,
    ]);
    return { status, stdout, stderr };
  }

  /** must runs a shell command that has to succeed. */
  async must(command: string): Promise<string> {
    const { status, stdout, stderr } = await this.run(["sh", "-c", command]);
    if (status !== 0) throw new Error(`${command}: ${stderr}${stdout}`);
    return stdout;
  }

  /** page asks a web server for its first page, from the host or from its neighbour; undefined when nobody answers. */
  async page(address: string, port: number, from: "host" | "world" = "host"): Promise<string | undefined> {
    const place = from === "world" ? ["ip", "netns", "exec", "world"] : [];
    // Not with busybox: linked statically, its wget dies in the C library's look-up of names.
    const script = `exec 3<>/dev/tcp/${address}/${port} && printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3 && cat <&3`;
    const { status, stdout } = await this.run([...place, "timeout", "10", "bash", "-c", script]);
    return status === 0 ? stdout.slice(stdout.indexOf("\r\n\r\n") + 4) : undefined;
  }

  /** start starts a program that goes on; its output goes to /run/log. */
  async start(name: string, argv: readonly string[], options: RunOptions = {}): Promise<void> {
    const log = `exec > /run/log/${name} 2>&1; exec "$@"`;
    const child = Bun.spawn(this.#inside(["sh", "-c", log, name, ...argv]), {
      stdin: "ignore",
      stdout: "ignore",
      stderr: "ignore",
      env: { ...this.#environment, HOST_PID_FILE: `/run/pid/${name}`, ...options.env },
    });
    this.#daemons.set(name, child);
  }

  /** log returns what a program that was started has said. */
  log(name: string): string {
    const path = this.path(`/run/log/${name}`);
    // The shell that makes it may not have begun yet.
    return existsSync(path) ? readFileSync(path, "utf8") : "";
  }

  /** runs tells whether a program that was started still runs. */
  runs(name: string): boolean {
    return this.#daemons.get(name)?.exitCode === null;
  }

  /** stop ends a program that was started. */
  async stop(name: string, signal: "TERM" | "KILL" = "TERM"): Promise<void> {
    const child = this.#daemons.get(name);
    if (child === undefined) return;
    await this.run(["sh", "-c", `kill -${signal} $(cat /run/pid/${name})`]);
    await child.exited;
    this.#daemons.delete(name);
  }

  /** waitFor waits until a program that was started has done what `missing` wants. */
  async waitFor(
    name: string,
    missing: () => Promise<string | undefined> | string | undefined,
  ): Promise<void> {
    await until(
      () => {
        if (!this.runs(name))
          throw new Error(`${name} ended; its last words:\n${this.log(name).slice(-2000)}`);
        return missing();
      },
      { what: name, deadlineMs: 60_000 },
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#keeper.stdin.end();
    await this.#keeper.exited;
    removeControlGroups(this.#groups);
  }
}
