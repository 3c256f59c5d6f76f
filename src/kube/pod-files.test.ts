import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PodFiles } from "./pod-files.ts";

const folder = mkdtempSync(join(tmpdir(), "causeway-pods-"));
afterAll(() => rmSync(folder, { recursive: true }));
const files = new PodFiles(folder);

test("manifests of pods and namespaces, several in a file, lists too; read anew each time", async () => {
  expect(await files.find("team", "db")).toEqual({ labels: {}, annotations: {} });
  writeFileSync(
    join(folder, "a.yaml"),
    `kind: Namespace
metadata: { name: team, annotations: { causeway.network/vpc: blue } }
---
kind: Pod
metadata: { namespace: team, name: db, labels: { app: db }, annotations: { causeway.network/groups: web } }
---
`,
  );
  const items = [
    { kind: "Pod", metadata: { name: "plain", annotations: { "causeway.network/vpc": "red" } } },
  ];
  writeFileSync(join(folder, "b.json"), JSON.stringify({ kind: "List", items }));
  writeFileSync(join(folder, "ignored.txt"), "{");
  expect(await files.find("team", "db")).toEqual({
    labels: { app: "db" },
    annotations: { "causeway.network/vpc": "blue", "causeway.network/groups": "web" },
  });
  expect((await files.find("team", "unheard-of")).annotations).toEqual({ "causeway.network/vpc": "blue" });
  expect((await files.find("default", "plain")).annotations).toEqual({ "causeway.network/vpc": "red" });
});

test("a file that cannot be read is an error, so that no pod lands in another network by a mistake in it", () => {
  writeFileSync(join(folder, "c.yaml"), "kind: {");
  expect(files.find("team", "db")).rejects.toThrow(`Cannot read ${join(folder, "c.yaml")}`);
});
