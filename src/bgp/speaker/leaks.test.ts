import { afterEach, expect, test } from "bun:test";
import { parseManifest, type BgpRouter } from "../../resources/mod.ts";
import { Leaks } from "./leaks.ts";
import { routesOf } from "./show.ts";
import { Speaker } from "./speaker.ts";

const open: Speaker[] = [];
afterEach(() => {
  for (const speaker of open.splice(0)) speaker[Symbol.dispose]();
});

function router(name: string, spec: object): BgpRouter {
  const { resources, problems } = parseManifest(
    JSON.stringify({
      apiVersion: "causeway.network/v1alpha1",
      kind: "BgpRouter",
      metadata: { name },
      spec: { asn: 65001, routerId: "10.0.0.1", listen: [], ...spec },
    }),
  );
  const [resource] = resources;
  if (resource?.kind !== "BgpRouter") throw new Error(JSON.stringify(problems));
  return resource.value;
}

function start(leaks: Leaks, name: string, spec: object): Speaker {
  const speaker = new Speaker(router(name, spec), {
    readPassword: () => new Uint8Array(1),
    log: () => {},
  });
  open.push(speaker);
  leaks.add(speaker);
  return speaker;
}

const routes = (speaker: Speaker) =>
  [...routesOf(speaker, {})].flatMap((one) => (one?.best === true ? [one.route] : [])).sort();

async function until(speaker: Speaker, expected: readonly string[]): Promise<void> {
  for (let i = 0; i < 400 && routes(speaker).join() !== expected.join(); i++) await Bun.sleep(5);
  expect(routes(speaker)).toEqual([...expected]);
}

test("what one exports another imports that names the target, and it goes no further", async () => {
  const leaks = new Leaks();
  const a = start(leaks, "a", { networks: ["10.1.0.0/16", "fd01::/32"], exportTargets: ["65000:1"] });
  const b = start(leaks, "b", {
    networks: ["10.2.0.0/16"],
    importTargets: ["65000:1"],
    exportTargets: ["65000:2"],
  });
  const c = start(leaks, "c", { importTargets: ["65000:2"] });
  await until(b, ["10.1.0.0/16", "10.2.0.0/16", "fd01::/32"]);
  await until(c, ["10.2.0.0/16"]);
  await until(a, ["10.1.0.0/16", "fd01::/32"]);
  a.update(router("a", { networks: ["10.3.0.0/16"], exportTargets: ["65000:1"] }));
  await until(b, ["10.2.0.0/16", "10.3.0.0/16"]);
  b.update(router("b", { networks: ["10.2.0.0/16"], exportTargets: ["65000:2"] }));
  leaks.refresh();
  await until(b, ["10.2.0.0/16"]);
});

test("a route of its own is not replaced, nor taken away with the other's", async () => {
  const leaks = new Leaks();
  const b = start(leaks, "b", { networks: ["10.1.0.0/16"], importTargets: ["65000:1"] });
  await until(b, ["10.1.0.0/16"]);
  const a = start(leaks, "a", { networks: ["10.1.0.0/16"], exportTargets: ["65000:1"] });
  leaks.refresh();
  await until(a, ["10.1.0.0/16"]);
  a.update(router("a", { exportTargets: ["65000:1"] }));
  await until(a, []);
  await until(b, ["10.1.0.0/16"]);
});

test("of two that export the same, the second takes over when the first gives it up", async () => {
  const leaks = new Leaks();
  const exported = { networks: ["10.1.0.0/16"], exportTargets: ["65000:1"] };
  const a = start(leaks, "a", exported);
  start(leaks, "other", { ...exported, routerId: "10.0.0.9" });
  const b = start(leaks, "b", { importTargets: ["65000:1"] });
  leaks.refresh();
  await until(b, ["10.1.0.0/16"]);
  a.update(router("a", { exportTargets: ["65000:1"] }));
  await until(a, []);
  await until(b, ["10.1.0.0/16"]);
  leaks.remove(a);
  await until(b, ["10.1.0.0/16"]);
});
