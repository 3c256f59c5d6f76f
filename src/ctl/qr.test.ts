import { expect, test } from "bun:test";
import { qrText } from "./qr.ts";

/** Modules of a printed code: true is dark. */
function modules(text: string): boolean[][] {
  const lines = text.trimEnd().split("\n");
  return lines.flatMap((line) =>
    [0, 1].map((half) =>
      [...line].map(
        (char) => !(char === "█" || (char === "▀" && half === 0) || (char === "▄" && half === 1)),
      ),
    ),
  );
}

const FINDER = ["#######", "#.....#", "#.###.#", "#.###.#", "#.###.#", "#.....#", "#######"];

test("a code with its three finder patterns and a margin of four modules; what it says was read back once by another decoder", () => {
  const dark = modules(qrText(`[Interface]\nAddress = 10.6.0.2/32\nPrivateKey = ${"A".repeat(43)}=\n`));
  const size = (dark[0] as boolean[]).length;
  expect((size - 8 - 17) % 4).toBe(0);
  expect([0, 1, 2, 3].flatMap((row) => dark[row] as boolean[]).some(Boolean)).toBe(false);
  const at = (top: number, left: number) =>
    FINDER.map((_, row) =>
      FINDER.map((__, column) => ((dark[top + row] as boolean[])[left + column] ? "#" : ".")).join(""),
    );
  expect(at(4, 4)).toEqual(FINDER);
  expect(at(4, size - 11)).toEqual(FINDER);
  expect(at(size - 11, 4)).toEqual(FINDER);
});

test("comments do not make it larger", () => {
  const file = "[Interface]\nAddress = 10.6.0.2/32\n";
  expect(qrText(`# a comment of some length\n\n${file}`)).toBe(qrText(file));
});
