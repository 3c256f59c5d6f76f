/** VTEPs that are no nodes: routers that people have named in the Mesh. Reflectors judge what they announce as that of nodes. */
import type { OutsideVtep } from "../resources/mod.ts";
import type { EntitledNode } from "./vtep-claims.ts";

/** outsideEntitled returns them as reflectors know them: as `VTEP NAME`, which no node is called. */
export function outsideEntitled(vteps: readonly OutsideVtep[]): EntitledNode[] {
  return vteps.map(({ name, address }) => ({ name: outsideName(name), overlay4: address, vteps: [address] }));
}

function outsideName(name: string): string {
  return `VTEP ${name}`;
}

/** outsideMayServe tells whether a VTEP that is no node may serve a VPC; undefined where no VTEP has that name among entitled nodes. */
export function outsideMayServe(
  vteps: readonly OutsideVtep[],
  vpc: string,
  entitled: string,
): boolean | undefined {
  const vtep = vteps.find(({ name }) => outsideName(name) === entitled);
  return vtep && (vtep.vpcs.includes("*") || vtep.vpcs.includes(vpc));
}
