/**
 * Routers that speak BGP in a laboratory: FRR, GoBGP and BIRD as Debian has them, and our own. Each runs in the foreground with all its files in
 * the box's folder, so that several run beside each other and none meets the machine's own.
 *
 * Programs are the machine's (apt-get install frr), or those of a folder into which packages are unpacked.
 */
import {
  ensureDirectory,
  environmentVariable,
  exists,
  listDirectory,
  type ProcessResult,
  readText,
  run,
  which,
  writeAtomic,
} from "../sys/mod.ts";
import { inNode } from "./mounts.ts";
import type { Place } from "./place.ts";
import { startProcess, stopProcess } from "./processes.ts";
import type { SpeakerBox, SpeakerKind } from "./topology.ts";
import { until } from "./wait.ts";

/** What Debian's packages put where. */
const FOLDERS = ["usr/lib/frr", "usr/sbin", "usr/bin", "sbin", "bin"];
const PACKAGES: Readonly<Record<Exclude<SpeakerKind, "causeway">, string>> = {
  frr: "frr",
  gobgp: "gobgpd",
  bird: "bird2",
};

/** program returns the words that run a program of a speaker. */
function program(box: SpeakerBox, name: string): string[] {
  if (box.root !== undefined) {
    const found = FOLDERS.map((folder) => `${box.root}/${folder}/${name}`).find(exists);
    if (found !== undefined) return [...loaderOf(box.root), found];
  } else {
    const path = `${environmentVariable("PATH") ?? ""}:/usr/lib/frr:/usr/sbin:/sbin`;
    const found = which(name, path);
    if (found !== undefined) return [found];
  }
  const packageName = PACKAGES[box.daemon as keyof typeof PACKAGES];
  const fix =
    box.root === undefined ? `install it: apt-get install ${packageName}` : `unpack ${packageName} there`;
  throw new Error(`Cannot start ${box.name}: there is no ${name} in ${box.root ?? "PATH"}; ${fix}`);
}

/** Unpacked packages bring their libraries; with a C library among them, its loader too. */
function loaderOf(root: string): string[] {
  const libraries = ["usr/lib", "lib"].flatMap((folder) =>
    listDirectory(`${root}/${folder}`)
      .filter((name) => name.endsWith("-linux-gnu"))
      .flatMap((name) => [`${root}/${folder}/${name}`, `${root}/${folder}/${name}/frr`]),
  );
  const loader = [
    "lib64/ld-linux-x86-64.so.2",
    "usr/lib64/ld-linux-x86-64.so.2",
    "usr/lib/ld-linux-aarch64.so.1",
  ]
    .map((path) => `${root}/${path}`)
    .find(exists);
  const path = libraries.filter(exists).join(":");
  return loader === undefined ? ["env", `LD_LIBRARY_PATH=${path}`] : [loader, "--library-path", path];
}

/** FRR looks for a group that only its installation makes: it is shown one, in a mount namespace of its own. */
function withGroup(folder: string): string[] {
  const script = 'mount --bind "$0/group" /etc/group && exec "$@"';
  return ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, folder];
}

interface Daemon {
  readonly name: string;
  readonly argv: readonly string[];
  /** A question that is answered by something once the next daemon may start; absent when they need not wait for each other. */
  readonly before?: { readonly words: readonly string[]; readonly holds: RegExp };
}

/** How each kind is started, asked, and known to be up. */
interface Kind {
  readonly file: string;
  daemons(box: SpeakerBox, folder: string, executable: string): readonly Daemon[];
  ask(box: SpeakerBox, folder: string, words: readonly string[], executable: string): readonly string[];
  /** A question that is answered once it is up. */
  readonly greeting: readonly string[];
}

/** What zebra says when it, or bfdd beside it, is ready. */
const ZEBRA_KNOWS = {
  zebra: { words: ["show zebra client summary"], holds: /^Name /m },
  bfdd: { words: ["show zebra client summary"], holds: /^bfd /m },
};

const kinds: Readonly<Record<SpeakerKind, Kind>> = {
  frr: {
    file: "frr.conf",
    // In the order of FRR's own start script: what bgpd tells bfdd by way of zebra while one of them is not there is lost.
    // FRR's daemons change to the user frr, which a machine without the package does not have.
    daemons: (box, folder) =>
      ["zebra", ...(/^ *(bfd|neighbor \S+ bfd)\b/m.test(box.config) ? ["bfdd"] : []), "bgpd"].map((name) => ({
        name,
        ...(name === "bgpd" ? {} : { before: ZEBRA_KNOWS[name as keyof typeof ZEBRA_KNOWS] }),
        argv: [
          ...withGroup(folder),
          ...program(box, name),
          ...["-u", "root", "-g", "root", "-f", `${folder}/frr.conf`, "-i", `${folder}/${name}.pid`],
          ...["-z", `${folder}/zserv.api`, "--vty_socket", folder, "-P", "0", "--log", "stdout"],
          ...(name === "bfdd" ? ["--bfdctl", `${folder}/bfdd.sock`] : []),
        ],
      })),
    ask: (box, folder, words) => [
      ...program(box, "vtysh"),
      ...["--vty_socket", folder, "--config_dir", folder],
      ...words.flatMap((word) => ["-c", word]),
    ],
    greeting: ["show bgp summary json"],
  },
  gobgp: {
    file: "gobgpd.toml",
    daemons: (box, folder) => [
      { name: "gobgpd", argv: [...program(box, "gobgpd"), "-f", `${folder}/gobgpd.toml`] },
    ],
    ask: (box, _, words) => [...program(box, "gobgp"), ...words.flatMap((word) => word.split(" "))],
    greeting: ["global -j"],
  },
  bird: {
    file: "bird.conf",
    daemons: (box, folder) => [
      {
        name: "bird",
        argv: [...program(box, "bird"), "-f", "-c", `${folder}/bird.conf`, "-s", `${folder}/bird.ctl`],
      },
    ],
    ask: (box, folder, words) => [
      ...program(box, "birdc"),
      ...["-s", `${folder}/bird.ctl`],
      ...words.flatMap((word) => word.split(" ")),
    ],
    greeting: ["show status"],
  },
  causeway: {
    file: "bgp.yaml",
    daemons: (_, folder, executable) => [
      {
        name: "bgp",
        argv: [executable, "bgp", "run", `${folder}/bgp.yaml`, "--folder", folder],
      },
    ],
    ask: (_, folder, words, executable) => [
      executable,
      "bgp",
      ...words.flatMap((word) => word.split(" ")),
      ...["--socket", `${folder}/bgp.sock`],
    ],
    greeting: ["summary --json"],
  },
};

/** speakerFolder is where a speaker's files are. */
export function speakerFolder(place: Place, box: SpeakerBox): string {
  return place.state(box.name);
}

/** startSpeaker writes a speaker's configuration and starts its daemons; resolves when it answers. */
export async function startSpeaker(place: Place, box: SpeakerBox, executable: string): Promise<void> {
  const folder = speakerFolder(place, box);
  const kind = kinds[box.daemon];
  ensureDirectory(folder, 0o700);
  writeAtomic(`${folder}/${kind.file}`, box.config, 0o600);
  if (box.daemon === "frr") {
    // Without it vtysh asks PAM.
    writeAtomic(`${folder}/vtysh.conf`, "username root nopassword\n", 0o600);
    writeAtomic(`${folder}/group`, `${readText("/etc/group") ?? ""}frrvty:x:64999:root\n`);
  }
  const answers = (words: readonly string[], holds: RegExp) => async () => {
    const done = await askSpeaker(place, box, { words, executable });
    // vtysh says nothing, and no error, while there is no daemon.
    const answered = done.status === 0 && holds.test(done.stdout);
    return answered ? undefined : `${done.stderr}${done.stdout}`.trim() || "no word yet";
  };
  for (const { name, argv, before } of kind.daemons(box, folder, executable)) {
    startProcess(place, `${name}-${box.name}`, {
      argv: inNode(place, { netns: box.name }, argv),
      logPath: `${folder}/${name}.log`,
    });
    if (before !== undefined)
      await until(answers(before.words, before.holds), {
        what: `${name} in ${box.name}`,
        deadlineMs: 60_000,
      });
  }
  await until(answers(kind.greeting, /\S/), { what: `${box.daemon} in ${box.name}`, deadlineMs: 60_000 });
}

/** stopSpeaker ends a speaker's daemons, at once or with SIGTERM. */
export async function stopSpeaker(
  place: Place,
  box: SpeakerBox,
  options: { readonly executable: string; readonly gently?: boolean },
): Promise<void> {
  const folder = speakerFolder(place, box);
  for (const { name } of kinds[box.daemon].daemons(box, folder, options.executable))
    await stopProcess(place, `${name}-${box.name}`, { graceMs: options.gently === true ? 10_000 : 0 });
}

/** askSpeaker asks with the daemon's own client: vtysh -c, gobgp, birdc, causeway bgp. */
export function askSpeaker(
  place: Place,
  box: SpeakerBox,
  question: { readonly words: readonly string[]; readonly executable: string },
): Promise<ProcessResult> {
  const argv = kinds[box.daemon].ask(box, speakerFolder(place, box), question.words, question.executable);
  return run(inNode(place, { netns: box.name }, argv));
}
