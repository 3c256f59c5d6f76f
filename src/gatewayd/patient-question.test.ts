import { expect, test } from "bun:test";
import { PatientQuestion } from "./patient-question.ts";

test("who does not answer is asked once, and is waited for once", async () => {
  const asked: PromiseWithResolvers<string>[] = [];
  const question = new PatientQuestion(() => {
    asked.push(Promise.withResolvers());
    return (asked.at(-1) as PromiseWithResolvers<string>).promise;
  }, 20);
  expect(await Promise.all([question.answer(), question.answer()])).toEqual([undefined, undefined]);
  expect(await question.answer()).toBeUndefined();
  expect(asked).toHaveLength(1);
  asked[0]?.resolve("late");
  await asked[0]?.promise;
  await Bun.sleep(0);
  const next = question.answer();
  asked[1]?.resolve("in time");
  expect(await next).toBe("in time");
  const last = question.answer();
  asked[2]?.reject(new Error("the queue has ended"));
  await expect(last).rejects.toThrow("ended");
  expect(asked).toHaveLength(3);
});

test("a refusal that comes late disturbs nobody", async () => {
  const { promise, reject } = Promise.withResolvers<string>();
  const question = new PatientQuestion(() => promise, 1);
  expect(await question.answer()).toBeUndefined();
  reject(new Error("ended"));
  await Bun.sleep(0);
});
