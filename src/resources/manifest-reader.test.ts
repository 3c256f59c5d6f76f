/** What is remembered of a text changes nothing of what it comes to. */
import { expect, test } from "bun:test";
import { newSeed, Random } from "../../test/support/random.ts";
import { gatewayExample } from "./gateway.ts";
import { formatProblem, parseManifest, type ReadManifests } from "./manifest.ts";
import { ManifestReader } from "./manifest-reader.ts";
import { routeExample } from "./route.ts";

const PIECES = [
  gatewayExample,
  routeExample,
  routeExample.replace("tokyo", "osaka"),
  routeExample.replace("spi: 1234", "spi: 5"),
  routeExample.replace("kind: Route", "kind: Rout"),
  "a: [1\n",
  "# nothing\n",
  "",
  "\n\n",
  "- 1\n",
  "%YAML 1.2\n",
  "...\n",
  '{"apiVersion": "causeway.network/v1alpha1"}\n',
];
const MARKERS = ["---\n", "--- \n", "--- # more\n", "---\n---\n", "----\n"];

const seed = newSeed();
test(`as parseManifest has it, however the text changes (seed ${seed})`, () => {
  const random = new Random(seed);
  const one = <T>(list: readonly T[]) => list[random.below(list.length)] as T;
  const reader = new ManifestReader();
  let pieces: string[] = [];
  for (let n = 0; n < 100; n++) {
    if (pieces.length > 6 || random.chance(0.2)) pieces = pieces.slice(random.below(3));
    pieces.splice(random.below(pieces.length + 1), 0, one(PIECES), one(MARKERS));
    const text = pieces.join("");
    expect(roughly(reader.read(text))).toEqual(roughly(parseManifest(text)));
  }
});

/** Where the library notices what is no YAML depends on what stands after that: a line more or less (seed 4193528765). */
function roughly({ problems, ...all }: ReadManifests): ReadManifests {
  const place = / at line \d+, column \d+/;
  return {
    ...all,
    problems: problems.map((one) =>
      one.problem.startsWith("is not YAML") ? { ...one, problem: one.problem.replace(place, "") } : one,
    ),
  };
}

test("a mistake is told with its place in the text, also when that moves", () => {
  const reader = new ManifestReader();
  const wrong = "---\na: [1\n";
  for (const before of [routeExample, `${gatewayExample}---\n${routeExample}`]) {
    const text = `${before}${wrong}`;
    const said = reader.read(text).problems.map(formatProblem);
    expect(said).toEqual(parseManifest(text).problems.map(formatProblem));
    expect(said[0]).toContain(`at line ${text.split("\n").length}`);
  }
});
