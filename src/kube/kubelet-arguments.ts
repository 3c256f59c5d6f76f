/**
 * The kubelet's extra arguments as packages of Kubernetes keep them: `KUBELET_EXTRA_ARGS=` in a file of environment variables for systemd
 * (systemd.exec(5), EnvironmentFile), which others may have written into as well.
 */

const NAME = "KUBELET_EXTRA_ARGS";
const OPTION = "--node-ip";
const DEBIAN = "/etc/default/kubelet";
const RED_HAT = "/etc/sysconfig/kubelet";

/** kubeletEnvironment returns the file's path; `sysconfig` as on Red Hat's systems. */
export function kubeletEnvironment(sysconfig: boolean): string {
  return sysconfig ? RED_HAT : DEBIAN;
}

/** isKubeletEnvironment tells whether a path is such a file. */
export function isKubeletEnvironment(path: string): boolean {
  return path === DEBIAN || path === RED_HAT;
}

/** withNodeIp returns the file's text with `--node-ip` set to `addresses`, all else as it was. It throws for a value that it cannot read. */
export function withNodeIp(text: string, addresses: string): string {
  return edited(text, (words) => [...others(words), `${OPTION}=${addresses}`]);
}

/** withoutNodeIp returns the file's text without `--node-ip`, if it is `addresses`; another one stays. */
export function withoutNodeIp(text: string, addresses: string): string {
  return edited(text, (words) => (words.includes(`${OPTION}=${addresses}`) ? others(words) : words));
}

/** nodeIpOf returns what `--node-ip=` is in the file's text. */
export function nodeIpOf(text: string): string | undefined {
  const lines = text.split("\n");
  const word = wordsOf(lines[assignmentAt(lines)] ?? `${NAME}=`).find((one) => one.startsWith(`${OPTION}=`));
  return word?.slice(OPTION.length + 1);
}

function edited(text: string, edit: (words: readonly string[]) => readonly string[]): string {
  const lines = text === "" ? [] : text.replace(/\n$/, "").split("\n");
  const at = assignmentAt(lines);
  const words = at < 0 ? [] : wordsOf(lines[at] as string);
  const wanted = edit(words);
  if (wanted.join(" ") === words.join(" ")) return text;
  const line = `${NAME}="${wanted.join(" ")}"`;
  if (at < 0) lines.push(line);
  else lines[at] = line;
  return `${lines.join("\n")}\n`;
}

/** Of several assignments systemd takes the last; -1 without any. */
function assignmentAt(lines: readonly string[]): number {
  return lines.findLastIndex((line) => line.trimStart().startsWith(`${NAME}=`));
}

function wordsOf(line: string): readonly string[] {
  const value = line.trim().slice(NAME.length + 1);
  const inside = /^"([^"\\]*)"$|^'([^'\\]*)'$|^([^"'\\]*)$/.exec(value);
  if (inside === null)
    throw new Error(
      `${NAME}: ${value} cannot be read: it has quotes inside quotes, or backslashes; write it as one quoted text without them`,
    );
  return (inside[1] ?? inside[2] ?? inside[3] ?? "").split(/\s+/).filter(Boolean);
}

function others(words: readonly string[]): readonly string[] {
  return words.filter(
    (word, index) => !word.startsWith(`${OPTION}=`) && word !== OPTION && words[index - 1] !== OPTION,
  );
}
