import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FollowedTexts } from "./followed-texts.ts";

let folder: string;
let told: Record<string, string | undefined>[];
let wrong: string[];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "causeway-texts-"));
  told = [];
  wrong = [];
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function follow(path = folder): FollowedTexts {
  return new FollowedTexts({
    path,
    names: /\.yaml$/,
    onChange: ({ changed, gone, unreadable }) => {
      told.push({
        ...Object.fromEntries(changed),
        ...Object.fromEntries(gone.map((one) => [one, undefined])),
      });
      wrong = [...unreadable.keys()];
    },
  });
}
const at = (name: string) => `${folder}/${name}`;
const write = (name: string, text: string) => writeFileSync(at(name), text);

test("all that is there is told at once, and what changes when it stays so", () => {
  write("a.yaml", "1");
  write("b.txt", "2");
  using files = follow();
  expect(told).toEqual([{ [at("a.yaml")]: "1" }]);
  write("a.yaml", "half");
  files.look();
  write("a.yaml", "whole");
  files.look();
  expect(told).toHaveLength(1);
  files.look();
  files.look();
  expect(told.slice(1)).toEqual([{ [at("a.yaml")]: "whole" }]);
});

test("a file that is away for a moment, as where an editor replaces it, is not gone", () => {
  write("a.yaml", "1");
  using files = follow();
  rmSync(at("a.yaml"));
  files.look();
  write("a.yaml", "1");
  files.look();
  files.look();
  expect(told).toHaveLength(1);
  rmSync(at("a.yaml"));
  files.look();
  files.look();
  expect(told.slice(1)).toEqual([{ [at("a.yaml")]: undefined }]);
});

test("what cannot be read counts as it was, and is told", () => {
  write("a.yaml", "1");
  using files = follow();
  rmSync(at("a.yaml"));
  mkdirSync(at("a.yaml"));
  files.look();
  expect([told.length, told[1], wrong]).toEqual([2, {}, [at("a.yaml")]]);
  rmSync(at("a.yaml"), { recursive: true });
  symlinkSync("a.yaml", at("a.yaml"));
  files.look();
  expect(told).toHaveLength(2);
  rmSync(at("a.yaml"));
  write("a.yaml", "1");
  files.look();
  expect([told.length, told[2], wrong]).toEqual([3, {}, []]);
});

test("what could not be read at first is not known to be gone before it was told", () => {
  symlinkSync("a.yaml", at("a.yaml"));
  using files = follow();
  expect([told, wrong]).toEqual([[{}], [at("a.yaml")]]);
  rmSync(at("a.yaml"));
  files.look();
  write("a.yaml", "half");
  files.look();
  write("a.yaml", "whole");
  files.look();
  expect([told, wrong]).toEqual([[{}], [at("a.yaml")]]);
  files.look();
  expect([told, wrong]).toEqual([[{}, { [at("a.yaml")]: "whole" }], []]);
});

test("what could not be read and is gone is gone", () => {
  symlinkSync("a.yaml", at("a.yaml"));
  using files = follow();
  rmSync(at("a.yaml"));
  files.look();
  expect(wrong).toEqual([at("a.yaml")]);
  files.look();
  expect([told, wrong]).toEqual([[{}, {}], []]);
});

test("a folder that is not there is empty, and a file is followed by itself", () => {
  using none = follow(at("none"));
  expect(told).toEqual([{}]);
  mkdirSync(at("none"));
  write("none/a.yaml", "1");
  none.look();
  none.look();
  expect(told[1]).toEqual({ [at("none/a.yaml")]: "1" });
  write("one", "2");
  using _ = follow(at("one"));
  expect(told[2]).toEqual({ [at("one")]: "2" });
});
