import { expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { graphText } from "./graph.ts";
import { parseLab } from "./plan.ts";
import { graphSvg } from "./svg.ts";

const examples = new URL("../../examples/", import.meta.url).pathname;
const manifest = (name: string) => readFileSync(`${examples}${name}.yaml`, "utf8");

test("graphText draws the demo", () => {
  expect(graphText(parseLab(manifest("demo")))).toBe(`\
═ transit             203.0.113.0/24
├─ hub                203.0.113.10, hub, 2 pods, site transit
├─ c1                 203.0.113.20, member, 2 pods, site c
└─ internet           203.0.113.1, router
   ├─ ═ dsl           198.51.100.0/24, internet is 198.51.100.1/24
   │  └─ nat-a        198.51.100.2, cone NAT
   │     └─ ═ home-a  192.168.1.0/24, nat-a is 192.168.1.1/24
   │        ├─ a1     192.168.1.2, member, 2 pods, site a
   │        └─ a2     192.168.1.3, member, 2 pods, site a
   └─ ═ mobile        192.0.2.0/24, internet is 192.0.2.1/24
      └─ nat-b        192.0.2.2, symmetric NAT
         └─ ═ home-b  192.168.178.0/24, nat-b is 192.168.178.1/24
            └─ b1     192.168.178.2, member, 2 pods, site b
`);
});

test("graphText draws parts that are not connected, and a network that is reached twice", () => {
  const text = `apiVersion: causeway.network/v1alpha1
kind: Lab
metadata: { name: t }
spec:
  networks:
    - { name: a, prefix4: 192.0.2.0/24, loss: 1.5%, delay: 20ms, mtu: 1400 }
    - { name: b, prefix4: 198.51.100.0/24 }
    - { name: c, prefix4: 10.0.0.0/24 }
  routers: [{ name: r1, kind: router, networks: [a, b] }, { name: r2, kind: router, networks: [a, b] }]
  nodes: [{ name: alone, role: none, networks: [c] }]`;
  expect(graphText(parseLab(text))).toBe(`\
═ a        192.0.2.0/24, loses 1.5%, delays 20 ms, MTU 1400
├─ r1      192.0.2.1, router
│  └─ ═ b  198.51.100.0/24, r1 is 198.51.100.1/24
└─ r2      192.0.2.2, router
   └─ ═ b  see above, r2 is 198.51.100.2/24
═ c        10.0.0.0/24
└─ alone   10.0.0.1
`);
});

test("every example can be drawn within 80 columns, and as a picture", () => {
  const names = readdirSync(examples).filter((name) => name.endsWith(".yaml"));
  expect(names.length).toBeGreaterThan(2);
  for (const name of names) {
    const topology = parseLab(manifest(name.slice(0, -5)));
    for (const line of graphText(topology).split("\n")) expect(line.length).toBeLessThanOrEqual(80);
    const svg = graphSvg(topology);
    expect(svg).toStartWith("<svg ");
    expect(svg.match(/<rect x=/g)?.length).toBe(topology.networks.length + topology.boxes.length);
    expect(svg).not.toContain("NaN");
  }
});
