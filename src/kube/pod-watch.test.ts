import { afterEach, beforeEach, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { KubeApi } from "../../test/support/kube-api.ts";
import { kubeconfigAccess } from "./access.ts";
import { PodWatch, type PodWatchOptions } from "./pod-watch.ts";

let api: KubeApi;
let watch: PodWatch | undefined;
const problems: (string | undefined)[] = [];
beforeEach(() => {
  api = new KubeApi();
  problems.length = 0;
  api.put("team", { annotations: { "causeway.network/vpc": "blue" } });
  api.put("team/db-0", { labels: { app: "db" } });
  api.put("team/elsewhere", {}, "other");
});
afterEach(() => {
  watch?.[Symbol.dispose]();
  watch = undefined;
  api[Symbol.dispose]();
});

function start(more: Partial<PodWatchOptions> = {}): PodWatch {
  const path = join(api.folder, "kubeconfig");
  writeFileSync(join(api.folder, "token"), `${api.token}\n`);
  const config = {
    "current-context": "c",
    contexts: [{ name: "c", context: { cluster: "k", user: "u" } }],
    clusters: [{ name: "k", cluster: { server: api.url, "certificate-authority": "ca.pem" } }],
    users: [{ name: "u", user: { tokenFile: "token" } }],
  };
  writeFileSync(path, JSON.stringify(config));
  const onProblem = (problem: string | undefined) => void problems.push(problem);
  watch = PodWatch.start({ access: kubeconfigAccess(path), node: "worker", onProblem, ...more });
  return watch;
}

async function until(what: () => unknown): Promise<void> {
  while (!what()) await Bun.sleep(2);
}

test("pods of this node and all namespaces are listed and watched; what changes is known", async () => {
  const pods = start();
  await until(() => api.watches === 2);
  expect(pods.status).toEqual({ pods: 1, namespaces: 1 });
  expect(pods.podFacts("team", "db-0")).toEqual({
    labels: { app: "db" },
    annotations: { "causeway.network/vpc": "blue" },
  });
  expect(pods.podFacts("team", "elsewhere")).toBeUndefined();
  api.put("team/db-0", {
    labels: { app: "web" },
    annotations: { "causeway.network/groups": "web", "else/where": "x" },
  });
  await until(() => pods.podFacts("team", "db-0")?.labels["app"] === "web");
  expect(pods.podFacts("team", "db-0")?.annotations).toEqual({
    "causeway.network/vpc": "blue",
    "causeway.network/groups": "web",
  });
  api.remove("team/db-0");
  await until(() => pods.podFacts("team", "db-0") === undefined);
  expect(
    api.asked.every((path) =>
      /^\/api\/v1\/(?:pods\?fieldSelector=spec.nodeName=worker&|namespaces\?)/.test(path),
    ),
  ).toBe(true);
});

test("a long list comes in pages", async () => {
  for (let i = 0; i < 1203; i++) api.put(`team/p${i}`);
  const pods = start();
  await until(() => api.watches === 2);
  expect(pods.status.pods).toBe(1204);
  expect(api.asked.filter((path) => path.includes("continue="))).toHaveLength(2);
});

test("a watch that ends goes on where it ended, also from a bookmark; nothing is listed again", async () => {
  const pods = start();
  await until(() => api.watches === 2);
  api.bookmark();
  api.endWatches();
  api.put("team/db-1");
  await until(() => pods.podFacts("team", "db-1"));
  await until(() => api.watches === 2);
  expect(api.asked.filter((path) => path.includes("limit="))).toHaveLength(2);
  expect(problems.filter((problem) => problem !== undefined)).toEqual(["it has not been listed yet"]);
});

test.each(["the answer to the watch", "an event of the watch"])(
  "a version that is too old, by %s: listed anew, what is gone is gone",
  async (by) => {
    const pods = start();
    await until(() => api.watches === 2);
    if (by === "an event of the watch") {
      api.put("team/db-1");
      await until(() => pods.podFacts("team", "db-1"));
      api.expireWatches();
    } else
      api.quietly(() => {
        api.remove("team/db-0");
        api.put("team/db-1");
      });
    await until(
      () =>
        api.asked.filter((path) => path.startsWith("/api/v1/pods") && path.includes("limit=")).length === 2,
    );
    await until(() => pods.podFacts("team", "db-1"));
    expect(pods.podFacts("team", "db-0") !== undefined).toBe(by === "an event of the watch");
  },
);

test("while the API fails, what is known stays, and the problem is told; afterwards it is told that all is well", async () => {
  const pods = start();
  await until(() => api.watches === 2);
  api.broken = 503;
  api.endWatches();
  await until(() => problems.at(-1)?.includes("status 503"));
  expect(pods.podFacts("team", "db-0")).toBeDefined();
  api.broken = undefined;
  await until(() => problems.at(-1) === undefined);
});

test("a token that is renewed in its file is read anew; an identity without rights is told which it needs", async () => {
  const pods = start();
  await until(() => api.watches === 2);
  api.token = "token-2";
  api.put("team/db-9", {}, "other");
  const refused = pods.find("team", "db-9");
  expect(refused).rejects.toThrow(/status 401; bind the ClusterRole/);
  await refused.catch(() => undefined);
  writeFileSync(join(api.folder, "token"), "token-2\n");
  expect((await pods.find("team", "db-9")).annotations).toEqual({ "causeway.network/vpc": "blue" });
});

test("find waits for the watch, asks for what that does not tell, and takes no other pod of the same name", async () => {
  const pods = start();
  await until(() => api.watches === 2);
  const asked = api.asked.length;
  const soon = pods.find("team", "db-1");
  api.put("team/db-1", { labels: { soon: "yes" } });
  expect((await soon).labels).toEqual({ soon: "yes" });
  expect(api.asked.slice(asked)).toEqual([]);
  expect((await pods.find("team", "elsewhere")).labels).toEqual({});
  expect(api.asked.at(-1)).toBe("/api/v1/namespaces/team/pods/elsewhere");
  expect(pods.podFacts("team", "db-0", "another")).toBeUndefined();
  expect(pods.find("team", "db-0", "another")).rejects.toThrow("another one of that name");
  expect(pods.find("team", "nobody")).rejects.toThrow("status 404");
  // A static pod: the runtime knows it by its hash, the API's copy has an identity of its own.
  api.put("team/static", { uid: "mirror", annotations: { "kubernetes.io/config.hash": "hash" } });
  expect(await pods.find("team", "static", "hash")).toBeDefined();
});

test("a server that another authority vouches for is not believed", async () => {
  using other = new KubeApi();
  writeFileSync(join(api.folder, "ca.pem"), await other.ca);
  start();
  await until(() => problems.some((problem) => problem?.includes("certificate")));
  expect(api.asked).toEqual([]);
});
