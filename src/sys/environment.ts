/** What this process was started with. */

/** environmentVariable returns a variable's value; undefined when it is not set or empty. */
export function environmentVariable(name: string): string | undefined {
  const value = process.env[name];
  return value === "" ? undefined : value;
}

/** programName returns the last part of the name that this process was called by, as a link to the executable has it. */
export function programName(): string {
  return process.argv0.slice(process.argv0.lastIndexOf("/") + 1);
}

/** programArguments returns what stood behind the program's name. */
export function programArguments(): string[] {
  return process.argv.slice(2);
}

/** architecture returns the machine that this executable is made for: `x64`, `arm64`. */
export function architecture(): string {
  return process.arch;
}

/** executablePath returns the file that this process runs: the compiled executable, or the runtime when it is not compiled. */
export function executablePath(): string {
  return process.execPath;
}
