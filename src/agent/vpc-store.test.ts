import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { parseIp, parseMac } from "../net/mod.ts";
import { VpcStore } from "./vpc-store.ts";

const vm = parseMac("0a:58:00:00:05:55");
const pod = (containerId: string, mac = vm) => ({
  ...{ network: "net", containerId, ifname: "net1", netns: `/run/netns/${containerId}` },
  local: {
    ...{
      id: containerId,
      ifname: "net1",
      domain: 5000,
      segment: 5001,
      mac,
      addresses: [parseIp("10.1.0.5")],
    },
    ...{ mtuBytes: 1400, defaultRoute: false, groups: [] },
  },
});

test("pods are found in the order in which they came, with the sequences of their addresses, after a restart too", () => {
  const folder = mkdtempSync(`${tmpdir()}/causeway-vpc-store-`);
  try {
    const open = () => VpcStore.open(folder).store;
    const shown = (store: VpcStore) =>
      store.all().map(({ containerId, sequence }) => [containerId, sequence]);
    {
      using store = open();
      for (const one of [pod("zzz"), pod("mmm", parseMac("0a:58:00:00:05:56"))]) store.add(one);
      store.raise(5001, vm, 4);
      store.raise(5002, vm, 9);
      store.setReady(pod("zzz"));
    }
    using store = open();
    store.add(pod("aaa"));
    expect(shown(store)).toEqual([
      ["zzz", 4],
      ["mmm", undefined],
      ["aaa", 4],
    ]);
    store.raise(5001, vm, 5);
    expect(shown(store)).toEqual([
      ["zzz", 5],
      ["mmm", undefined],
      ["aaa", 5],
    ]);
    expect(store.get(pod("zzz"))).toEqual({ ...pod("zzz"), order: 1, sequence: 5, state: "ready" });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test("a pod's name is kept, where the runtime said it; its labels are not", () => {
  const folder = mkdtempSync(`${tmpdir()}/causeway-vpc-store-`);
  try {
    const named = { ...pod("aaa"), pod: { namespace: "team-a", name: "db-0", labels: { app: "db" } } };
    {
      using store = VpcStore.open(folder).store;
      for (const one of [named, pod("bbb")]) store.add(one);
    }
    using store = VpcStore.open(folder).store;
    store.raise(5001, vm, 4);
    expect(store.all().map((one) => one.pod)).toEqual([{ namespace: "team-a", name: "db-0" }, undefined]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
