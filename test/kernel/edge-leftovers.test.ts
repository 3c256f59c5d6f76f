/** What an edge finds of others and of itself where it begins: foreign namespaces stay, whatever they are called. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { Edge } from "../../src/agent/edge.ts";
import { Engine } from "../../src/engine/mod.ts";
import { noTenants } from "../../src/resources/mod.ts";
import { createNetns, exists, isNetns, listDirectory, removeNetns, removeTree } from "../../src/sys/mod.ts";
import { notRoot, Scratch } from "../support/scratch.ts";

describe.skipIf(notRoot !== undefined)(
  `leftovers of an edge${notRoot === undefined ? "" : ` (${notRoot})`}`,
  () => {
    let scratch: Scratch;
    let engine: Engine;
    let folder: string;
    let linksPath: string;
    const problems: string[] = [];
    beforeEach(() => {
      scratch = new Scratch();
      engine = Engine.open({ netns: scratch.netns });
      folder = `${scratch.folder}-netns`;
      linksPath = `${scratch.folder}-links.json`;
      problems.length = 0;
    });
    afterEach(() => {
      engine[Symbol.dispose]();
      for (const name of listDirectory(folder)) removeNetns(`${folder}/${name}`);
      removeTree(folder);
      removeTree(linksPath);
      scratch[Symbol.dispose]();
    });
    const open = () =>
      new Edge({
        ...{ home: engine, netns: scratch.netns, linksPath, folder, bgp: { setEdge() {} } },
        onProblem: (error) => void problems.push(error.message),
      });

    test("a namespace of another program stays, though nothing in it is up yet", () => {
      createNetns(`${folder}/cw-foreign`);
      expect(Edge.isThere(folder)).toBe(false);
      using edge = open();
      edge.follow(noTenants, { name: "a", hub: false, index: 0 });
      edge.clear();
      expect(isNetns(`${folder}/cw-foreign`)).toBe(true);
      expect(problems).toEqual([]);
      expect(exists(linksPath)).toBe(false);
    });
  },
);
