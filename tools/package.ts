/**
 * Makes the Debian package, dist/causeway_VERSION_ARCHITECTURE.deb: executable, unit, kernel settings, completions, manual; and the Helm
 * chart, the folder dist/chart.
 *
 * The same sources make the same bytes: times are that of the last commit (or SOURCE_DATE_EPOCH).
 *
 * `--output FILE` writes it elsewhere; `--uncompressed` takes a second instead of most of a minute.
 */
import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { gzipSync } from "node:zlib";
import { description, license, version } from "../package.json";
import { scripts } from "../src/ctl/completion.ts";
import { MANUAL_SECTION, manualPages } from "../src/ctl/manual.ts";
import type { Command } from "../src/ctl/command.ts";
import { rootFor } from "../src/ctl/commands.ts";
import { chartFiles } from "../src/kube/mod.ts";

process.chdir(fileURLToPath(new URL("..", import.meta.url)));

const { values: asked } = parseArgs({
  options: { output: { type: "string" }, uncompressed: { type: "boolean", default: false } },
});

const DEPENDS = ["libc6 (>= 2.36)", "libnftables1", "libssl3 | libssl3t64", "init-system-helpers (>= 1.54)"];
/** Faster ciphers in user space, and what people look at a network with. */
const RECOMMENDS = ["libipsec-mb1 | libipsec-mb2", "nftables", "iproute2", "wireguard-tools"];

function must(argv: string[]): string {
  const done = Bun.spawnSync(argv);
  if (done.success) return done.stdout.toString();
  process.stderr.write(`Cannot make the package: \`${argv.join(" ")}\` said:\n${done.stderr}`);
  process.exit(1);
}

/** Seconds since 1970 that all files of the package carry. */
function epoch(): number {
  const given = Number(process.env["SOURCE_DATE_EPOCH"]);
  if (given > 0) return given;
  const committed = Bun.spawnSync(["git", "log", "-1", "--format=%ct"]);
  return committed.success
    ? Number(committed.stdout.toString())
    : Math.floor(statSync("package.json").mtimeMs / 1000);
}

const seconds = epoch();
const stage = mkdtempSync(join(tmpdir(), "causeway-package-"));

function put(path: string, content: string | Uint8Array, mode = 0o644): void {
  const file = join(stage, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, content);
  chmodSync(file, mode);
}

const ours = (name: string) => readFileSync(`deploy/debian/${name}`, "utf8");
const packed = (text: string) => gzipSync(text, { level: 9 });

function program(): void {
  put("usr/bin/causeway", readFileSync("dist/causeway"), 0o755);
  const unit = readFileSync("deploy/causeway.service", "utf8")
    .replaceAll("/usr/local/bin/causeway agent", "/usr/bin/causeway agent $AGENT_OPTIONS")
    .replace("[Service]\n", "[Service]\nEnvironmentFile=-/etc/default/causeway\n");
  put("usr/lib/systemd/system/causeway.service", unit);
  const gateway = readFileSync("deploy/causeway-gateway@.service", "utf8");
  put(
    "usr/lib/systemd/system/causeway-gateway@.service",
    gateway.replace("/usr/local/bin/causeway gateway", "/usr/bin/causeway gateway"),
  );
  put("usr/lib/sysctl.d/50-causeway.conf", ours("sysctl.conf"));
  put("usr/lib/modules-load.d/causeway.conf", ours("modules.conf"));
  put("etc/default/causeway", ours("default"));
  mkdirSync(join(stage, "etc/causeway/manifests"), { recursive: true });
}

function documentation(root: Command): void {
  put("usr/share/bash-completion/completions/causeway", scripts.bash);
  put("usr/share/zsh/vendor-completions/_causeway", scripts.zsh);
  put("usr/share/fish/vendor_completions.d/causeway.fish", scripts.fish);
  const date = new Date(seconds * 1000).toISOString().slice(0, 10);
  for (const { name, text } of manualPages(root, { version, date }))
    put(`usr/share/man/man${MANUAL_SECTION}/${name}.${MANUAL_SECTION}.gz`, packed(text));
  const folder = "usr/share/doc/causeway";
  put(`${folder}/changelog.gz`, packed(readFileSync("CHANGELOG.md", "utf8")));
  put(
    `${folder}/copyright`,
    `Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: Causeway

Files: *
Copyright: the authors of Causeway
License: ${license}
 On Debian systems, the full text of the Apache License version 2.0 is in /usr/share/common-licenses/Apache-2.0.
`,
  );
  for (const name of ["README.md", "SECURITY.md"]) put(`${folder}/${name}`, readFileSync(name));
  for (const name of ["docs", "examples"]) cpSync(name, join(stage, folder, name), { recursive: true });
  cpSync("deploy/kube-reader.yaml", join(stage, folder, "examples/kube-reader.yaml"));
}

/** Bytes of a folder, as `du -k` counts them, in KiB. */
function installedKib(): number {
  return Number(must(["du", "-sk", "--apparent-size", stage]).split("\t")[0]);
}

function control(architecture: string): void {
  const kib = installedKib();
  for (const script of ["postinst", "prerm", "postrm"]) put(`DEBIAN/${script}`, ours(script), 0o755);
  put("DEBIAN/conffiles", "/etc/default/causeway\n");
  put(
    "DEBIAN/control",
    `Package: causeway
Version: ${version}
Architecture: ${architecture}
Maintainer: Causeway <causeway@localhost>
Section: net
Priority: optional
Installed-Size: ${kib}
Depends: ${DEPENDS.join(", ")}
Recommends: ${RECOMMENDS.join(", ")}
Description: ${description.toLowerCase().startsWith("one") ? `o${description.slice(1)}` : description}
 Joins the nodes of a Kubernetes cluster that are scattered over sites, behind
 NATs or not, with one UDP port exposed; gives their pods a network (CNI);
 gives tenants private networks (VXLAN and BGP EVPN); links sites by IPsec.
`,
  );
}

function chart(): void {
  rmSync("dist/chart", { recursive: true, force: true });
  for (const { path, text } of chartFiles(version)) {
    const file = join("dist/chart", path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text);
  }
}

try {
  if (asked.output === undefined) chart();
  chmodSync(stage, 0o755);
  program();
  documentation(await rootFor());
  const architecture = must(["dpkg", "--print-architecture"]).trim();
  control(architecture);
  must(["find", stage, "-exec", "touch", "--no-dereference", `--date=@${seconds}`, "{}", "+"]);
  must(["find", stage, "-type", "d", "-exec", "chmod", "0755", "{}", "+"]);
  const target = asked.output ?? `dist/causeway_${version}_${architecture}.deb`;
  process.env["SOURCE_DATE_EPOCH"] = String(seconds);
  const compression = asked.uncompressed ? ["-Znone"] : ["-Zxz", "-z1"];
  must(["dpkg-deb", "--root-owner-group", ...compression, "--build", stage, target]);
  process.stderr.write(`${target}, ${Math.round(Bun.file(target).size / 1e6)} MB\n`);
  if (asked.output === undefined) process.stderr.write("dist/chart, for helm install\n");
  process.stderr.write(`To install it: apt install ./${target}\n`);
} finally {
  rmSync(stage, { recursive: true, force: true });
}
