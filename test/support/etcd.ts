/** A real etcd cluster of Debian's package on loopback addresses, with mutual TLS; run inside a network namespace of the test's own. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fetchPackages, SuiteError } from "../../tools/debian-suite.ts";
import type { TlsIdentity } from "../../src/sys/mod.ts";
import { lacksTool, notRoot } from "./scratch.ts";

const PACKAGES = ["etcd-server", "etcd-client"];

/** etcdFolder returns where Debian's etcd is unpacked, or the reason why there is none. Nothing is installed, so no service starts. */
export function etcdFolder():
  | { readonly folder: string; readonly lacks?: undefined }
  | { readonly lacks: string; readonly folder?: undefined } {
  const lacks = notRoot ?? lacksTool("ip") ?? lacksTool("openssl");
  if (lacks !== undefined) return { lacks };
  try {
    return { folder: fetchPackages("bookworm", PACKAGES) };
  } catch (error) {
    if (error instanceof SuiteError) return { lacks: error.message };
    throw error;
  }
}

/** Authority signs certificates with openssl(1). */
export class Authority {
  readonly folder: string;

  constructor(folder: string, name: string) {
    this.folder = join(folder, name);
    mkdirSync(this.folder);
    this.#run(
      "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=authority".split(" "),
      ["-keyout", "ca.key", "-out", "ca.pem"],
    );
  }

  #run(...argv: readonly (readonly string[])[]): void {
    const done = Bun.spawnSync(["openssl", ...argv.flat()], { cwd: this.folder, stderr: "pipe" });
    if (!done.success) throw new Error(`openssl: ${done.stderr}`);
  }

  get ca(): string {
    return join(this.folder, "ca.pem");
  }

  /** sign makes NAME.pem and NAME.key; etcd's gateway calls itself with the server's certificate, so each is for both ends. */
  sign(name: string, names: string): { readonly certificate: string; readonly key: string } {
    this.#run("req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes".split(" "), [
      ...["-subj", `/CN=${name}`, "-keyout", `${name}.key`, "-out", `${name}.csr`],
    ]);
    writeFileSync(
      join(this.folder, `${name}.ext`),
      `subjectAltName=${names}\nextendedKeyUsage=serverAuth,clientAuth\n`,
    );
    this.#run(
      ["x509", "-req", "-days", "2", "-in", `${name}.csr`, "-out", `${name}.pem`, "-extfile", `${name}.ext`],
      ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"],
    );
    return { certificate: join(this.folder, `${name}.pem`), key: join(this.folder, `${name}.key`) };
  }

  identity(name: string): TlsIdentity {
    const { certificate, key } = this.sign(name, "DNS:hub");
    const read = (path: string) => readFileSync(path, "utf8");
    return { ca: read(this.ca), certificate: read(certificate), key: read(key) };
  }
}

/** EtcdPlace is where members run: an address of each, and the command that runs another there. */
export interface EtcdPlace {
  readonly addresses: readonly string[];
  readonly command?: (index: number, argv: readonly string[]) => readonly string[];
}

/** EtcdCluster is one member for each address, with their data in a folder of their own. */
export class EtcdCluster implements AsyncDisposable {
  readonly folder = mkdtempSync(join(tmpdir(), "causeway-etcd-"));
  readonly authority: Authority;
  readonly endpoints: readonly string[];
  readonly #program: string;
  readonly #place: EtcdPlace;
  readonly #files: { readonly certificate: string; readonly key: string };
  readonly #members: (Bun.Subprocess | undefined)[];

  constructor(root: string, place: EtcdPlace = { addresses: ["127.0.0.1", "127.0.0.2", "127.0.0.3"] }) {
    this.#place = place;
    this.#program = join(root, "usr/bin/etcd");
    this.authority = new Authority(this.folder, "authority");
    this.endpoints = place.addresses.map((address) => `https://${address}:2379`);
    this.#files = this.authority.sign("member", place.addresses.map((address) => `IP:${address}`).join(","));
    this.#members = place.addresses.map(() => undefined);
  }

  /** hubOptions returns what a hub is told of the cluster on its command line; it gets a certificate of its own. */
  hubOptions(hub: string): string[] {
    const { certificate, key } = this.authority.sign(hub, `DNS:${hub}`);
    return [
      ...["--etcd", this.endpoints.join(","), "--etcd-ca", this.authority.ca],
      ...["--etcd-cert", certificate, "--etcd-key", key],
    ];
  }

  /** start starts one member, new or with what it had. */
  start(index: number): void {
    const { addresses, command = (_: number, argv: readonly string[]) => argv } = this.#place;
    const url = (port: number) => `https://${addresses[index]}:${port}`;
    const cluster = addresses.map((address, i) => `m${i}=https://${address}:2380`).join(",");
    const { certificate, key } = this.#files;
    const ca = this.authority.ca;
    const options = {
      name: `m${index}`,
      "data-dir": join(this.folder, `m${index}`),
      "listen-client-urls": url(2379),
      "advertise-client-urls": url(2379),
      "listen-peer-urls": url(2380),
      "initial-advertise-peer-urls": url(2380),
      "initial-cluster": cluster,
      "initial-cluster-state": "new",
      "cert-file": certificate,
      "key-file": key,
      "trusted-ca-file": ca,
      "client-cert-auth": "true",
      "peer-cert-file": certificate,
      "peer-key-file": key,
      "peer-trusted-ca-file": ca,
      "peer-client-cert-auth": "true",
      "heartbeat-interval": "100",
      "election-timeout": "1000",
      "log-level": "error",
    };
    const argv = Object.entries(options).map(([name, value]) => `--${name}=${value}`);
    this.#members[index] = Bun.spawn([...command(index, [this.#program, ...argv])], {
      stdout: "ignore",
      stderr: process.env["ETCD_LOG"] === undefined ? "ignore" : "inherit",
    });
  }

  startAll(): void {
    for (let i = 0; i < this.#members.length; i++) this.start(i);
  }

  /** kill ends one member without a farewell. */
  async kill(index: number): Promise<void> {
    const member = this.#members[index];
    this.#members[index] = undefined;
    member?.kill("SIGKILL");
    await member?.exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (let i = 0; i < this.#members.length; i++) await this.kill(i);
    rmSync(this.folder, { recursive: true, force: true });
  }
}
