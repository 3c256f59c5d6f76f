/** Values at paths: found, put and removed. Nothing is changed in place; what a change does not touch is shared with the value before. */
import type { Step, Target } from "./path.ts";
import { refuse } from "./problem.ts";
import type { Entries, Struct, Value } from "./schema-node.ts";

/** What one step leads to; undefined if it is not there. */
function below(value: Value, step: Step): Value {
  const member = (value as Struct)[step.name];
  if (step.key !== undefined) return (member as Entries | undefined)?.get(step.key);
  if (step.index !== undefined) return (member as readonly Value[] | undefined)?.[step.index];
  return member;
}

/** findAt returns what a path leads to; undefined if it is not there. */
export function findAt(root: Struct, { steps }: Target): Value {
  let value: Value = root;
  for (const step of steps) {
    if (value === undefined) return undefined;
    value = below(value, step);
  }
  return value;
}

/** The member of a step with one value in it changed; undefined takes it away. */
function changed(member: Value, step: Step, next: Value): Value {
  if (step.key !== undefined) {
    const entries = new Map(member as Entries);
    if (next === undefined) entries.delete(step.key);
    else entries.set(step.key, next as Struct);
    return entries;
  }
  if (step.index !== undefined)
    return (member as readonly Value[]).flatMap((value, i) =>
      i !== step.index ? [value] : next === undefined ? [] : [next],
    );
  return next;
}

function withSteps(value: Struct, steps: readonly Step[], next: Value, path: string): Struct {
  const [step, ...rest] = steps as readonly [Step, ...Step[]];
  const inner = below(value, step);
  if (rest.length > 0 && inner === undefined)
    refuse(path, `is not below anything: ${step.name} is not there`);
  const put = rest.length === 0 ? next : withSteps(inner as Struct, rest, next, path);
  return { ...value, [step.name]: changed(value[step.name], step, put) };
}

/** putAt returns the whole with another value at a path; what is above it must be there. */
export function putAt(root: Struct, target: Target, value: Value): Struct {
  return target.steps.length === 0 ? (value as Struct) : withSteps(root, target.steps, value, target.path);
}

/** removeAt returns the whole without an entry, or without a value of a leaf-list. */
export function removeAt(root: Struct, target: Target): Struct {
  return withSteps(root, target.steps, undefined, target.path);
}
