import { expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { planGateway, readConfig } from "../gateway/mod.ts";
import { formatIp } from "../net/mod.ts";
import { pciInterfaces } from "./pci-interfaces.ts";
import { planQueues } from "./queue-plan.ts";

const INSIDE = "private-interface4 { ifname e0; ip 10.0.0.1; nexthop-ip 10.0.0.2; }";
const FOUR = "public-interface4 { ifname e1; ip 192.0.2.1; nexthop-ip 192.0.2.2; }";
const six = (name: string) => `public-interface6 { ifname ${name}; ip 2001:db8::1; nexthop-ip 2001:db8::2; }`;
const outside = (text: string) => {
  const [queue] = planQueues(planGateway(readConfig(`${INSIDE} ${text}`).config), { cpus: [] });
  return queue !== undefined && "public" in queue.sides ? queue.sides.public : undefined;
};

test("a side has one interface for both families, or one for each", () => {
  expect(outside(FOUR + six("e1"))).toMatchObject({ interface: "e1", four: {}, six: {} });
  expect(outside(FOUR + six("e1"))).not.toHaveProperty("interface6");
  expect(outside(FOUR + six("e2"))).toMatchObject({ interface: "e1", interface6: "e2" });
  expect(outside(six("e2"))).toMatchObject({ interface: "e2" });
});

test("an interface by its place on the PCI bus is the one that the kernel has there", () => {
  const folder = mkdtempSync(join(tmpdir(), "causeway-pci-"));
  const at = (pci: string) => {
    const text = `private-interface4 { pci ${pci}; ip 10.0.0.1; nexthop-ip 10.0.0.2; } ${FOUR}`;
    const [queue] = planQueues(planGateway(readConfig(text).config), {
      cpus: [],
      interfacesAt: (address) => pciInterfaces(address, folder),
    });
    // What is kept apart is known without.
    expect(queue?.own.slice(0, 2).map(formatIp)).toEqual(["10.0.0.1", "10.0.0.2"]);
    return queue === undefined || "problem" in queue.sides
      ? queue?.sides
      : { interface: queue.sides.private.interface };
  };
  try {
    for (const path of [
      "0000:03:00.0/net/ens3",
      "0001:03:00.0/net/ens4",
      "0000:00:05.0/virtio2/net/ens5",
      "0000:06:00.0/net/ens6a",
      "0000:06:00.0/net/ens6b",
      "0000:07:00.0",
    ])
      mkdirSync(join(folder, path), { recursive: true });
    // A card in switchdev mode has its functions' ports beside its own.
    for (const [name, port] of [
      ["ens3", "p0"],
      ["ens3r0", "pf0vf0"],
      ["ens3r1", "c1pf0sf7"],
      ["ens3r2", "p0pf0vf1"],
    ] as const) {
      mkdirSync(join(folder, "0000:03:00.0/net", name), { recursive: true });
      writeFileSync(join(folder, "0000:03:00.0/net", name, "phys_port_name"), `${port}\n`);
    }
    expect(at("03:00.0")).toEqual({ interface: "ens3" });
    expect(at("0001:03:00.0")).toEqual({ interface: "ens4" });
    expect(at("0000:00:05.0")).toEqual({ interface: "ens5" });
    expect(at("06:00.0")).toEqual({
      problem:
        "its private interface is at 06:00.0 of the PCI bus, where there are ens6a and ens6b; give the ifname of one",
    });
    for (const none of ["07:00.0", "08:00.0"])
      expect(at(none)).toEqual({
        problem: `its private interface is at ${none} of the PCI bus, where the kernel has none; bind the card to its driver of the kernel, or give an ifname`,
      });
  } finally {
    rmSync(folder, { recursive: true });
  }
});
