/**
 * The Debian package, installed, upgraded, removed and purged by the real dpkg: in a copy of this machine that writes elsewhere (overlayfs) and
 * has no systemd running, as when a machine's image is made.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { version } from "../../package.json";
import { which } from "../../src/sys/mod.ts";

const folder = "/run/causeway-test";

describe("the Debian package", () => {
  let work = "";
  let deb = "";

  /** What is run sees the copy as its whole machine. */
  const script = (text: string) => {
    const run = Bun.spawnSync(["unshare", "--mount", "--propagation", "private", "sh", "-ec", text], {
      env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", DEBIAN_FRONTEND: "noninteractive", LC_ALL: "C.UTF-8" },
    });
    return { status: run.exitCode, said: `${run.stdout}${run.stderr}` };
  };
  /** Runs a command in the copy; what it changes is there for the next one. */
  const inside = (command: string) =>
    script(`
      mount -t overlay overlay -o lowerdir=/,upperdir=${work}/upper,workdir=${work}/work ${work}/root
      mount -t proc proc ${work}/root/proc
      mount -t tmpfs tmpfs ${work}/root/run
      mount -t tmpfs tmpfs ${work}/root/dev
      mknod -m 666 ${work}/root/dev/null c 1 3
      mkdir -p ${work}/root/mnt
      mount --bind ${work}/in ${work}/root/mnt
      chroot ${work}/root sh -ec '${command}'
    `);
  const done = (command: string) => {
    const { status, said } = inside(command);
    expect([command, status, said]).toEqual([command, 0, said]);
    return said;
  };
  const changed = () =>
    readdirSync(join(work, "upper"), { recursive: true, encoding: "utf8" }).filter(
      (name) => /causeway/.test(name) && !/^var\/(log|lib\/dpkg)\//.test(name),
    );

  beforeAll(() => {
    mkdirSync(folder, { recursive: true });
    work = mkdtempSync(join(folder, "package-"));
    // The upper layer must not be an overlay itself, as a machine's root may be.
    Bun.spawnSync(["mount", "-t", "tmpfs", "tmpfs", work]);
    for (const name of ["upper", "work", "root", "in"]) mkdirSync(join(work, name));
    deb = join(work, "in/causeway.deb");
    const made = Bun.spawnSync([process.execPath, "tools/package.ts", "--uncompressed", "--output", deb]);
    expect([made.exitCode, made.stderr.toString()]).toEqual([0, expect.any(String)]);
  });

  afterAll(() => {
    Bun.spawnSync(["umount", work]);
    rmSync(work, { recursive: true, force: true });
  });

  test("is installed, with its service enabled and its commands there", () => {
    done("dpkg -i /mnt/causeway.deb");
    expect(done("causeway version")).toContain(version);
    expect(done("readlink -f /etc/systemd/system/multi-user.target.wants/causeway.service")).toContain(
      "/usr/lib/systemd/system/causeway.service",
    );
    expect(done("dpkg --verify causeway")).toBe("");
    expect(
      done('bash -c "source /usr/share/bash-completion/completions/causeway; complete -p causeway"'),
    ).toContain("_causeway");
  });

  test.skipIf(which("systemd-analyze") === undefined)(
    `its unit is what systemd understands${which("systemd-analyze") === undefined ? " (needs systemd)" : ""}`,
    () => {
      const folder = "/usr/lib/systemd/system";
      for (const unit of [`${folder}/causeway.service`, `${folder}/causeway-gateway@paris.service`]) {
        const said = done(`systemd-analyze verify ${unit} 2>&1 || true`);
        expect(said.split("\n").filter((line) => line.includes("causeway"))).toEqual([]);
      }
      expect(readFileSync(join(work, `upper${folder}/causeway-gateway@.service`), "utf8")).toContain(
        "ExecStart=/usr/bin/causeway gateway run --name %i $GATEWAY_OPTIONS\n",
      );
      expect(readFileSync(join(work, "upper/usr/lib/systemd/system/causeway.service"), "utf8")).toContain(
        "ExecStart=/usr/bin/causeway agent $AGENT_OPTIONS\n",
      );
    },
  );

  test.skipIf(which("groff") === undefined)(
    `groff has nothing to say against its manual${which("groff") === undefined ? " (needs groff)" : ""}`,
    () => {
      const said = done(
        'for page in /usr/share/man/man8/causeway*.gz; do gzip -dc $page | groff -man -Tutf8 -ww -z 2>&1 | sed "s|^|$page: |"; done',
      );
      expect(said).toBe("");
      expect(done("gzip -dc /usr/share/man/man8/causeway-join.8.gz | groff -man -Tascii -P-cbou")).toContain(
        "causeway join",
      );
    },
  );

  test("is upgraded: options that were edited stay", () => {
    done("echo AGENT_OPTIONS=--tls=auto > /etc/default/causeway");
    writeFileSync(join(work, "upper/usr/bin/causeway"), "an older one");
    done("dpkg -i --force-confold /mnt/causeway.deb");
    expect(done("cat /etc/default/causeway")).toBe("AGENT_OPTIONS=--tls=auto\n");
    expect(done("causeway version")).toContain(version);
  });

  test("is not removed without a word while links are in routers of the edge, and a purge keeps what they were like", () => {
    const state = "/var/lib/causeway";
    const boot = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
    // No mesh: a node that runs from files alone.
    done(
      `mkdir -p ${state}/bgp; echo secret > ${state}/node.key; echo {\\"boot\\":\\"${boot}\\"} > ${state}/edge-links.json`,
    );
    const removed = done("dpkg -r causeway");
    expect(removed).toContain("still have links of the machine");
    expect(removed).toContain("run 'causeway leave --edge'");
    expect(removed).not.toContain("in its mesh");
    expect(done("dpkg -P causeway")).toContain(`causeway: kept ${state}/edge-links.json: `);
    expect(done(`ls -A ${state}`)).toBe("edge-links.json\n");
    done("dpkg -i /mnt/causeway.deb");
    done(`echo {} > ${state}/edge-chains.json; echo x > ${state}/.new`);
    expect(done("dpkg -P causeway")).toContain(
      `causeway: kept ${state}/edge-chains.json ${state}/edge-links.json: `,
    );
    expect(done(`ls -A ${state}`)).toBe("edge-chains.json\nedge-links.json\n");
    done("dpkg -i /mnt/causeway.deb");
    // A reboot ends routers: links are the machine's again, as it makes them.
    done(`rm ${state}/edge-chains.json; echo {\\"boot\\":\\"another\\"} > ${state}/edge-links.json`);
    done("dpkg -P causeway");
    expect(inside(`ls ${state}`).status).not.toBe(0);
    done("dpkg -i /mnt/causeway.deb");
  });

  test("is removed with its keys kept, and purged with all that was its own", () => {
    done("mkdir -p /var/lib/causeway; echo secret > /var/lib/causeway/node.key");
    done("dpkg -r causeway");
    expect(inside("command -v causeway").status).not.toBe(0);
    expect(done("cat /var/lib/causeway/node.key")).toBe("secret\n");
    done("dpkg -P causeway");
    // Of what was there before nothing is touched; a name that overlayfs keeps for what is gone is a character device.
    const left = done(
      'find / -xdev -name "*causeway*" -not -path "/proc/*" -not -path "/tmp/*" -not -path "/var/log/*" -newer /mnt/causeway.deb 2>/dev/null || true',
    );
    expect(left).toBe("");
    expect(changed().filter((name) => name.startsWith("etc/"))).toEqual([]);
  });
});
