/** The picture of a topology as SVG: a tree from left to right, readable in light and dark pages. */
import type { Branch } from "./tree.ts";
import { treeOf } from "./tree.ts";
import type { Topology } from "./topology.ts";

const BOX_WIDTH = 190;
const LINE_HEIGHT = 16;
const COLUMN_GAP = 50;
const ROW_GAP = 14;
const MARGIN = 16;

/** A branch with its place; `y` is the middle. */
interface Placed {
  readonly branch: Branch;
  readonly x: number;
  readonly y: number;
  readonly height: number;
  readonly children: readonly Placed[];
}

const FILLS: Record<Branch["kind"], string> = {
  network: "#dbeafe",
  node: "#dcfce7",
  router: "#fef9c3",
  nat: "#fee2e2",
  host: "#f3f4f6",
};

/** graphSvg draws the topology as an SVG document. */
export function graphSvg(topology: Topology): string {
  const cursor = { y: MARGIN };
  const placed = treeOf(topology).map((root) => place(root, 0, cursor));
  const all = placed.flatMap(flatten);
  const width = Math.max(...all.map((item) => item.x)) + BOX_WIDTH + MARGIN;
  const parts = [...all.flatMap(lines), ...all.map(shape)];
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${cursor.y}" viewBox="0 0 ${width} ${cursor.y}" font-family="system-ui, sans-serif" font-size="12" role="img">
<title>${escape(`Lab ${topology.name}`)}</title>
<rect width="100%" height="100%" fill="#ffffff"/>
${parts.join("\n")}
</svg>
`;
}

/** Leaves are stacked; a parent stands in the middle of its children. */
function place(branch: Branch, depth: number, cursor: { y: number }): Placed {
  const x = MARGIN + depth * (BOX_WIDTH + COLUMN_GAP);
  const height = (branch.facts.length + 1) * LINE_HEIGHT + 12;
  const top = cursor.y;
  const children = branch.branches.map((child) => place(child, depth + 1, cursor));
  const [first, last] = [children[0], children.at(-1)];
  const middle = first === undefined || last === undefined ? top : (first.y + last.y) / 2;
  const y = Math.max(middle, top + height / 2);
  cursor.y = Math.max(cursor.y, y + height / 2 + ROW_GAP);
  return { branch, x, y, height, children };
}

function flatten(item: Placed): Placed[] {
  return [item, ...item.children.flatMap(flatten)];
}

function lines(item: Placed): string[] {
  return item.children.map((child) => {
    const from = item.x + BOX_WIDTH;
    const middle = from + COLUMN_GAP / 2;
    return `<path d="M${from} ${item.y} C${middle} ${item.y} ${middle} ${child.y} ${child.x} ${child.y}" fill="none" stroke="#6b7280"${child.branch.again ? ' stroke-dasharray="4 3"' : ""}/>`;
  });
}

function shape({ branch, x, y, height }: Placed): string {
  const top = y - height / 2;
  const radius = branch.kind === "network" ? height / 2 : 6;
  const text = [branch.name, ...branch.facts].map(
    (line, index) =>
      `<text x="${x + BOX_WIDTH / 2}" y="${top + 18 + index * LINE_HEIGHT}" text-anchor="middle" fill="#111827"${index === 0 ? ' font-weight="bold"' : ""}>${escape(line)}</text>`,
  );
  return `<rect x="${x}" y="${top}" width="${BOX_WIDTH}" height="${height}" rx="${Math.min(radius, 22)}" fill="${FILLS[branch.kind]}" stroke="#6b7280"/>${text.join("")}`;
}

function escape(text: string): string {
  return text.replace(/[&<>"]/g, (char) => `&#${char.charCodeAt(0)};`);
}
