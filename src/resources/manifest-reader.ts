/**
 * A file of manifests that is read again and again: documents that have not changed are not parsed again, so that a change among a thousand
 * costs what it touches, and what waits meanwhile does not wait long.
 */
import {
  type ManifestProblem,
  MAX_MANIFEST,
  parseManifest,
  type ReadManifests,
  type RefusedManifest,
  type Resource,
} from "./manifest.ts";

/** A line that begins a document, whatever it stands in (YAML 1.2.2, section 9.1.2, c-forbidden). */
const MARKER = /^(?=---(?:\s|$))/m;
/** Lines that belong to the document after or before them: directives and ends. */
const BESIDE = /^(?:%|\.\.\.(?:\s|$))/m;
const isNothing = (text: string) => text.split("\n").every((line) => /^\s*(?:#.*)?$/.test(line));
const WHERE = "document 1";

/** ManifestReader remembers documents of the text before. */
export class ManifestReader {
  #known: ReadonlyMap<string, ReadManifests> = new Map();

  /** read does what parseManifest does. */
  read(text: string): ReadManifests {
    const steps = this.steps(text);
    for (;;) {
      const { done, value } = steps.next();
      if (done === true) return value;
    }
  }

  /** steps does it a document at a time, for who has other work to do in between. One text is read to its end before the next. */
  *steps(text: string): Generator<void, ReadManifests> {
    if (text.length > MAX_MANIFEST || BESIDE.test(text)) {
      this.#known = new Map();
      return parseManifest(text);
    }
    const pieces = text.split(MARKER);
    const known = new Map<string, ReadManifests>();
    const found: ReadManifests[] = [];
    let line = 0;
    let number = 0;
    for (const [i, piece] of pieces.entries()) {
      // What stands before the first marker is a document only if there is something.
      if (i > 0 || !isNothing(piece)) {
        number++;
        const next = i < pieces.length - 1 ? "---\n" : "";
        const one = this.#known.get(piece) ?? parseManifest(`${"\n".repeat(line)}${piece}${next}`);
        // What names a place in the text may stand elsewhere in the next one.
        if (one.problems.every(({ object }) => object !== WHERE)) known.set(piece, one);
        found.push(renumbered(one, number));
        yield;
      }
      line += piece.split("\n").length - 1;
    }
    this.#known = known;
    return together(found);
  }
}

function renumbered(one: ReadManifests, number: number): ReadManifests {
  const problems = one.problems.map((problem) =>
    problem.object === WHERE ? { ...problem, object: `document ${number}` } : problem,
  );
  return { ...one, problems };
}

function together(found: readonly ReadManifests[]): ReadManifests {
  const resources: Resource[] = [];
  const problems: ManifestProblem[] = [];
  const refused: RefusedManifest[] = [];
  const seen = new Set<string>();
  for (const one of found) {
    problems.push(...one.problems);
    refused.push(...one.refused);
    for (const resource of one.resources) {
      const object = `${resource.kind} "${resource.value.name}"`;
      if (seen.has(object)) problems.push({ object, problem: "is there twice; keep one" });
      else resources.push(resource);
      seen.add(object);
    }
  }
  return { resources, problems, refused };
}
