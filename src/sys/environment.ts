/** What this process was started with. */

/** environmentVariable returns a variable's value; undefined when it is not set or empty. */
export function environmentVariable(name: string): string | undefined {
  const value = process.env[name];
  return value === "" ? undefined : value;
}

/** programArguments returns what stood behind the program's name. */
export function programArguments(): string[] {
  return process.argv.slice(2);
}

/** executablePath returns the file that this process runs: the compiled executable, or the runtime when it is not compiled. */
export function executablePath(): string {
  return process.execPath;
}
