/**
 * Reads every source file and holds what the architecture says of them: which layer may import which, who may talk to the
 * operating system, that every folder has a front door, and what lint would say. Prints the distribution of file sizes.
 */
import { expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";

/** Layers, left to right; a folder may import from layers before its own, and from `also`. */
const layers: readonly (readonly string[])[] = [
  ["sys", "wire", "net"],
  ["netlink"],
  ["engine"],
  ["resources"],
  ["bfd", "bgp", "noise", "tunnel", "exchange", "ipam", "portmap"],
  ["mesh", "pods", "plain", "domain", "gateway", "edge"],
  ["cni", "kube", "hub"],
  ["doctor"],
  ["agent", "gatewayd"],
  ["ctl", "ui", "lab"],
  ["main.ts"],
];

/** Edges inside a layer that are allowed, each for a reason; all others inside a layer are forbidden. */
const within: Readonly<Record<string, string>> = {
  "net → sys": "keys are made of randomness and curve operations, which only sys may provide",
  "wire → net": "codecs carry addresses as values",
  "wire → sys": "byte buffers that the kernel reads come from sys",
  "sys → wire": "control messages are laid out by the byte coders",
  "bgp → bfd": "a session's path is watched by BFD (RFC 5882)",
  "tunnel → noise": "WireGuard's handshake is one of Noise's",
  "exchange → noise": "gateways agree on keys by handshakes of Noise",
  "exchange → tunnel": "what is agreed on are ESP's associations, named as ESP names them",
  "ctl → lab": "the command `causeway lab` calls the laboratory",
};

/** Why an edge to the right, or between features, is forbidden: printed with the failure. */
const reasons: Readonly<Record<string, string>> = {
  mesh: "features are pure and know nothing of each other; the agent brings them together",
  gateway: "features are pure and know nothing of each other; the agent brings them together",
  edge: "features are pure and know nothing of each other; the agent brings them together",
  pods: "features are pure and know nothing of each other; the agent brings them together",
  netlink: "the kernel layer carries requests; what is desired is the engine's affair",
  engine: "the engine serves every feature and must not know one",
  sys: "the door to the system has no opinion on networks",
};

const layerOf = new Map(
  layers.flatMap((folders, index) => folders.map((folder) => [folder, index] as const)),
);

const files = (readdirSync("src", { recursive: true, encoding: "utf8" }) as string[])
  .filter((name) => name.endsWith(".ts"))
  .sort();
const text = new Map(files.map((file) => [file, readFileSync(join("src", file), "utf8")]));
const production = files.filter((file) => !file.endsWith(".test.ts"));

/** Every import of a file, static or dynamic, as written. */
function importsOf(file: string): string[] {
  const source = text.get(file) as string;
  return [
    ...source.matchAll(
      /(?:^|\n)\s*(?:import|export)\b[^;"]*?from\s+"([^"]+)"|import\("([^"]+)"\)|(?:^|\n)import\s+"([^"]+)"/g,
    ),
  ].map((match) => (match[1] ?? match[2] ?? match[3]) as string);
}

const folderOf = (file: string) => file.split("/")[0] as string;
const resolve = (file: string, target: string) => normalize(join(dirname(file), target));

test("layers point one way", () => {
  const wrong: string[] = [];
  for (const file of production) {
    const from = folderOf(file);
    const own = layerOf.get(from);
    if (own === undefined) {
      wrong.push(`${file}: the folder src/${from} is in no layer`);
      continue;
    }
    for (const target of importsOf(file).filter((name) => name.startsWith("."))) {
      const to = folderOf(resolve(file, target));
      if (to === from || to === "..") continue;
      const other = layerOf.get(to) ?? Number.POSITIVE_INFINITY;
      if (other < own || (other === own && within[`${from} → ${to}`] !== undefined)) continue;
      wrong.push(`${file} imports ${target}: ${reasons[from] ?? `${from} comes before ${to}`}`);
    }
  }
  expect(wrong).toEqual([]);
});

test("other folders are entered by their front door", () => {
  // main.ts starts in milliseconds only because it loads single files.
  const wrong = production
    .filter((file) => file !== "main.ts")
    .flatMap((file) =>
      importsOf(file)
        .filter((target) => target.startsWith("."))
        .map((target) => resolve(file, target))
        .filter(
          (to) => folderOf(to) !== folderOf(file) && !to.startsWith("..") && !/\/(mod|version)\.ts$/.test(to),
        )
        .filter(() => !file.startsWith("cni/plugin"))
        .map((to) => `${file} → ${to}`),
    );
  expect(wrong).toEqual([]);
});

test("every folder has a front door that says what it is for", () => {
  const folders = [...new Set(production.filter((file) => file.includes("/")).map(folderOf))];
  const wrong = folders.filter(
    (folder) => !(text.get(`${folder}/mod.ts`) ?? "").startsWith("/**") && folder !== "ctl",
  );
  expect(wrong).toEqual([]);
});

test("a command that asks a process loads nothing of what answers", () => {
  // Each takes 20 ms instead of 200.
  const loaded = new Set([
    "ctl/main.ts",
    "ctl/commands.ts",
    "ctl/look.ts",
    "ctl/vpc.ts",
    "ctl/bgp.ts",
    "ctl/bfd.ts",
  ]);
  for (const file of loaded)
    for (const [, target] of (text.get(file) as string).matchAll(
      /(?:^|\n)(?:import|export)\s(?!type\b)[^;"]*?from\s+"(\.[^"]+)"/g,
    ))
      loaded.add(resolve(file, target as string));
  const folders = new Set([...loaded].map(folderOf));
  expect([...folders].sort()).toEqual(
    ["agent", "ctl", "net", "sys", "wire"].filter((name) => folders.has(name)),
  );
  expect([...loaded].filter((file) => file.startsWith("agent/")).sort()).toEqual([
    "agent/asked/mod.ts",
    "agent/paths.ts",
  ]);
});

test("only sys talks to the operating system", () => {
  const doors =
    /from "(?:node:(?:fs|fs\/promises|child_process|net|dgram|dns|http|https|os|process|crypto|worker_threads)|bun:ffi|bun:sqlite)"|\bBun\.(?!YAML|hash|inspect)|\bprocess\.(?!memoryUsage)|\bDate\.now|\bnew Date\(\)|\bMath\.random|\bperformance\.now|\bset(?:Timeout|Interval)\(|\bconsole\./;
  const wrong: string[] = [];
  for (const file of production.filter((name) => folderOf(name) !== "sys")) {
    for (const [index, line] of (text.get(file) as string).split("\n").entries()) {
      const code = line.replace(/\/\/.*$/, "");
      if (/^\s*(\/?\*)/.test(line) || !doors.test(code)) continue;
      wrong.push(`${file}:${index + 1}: ${line.trim()}`);
    }
  }
  // The plugin's whole life is a few milliseconds; it and the entry decide before anything else is loaded.
  expect(wrong.filter((line) => !/^(main\.ts|cni\/plugin[^:]*):/.test(line))).toEqual([]);
});

test("every file is used", () => {
  const used = new Set(
    files.flatMap((file) =>
      importsOf(file)
        .filter((name) => name.startsWith("."))
        .map((target) => resolve(file, target)),
    ),
  );
  for (const folder of ["test", "bench", "tools"]) {
    for (const name of readdirSync(folder, { recursive: true, encoding: "utf8" }) as string[]) {
      if (!name.endsWith(".ts")) continue;
      const source = readFileSync(join(folder, name), "utf8");
      for (const match of source.matchAll(/"((?:\.\.\/)*src\/[^"]+)"/g))
        used.add(normalize((match[1] as string).replace(/^(?:\.\.\/)*src\//, "")));
    }
  }
  expect(production.filter((file) => !used.has(file) && file !== "main.ts")).toEqual([]);
});

test("nothing that lint would refuse", () => {
  const rules: readonly (readonly [RegExp, string])[] = [
    [
      /\bany\b(?=[\s,;)>\]=|&])(?<=[:<|&] ?any)/,
      "`any` switches the checker off; name the type or use unknown",
    ],
    [/[^=!]==[^=]|!=[^=]/, "compare with === and !=="],
    [/\bvar\s/, "use const or let"],
    [/\bdebugger\b/, "left over"],
    [/\b(?:TODO|FIXME|XXX)\b/, "do it, or file an issue"],
    [/@ts-(?:ignore|nocheck|expect-error)/, "mend the type"],
    [/catch\s*(?:\(\w+\))?\s*\{\s*\}/, "an error is swallowed without a reason"],
    [/\.(?:only|todo)\(/, "a test run would be partial"],
    [/export default/, "named exports"],
  ];
  const wrong: string[] = [];
  const beside = ["test", "tools", "bench"].flatMap((folder) =>
    (readdirSync(folder, { recursive: true, encoding: "utf8" }) as string[])
      .filter((name) => name.endsWith(".ts") && name !== "tidy.test.ts")
      .map((name) => [join(folder, name), readFileSync(join(folder, name), "utf8")] as const),
  );
  for (const [file, source] of [...text, ...beside]) {
    let inTemplate = false;
    for (const [index, line] of source.split("\n").entries()) {
      const ticks = (line.match(/(?<!\\)`/g) ?? []).length;
      const skip = inTemplate || /^\s*(\/?\*|\/\/)/.test(line);
      if (ticks % 2 === 1) inTemplate = !inTemplate;
      if (skip) continue;
      const code = line
        .replace(/\/\/.*$/, "")
        .replaceAll(/"(?:[^"\\]|\\.)*"|`(?:[^`\\]|\\.)*`|\/(?:[^/\\\s]|\\.)+\/[a-z]*/g, '""');
      for (const [pattern, why] of rules)
        if (pattern.test(code)) wrong.push(`${file}:${index + 1}: ${why}: ${line.trim()}`);
    }
  }
  expect(wrong).toEqual([]);
});

test("names say one idea", () => {
  const vague = /(?:^|\/)(?:util|utils|common|helpers?|misc|types|constants|manager)\.ts$/;
  expect(files.filter((file) => vague.test(file))).toEqual([]);
});

test("files stay small", () => {
  const sizes = production
    .map((file) => ({ file, lines: (text.get(file) as string).split("\n").length }))
    .sort((a, b) => a.lines - b.lines);
  const at = (share: number) =>
    sizes[Math.min(sizes.length - 1, Math.floor(sizes.length * share))]?.lines ?? 0;
  console.log(
    `files ${sizes.length}, lines: median ${at(0.5)}, 90 % ${at(0.9)}, longest ${sizes.at(-1)?.lines} (${sizes.at(-1)?.file})`,
  );
  expect(sizes.filter(({ lines }) => lines > 500)).toEqual([]);
  expect(at(0.5)).toBeLessThanOrEqual(160);
});

test("each dependency stands in docs/dependencies.md with its reason", () => {
  const manifest = JSON.parse(readFileSync("package.json", "utf8")) as Record<string, Record<string, string>>;
  const documented = readFileSync("docs/dependencies.md", "utf8");
  const names = Object.keys({ ...manifest.dependencies, ...manifest.devDependencies });
  expect(names.filter((name) => !documented.includes(`\`${name}\``))).toEqual([]);
});

test("links between documents lead somewhere", () => {
  const documents = [
    "README.md",
    "ARCHITECTURE.md",
    "SECURITY.md",
    "CHANGELOG.md",
    ...readdirSync("docs", { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".md"))
      .map((name) => `docs/${name}`),
  ];
  const wrong: string[] = [];
  for (const document of documents) {
    const source = readFileSync(document, "utf8");
    for (const match of source.matchAll(/\]\(([^)#:]+)(?:#[^)]*)?\)/g)) {
      const target = normalize(join(dirname(document), match[1] as string));
      if (!existsSync(target)) wrong.push(`${document} → ${match[1]}`);
    }
  }
  expect(wrong).toEqual([]);
});
