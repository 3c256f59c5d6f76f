/** Runs commands one after the other. */
import { run } from "../sys/mod.ts";
import { shellText } from "./check.ts";

const COMMAND_MS = 60_000;

/** runAll tells each command before it runs; returns why it stopped, undefined when all was done. */
export async function runAll(
  commands: readonly (readonly string[])[],
  tell: (text: string) => void = () => undefined,
): Promise<string | undefined> {
  for (const command of commands) {
    const text = shellText([command]);
    tell(text);
    try {
      const { status, stderr } = await run(command, { timeoutMs: COMMAND_MS });
      if (status !== 0) return `${text}: ${stderr.trim() || `it ended with status ${status}`}`;
    } catch (error) {
      return (error as Error).message;
    }
  }
  return undefined;
}
